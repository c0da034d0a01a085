"""Questions in the folder, and what reviewers do with them; real faces, files and ledger."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from portraitd.model.errors import WorkerDied
from portraitd.people.questions.question_selection import LATER_S
from portraitd.people.questions.question_stage import list_captions
from portraitd.store.questions import FaceFacts
from support.executors import HeldExecutor
from support.home import QUICK, Home
from support.permissions import permissions_count
from support.questions import answered, cards, leave_open, questions_dir, unsorted_faces
from support.reviews import ANN, BOB, copied, faces, folders, ledger, move, portraits
from support.tree import visible

SAME = "01 person-0001 and person-0002, the same.jpg"


@pytest.fixture
def home(two_found: Home, tmp_path: Path) -> Home:
    """Two people and an unsorted face; the two may be one person."""
    home = copied(two_found, tmp_path)
    leave_open(home, {(1, 2): 0.9})
    home.run()
    assert [SAME] == [card.name for card in cards(home)]
    return home


def answer(home: Home, to: str, name: str = SAME, card: int = 0) -> None:
    source = cards(home)[card]
    source.rename(questions_dir(home) / to / name)


def test_a_question_is_a_picture_that_a_phone_shows(home: Home) -> None:
    """With two folders beside it; nothing is written while nothing changes."""
    (card,) = cards(home)
    with Image.open(card) as picture:
        picture.load()
        assert 900 == picture.width
        assert 500 < picture.height < 1200
    assert {"yes", "no"} == {path.name for path in questions_dir(home).iterdir() if path.is_dir()}
    before = card.stat()

    home.run()

    assert before == cards(home)[0].stat()


def test_yes_merges_two_people(home: Home) -> None:
    """The picture goes, and both are in one folder."""
    everyone = sum(faces(home).values())
    answer(home, "yes")

    home.run()

    assert ["merge"] == ledger(home)
    assert {1: everyone} == dict(faces(home))
    assert {ANN: everyone} == folders(home)
    assert ([], []) == (cards(home), answered(home))


@pytest.mark.parametrize("gesture", ["place", "name", "ignore-person"])
def test_the_folder_of_a_merged_person_stands_for_who_they_are_now(
    home: Home, gesture: str
) -> None:
    """It stays for a file of the reviewer's own; also in a tree from a backup."""
    everyone = sum(faces(home).values())
    (home.people / BOB / "note.txt").write_text("mine")
    answer(home, "yes")
    home.run()
    assert ({ANN: everyone}, ["note.txt"]) == (folders(home), visible(home.people / BOB))

    if gesture == "place":
        move(portraits(home, "_unsorted")[0], home.people / BOB)
        shown = {ANN: everyone + 1, BOB: 1}
    elif gesture == "name":
        (home.people / BOB).rename(home.people / "Bob")
        shown = {"Bob (2)": everyone}
    else:
        (home.people / BOB).rename(home.people / "_ignored" / BOB)
        shown = {f"_ignored/{ANN}": everyone}
    home.run()

    assert ["merge", gesture] == ledger(home)
    assert shown == folders(home)
    assert {1: everyone + (gesture == "place")} == dict(faces(home))
    (note,) = home.people.rglob("note.txt")
    assert "mine" == note.read_text()


def test_no_is_remembered(home: Home) -> None:
    """Also if the grouping leaves them open once more; undone, it is asked again."""
    before = faces(home)
    answer(home, "no")

    home.run()

    assert ["separate"] == ledger(home)
    assert before == faces(home)
    assert ([], []) == (cards(home), answered(home))
    leave_open(home, {(1, 2): 0.99})
    home.run()
    assert [] == cards(home)
    with home.opened() as service:
        service.review.undo(None, home.now.wall_s)
        leave_open(home, {(1, 2): 0.99})
        home.run_until_idle(service)
    leave_open(home, {(1, 2): 0.99})
    home.run()
    assert [SAME] == [card.name for card in cards(home)]


def test_an_unsorted_face_is_assigned(home: Home) -> None:
    """With its whole track; nothing else moves."""
    (face,) = unsorted_faces(home)
    before = faces(home)
    leave_open(home, {}, {face: 2})
    home.run()
    assert [SAME, "02 is this person-0002.jpg"] == [card.name for card in cards(home)]

    answer(home, "yes", card=1)
    home.run()

    assert ["place"] == ledger(home)
    assert {1: before[1], 2: before[2] + 1} == dict(faces(home))
    assert [] == portraits(home, "_unsorted")


def test_a_picture_is_renamed_to_the_numbers_that_are_right(
    two_found: Home, tmp_path: Path
) -> None:
    """What is not among them is wrong; each is an edit of its own, which can be undone."""
    home = asked_of_both(two_found, tmp_path)
    before = faces(home)
    (card,) = cards(home)
    assert "01 which of these 2 are right.jpg" == card.name

    card.rename(card.with_name("2.jpg"))
    home.run()

    assert ["place", "separate"] == sorted(ledger(home))
    assert {1: before[1], 2: before[2] + 1} == dict(faces(home))
    assert ([], []) == (cards(home), answered(home))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "entries"),
    [
        ("yes/1-2.jpg", ["merge", "place"]),
        ("yes/1.JPG", ["merge", "reject"]),
        ("no/card.jpg", ["reject", "separate"]),
        ("yes/card.jpg", ["merge", "place"]),
        ("no/2.jpg", []),
        ("3.jpg", []),
        ("2 right.jpg", []),
    ],
)
def test_what_a_picture_with_numbers_says(
    two_found: Home, tmp_path: Path, to: str, entries: list[str]
) -> None:
    """Numbers in the folder no contradict it, and a number that is not there gives a notice."""
    home = asked_of_both(two_found, tmp_path)
    (card,) = cards(home)

    card.rename(questions_dir(home) / to)
    home.run()

    assert entries == sorted(ledger(home))
    assert [] == answered(home)
    assert (0 if entries else 1) == len(cards(home))
    noticed = "notice_answer_numbers" if to == "3.jpg" else ""
    assert noticed in (home.people / "STATUS.html").read_text()


def asked_of_both(two_found: Home, tmp_path: Path) -> Home:
    """Return a home that asks about a face and about two people in one picture."""
    home = copied(two_found, tmp_path)
    (face,) = unsorted_faces(home)
    leave_open(home, {(1, 2): 0.9}, {face: 2})
    home.run()
    return home


@pytest.mark.slow
def test_someone_new_gets_a_folder(two_found: Home, tmp_path: Path) -> None:
    """Without a name, and in one gesture; undone, they are as before."""
    home = copied(two_found, tmp_path)
    move(portraits(home, BOB)[0], home.people / "_unsorted")
    home.run()
    leave_open(home, {}, newcomer=unsorted_faces(home))
    home.run()
    before = faces(home)
    (card,) = cards(home)
    assert "01 are these 2 one new person.jpg" == card.name

    card.rename(questions_dir(home) / "yes" / card.name)
    home.run()

    assert ["place", "split"] == ledger(home)
    assert "person-0003" in folders(home)
    assert [] == cards(home)
    with home.opened() as service:
        service.review.undo(None, home.now.wall_s)
        home.run_until_idle(service)
    assert before == faces(home)


@pytest.mark.slow
def test_a_rejected_face_stays_unsorted(home: Home) -> None:
    """It is not asked about with that person again, but with another one."""
    (face,) = unsorted_faces(home)
    before = faces(home)
    leave_open(home, {}, {face: 2})
    home.run()

    answer(home, "no", card=1)
    home.run()

    assert ["reject"] == ledger(home)
    assert before == faces(home)
    leave_open(home, {}, {face: 2})
    home.run()
    assert [] == [card for card in cards(home) if "is this" in card.name]
    leave_open(home, {}, {face: 1})
    home.run()
    assert ["is this person-0001"] == [
        card.stem[3:] for card in cards(home) if "is this" in card.name
    ]


def test_a_question_is_announced_once_while_it_is_asked(home: Home) -> None:
    """Not again after a restart, nor after it was in both folders; anew after a week."""

    def announced() -> list[str]:
        lines = (home.settings.state_dir / "events.jsonl").read_text().splitlines()
        return [one for one in lines if json.loads(one)["event"] == "question_asked"]

    assert 1 == len(announced())
    picture = cards(home)[0]
    shutil.copyfile(picture, questions_dir(home) / "yes" / SAME)
    picture.rename(questions_dir(home) / "no" / SAME)
    home.run()
    assert ([SAME], []) == ([card.name for card in cards(home)], answered(home))
    assert 1 == len(announced())
    cards(home)[0].unlink()
    home.run()
    home.steady_s += LATER_S
    home.run()

    assert 2 == len(announced())


def test_a_deleted_picture_means_not_now(home: Home) -> None:
    """It comes back after a week, and is no entry of the ledger."""
    cards(home)[0].unlink()

    home.run()

    assert ([], []) == (ledger(home), cards(home))
    home.run()
    assert [] == cards(home)
    home.steady_s += LATER_S
    home.run()
    assert [SAME] == [card.name for card in cards(home)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Copy of a question.jpg", "IMG_0001.JPG", "Frage"])
def test_a_copy_answers_under_any_name(home: Home, name: str) -> None:
    """Both the copy and the picture are removed."""
    shutil.copy(cards(home)[0], questions_dir(home) / "yes" / name)

    home.run()

    assert ["merge"] == ledger(home)
    assert ([], []) == (cards(home), answered(home))


def test_both_answers_are_none(home: Home) -> None:
    """Two reviewers disagree: the question is asked again."""
    shutil.copy(cards(home)[0], questions_dir(home) / "yes/a.jpg")
    answer(home, "no")

    home.run()

    assert [] == ledger(home)
    assert [SAME] == [card.name for card in cards(home)]
    assert [] == answered(home)
    answer(home, "yes")
    home.run()
    assert ["merge"] == ledger(home)


@pytest.mark.slow
def test_two_reviewers_who_agree_give_one_answer(home: Home) -> None:
    """The second one, from a copy, comes when it is answered already."""
    kept = shutil.copy(cards(home)[0], home.people.parent / "kept.jpg")
    answer(home, "yes")
    home.run()

    shutil.copy(kept, questions_dir(home) / "yes/mine.jpg")
    home.run()

    assert ["merge"] == ledger(home)
    assert [] == answered(home)


@pytest.mark.slow
def test_an_answer_that_comes_too_late_changes_nothing(home: Home) -> None:
    """A reviewer merged them by hand, and another one says from a copy that they are two."""
    kept = shutil.copy(cards(home)[0], home.people.parent / "kept.jpg")
    (home.people / BOB).rename(home.people / ANN / BOB)
    home.run()
    assert ["merge"] == ledger(home)
    assert [] == cards(home)

    shutil.copy(kept, questions_dir(home) / "no/mine.jpg")
    home.run()

    assert ["merge"] == ledger(home)
    assert [] == answered(home)


def test_two_readings_must_agree(home: Home) -> None:
    """A picture that is taken back in time answers nothing."""
    with home.opened() as service:
        home.run_until_idle(service)
        answer(home, "yes")
        service.review.wake()
        home.tick(service)
        (questions_dir(home) / "yes" / SAME).rename(questions_dir(home) / SAME)
        service.review.wake()
        home.run_until_idle(service)

    assert [] == ledger(home)
    assert [SAME] == [card.name for card in cards(home)]


def test_an_answer_takes_effect_within_seconds(home: Home) -> None:
    """After an event: two readings, then the folders."""
    with home.opened() as service:
        home.run_until_idle(service)
        answer(home, "yes")
        service.review.wake()
        for _ in range(4):
            home.tick(service)
        assert (["merge"], []) == (ledger(home), answered(home))
        assert [ANN] == list(folders(home))


@pytest.mark.slow
def test_a_portrait_that_is_moved_by_hand_counts_more_than_an_answer(home: Home) -> None:
    """At the same time: the answer says one person, the hand another."""
    (face,) = unsorted_faces(home)
    leave_open(home, {}, {face: 2})
    home.run()
    before = faces(home)

    answer(home, "yes", card=1)
    move(portraits(home, "_unsorted")[0], home.people / ANN)
    home.run()

    assert before[1] + 1 == faces(home)[1]
    assert [] == answered(home)


@pytest.mark.slow
def test_a_named_person_is_asked_about_by_name(home: Home) -> None:
    """The picture is drawn again, and its file has the name."""
    (home.people / ANN).rename(home.people / "Ana: Zoë")
    home.run()
    leave_open(home, {(1, 2): 0.9})
    home.run()

    assert ["01 Ana- Zoë and person-0002, the same.jpg"] == [card.name for card in cards(home)]


def test_no_questions_leave_no_folder(home: Home) -> None:
    """But what others put there stays, and so does an answer until it is recorded."""
    answer(home, "yes")
    quiet = Home(home.settings.home_dir, review=QUICK["review"] | {"questions": 0})
    quiet.steady_s = home.steady_s

    quiet.run()

    assert ["merge"] == ledger(quiet)
    quiet.run()
    assert not questions_dir(quiet).exists()


@pytest.mark.slow
def test_at_most_so_many_are_asked(two_found: Home, tmp_path: Path) -> None:
    """The next question comes when one is answered."""
    home = copied(two_found, tmp_path, review=QUICK["review"] | {"questions": 1})
    (face,) = unsorted_faces(home)
    leave_open(home, {(1, 2): 0.9})
    home.run()
    leave_open(home, {}, {face: 1})

    home.run()

    assert [SAME] == [card.name for card in cards(home)]
    answer(home, "no")
    home.run()
    leave_open(home, {}, {face: 1})
    home.run()
    assert ["01 is this person-0001.jpg"] == [card.name for card in cards(home)]


def test_cards_stay_as_they_are_until_their_pictures_are_drawn(home: Home) -> None:
    """A person was named, and two reviewers disagreed; a worker that fails leaves the old one."""
    executor = HeldExecutor()
    with home.opened(executor=executor) as service:
        home.run_until_idle(service)
        service.database.execute("update people set name = 'Ann' where id = 1")
        service.questions.release()
        home.tick(service)
        assert ([SAME], 1) == ([card.name for card in cards(home)], len(executor.jobs))
        executor.fail(WorkerDied("killed"))
        home.run_until_idle(service)
        assert [SAME] == [card.name for card in cards(home)]

        shutil.copy(cards(home)[0], questions_dir(home) / "yes/a.jpg")
        answer(home, "no")
        service.review.wake()
        for _ in range(4):
            home.tick(service)
        assert ([], []) == (cards(home), answered(home))
        executor.answer()
        home.run_until_idle(service)
    assert ["01 Ann and person-0002, the same.jpg"] == [card.name for card in cards(home)]
    assert [] == ledger(home)


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_stops_nothing_else(home: Home) -> None:
    """Portraits are published, and the answer is removed when that is possible."""
    everyone = sum(faces(home).values())
    answer(home, "yes")
    with permissions_count(), home.opened() as service:
        (questions_dir(home) / "yes").chmod(0o550)
        for _ in range(12):
            home.tick(service)
        assert (["merge"], everyone) == (ledger(home), folders(home)[ANN])
        assert 1 == len(answered(home))
    (questions_dir(home) / "yes").chmod(0o770)
    home.run()
    assert (["merge"], []) == (ledger(home), answered(home))


def facts(recording: str, t_s: float | None = None, day: str = "") -> FaceFacts:
    return FaceFacts(recording, t_s, day, 0.5, 0.5, 0.4, 0.4)


@pytest.mark.parametrize(
    ("seen", "lines"),
    [
        ([facts("a.mp4", 61.4), facts("a.mp4", 3.0)], ("a.mp4, 1:01, 0:03",)),
        ([facts("a.mp4", 0.0, "2024-03-14"), facts("b.jpg")], ("a.mp4, 2024-03-14, 0:00", "b.jpg")),
        ([facts(f"{n}.jpg") for n in range(4)], ("0.jpg", "1.jpg", "2.jpg", "3.jpg")),
        ([facts(f"{n}.jpg") for n in range(5)], ("0.jpg", "1.jpg", "2.jpg", "and 2 more")),
        ([], ()),
    ],
)
def test_captions_say_where_faces_were_seen(seen: list[FaceFacts], lines: tuple[str, ...]) -> None:
    """A line for each recording, and how many more there are."""
    assert lines == list_captions(seen)
