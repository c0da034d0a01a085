"""What a person does in the people folder counts, and outlives whatever comes later.

Real faces, real files, the whole service; only the hands are the test's.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import dlib
import pytest
from structlog.testing import capture_logs

from portraitd.model.edit import SeparatePeople
from portraitd.service.control_files import ControlFiles, ControlRequest
from portraitd.service.pipeline import Service
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database
from portraitd.store.publications import Publications
from support.home import QUICK, Home, assert_sound, person_folders
from support.media import as_jpeg
from support.reviews import ANN, BOB, copied, faces, folders, ledger, move, portraits


@pytest.fixture
def home(two_found: Home, tmp_path: Path) -> Home:
    """Two people of a clip, each with a folder; to be changed."""
    return copied(two_found, tmp_path)


def test_renaming_a_folder_names_the_person(home: Home, photographs: list[Path]) -> None:
    """And who comes later comes into that folder."""
    (home.people / ANN).rename(home.people / "Ann")
    home.run()
    assert ["name"] == ledger(home)
    before = faces(home)[1]

    home.drop(as_jpeg(photographs[0]), "later.jpg")
    home.run()

    assert before + 1 == faces(home)[1]
    assert {"Ann": before + 1, BOB: faces(home)[2]} == folders(home)
    assert "Ann" == home.rows("people")[0]["name"]
    assert ["name"] == ledger(home)


def test_a_moved_portrait_takes_its_track_along(home: Home, photographs: list[Path]) -> None:
    """Ten seconds of one clip with one drag; the grouping that follows agrees."""
    everyone = sum(faces(home).values())

    move(portraits(home, BOB)[0], home.people / ANN)
    home.run()

    assert ["place"] == ledger(home)
    assert {1: everyone} == dict(faces(home))
    assert {ANN: everyone} == folders(home)
    home.drop(as_jpeg(photographs[0]), "later.jpg")
    home.run()
    assert {1: everyone + 1} == dict(faces(home))


def test_two_who_were_separated_stay_two_by_any_threshold(
    two_found: Home, tmp_path: Path, photographs: list[Path]
) -> None:
    """The vectors of real faces; without the no, the same thresholds make one person of them."""
    loose: dict[str, dict[str, object]] = {
        "grouping": QUICK["grouping"] | {"method": "dbscan", "eps": 1.2}
    }
    joined = Home(tmp_path / "joined", **loose)
    kept = copied(two_found, tmp_path / "kept")
    shutil.copytree(kept.settings.home_dir, joined.settings.home_dir, dirs_exist_ok=True)
    with kept.opened() as service:
        recorder = EditRecorder(
            service.database, Ledger(service.database), Publications(service.database), True
        )
        assert recorder.record([SeparatePeople(1, 2)], kept.now.wall_s)
    home = Home(kept.settings.home_dir, **loose)
    home.drop(as_jpeg(photographs[1]), "later.jpg")
    before = faces(home)

    home.run()
    joined.run()

    found = faces(home)
    assert [before[1], before[2] + 1] == [found[1], found[2]]
    assert 1 == len(faces(joined))
    assert ["separate"] == ledger(home)


def test_a_single_portrait_can_be_the_unit(two_found: Home, tmp_path: Path) -> None:
    """Then the others of the track stay where they are."""
    home = copied(two_found, tmp_path, review=QUICK["review"] | {"unit": "face"})
    before = faces(home)

    move(portraits(home, BOB)[0], home.people / ANN)
    home.run()

    assert {1: before[1] + 1, 2: before[2] - 1} == dict(faces(home))
    assert {ANN: before[1] + 1, BOB: before[2] - 1} == folders(home)


def test_portraits_in_a_new_folder_are_a_new_person(home: Home) -> None:
    """With the folder's name; nobody is left of whom they were before."""
    before = faces(home)[2]

    move(portraits(home, BOB)[0], home.people / "Eve")
    home.run()

    assert ["split"] == ledger(home)
    assert before == faces(home)[3]
    assert "Eve" == home.rows("people")[2]["name"]
    assert {ANN, "Eve"} == set(folders(home))


def test_a_folder_dropped_into_another_is_the_same_person(home: Home) -> None:
    """All their portraits lie in one folder afterwards."""
    everyone = sum(faces(home).values())

    (home.people / BOB).rename(home.people / ANN / BOB)
    home.run()

    assert ["merge"] == ledger(home)
    assert {1: everyone} == dict(faces(home))
    assert {ANN: everyone} == folders(home)


def test_a_deleted_portrait_is_not_shown_again(home: Home) -> None:
    """Nor any other of its track; the video may come again under another name."""
    (one, *_) = portraits(home, BOB)

    one.unlink()
    home.run()

    assert ["exclude"] == ledger(home)
    assert {1: faces(home)[1]} == dict(faces(home))
    assert {ANN} == set(folders(home))


def test_an_ignored_person_is_out_of_sight_and_comes_back(home: Home) -> None:
    """Moved to _ignored and out again."""
    before = folders(home)
    (home.people / "_ignored").mkdir(exist_ok=True)
    (home.people / BOB).rename(home.people / "_ignored" / BOB)
    home.run()
    assert ["ignore-person"] == ledger(home)
    assert before[BOB] == folders(home)[f"_ignored/{BOB}"]
    assert BOB not in folders(home)

    (home.people / "_ignored" / BOB).rename(home.people / BOB)
    home.run()

    assert ["ignore-person", "recall-person"] == ledger(home)
    assert before[BOB] == folders(home)[BOB]


def test_a_deleted_folder_is_ignored_and_nothing_is_lost(home: Home) -> None:
    """Undo brings it back among the others."""
    before = folders(home)
    shutil.rmtree(home.people / BOB)
    home.run()
    assert ["ignore-person"] == ledger(home)
    assert before[BOB] == folders(home)[f"_ignored/{BOB}"]

    ControlFiles(home.settings.requests_dir).leave(ControlRequest("undo"))
    home.run()

    assert before[BOB] == folders(home)[BOB]
    assert ["ignore-person", "undo"] == ledger(home)


@pytest.mark.parametrize("edit", ["name", "place", "split", "merge", "exclude"])
def test_undo_moves_things_back(home: Home, edit: str) -> None:
    """And they stay back: what lay there before the undo is no new edit."""
    before, persons = folders(home), faces(home)
    bob = home.people / BOB
    if edit == "name":
        bob.rename(home.people / "Bob")
    elif edit == "place":
        move(portraits(home, BOB)[0], home.people / ANN)
    elif edit == "split":
        move(portraits(home, BOB)[0], home.people / "Eve")
    elif edit == "merge":
        bob.rename(home.people / ANN / BOB)
    else:
        portraits(home, BOB)[0].unlink()
    home.run()
    assert [edit] == ledger(home)
    assert before != folders(home)

    ControlFiles(home.settings.requests_dir).leave(ControlRequest("undo"))
    home.run()
    home.run()

    assert [edit, "undo"] == ledger(home)
    assert persons == faces(home)
    assert before == folders(home)


def test_an_undo_before_the_tree_shows_the_gesture_holds(home: Home) -> None:
    """The portrait still lies where it was put; that is not a edit a second time."""
    before, persons = folders(home), faces(home)
    move(portraits(home, BOB)[0], home.people / ANN)
    with home.opened() as service:
        until_recorded(home, service)
        service.review.undo(None, home.now.wall_s)
        home.run_until_idle(service)
    home.run()

    assert ["place", "undo"] == ledger(home)
    assert persons == faces(home)
    # The moved file stays where the human put it: by now it is a copy.
    assert before | {ANN: before[ANN] + 1} == folders(home)


def until_recorded(home: Home, service: Service) -> None:
    """Read until the ledger has a row; nothing is published meanwhile."""
    while not ledger(home):
        home.steady_s += 1.0
        service.review.tick(home.now)


def test_a_copy_means_nothing(home: Home) -> None:
    """It is the human's; what it shows is known."""
    before = faces(home)
    shutil.copy2(portraits(home, BOB)[0], home.people / ANN / "copy of Bob.jpg")

    home.run()
    home.run()

    assert [] == ledger(home)
    assert before == faces(home)
    assert (home.people / ANN / "copy of Bob.jpg").exists()


def test_a_gesture_counts_within_seconds_of_looking(home: Home) -> None:
    """With an event, in no more turns than the settling takes; without one at the next scan."""
    with home.opened() as service:
        for _ in range(30):
            home.tick(service)
        move(portraits(home, BOB)[0], home.people / ANN)
        service.review.wake()
        began_s = home.steady_s
        while not ledger(home):
            home.tick(service)
        assert 5.0 >= home.steady_s - began_s
        home.run_until_idle(service)

        (home.people / ANN).rename(home.people / "Ann")
        began_s = home.steady_s
        while len(ledger(home)) < 2:
            home.tick(service)
        assert 30.0 >= home.steady_s - began_s


def test_much_that_is_gone_at_once_decides_nothing(home: Home, two_people: Path) -> None:
    """Until somebody says that it is meant to be gone; it is said once, and seen in status."""
    home = with_many(home, two_people)
    away = home.people.with_name("away")
    away.mkdir()
    for folder in person_folders(home.people):
        for portrait in folder.glob("[0-9]*.jpg"):
            shutil.move(portrait, away / portrait.name)
    before = faces(home)

    with home.opened() as service, capture_logs() as logs:
        for _ in range(40):
            home.tick(service)
        assert service.blocked
        assert "are missing" in home.blocked_stages()["review"]
        assert before == faces(home)

        ControlFiles(home.settings.requests_dir).leave(ControlRequest("accept"))
        home.run_until_idle(service)

    assert 1 == [line["event"] for line in logs].count("portraits_disappeared")
    assert {} == home.blocked_stages()
    assert before != faces(home)
    assert "exclude" in ledger(home)


def with_many(home: Home, clip: Path) -> Home:
    """The same home, looked at more closely: each person has more portraits than vanish by hand."""
    more = Home(
        home.settings.home_dir,
        grouping={"method": "people"},
        sampling={"fps": 4.0},
    )
    with more.opened() as service:
        service.reprocessing.begin(more.now.wall_s)
        more.run_until_idle(service)
    return more


def test_a_share_that_comes_back_is_believed_again(home: Home, two_people: Path) -> None:
    """What was gone and is there again was never lost."""
    home = with_many(home, two_people)
    before, away = folders(home), home.people.with_name("away")
    with home.opened() as service:
        away.mkdir()
        for folder in person_folders(home.people):
            folder.rename(away / folder.name)
        for _ in range(20):
            home.tick(service)
        for folder in sorted(away.iterdir()):
            folder.rename(home.people / folder.name)
        service.review.wake()
        home.run_until_idle(service)

    assert [] == ledger(home)
    assert {} == home.blocked_stages()
    assert before == folders(home)
    assert_sound(home.settings)


def test_the_ledger_can_be_read_beside_the_service(home: Home) -> None:
    """As every other part of the store."""
    (home.people / ANN).rename(home.people / "Ann")
    home.run()

    database = Database.open_to_read(home.settings.state_dir)
    rows = Ledger(database).summaries()
    database.close()

    assert [("name", 1, "Ann")] == [(row.kind, row.person_id, row.name) for row in rows]


def test_the_annotation_is_right_beside_every_portrait(home: Home) -> None:
    """Where the face is in that picture, and whose it is now, whatever was done to the folders."""
    strange, *_ = portraits(home, BOB)
    (home.people / ANN).rename(home.people / "Ann")
    move(strange, home.people / "Cleo")
    home.run()
    assert {"name", "split"} <= set(ledger(home)), ledger(home)

    numbers: dict[str, set[str]] = {}
    for portrait in home.people.rglob("[0-9]*.jpg"):
        if portrait.parent.name.startswith("_"):
            continue
        number, *fractions = portrait.with_suffix(".txt").read_text().split()
        numbers.setdefault(portrait.parent.name, set()).add(number)
        assert overlap(found_in(portrait), [float(one) for one in fractions]) > 0.6

    assert {"Ann", "Cleo"} <= set(numbers)
    assert [1] * len(numbers) == [len(kinds) for kinds in numbers.values()]
    assert len(numbers) == len(set().union(*numbers.values()))


@cache
def detector() -> Any:
    """Load dlib's detector once, which takes longer than a portrait."""
    return dlib.get_frontal_face_detector()


def found_in(portrait: Path) -> list[float]:
    """Where dlib sees the face of a portrait: centre, width and height as shares of it."""
    image = cv2.imread(str(portrait))
    assert image is not None
    height, width = image.shape[:2]
    one = max(detector()(image, 1), key=lambda face: face.area())
    centre = one.center()
    return [centre.x / width, centre.y / height, one.width() / width, one.height() / height]


def overlap(one: list[float], other: list[float]) -> float:
    """The intersection over the union of two boxes."""
    low = [max(a[i] - a[i + 2] / 2 for a in (one, other)) for i in (0, 1)]
    high = [min(a[i] + a[i + 2] / 2 for a in (one, other)) for i in (0, 1)]
    shared = max(high[0] - low[0], 0.0) * max(high[1] - low[1], 0.0)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)
