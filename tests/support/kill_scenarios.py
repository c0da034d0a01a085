"""The scenarios of the kill sweep: the initial home, what is interrupted, and what must hold."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from portraitd.cli.demo import demo_photographs
from portraitd.media.jpeg import encode_jpeg

# Before any fork: what OpenCV's threads wait for is not there afterwards.
from portraitd.media.opencv import cv2
from portraitd.people.tree.manifest import ROOT_MANIFEST
from portraitd.service.control import BUILD_DATASET
from portraitd.service.control_files import ControlFiles, ControlRequest
from portraitd.service.erasure_stage import REQUEST
from portraitd.store.database import FILE_NAME, StoreLock
from portraitd.store.maintenance.backup import back_up, inspect, restore
from support.executors import CachingExecutor
from support.home import Home, connect, digest
from support.old_schemas import first_store


class Scenario(NamedTuple):
    """An action that is interrupted.

    Attributes:
        prepare: Creates the home; every attempt starts with a copy of it.
        act: Runs in the copy, and is killed.
        finish: The next start, which must recover.
        check: Further checks of the recovered home against the undisturbed one.
    """

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    finish: Callable[[Path], None]
    check: Callable[[Path, Path], None]


EXECUTOR = CachingExecutor()


def home_at(folder: Path, **encoder: object) -> Home:
    home = Home(
        folder,
        encoder=encoder,
        inbox={"quiet_s": 0.0},
        grouping={"min_samples": 2, "settle_s": 0.0},
        # The photographs do not move: what is nearly the same is wanted here.
        dataset={"near_duplicate": 0.0},
    )
    home.steady_s = 1000.0
    return home


def run_until_idle(folder: Path) -> None:
    """Run the service until nothing is left to do."""
    home = home_at(folder)
    with home.opened(executor=EXECUTOR) as service:
        home.run_until_idle(service)


def encode_photo(number: int, scale: float = 0.6) -> bytes:
    image = cv2.imread(str(demo_photographs()[number]))
    assert image is not None
    return encode_jpeg(cv2.resize(image, None, fx=scale, fy=scale), 95)


def drop_photos(folder: Path) -> None:
    home = home_at(folder)
    home.drop(encode_photo(0), "a.jpg")
    home.drop(encode_photo(0, 1.0), "b.jpg")
    home.drop(encode_photo(1), "c.jpg")
    home.drop(b"no media " * 50, "text.mp4")


def process_photos(folder: Path) -> None:
    drop_photos(folder)
    run_until_idle(folder)
    people = Counter(row["person_id"] for row in home_at(folder).rows("faces"))
    assert {1: 2, None: 1} == people, people


def process_in_another_space(folder: Path) -> None:
    """Give every face a vector that the next start replaces."""
    drop_photos(folder)
    home = home_at(folder, mirror=False)
    with home.opened(executor=EXECUTOR) as service:
        home.run_until_idle(service)
    assert {"dlib-resnet-v1"} == {row["encoder"] for row in home.rows("faces")}


def check_vectors(folder: Path, undisturbed: Path) -> None:
    """Check that every face has its new vector, and every track the mean of those."""
    query = """
        select faces.id, person_id, encoder, faces.embedding, tracks.embedding, tracks.quality
        from faces join tracks on tracks.id = track_id order by faces.id
        """
    rows = []
    for one in (folder, undisturbed):
        with closing(connect(one / "state")) as db:
            rows.append([tuple(row) for row in db.execute(query)])
            assert not db.execute("select 1 from reembedded").fetchall()
    assert rows[0] == rows[1]
    assert {"dlib-resnet-v1+mirror"} == {row[2] for row in rows[0]}


def process_and_drop_more(folder: Path) -> None:
    """Drop files that make a second person, so that folders and montages change."""
    process_photos(folder)
    home_at(folder).drop(encode_photo(1, 0.8), "d.jpg")
    home_at(folder).drop(encode_photo(0), "again.jpg")


def erase_person(folder: Path) -> None:
    requests = ControlFiles(folder / "state" / "requests")
    if not requests.waiting():
        requests.leave(ControlRequest(REQUEST, arguments=("person", "1")))
    run_until_idle(folder)


def make_old_store(folder: Path) -> None:
    """Put the current rows into a store with the first schema."""
    process_photos(folder)
    state = folder / "state"
    old = folder / "old"
    old.mkdir()
    first_store(old, state)
    for path in state.glob("*"):
        path.unlink() if path.is_file() else shutil.rmtree(path)
    (old / FILE_NAME).rename(state / FILE_NAME)
    old.rmdir()
    # Trees did not say then whose they are.
    marker = folder / "people" / ROOT_MANIFEST
    facts = json.loads(marker.read_bytes())
    del facts["store"]
    marker.write_text(json.dumps(facts))


def back_up_store(folder: Path) -> None:
    back_up(folder / "state", folder / "copy.sqlite3", 5.0)


def back_up_and_run(folder: Path) -> None:
    back_up_store(folder)
    run_until_idle(folder)


def edit_people(folder: Path) -> None:
    """Name a person, delete a portrait, and make another one a person of its own."""
    process_photos(folder)
    people = folder / "people"
    (portrait,) = (people / "_unsorted").glob("[0-9]*.jpg")
    (people / "Bob").mkdir()
    portrait.rename(people / "Bob" / portrait.name)
    person = people / "person-0001"
    next(person.glob("[0-9]*.jpg")).unlink()
    person.rename(people / "Ann")


def check_ledger(folder: Path, undisturbed: Path) -> None:
    """Check that every edit is recorded once."""
    assert read_ledger(undisturbed) == read_ledger(folder)
    assert {"exclude", "name", "split"} == {kind for kind, _ in read_ledger(folder)}


def read_ledger(folder: Path) -> list[tuple[str, str | None]]:
    with closing(connect(folder / "state")) as db:
        return [tuple(row) for row in db.execute("select kind, name from ledger order by 1, 2")]


def name_people(folder: Path) -> None:
    """Name two people in photographs, who are not in a training set yet."""
    home = home_at(folder)
    for number in (0, 1):
        for scale in (0.5, 0.6, 0.8, 1.0):
            home.drop(encode_photo(number, scale), f"{number}-{scale}.jpg")
    run_until_idle(folder)
    (home.people / "person-0001").rename(home.people / ANNABELLE)
    (home.people / "person-0002").rename(home.people / "Bob")
    run_until_idle(folder)


def build_dataset(folder: Path) -> None:
    """Build the set after a scan of the inbox: the files of a copied home have new stamps."""
    requests = ControlFiles(folder / "state" / "requests")
    if not requests.waiting():
        run_until_idle(folder)
        requests.leave(ControlRequest(BUILD_DATASET))
    run_until_idle(folder)
    for name in [path.stem for path in requests.folder.glob("*.answer")]:
        _, is_built = requests.answer_to(name) or ("", False)
        assert is_built


def check_dataset(folder: Path, undisturbed: Path) -> None:
    """Check that files, classes and splits are the same, and nothing is unfinished."""
    first, second = hash_dataset(undisturbed), hash_dataset(folder)
    assert first == second, sorted(set(first.items()) ^ set(second.items()))
    with closing(connect(folder / "state")) as db, closing(connect(undisturbed / "state")) as other:
        for query in (
            "select class_id, person_id, name from class_holders order by id",
            "select key, split from splits order by key",
        ):
            rows = [[tuple(row) for row in one.execute(query)] for one in (db, other)]
            assert rows[0] == rows[1] != []


def hash_dataset(folder: Path) -> dict[str, str]:
    return {
        os.fspath(path.relative_to(folder)): digest(path.read_bytes())
        for path in [*folder.glob("dataset/**/*"), *folder.glob("state/frames/**/*")]
        if path.is_file() and not path.name.startswith(".portraitd-dataset.")
    }


def process_after_backup(folder: Path) -> None:
    process_photos(folder)
    back_up_store(folder)
    home_at(folder).drop(encode_photo(1, 0.8), "d.jpg")
    run_until_idle(folder)


def restore_store(folder: Path) -> None:
    with StoreLock(folder / "state"):
        restore(folder / "state", folder / "copy.sqlite3", time.time())


def restore_and_run(folder: Path) -> None:
    """Check that there is a store, the old one or the new, and restore again."""
    inspect(folder / "state" / FILE_NAME)
    restore_store(folder)
    run_until_idle(folder)


def check_nothing(folder: Path, undisturbed: Path) -> None:
    pass


def check_erasure(folder: Path, undisturbed: Path) -> None:
    """Check that no data of the erased person is left, and that no erasure is unfinished."""
    with closing(connect(folder / "state")) as db:
        assert not db.execute("select 1 from erasures where finished_at is null").fetchall()
    for path in folder.rglob("*"):
        if path.is_file() and "inbox" not in path.parts:
            data = path.read_bytes()
            assert not [secret for secret in SECRETS if secret in data], path
            assert ANNABELLE not in path.parts


def check_backup(folder: Path, undisturbed: Path) -> None:
    """Check that the backup is complete."""
    assert inspect(folder / "copy.sqlite3").counts == inspect(undisturbed / "copy.sqlite3").counts


ANNABELLE = "Annabelle"

SECRETS: set[bytes] = {ANNABELLE.encode()}


def prepare_erasure(folder: Path) -> None:
    """Create all kinds of data about a person: a name, corrections, a training set, pages."""
    name_people(folder)
    next((folder / "people" / ANNABELLE).glob("[0-9]*.jpg")).unlink()
    build_dataset(folder)
    with closing(connect(folder / "state")) as db:
        for row in db.execute(
            "select embedding, jpeg, sha256 from faces join portraits on face_id = faces.id "
            "join videos on videos.id = video_id where person_id = 1 or hidden = 1"
        ):
            SECRETS.update((row["embedding"][100:130], row["jpeg"][-600:-570]))
            for path in (folder / "state" / "frames").glob(f"*/{row['sha256'][:12]}*/*"):
                SECRETS.add(path.read_bytes()[-300:-270])
    assert len(SECRETS) > 10
    montages = {path.parent.name: path.read_bytes() for path in folder.rglob("montage.jpg")}
    own = montages.pop(ANNABELLE)
    # Not of an empty tile, which every montage has.
    SECRETS.add(
        next(
            piece
            for at in range(len(own) // 4, len(own), 30)
            if not any((piece := own[at : at + 30]) in other for other in montages.values())
        )
    )


SCENARIOS = {
    "ingest": Scenario(drop_photos, run_until_idle, run_until_idle, check_nothing),
    "more": Scenario(process_and_drop_more, run_until_idle, run_until_idle, check_nothing),
    "review": Scenario(edit_people, run_until_idle, run_until_idle, check_ledger),
    "dataset": Scenario(name_people, build_dataset, build_dataset, check_dataset),
    "migrate": Scenario(make_old_store, run_until_idle, run_until_idle, check_nothing),
    "forget": Scenario(prepare_erasure, erase_person, erase_person, check_erasure),
    "backup": Scenario(process_photos, back_up_store, back_up_and_run, check_backup),
    "change_over": Scenario(
        process_in_another_space, run_until_idle, run_until_idle, check_vectors
    ),
    "restore": Scenario(process_after_backup, restore_store, restore_and_run, check_nothing),
}
