"""An erasure reaches everything a home keeps: ledger, pages, training sets, backups."""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import cv2
import pytest

from portraitd.cli.export import export_person
from portraitd.datasets.set_erasure import lock_builds
from portraitd.media.jpeg import encode_jpeg
from portraitd.service.control import BUILD_DATASET
from portraitd.service.control_files import ControlFiles, ControlRequest
from portraitd.service.erasure_stage import REQUEST, ErasureStage
from portraitd.store.database import Database, StoreLock
from portraitd.store.erasure.eraser import Eraser
from portraitd.store.maintenance.backup import back_up, restore
from support.byte_search import secrets_of, slivers_of_file, surviving, traces
from support.dataset_home import SECTIONS, with_photos
from support.home import START_S, Home, connect

NAME = "Annabelle Archer"

KEEPING = SECTIONS | {
    "dataset": {"near_duplicate": 0.0, "frames": "keep", "background_share": 5.0},
    "inbox": {"quiet_s": 0.0},
}


def ask(home: Home, request: ControlRequest) -> tuple[str, bool]:
    """As a command does; the service works until it is idle."""
    requests = ControlFiles(home.settings.requests_dir)
    name = requests.leave(request)
    home.run()
    answer = requests.answer_to(name)
    assert answer
    return answer


def build_set(home: Home) -> None:
    assert ask(home, ControlRequest(BUILD_DATASET))[1]


def forget(home: Home, kind: str, word: str) -> None:
    assert ask(home, ControlRequest(REQUEST, arguments=(kind, word)))[1]


def ledger(home: Home) -> list[tuple[str, int | None, str | None]]:
    with closing(connect(home.settings.state_dir)) as db:
        return [tuple(row) for row in db.execute("select kind, person_id, name from ledger")]


def count(home: Home, query: str) -> int:
    with closing(connect(home.settings.state_dir)) as db:
        return int(db.execute(query).fetchone()[0])


def side_by_side(photographs: list[Path]) -> bytes:
    """One picture with two people in it."""
    images = [cv2.imread(str(path)) for path in photographs[:2]]
    halves = [cv2.resize(image, (480, 480)) for image in images if image is not None]
    return encode_jpeg(cv2.hconcat(halves), 95)


@pytest.fixture(scope="module")
def lived_in(
    tmp_path_factory: pytest.TempPathFactory, two_people: Path, photographs: list[Path]
) -> Path:
    """Two people, in a clip and on photographs, both named by hand; portraits of each were
    deleted and copied; a training set was built."""
    home = Home(tmp_path_factory.mktemp("lived-in"), **KEEPING)
    home.drop(two_people, "clip.mp4")
    with_photos(home, photographs, count=4)
    home.drop(side_by_side(photographs), "both.jpg")
    home.run()
    # Not those whom the detector makes of a sleeve.
    seen = Counter(row["person_id"] for row in home.rows("faces") if row["person_id"])
    for person, name in zip(
        sorted(one for one, _ in seen.most_common(2)), (NAME, "Bob"), strict=True
    ):
        (home.people / f"person-{person:04d}").rename(home.people / name)
    home.steady_s += 100.0
    home.run()
    for name in (NAME, "Bob"):
        # Of a photograph: that of a clip takes its whole track along.
        sorted((home.people / name).glob("[0-9]*.jpg"))[0].unlink()
    home.steady_s += 100.0
    home.run()
    build_set(home)
    return home.settings.home_dir


@pytest.fixture
def home(tmp_path: Path, lived_in: Path) -> Home:
    """A copy of it."""
    shutil.copytree(lived_in, tmp_path / "home")
    home = Home(tmp_path / "home", **KEEPING)
    home.steady_s = 1000.0
    home.run()
    return home


def everything_of(home: Home, person: int) -> set[bytes]:
    """What must not be found any more: faces, frames and tables that show them, the name."""
    with closing(connect(home.settings.state_dir)) as db:
        mine = f"person_id = {person} or hidden = 1 and faces.id in ({excluded_of(home, person)})"
        secrets = secrets_of(home, mine)
        moments = db.execute(
            f"select distinct sha256, t_s from faces join videos on videos.id = video_id "
            f"where {mine}"
        ).fetchall()
    for row in moments:
        stem = f"{row['sha256'][:12]}-{round(row['t_s'] * 1000):09d}"
        for path in (home.settings.state_dir / "frames").glob(f"1/*/{stem}*"):
            secrets |= slivers_of_file(path)
    secrets |= slivers_of_file(home.people / NAME / "montage.jpg")
    # What the grouping remembers holds means: the whole file is to go, and the word of it.
    secrets |= {path.name.encode() for path in home.settings.state_dir.glob("grouping-*.npz")}
    return secrets | {NAME.encode()}


def excluded_of(home: Home, person: int) -> str:
    """Ids of the faces whose portraits were deleted from a person's folder."""
    with closing(connect(home.settings.state_dir)) as db:
        rows = db.execute(
            f"""
            select face_id from ledger join ledger_faces on ledger_id = ledger.id
            join fingerprint_matches using (fingerprint_id)
            where kind = 'exclude' and role = 'moved' and ledger_faces.person_id = {person}
            """
        )
        return ",".join(str(row[0]) for row in rows)


def test_the_search_finds_what_is_there(home: Home) -> None:
    """Everything that is looked for below lies in all these places before."""
    found = surviving(home, everything_of(home, 1)).keys()

    for beginning in (
        "state/portraitd.sqlite3",
        "state/tracks.f32",
        "state/grouping-",
        "state/frames/",
        f"people/{NAME}/",
        f"people/{NAME}/montage.jpg",
        "people/gallery/data/",
        "people/gallery/appearances.csv",
        "dataset/yolo/images/",
        "dataset/coco/annotations/",
        "dataset/imagefolder/",
        "dataset/chips150/",
        "dataset/cvat/",
        "dataset/report/",
        "dataset/class_index.json",
    ):
        assert any(path.startswith(beginning) for path in found), beginning
    assert "" != excluded_of(home, 1)


def test_nothing_of_a_forgotten_person_is_left_anywhere(home: Home) -> None:
    """Neither what portraitd made, nor portraits that people copied, renamed or changed."""
    secrets = everything_of(home, 1)
    portrait, other, third = sorted((home.people / NAME).glob("[0-9]*.jpg"))[:3]
    apart = home.people / "for the wall"
    apart.mkdir()
    shutil.copyfile(portrait, apart / "copy.jpg")
    # Its words about itself say whose it is, although not one byte of the picture is the same.
    head = other.read_bytes()
    image = cv2.imread(str(other))
    smaller = encode_jpeg(cv2.resize(image, None, fx=0.7, fy=0.7), 95)
    (apart / "edited.jpg").write_bytes(with_words_of(head, smaller))
    third.write_bytes(third.read_bytes() + b"touched up")
    (apart / "holiday.jpg").write_bytes(b"not ours")
    (apart / "Thumbs.db").write_bytes(portrait.read_bytes())
    aside = home.settings.dataset_dir / "_changed" / "yolo"
    aside.mkdir(parents=True)
    picture = next(home.settings.dataset_dir.glob("chips150/*/*/*.jpg"))
    for path in home.settings.dataset_dir.glob("chips150/*/*/*.jpg"):
        if any(secret in path.read_bytes() for secret in secrets):
            picture = path
    shutil.copyfile(picture, aside / picture.name)
    (aside / f"{picture.stem}.npy").write_bytes(picture.read_bytes())

    forget(home, "person", NAME.lower())

    assert {} == surviving(home, secrets)
    assert ["holiday.jpg"] == [path.name for path in apart.iterdir()]
    assert 0 == count(home, "select count(*) from erasure_in_progress")
    assert 0 == count(home, "select count(*) from erased_pictures")


def with_words_of(portrait: bytes, picture: bytes) -> bytes:
    """A picture that says of itself what a portrait says."""
    at = portrait.index(b"\xff\xe1")
    words = portrait[at : at + 2 + int.from_bytes(portrait[at + 2 : at + 4], "big")]
    return picture[:2] + words + picture[2:]


def test_copies_of_her_folder_lose_her_name_too(home: Home) -> None:
    """What others put there stays, and is listed by its path."""
    secrets = everything_of(home, 1)
    album, wall = home.people / "Album" / "of her", home.people / "for the wall"
    shutil.copytree(home.people / NAME, album)
    wall.mkdir()
    shutil.copyfile(home.people / NAME / ".person.json", wall / ".person.json")
    for folder in (album, wall):
        (folder / "notes.txt").write_text("by others")
    named = home.people / f"{NAME.upper()} by the sea.txt"
    named.write_text("by others")
    for name in ("portraitd.sqlite3.old-20260101-000000-wal", "backup-before-0005.sqlite3"):
        (home.settings.state_dir / name).write_text(NAME)
    secrets |= {name.encode() for name in ("backup-before-0005", "sqlite3.old-2026")}

    answer, granted = ask(home, ControlRequest(REQUEST, arguments=("person", NAME)))

    assert granted
    assert {} == surviving(home, secrets)
    assert ["notes.txt"] == [path.name for path in album.iterdir() if path.suffix != ".json"]
    assert [named, album / "notes.txt", wall / "notes.txt"] == [
        Path(line.partition(": ")[2]) for line in answer.splitlines() if "was kept" in line
    ]
    assert "Bob" in [name for _, _, name in ledger(home)]
    assert [] == [name for kind, who, name in ledger(home) if kind == "name" and who == 1 and name]


def test_a_set_keeps_what_does_not_show_the_forgotten(home: Home) -> None:
    """It is emptied only of her pictures, and of lists that mention them; a build completes it."""
    root = home.settings.dataset_dir
    moments = moments_of(home, "person_id = 1")
    before = {path: path.stat().st_ino for path in root.glob("[!r]*/**/*.jpg")}

    answer, _ = ask(home, ControlRequest(REQUEST, arguments=("person", "1")))

    after = {path for path in before if path.exists()}
    gone = before.keys() - after
    assert gone
    assert after
    assert [] == [path for path in after if is_near(path.stem, moments) or NAME in path.parts]
    assert [] == [
        path for path in gone if not is_near(path.stem, moments, 1500) and NAME not in path.parts
    ]
    assert not (root / "class_index.json").exists()
    assert "The training set keeps all other pictures" in answer
    build_set(home)
    kept = {path for path in after if path.exists()}
    assert kept
    assert {path: before[path] for path in kept} == {path: path.stat().st_ino for path in kept}


def test_a_set_without_the_forgotten_is_not_touched(home: Home) -> None:
    """Neither its pictures nor its lists."""
    forget(home, "person", "1")
    build_set(home)
    root = home.settings.dataset_dir
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    shown = {path.stem[:12] for path in root.rglob("*.jpg")}
    unused = next(
        row for row in home.rows("files")
        if row["state"] == "done" and row["content_sha256"][:12] not in shown
    )  # fmt: skip

    answer, _ = ask(home, ControlRequest(REQUEST, arguments=("video", unused["path"].decode())))

    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    assert "training set" not in answer


def test_what_was_said_about_others_still_holds(home: Home) -> None:
    """The name and the deletion of the other; rows keep their numbers, classes theirs."""
    before, classes = ledger(home), dict(class_names(home))
    forget(home, "person", "1")
    after = ledger(home)

    assert [kind for kind, _, _ in before] == [kind for kind, _, _ in after]
    assert [None, "Bob"] == [name for kind, _, name in after if kind == "name"]
    assert {0: NAME, 1: "Bob"}.items() <= classes.items()
    assert {0: "", 1: "Bob"}.items() <= dict(class_names(home)).items()
    assert 0 == count(
        home, "select count(*) from ledger_faces where person_id = 1 and role <> 'cannot-link'"
    )
    build_set(home)
    names = json.loads((home.settings.dataset_dir / "class_index.json").read_text())
    assert "unused-0" in json.dumps(names)
    assert (home.people / "Bob").is_dir()
    assert {} == surviving(home, {NAME.encode()})


def class_names(home: Home) -> list[tuple[int, str]]:
    with closing(connect(home.settings.state_dir)) as db:
        rows = db.execute("select class_id, name from class_holders order by id")
        return [tuple(row) for row in rows]


def test_a_set_that_is_built_later_shows_nobody_who_was_forgotten(home: Home) -> None:
    """Not in a frame beside somebody else, and not as a background without a face."""
    moments = moments_of(home, "person_id = 1")
    both = moments & moments_of(home, "person_id = 2 or person_id = 3")
    forget(home, "person", "1")
    build_set(home)
    pictures = [path.stem for path in home.settings.dataset_dir.glob("coco/*/*.jpg")]
    kept = [path.stem for path in home.settings.state_dir.glob("frames/1/*/*.jpg")]

    assert both, "somebody else is in a picture with her"
    assert pictures
    assert [] == [one for one in pictures + kept if is_near(one, moments)]


def moments_of(home: Home, condition: str) -> set[tuple[str, int]]:
    """The beginning of the content's hash, and milliseconds."""
    with closing(connect(home.settings.state_dir)) as db:
        return {
            (row["sha256"][:12], round(row["t_s"] * 1000))
            for row in db.execute(
                "select sha256, t_s from faces join videos on videos.id = video_id "
                f"where {condition}"
            )
        }


def is_near(stem: str, moments: set[tuple[str, int]], within_ms: int = 500) -> bool:
    """Whether a picture shows what was seen half a second before or after one of them."""
    sha256, at = stem.split("-")[:2]
    return any(sha256 == one and abs(int(at) - moment) <= within_ms for one, moment in moments)


def test_a_forgotten_video_leaves_neither_keys_nor_sides(home: Home) -> None:
    """What people said about faces in it goes with it, and so does its side of the set."""
    with closing(connect(home.settings.state_dir)) as db:
        (sha256,) = db.execute("select sha256 from videos where kind = 'video'").fetchone()
    said = f"select count(*) from face_fingerprints where sha256 = '{sha256}'"
    sides = f"select count(*) from splits where instr(key, '{sha256[:12]}')"
    before = count(home, said) + count(home, sides)

    forget(home, "video", "clip.mp4")

    assert 0 < before
    assert 0 == count(home, said) + count(home, sides)
    assert {} == surviving(home, {sha256[:16].encode()})
    assert {NAME, "Bob"} <= {path.name for path in home.people.iterdir()}


def test_the_same_clip_dropped_again_brings_nothing_back(home: Home, two_people: Path) -> None:
    """Neither a face, nor a kept frame: also where it is taken without them."""
    with closing(connect(home.settings.state_dir)) as db:
        (sha256,) = db.execute("select sha256 from videos where kind = 'video'").fetchone()
    forget(home, "video", "clip.mp4")
    skipping = Home(home.settings.home_dir, **KEEPING, privacy={"dropped_again": "skip-faces"})
    skipping.steady_s = home.steady_s + 100.0
    refused = home.drop(two_people, "again.mp4")
    home.run()
    states = home.states()
    refused.unlink()
    skipping.drop(two_people, "once more.mp4")
    skipping.run()

    assert "forgotten" == states["again.mp4"]
    assert "done" == skipping.states()["once more.mp4"]
    video = "select id from videos where kind = 'video'"
    faces = f"select count(*) from faces where video_id = ({video}) and box_top < 300"
    assert 0 == count(skipping, faces)
    assert [] == list(home.settings.state_dir.glob(f"frames/1/{sha256[:16]}/*"))


def test_somebody_who_is_just_looked_for_again_is_forgotten_there_too(home: Home) -> None:
    """A rebuild is under way: the new faces belong to nobody yet, and lie beside the old."""
    secrets = everything_of(home, 1)
    with home.opened() as service:
        service.reprocessing.begin(START_S + home.steady_s)
        for _ in range(60):
            home.tick(service)
            if count(home, "select count(*) from faces join videos on videos.id = video_id "
                     "where replaces is not null and t_s > 4"):  # fmt: skip
                break
        assert service.reprocessing.pending
        clips = "select id from videos where kind = 'video'"
        times = f"select t_s from faces where person_id = 1 and video_id in ({clips})"
        secrets |= secrets_of(
            home,
            f"faces.video_id in ({clips} and replaces is not null) and box_top < 300 "
            f"and faces.t_s in ({times})",
        )
        answer = service.erasure.answer("person", "1", START_S + home.steady_s)
        home.run_until_idle(service)

    assert "faces erased" in answer
    assert {} == surviving(home, secrets)


def test_a_copy_that_is_restored_has_no_name_of_the_forgotten(home: Home, tmp_path: Path) -> None:
    """Neither in people, nor in the ledger, nor among the classes; the copy itself keeps it."""
    secrets = everything_of(home, 1)
    copy = tmp_path / "copy.sqlite3"
    back_up(home.settings.state_dir, copy, START_S)
    forget(home, "person", NAME)
    with StoreLock(home.settings.state_dir):
        restore(home.settings.state_dir, copy, START_S + 9000.0)
    shutil.rmtree(home.settings.state_dir / "grouping", ignore_errors=True)
    home.run()

    assert NAME.encode() in copy.read_bytes()
    assert {} == {
        path: n
        for path, n in surviving(home, secrets).items()
        # What was in force before the restore is put aside; it had forgotten them.
        if ".old-" not in path
    }
    assert {} == traces(home.people, {NAME.encode()})


def test_forgetting_waits_for_a_set_that_is_being_built(home: Home) -> None:
    """By a command beside the service: it would write down what it read before."""
    secrets = everything_of(home, 1)
    with home.opened() as service:
        with lock_builds(home.settings.state_dir):
            service.erasure.answer("person", "1", START_S + 2000.0)
            home.tick(service)
            assert service.erasure.pending
            assert "being built" in service.blocked.text
        home.run_until_idle(service)

    assert {} == surviving(home, secrets)


def test_an_export_says_what_people_did_about_somebody(home: Home, tmp_path: Path) -> None:
    """The name they gave; the portrait they deleted is in it as well, for it is kept."""
    kept = count(home, f"select count(*) from faces where person_id = 1 or id in "
                 f"({excluded_of(home, 1)})")  # fmt: skip
    target = tmp_path / "her.zip"

    assert kept == export_person(home.settings, NAME, target, START_S)
    with zipfile.ZipFile(target) as archive:
        said = list(csv.DictReader(io.StringIO(archive.read("edits.csv").decode())))
    assert ("name", NAME) in [(row["what"], row["name"]) for row in said]
    assert "Bob" not in [row["name"] for row in said]


def test_a_name_is_gone_at_once_also_where_no_service_runs(home: Home) -> None:
    """The folder goes with the command; what somebody put into one keeps it."""
    (home.people / "Bob" / "my notes.txt").write_text("about Bob")
    with closing(Database.open(home.settings.state_dir)) as database:
        forgetter = ErasureStage(Eraser(database), home.settings)
        forgetter.answer("person", NAME, START_S)
        forgetter.answer("person", "Bob", START_S)
        forgetter.finish(START_S)

    assert {} == surviving(home, {NAME.encode()})
    assert not (home.people / NAME).exists()
    said = len(ledger(home))
    home.run()
    assert said == len(ledger(home)), "nobody takes the folder for removed by hand"
    assert ["about Bob"] == [path.read_text() for path in home.people.rglob("my notes.txt")]
    assert not (home.people / "Bob").exists()
