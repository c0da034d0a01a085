"""From a dropped video to a folder per person, and that nothing on the way can harm it.

Everything runs inline, with real files, a real store and real faces. The two women of the
clip are one person until 10 s and another from then on.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import pytest

from portraitd.faces.factory import build_encoder
from portraitd.faces.interface import EncoderSpec
from portraitd.model.face import Box
from portraitd.model.stage import Now
from portraitd.people.tree.lease import LEASE_NAME
from portraitd.service.pipeline import Service
from support.built_networks import built_networks
from support.home import START_S, Home, assert_sound, dump, person_folders
from support.media import BAD_CONTENTS, as_jpeg

LATIN_NAME = os.fsdecode(b"caf\xe9.mp4")


def drop_good(home: Home, clip: Path, photograph: Path, nobody: Path) -> None:
    """What a person would drop: a clip in a folder, a photo, something without a face."""
    home.drop(clip, "holiday/clip.mp4")
    home.drop(photograph, "photo.mp4")
    home.drop(nobody, LATIN_NAME)


def drop_bad(home: Home, nobody: Path) -> None:
    """What happens to be in an inbox as well."""
    for name, (make, _) in BAD_CONTENTS.items():
        home.drop(make(nobody.read_bytes()), f"{name}.mp4")
    os.mkfifo(home.inbox / "pipe.mp4")
    (home.inbox / "link.mp4").symlink_to("photo.mp4")
    home.drop(b"half", ".clip.mp4.Xa3b9Z")


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
    two_people: Path,
    photographs: list[Path],
    nobody: Path,
) -> Home:
    """A home where good and bad files were dropped and worked on in peace."""
    home = Home(tmp_path_factory.mktemp("undisturbed"))
    drop_good(home, two_people, photographs[0], nobody)
    drop_bad(home, nobody)
    home.run()
    return home


@pytest.fixture
def disturbed(tmp_path: Path, two_people: Path, photographs: list[Path], nobody: Path) -> Home:
    """A home with the same files, not yet looked at; they are taken at the first look."""
    home = Home(tmp_path, inbox={"quiet_s": 0.0})
    drop_good(home, two_people, photographs[0], nobody)
    drop_bad(home, nobody)
    return home


# --- What comes out.


def test_each_person_has_a_folder(undisturbed: Home) -> None:
    """The first woman, in the clip and in the photo, is one person; the second is another."""
    found = dump(undisturbed.settings)
    (photo_hash,) = (row["sha256"] for row in undisturbed.rows("videos") if row["kind"] == "photo")
    first = {face for face in found.faces if face.t_s < 10 and face.box[1] < 300}
    second = {face for face in found.faces if face.t_s >= 10}

    assert {0.0, 2.0, 4.0, 6.0, 8.0} == {face.t_s for face in first}
    assert photo_hash in {face.sha256 for face in first}
    assert frozenset({frozenset(first), frozenset(second)}) == found.people
    assert 2 == len(person_folders(undisturbed.people))
    assert_sound(undisturbed.settings)


def test_faces_of_nobody_are_unsorted(tmp_path: Path, photographs: list[Path]) -> None:
    """Two faces that are like no other have no folder of their own, and are kept apart."""
    home = Home(tmp_path)
    for photograph in photographs:
        home.drop(photograph, photograph.name)

    home.run()

    assert 2 == len(dump(home.settings).unsorted)
    assert [] == person_folders(home.people)
    assert 2 == len(list(home.people.glob("_unsorted/*.jpg")))


def test_every_portrait_has_its_annotation(undisturbed: Home) -> None:
    """Beside each picture one Darknet line; its class is the person's, and the same for all."""
    classes = []
    for folder in person_folders(undisturbed.people):
        pictures = {path.stem for path in folder.glob("[0-9]*.jpg")}
        lines = {path.stem: path.read_text() for path in folder.glob("*.txt")}
        assert pictures == lines.keys()
        (number,) = {line.split()[0] for line in lines.values()}
        classes.append(int(number))

    assert [0, 1] == classes


def test_an_annotation_is_right_for_its_picture(undisturbed: Home) -> None:
    """The face is found in the portrait where the line beside it says."""
    encoder = build_encoder(EncoderSpec(built_networks(), detector="hog", mirror=False))
    pictures = sorted(undisturbed.people.glob("person-*/[0-9]*.jpg"))
    for picture in pictures[::3]:
        image = cv2.imread(str(picture))
        height, width = image.shape[:2]
        _, x, y, w, h = map(float, picture.with_suffix(".txt").read_text().split())
        said = Box(
            round((x - w / 2) * width),
            round((y - h / 2) * height),
            round((x + w / 2) * width),
            round((y + h / 2) * height),
        )

        found = encoder.encode([image])[0][0].box

        assert 0.6 < said.iou(found), picture.name


def test_a_montage_shows_five_by_five(undisturbed: Home) -> None:
    """At most 25 tiles of 96 x 120."""
    for folder in person_folders(undisturbed.people):
        height, width = cv2.imread(str(folder / "montage.jpg")).shape[:2]

        assert width % 96 == 0
        assert height % 120 == 0
        assert width <= 5 * 96
        assert height <= 5 * 120


def test_every_bad_file_has_its_own_reason(undisturbed: Home) -> None:
    """The others are unharmed, and whoever dropped it can read why."""
    states, reasons = undisturbed.states(), undisturbed.reasons()

    for name, (_, reason) in BAD_CONTENTS.items():
        assert "failed" == states[f"{name}.mp4"]
        assert reason in reasons[f"{name}.mp4"]
    assert ("failed", "a pipe, not a regular file") == (states["pipe.mp4"], reasons["pipe.mp4"])
    assert ("failed", "a symbolic link; portraitd does not follow links") == (
        states["link.mp4"],
        reasons["link.mp4"],
    )
    assert ".clip.mp4.Xa3b9Z" not in states
    for name in ("holiday/clip.mp4", "photo.mp4", "caf\ufffd.mp4"):
        assert ("done", "") == (states[name], reasons[name])


def test_a_clip_cut_off_in_the_middle_is_done_with_a_note(tmp_path: Path, nobody: Path) -> None:
    """What could be read counts, and that it was not all is said."""
    from support.media import with_index_first

    home = Home(tmp_path)
    data = with_index_first(nobody.read_bytes())
    home.drop(data[: len(data) * 6 // 10], "half.mp4")

    home.run()

    assert "done" == home.states()["half.mp4"]
    assert "could be decoded" in home.rows("videos")[0]["reason"]
    assert "could be decoded" in home.reasons()["half.mp4"]


# --- The same again, and more.


def modified(home: Home) -> dict[Path, int]:
    # The lease belongs to the process, not to what it shows.
    files = set(home.people.rglob("*")) - {home.people / LEASE_NAME}
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.parametrize("method", ["people", "dbscan"])
def test_a_second_run_does_nothing(tmp_path: Path, photographs: list[Path], method: str) -> None:
    """Same rows, same files, nothing written again."""
    home = Home(tmp_path, grouping={"method": method, "min_samples": 1})
    for number, photograph in enumerate(photographs):
        home.drop(photograph, f"{number}.jpg")
        home.drop(as_jpeg(photograph), f"{number} again.jpg")
    home.run()
    assert 2 == len(person_folders(home.people))
    tables = ("files", "slices", "tracks", "grouping_runs")
    before = (modified(home), *map(home.rows, tables))

    home.run()

    assert before == (modified(home), *map(home.rows, tables))


def test_the_same_content_again_is_a_duplicate(tmp_path: Path, photographs: list[Path]) -> None:
    """Under another name, now or later: said, and not processed."""
    home = Home(tmp_path, grouping={"method": "dbscan", "min_samples": 1})
    home.drop(photographs[0], "a.jpg")
    home.drop(photographs[0], "copy of a.jpg")
    home.run()
    home.drop(photographs[0], "later/a.png")
    home.run()

    assert {
        "a.jpg": "done",
        "copy of a.jpg": "duplicate",
        "later/a.png": "duplicate",
    } == home.states()
    assert "same content as a.jpg" == home.reasons()["later/a.png"]
    assert 1 == len(home.rows("faces"))
    assert 1 == len(home.rows("slices"))


def test_people_keep_their_folder_when_more_is_dropped(
    tmp_path: Path, photographs: list[Path], two_people: Path
) -> None:
    """A person known from a photo is the same person in a film; a new one gets a new number."""
    home = Home(tmp_path, grouping={"method": "dbscan", "min_samples": 1})
    home.drop(photographs[1], "hopper.jpg")
    home.run()
    (portrait,) = home.people.glob("person-0001/[0-9]*.jpg")
    before = portrait.stat()
    home.drop(two_people, "clip.mp4")

    home.run()

    (photo,) = (row for row in home.rows("faces") if row["t_s"] == 0 and row["id"] == 1)
    later = {row["person_id"] for row in home.rows("faces") if row["t_s"] >= 10}
    assert 1 == photo["person_id"]
    assert {1} == later
    assert before.st_mtime_ns == portrait.stat().st_mtime_ns
    assert before.st_ino == portrait.stat().st_ino
    assert_sound(home.settings)


def test_a_done_file_may_be_removed(tmp_path: Path, photographs: list[Path]) -> None:
    """Its faces stay; nobody asks for it again."""
    home = Home(tmp_path, grouping={"method": "dbscan", "min_samples": 1})
    home.drop(photographs[0], "a.jpg")
    home.run()
    (home.inbox / "a.jpg").unlink()

    home.run()

    assert {"a.jpg": "done"} == home.states()
    assert 1 == len(home.rows("faces"))
    assert_sound(home.settings)


def test_other_grouping_numbers_group_again(tmp_path: Path, photographs: list[Path]) -> None:
    """A grouping is stale when it used other parameters."""
    home = Home(tmp_path, grouping={"method": "dbscan", "min_samples": 1})
    for number, photograph in enumerate(photographs):
        home.drop(photograph, f"{number}.jpg")
    home.run()
    assert 2 == len(person_folders(home.people))
    strict = Home(tmp_path, grouping={"method": "dbscan", "min_samples": 5})

    strict.run()

    assert [] == person_folders(home.people)
    assert 2 == len(list(home.people.glob("_unsorted/*.jpg")))
    assert_sound(home.settings)


# --- Stopped, killed, and out of luck: the result is the same.


def test_stopping_after_every_turn_changes_nothing(undisturbed: Home, disturbed: Home) -> None:
    """Each turn is the only one of its service; the next start goes on from the rows."""
    for _ in range(100):
        with disturbed.opened() as service:
            disturbed.tick(service)
            # As on SIGTERM: what has come back is recorded, the rest given back.
            service.dispatcher.collect(disturbed.now)
            service.release()
            if service.idle:
                break

    assert dump(undisturbed.settings) == dump(disturbed.settings)
    assert {1} == {row["attempts"] for row in disturbed.rows("slices")}
    assert_sound(disturbed.settings)


@pytest.mark.parametrize("turns", [2, 3, 5])
def test_being_killed_again_and_again_changes_nothing(
    undisturbed: Home, disturbed: Home, turns: int
) -> None:
    """A service that never lives longer than some turns gets there all the same."""
    idle = False
    for _ in range(100):
        with disturbed.opened() as service:
            for _ in range(turns):
                disturbed.tick(service)
                idle = service.idle
        if idle:
            break

    assert dump(undisturbed.settings) == dump(disturbed.settings)
    assert_sound(disturbed.settings)


def test_a_clock_that_jumps_back_stops_nothing(tmp_path: Path, photographs: list[Path]) -> None:
    """The wall clock is for the records; an hour back, the work goes on as before."""
    home = Home(tmp_path, grouping={"method": "dbscan", "min_samples": 1, "settle_s": 30.0})
    home.drop(photographs[0], "a.jpg")

    def jumped(service: Service, steady_s: int) -> bool:
        wall_s = START_S + steady_s - (3600 if steady_s > 8 else 0)
        service.tick(Now(wall_s, float(steady_s)))
        return service.idle

    with home.opened() as service:
        assert any(jumped(service, steady_s) for steady_s in range(60))

    assert 1 == len(person_folders(home.people))
