"""Programs that manage photos write into the files of the inbox: nothing is lost, or done again.

Real faces and the whole service; the tags are written by exiftool, containers by ffmpeg.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from portraitd.cli.explain import Explanation, explain
from portraitd.cli.listing import print_faces
from portraitd.ingest.picture_hashes import IDLE_S
from portraitd.model.reasons import ReasonCode
from portraitd.service.control_files import ControlFiles, ControlRequest
from portraitd.service.erasure_stage import REQUEST
from portraitd.service.pipeline import Service
from portraitd.store.database import Database
from support.dataset_home import build_set, copy_of, move_to_val
from support.home import Home, assert_sound, connect
from support.media import as_jpeg
from support.reviews import ANN, BOB, copied, faces, folders, ledger, move, portraits
from support.tags import RATED, needs_exiftool, needs_ffmpeg, remux, write_tags

pytestmark = [needs_exiftool, needs_ffmpeg]

TAKEN = ("-EXIF:DateTimeOriginal=1999:07:14 15:16:17", "-EXIF:OffsetTimeOriginal=+02:00")


@pytest.fixture
def home(two_found: Home, photographs: list[Path], tmp_path: Path) -> Home:
    """A clip of two people and a photo of the second, who is called Bea; one portrait was moved."""
    home = copied(two_found, tmp_path)
    home.drop(as_jpeg(photographs[1]), "photo.jpg")
    home.run()
    (home.people / BOB).rename(home.people / "Bea")
    home.run()
    move(portraits(home, "Bea")[-1], home.people / ANN)
    home.run()
    assert ["name", "place"] == ledger(home)
    return home


def what_must_stay(home: Home) -> tuple[object, ...]:
    """Faces with their people, tracks, entries of the ledger, recordings, slices, portraits."""
    return (
        [(row["id"], row["video_id"], row["person_id"]) for row in home.rows("faces")],
        home.rows("ledger"),
        [(row["id"], row["name"]) for row in home.rows("people")],
        [(row["id"], row["sha256"], row["state"]) for row in home.rows("videos")],
        home.rows("slices"),
        folders(home),
    )


def explained(home: Home, name: str) -> Explanation:
    return explain(home.settings, home.inbox / name)


def table(home: Home) -> list[dict[str, str]]:
    text = (home.people / "gallery/appearances.csv").read_text("utf-8-sig")
    return list(csv.DictReader(text.splitlines()))


def in_place(home: Home) -> dict[str, str]:
    write_tags(home.inbox / "photo.jpg", *RATED)
    return {"photo.jpg": "photo.jpg"}


def moved_renamed_and_tagged(home: Home) -> dict[str, str]:
    (home.inbox / "2019").mkdir()
    write_tags((home.inbox / "photo.jpg").rename(home.inbox / "2019/bea.jpg"), *RATED)
    write_tags((home.inbox / "clip.mp4").rename(home.inbox / "2019/party.mp4"), *RATED)
    return {"photo.jpg": "2019/bea.jpg", "clip.mp4": "2019/party.mp4"}


def in_another_container(home: Home) -> dict[str, str]:
    remux(home.inbox / "clip.mp4", home.inbox / "clip.mkv", "-metadata", "title=Party")
    (home.inbox / "clip.mp4").unlink()
    return {"clip.mp4": "clip.mkv"}


def beside_a_backup(home: Home) -> dict[str, str]:
    """As exiftool does by default: the old content stays as ``photo.jpg_original``."""
    write_tags(home.inbox / "photo.jpg", *RATED, keeps_original=True)
    return {"photo.jpg": "photo.jpg"}


@pytest.mark.parametrize(
    "change", [in_place, moved_renamed_and_tagged, in_another_container, beside_a_backup]
)
def test_a_recording_stays_what_it_was(
    home: Home, change: Callable[[Home], dict[str, str]]
) -> None:
    """Faces, people, names, corrections, class numbers; the path and the hash are the new ones."""
    before = what_must_stay(home)
    hashes = {name: explained(home, name).sha256 for name in ("photo.jpg", "clip.mp4")}

    paths = change(home)
    home.run()

    assert before == what_must_stay(home)
    for old, new in paths.items():
        now = explained(home, new)
        assert ("done", ReasonCode.METADATA_CHANGED) == (now.state, now.reason.code)
        assert hashes[old] != now.sha256
        assert now.content
        assert hashes[old] == now.content.sha256
        assert new in {row["video"] for row in table(home)}
        if old != new:
            gone = explained(home, old)
            assert ("gone", ReasonCode.REMOVED) == (gone.state, gone.reason.code)
            assert old not in {row["video"] for row in table(home)}
    assert_sound(home.settings)


def test_corrections_hold_through_a_rebuild_after_that(home: Home) -> None:
    """All is looked at again, in files with other contents; the moved portrait stays moved."""
    moved_renamed_and_tagged(home)
    home.run()
    before = faces(home)

    with home.opened() as service:
        started = service.reprocessing.begin(home.now.wall_s)
        home.run_until_idle(service)

    assert (2, 0) == started
    assert before == faces(home)
    assert {ANN, "Bea"} == set(folders(home))
    assert ["name", "place"] == ledger(home)


def test_a_training_set_stays_what_it_was(named_home: Home, tmp_path: Path) -> None:
    """Its images, their names, their splits; although the files were moved and tagged."""
    home = copy_of(named_home, tmp_path / "home")
    home.run()
    move_to_val(home, "0-0.jpg")
    build_set(home)
    before = set_of(home)
    assert 1 == len(before[2])

    (home.inbox / "sorted").mkdir()
    for path in [path for path in home.inbox.iterdir() if path.suffix in (".jpg", ".png", ".mp4")]:
        write_tags(path.rename(home.inbox / "sorted" / path.name), *RATED)
    home.run()
    assert {True} == {
        row["path"].startswith(b"sorted/") for row in home.rows("files") if row["state"] == "done"
    }
    shutil.rmtree(home.settings.dataset_dir)
    build_set(home)

    names, splits, moved = set_of(home)
    assert ([], []) == (sorted(before[0] - names), sorted(names - before[0]))
    assert (before[1], before[2]) == (splits, moved)


def set_of(home: Home) -> tuple[set[str], list[dict[str, object]], list[dict[str, object]]]:
    """Return the names of a training set's images, the splits, and what the user moved."""
    names = {path.name for path in home.settings.dataset_dir.rglob("*.jpg")}
    assert 10 < len(names)
    with closing(connect(home.settings.state_dir)) as store:
        rows = [dict(row) for row in store.execute("select key, split from splits order by key")]
        moved = [dict(row) for row in store.execute("select * from split_edits order by id")]
    return names, rows, moved


def test_a_tagged_copy_is_a_duplicate(home: Home) -> None:
    """While the original is there. Once it is removed, later tags make the copy the file."""
    before = what_must_stay(home)
    copy = home.drop(home.inbox / "photo.jpg", "copy.jpg")
    write_tags(copy, *RATED)
    home.run()
    assert "duplicate" == home.states()["copy.jpg"]
    assert ReasonCode.SAME_PICTURES_AS is explained(home, "copy.jpg").reason.code

    (home.inbox / "photo.jpg").unlink()
    write_tags(copy, "-XMP:Rating=1")
    home.run()

    assert {"clip.mp4": "done", "copy.jpg": "done", "photo.jpg": "gone"} == home.states()
    assert before == what_must_stay(home)


def test_a_retouched_picture_is_a_new_recording(home: Home, photographs: list[Path]) -> None:
    """At the same path, with the same date: another picture has other faces."""
    home.drop(as_jpeg(photographs[0]), "photo.jpg")
    home.run()

    assert "done" == home.states()["photo.jpg"]
    assert 3 == len(home.rows("videos"))


def test_dates_are_shown_and_said_to_be_what_they_are(home: Home) -> None:
    """Where it was recorded; of the clip, which does not say, when it was dropped."""
    write_tags(home.inbox / "photo.jpg", *TAKEN)
    home.run()

    dropped = next(row["added_at"] for row in home.rows("videos") if row["kind"] == "video")
    when = datetime.fromtimestamp(dropped, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert {
        ("photo.jpg", "1999-07-14T15:16:17+02:00", "recorded"),
        ("clip.mp4", when, "dropped"),
    } == {(row["video"], row["date"], row["date_is"]) for row in table(home)}
    lines = "\n".join(explained(home, "photo.jpg").lines())
    assert "date     recorded 1999-07-14 15:16:17+02:00" in lines
    assert f"date     dropped {when.replace('T', ' ')}" in "\n".join(
        explained(home, "clip.mp4").lines()
    )
    content = explained(home, "photo.jpg").as_json()["content"]
    assert ("1999-07-14T15:16:17+02:00", "recorded") == (content["date"], content["date_is"])
    page = (home.people / "gallery/data/person-000001.js").read_text()
    wall = datetime(1999, 7, 14, 15, 16, 17, tzinfo=UTC).timestamp()
    assert f'"first":[{wall:.0f},"l","photo.jpg"]' in page
    assert f'"last":[{round(dropped)},"d","clip.mp4"]' in page
    listed = io.StringIO()
    print_faces(home.settings, "jsonl", listed)
    assert {("photo.jpg", "recorded"), ("clip.mp4", "dropped")} == {
        (row["source"], row["date_is"]) for row in map(json.loads, listed.getvalue().splitlines())
    }


def test_a_time_without_an_offset_is_said_to_be_local(home: Home) -> None:
    """It is shown as the camera wrote it."""
    write_tags(home.inbox / "photo.jpg", TAKEN[0])
    home.run()

    assert any(
        line.endswith("recorded 1999-07-14 15:16:17 local time")
        for line in explained(home, "photo.jpg").lines()
    )
    assert "1999-07-14T15:16:17" in {row["date"] for row in table(home)}


def test_what_was_forgotten_stays_forgotten_with_other_tags(home: Home) -> None:
    """At its path and as a copy; its hashes are not stored."""
    write_tags(home.inbox / "photo.jpg", *TAKEN)
    home.run()
    request = ControlRequest(REQUEST, arguments=("video", "photo.jpg"))
    ControlFiles(home.settings.requests_dir).leave(request)
    home.run()
    clip = [row["id"] for row in home.rows("videos")]

    write_tags(home.inbox / "photo.jpg", "-XMP:Rating=2")
    write_tags(home.drop(home.inbox / "photo.jpg", "again.jpg"), "-XMP:Rating=3")
    home.run()

    assert {"photo.jpg": "forgotten", "again.jpg": "forgotten", "clip.mp4": "done"} == home.states()
    assert clip == [row["id"] for row in home.rows("videos")]
    assert {""} == {
        row["content_sha256"] for row in home.rows("files") if row["state"] == "forgotten"
    }


def without_facts(home: Home) -> None:
    """Make the home one of an earlier version, which knew neither hashes nor dates."""
    database = Database.open(home.settings.state_dir)
    database.execute("update videos set picture_hash = '', recorded_at = null, described_at = 0")
    database.execute("update files set content_sha256 = ''")
    database.close()


def let_it_idle(home: Home, service: Service) -> None:
    home.run_until_idle(service)
    for _ in range(int(IDLE_S) + 5):
        home.tick(service)
    home.run_until_idle(service)


def test_recordings_of_an_earlier_version_are_read_when_there_is_time(
    home: Home, photographs: list[Path]
) -> None:
    """Then tags do not make them others, and their dates are shown."""
    write_tags(home.drop(as_jpeg(photographs[0]), "dated.jpg"), *TAKEN)
    home.run()
    without_facts(home)
    before = what_must_stay(home)
    home.run()
    assert {""} == {row["picture_hash"] for row in home.rows("videos")}
    assert {"dropped"} == {row["date_is"] for row in table(home)}

    with home.opened() as service:
        let_it_idle(home, service)

    assert "" not in {row["picture_hash"] for row in home.rows("videos")}
    assert {"dropped", "recorded"} == {row["date_is"] for row in table(home)}
    write_tags(home.inbox / "photo.jpg", *RATED)
    write_tags(home.inbox / "clip.mp4", *RATED)
    home.run()
    assert before == what_must_stay(home)


def test_a_file_that_is_away_is_read_at_another_time(home: Home) -> None:
    """At the next start of the service."""
    without_facts(home)
    away = (home.inbox / "photo.jpg").rename(home.settings.home_dir / "photo.jpg")
    with home.opened() as service:
        let_it_idle(home, service)
    read = {row["kind"]: bool(row["picture_hash"]) for row in home.rows("videos")}

    away.rename(home.inbox / "photo.jpg")
    with home.opened() as service:
        let_it_idle(home, service)

    assert {"video": True, "photo": False} == read
    assert all(row["picture_hash"] for row in home.rows("videos"))
