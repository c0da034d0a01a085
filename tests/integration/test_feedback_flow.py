"""What a reviewer does without a terminal, at the machine and over a share, and what they are told.

The whole service runs; people are drawn, and every file operation is one that an SMB client has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from portraitd.service.control_files import ControlFiles, ControlRequest
from portraitd.service.pipeline import Service
from portraitd.store.database import Database
from support.drawn_home import Hands, LocalHands, RemoteHands, make_drawn_home
from support.gallery import GalleryFixture
from support.home import Home, connect
from support.reviews import faces, folders, ledger
from support.samba import MISSING, shared

ONE, TWO = "person-0001", "person-0002"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Five people with eight portraits each."""
    return make_drawn_home(tmp_path)


@pytest.fixture(
    params=[
        "files",
        pytest.param(
            "share",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
            ],
        ),
    ]
)
def hands(request: pytest.FixtureRequest, home: Home, tmp_path: Path) -> Iterator[Hands]:
    if request.param == "files":
        yield LocalHands(home.people)
        return
    own = tmp_path / "samba"
    own.mkdir()
    with shared(home.people, own) as share:
        yield RemoteHands(share, home.people)


def work(home: Home, service: Service) -> None:
    """Let the service read what was done, as after an event."""
    for _ in range(2):
        service.review.wake()
        home.run_until_idle(service)


def page(home: Home) -> str:
    return (home.people / "STATUS.html").read_text()


def status(home: Home) -> dict[str, object]:
    """Return what the index page is told."""
    text = (home.people / "gallery/data/status.js").read_text()
    facts = json.loads(text.removeprefix("Gallery.status(").removesuffix(");\n"))
    assert isinstance(facts, dict)
    return facts


def cards(home: Home, folder: str = "_edits") -> list[str]:
    return sorted(path.name for path in (home.people / folder).glob("*.txt"))


def told(home: Home) -> list[str]:
    return [row["code"] for row in rows(home)]


def rows(home: Home) -> list[dict[str, str]]:
    with connect(home.settings.state_dir) as connection:
        return [dict(row) for row in connection.execute("select * from review_notices")]


def test_an_edit_is_undone_by_moving_its_card(home: Home, hands: Hands) -> None:
    """And the undo by its own card; the cards are those of the edits that count."""
    with home.opened() as service:
        hands.rename(ONE, "Anna")
        hands.rename(f"{TWO}/000009.jpg", "Anna/000009.jpg")
        work(home, service)
        assert ["name", "place"] == ledger(home)
        assert [
            "0001 person-0001 was named Anna.txt",
            "0002 Anna, 1 portrait moved in from person-0002.txt",
        ] == cards(home)
        assert "To undo this edit" in (home.people / "_edits" / cards(home)[0]).read_text()
        assert "Anna: 1 portrait moved in from person-0002" in page(home)

        hands.rename(f"_edits/{cards(home)[0]}", "_edits/undo/no name please.txt")
        work(home, service)
        assert ["name", "place", "undo"] == ledger(home)
        assert (home.people / ONE).is_dir()
        assert [
            "0002 person-0001, 1 portrait moved in from person-0002.txt",
            "0003 Undone, person-0001 was named Anna.txt",
        ] == cards(home)
        assert [] == list((home.people / "_edits/undo").iterdir())

        # A copy in the folder undoes as well.
        hands.copy(f"_edits/{cards(home)[1]}", "_edits/undo/again.txt")
        work(home, service)
        assert ["name", "place", "undo", "undo"] == ledger(home)
        assert (home.people / "Anna").is_dir()
        assert [] == told(home)


def test_what_is_undone_already_is_not_undone_again(home: Home, hands: Hands) -> None:
    """The reviewer is told, and the card of it is removed."""
    with home.opened() as service:
        hands.rename(ONE, "Anna")
        work(home, service)
        hands.copy("_edits/0001 person-0001 was named Anna.txt", "kept.txt")
        service.review.undo(1, home.now.wall_s)
        work(home, service)

        hands.rename("kept.txt", "_edits/undo/kept.txt")
        work(home, service)

        assert ["name", "undo"] == ledger(home)
        assert ["edit_not_undone"] == told(home)
        assert "edit 1 was not undone, because it is undone already" in page(home)
        assert [] == list((home.people / "_edits/undo").iterdir())


def test_a_name_is_taken_back_and_a_strange_number_refused(home: Home, hands: Hands) -> None:
    """The refused folder gets its name back without any other edit."""
    with home.opened() as service:
        hands.rename(ONE, "Anna")
        work(home, service)
        hands.rename("Anna", "person-0044")
        work(home, service)
        assert ["name"] == ledger(home)
        assert (home.people / "Anna").is_dir()
        assert ["number_of_another"] == told(home)
        assert "“Anna” could not be renamed to “person-0044”" in page(home)
        # Not only once a day.
        hands.rename("Anna", "person-0044")
        work(home, service)
        assert (home.people / "Anna").is_dir()

        hands.rename("Anna", ONE)
        work(home, service)

    assert ["name", "name"] == ledger(home)
    assert None is home.rows("people")[0]["name"]
    assert ONE in folders(home)


def test_a_copy_is_mentioned_once(home: Home, hands: Hands) -> None:
    """Although two readings must agree; not again after a day, nor after a restart."""
    with home.opened() as service:
        hands.copy(f"{ONE}/000001.jpg", f"{TWO}/000001.jpg")
        work(home, service)
        assert [("portraits_copied", TWO)] == [(row["code"], row["location"]) for row in rows(home)]
        home.steady_s += 2 * 86_400.0
        for _ in range(2):
            work(home, service)
        assert [] == told(home)
    with home.opened() as service:
        work(home, service)

    assert ([], []) == (told(home), ledger(home))


def test_a_number_does_not_name_a_new_person(home: Home, hands: Hands) -> None:
    """They are a person without a name, with a number of their own, also in the folder."""
    with home.opened() as service:
        (home.people / "person-0099").mkdir()
        hands.rename(f"{ONE}/000001.jpg", "person-0099/000001.jpg")
        work(home, service)

        assert ["split"] == ledger(home)
        assert {"id": 6, "name": None}.items() <= home.rows("people")[-1].items()
        assert 8 == folders(home)["person-0006"]
        assert not (home.people / "person-0099").exists()
        assert ["number_as_name"] == told(home)
        assert "“person-0099” was not used as a name" in page(home)
        assert "person-0006: new person, 1 portrait from person-0001" in page(home)


def test_a_folder_in_the_wrong_place_is_mentioned_and_kept(home: Home, hands: Hands) -> None:
    """It stays the person's, so nothing is deleted; once it is back, nothing is said any more."""
    before, place = folders(home), "_edits/undo"
    with home.opened() as service:
        (home.people / place).mkdir(parents=True, exist_ok=True)
        hands.rename(TWO, f"{place}/{TWO}")
        work(home, service)
        assert ["folder_misplaced"] == told(home)
        assert 8 == len([*(home.people / place / TWO).glob("0*.jpg")])
        hands.rename("person-0003/000017.jpg", f"{place}/{TWO}/000017.jpg")
        work(home, service)
        assert f"“{place}/{TWO}”: the folder of a person has no effect" in page(home)
        assert ["place"] == ledger(home)

        hands.rename(f"{place}/{TWO}", TWO)
        work(home, service)

        assert [] == told(home)
    assert ["place"] == ledger(home)
    assert before[TWO] + before.pop("person-0003") == folders(home)[TWO]
    assert before.keys() == folders(home).keys()


def test_a_persons_folder_called_who_holds_no_questions(home: Home) -> None:
    """Its portraits are not answered with texts; under another name it is an ordinary folder."""
    with home.opened() as service:
        (home.people / ONE).rename(home.people / "_who")
        work(home, service)
        assert ["folder_misplaced"] == told(home)
        assert [] == [*(home.people / "_who").glob("*.jpg.txt")]

        (home.people / "_who").rename(home.people / "Anna")
        work(home, service)

        assert [] == told(home)
    assert "Anna" == home.rows("people")[0]["name"]


@pytest.mark.parametrize("cards", [20, 0])
def test_pages_name_the_folder_of_edits_only_if_there_is_one(tmp_path: Path, cards: int) -> None:
    """Without it, they name the command that undoes an edit."""
    home = make_drawn_home(tmp_path, people=2, review={"edit_cards": cards})
    with home.opened() as service:
        (home.people / ONE).rename(home.people / "Anna")
        work(home, service)

    has_cards = cards > 0
    assert has_cards is (home.people / "_edits").exists()
    assert has_cards is ("_edits" in page(home))
    assert has_cards is not ("run “portraitd undo” with its number" in page(home))
    assert ("edits_help" if cards else "edits_help_command") == status(home)["edits_help"]


def lose(hands: Hands) -> None:
    """Delete three of five folders: 24 of 40 portraits."""
    for number in (2, 3, 4):
        hands.delete(f"person-000{number}")


def question(home: Home) -> str:
    (name,) = [one for one in cards(home, "_questions") if one.startswith("00 ")]
    return name


def test_lost_portraits_are_put_back_from_the_share(home: Home, hands: Hands) -> None:
    """Both pages say that something blocks and what to do; other edits take effect meanwhile."""
    before, persons = folders(home), faces(home)
    with home.opened() as service:
        lose(hands)
        work(home, service)
        assert "Needs attention</h1>" in page(home)
        assert "24 of 40 portraits are missing" in page(home)
        assert "people/_questions" in page(home)
        assert "notice_portraits_disappeared" in json.dumps(status(home)["blocked"])
        assert "00 24 portraits missing, delete them.txt" == question(home)

        hands.rename(ONE, "Anna")
        hands.rename("person-0005/000033.jpg", "Anna/000033.jpg")
        work(home, service)
        assert ["name", "place"] == ledger(home)
        assert {"Anna"} == set(folders(home))

        hands.rename(f"_questions/{question(home)}", "_questions/no/oh no.txt")
        work(home, service)

        assert {} == home.blocked_stages()
        assert "Needs attention" not in page(home)
        assert [] == [one for one in cards(home, "_questions") if one.startswith("00 ")]
    assert ["name", "place"] == ledger(home)
    moved = {name: count for name, count in before.items() if name not in (ONE, "person-0005")}
    assert moved.items() <= folders(home).items()
    assert sum(persons.values()) == sum(faces(home).values())


def test_faces_that_come_meanwhile_are_not_deleted_with_the_others(
    home: Home, tmp_path: Path
) -> None:
    """They were never in the folder that is missing: nothing is written into it."""
    with home.opened() as service:
        lose(LocalHands(home.people))
        work(home, service)
    fixture = GalleryFixture(Database.open(home.settings.state_dir), tmp_path / "elsewhere")
    fixture.show("later.mp4", [(2, 1.0), (2, 2.0), (1, 3.0)], at_s=1.77e9)
    fixture.database.close()

    with home.opened() as service:
        work(home, service)

        persons = {row["id"]: row["person_id"] for row in home.rows("faces")}
        assert [2, 2, 1] == [persons[face] for face in (41, 42, 43)]
        rows = service.database.execute("select * from published_faces")
        placed = {row["face_id"]: row["placement"] for row in rows}
        assert {41, 42}.isdisjoint(placed)
        assert {1, 2, 3, 4} == {placed[face] for face in [*range(9, 33), 43]}
        assert "00 24 portraits missing, delete them.txt" == question(home)
        assert (home.people / ONE / "000043.jpg").exists()


def test_lost_portraits_are_deleted_from_the_share(home: Home, hands: Hands) -> None:
    """Folders are hidden, as when fewer of them are deleted; single portraits are excluded."""
    with home.opened() as service:
        lose(hands)
        hands.delete(f"{ONE}/000001.jpg")
        work(home, service)

        hands.rename(f"_questions/{question(home)}", f"_questions/yes/{question(home)}")
        work(home, service)

        assert {} == home.blocked_stages()
    assert ["exclude", *["ignore-person"] * 3] == ledger(home)
    assert {"person-0005"} <= set(folders(home))
    assert {"_ignored/person-0002", "_ignored/person-0003"} <= set(folders(home))


@pytest.mark.parametrize(
    ("command", "kinds"), [("put-back", []), ("accept", ["ignore-person"] * 3)]
)
def test_the_command_line_answers_as_well(home: Home, command: str, kinds: list[str]) -> None:
    """`portraitd accept`, with --put-back for no; the card disappears."""
    before = folders(home)
    with home.opened() as service:
        lose(LocalHands(home.people))
        work(home, service)
        assert question(home)
        ControlFiles(home.settings.requests_dir).leave(ControlRequest(command))
        work(home, service)

        assert {} == home.blocked_stages()
        assert [] == [one for one in cards(home, "_questions") if one.startswith("00 ")]
    assert kinds == ledger(home)
    assert (before == folders(home)) is (command == "put-back")


def test_an_answer_about_other_losses_is_asked_again(home: Home, hands: Hands) -> None:
    """A card says what was missing when it was written, and more is not deleted by it."""
    with home.opened() as service:
        lose(hands)
        work(home, service)
        old = question(home)
        hands.copy(f"_questions/{old}", "kept.txt")
        hands.delete("person-0005/000033.jpg")
        work(home, service)
        assert "00 25 portraits missing, delete them.txt" == question(home)

        hands.rename("kept.txt", "_questions/yes/kept.txt")
        work(home, service)

        assert "answer_outdated" in told(home)
        assert "review" in home.blocked_stages()
        assert "00 25 portraits missing, delete them.txt" == question(home)
    assert [] == ledger(home)


def test_portraits_that_are_back_need_no_answer(home: Home) -> None:
    """As when a part of the share is mounted again: the card disappears by itself."""
    before = folders(home)
    away = home.people.parent / "away"
    with home.opened() as service:
        away.mkdir()
        for number in (2, 3, 4):
            (home.people / f"person-000{number}").rename(away / str(number))
        work(home, service)
        assert question(home)
        for number in (2, 3, 4):
            (away / str(number)).rename(home.people / f"person-000{number}")
        work(home, service)

        assert [] == [one for one in cards(home, "_questions") if one.startswith("00 ")]
        assert "Needs attention" not in page(home)
    assert before == folders(home)
    assert [] == ledger(home)
