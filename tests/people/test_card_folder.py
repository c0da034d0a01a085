"""Cards that are moved to answer, on a real disk: what reviewers and others do with them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from portraitd.model.errors import PublishError
from portraitd.people.tree.card_folder import CARDS_NOTE, Card, CardFolder, CardReading
from portraitd.people.tree.folder_fs import digest
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.people.tree.reserved_folders import QUESTIONS_NAME
from support.tree import A1, KNOWN, PEOPLE, UNSORTED, make_sparse, picture_of, publish, three_people

ONE, TWO = Card("same:1:2", "Anna and Bob.jpg", "v1"), Card("same:1:3", "Anna and Carl.jpg", "v1")
NOTE = Card("undo:7", "0007 Anna.txt", "v1")


def picture(card: Card) -> bytes:
    return picture_of(sum(card.key.encode()) + len(card.identity))


def refuse(card: Card) -> bytes:
    raise AssertionError(f"{card.key} was written without need")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    PeopleTree(tmp_path / "people").create()
    return tmp_path / "people"


@pytest.fixture
def questions(root: Path) -> CardFolder:
    """Two cards, just written."""
    folder = CardFolder(root, QUESTIONS_NAME, ("yes", "no"), "store-a")
    folder.update([ONE, TWO], picture)
    return folder


def files(folder: CardFolder) -> list[str]:
    found = (path.relative_to(folder.path) for path in folder.path.rglob("*") if path.is_file())
    return sorted(os.fspath(path) for path in found if not path.name.startswith("."))


def settle(folder: CardFolder, closed: Sequence[str], *cards: Card) -> list[str]:
    folder.update(cards, picture, closed)
    return files(folder)


def test_cards_are_written_once(questions: CardFolder) -> None:
    """An update that changes nothing writes nothing."""
    assert ["Anna and Bob.jpg", "Anna and Carl.jpg"] == files(questions)
    assert 0 == questions.update([ONE, TWO], refuse)
    reading = questions.read()
    assert CardReading(in_place=reading.in_place) == reading
    assert {
        "same:1:2": "_questions/Anna and Bob.jpg",
        "same:1:3": "_questions/Anna and Carl.jpg",
    } == reading.in_place


def test_a_card_is_a_picture_that_programs_open(questions: CardFolder) -> None:
    """The key is a comment; the picture itself is the same."""
    with Image.open(questions.path / "Anna and Bob.jpg") as card:
        assert b"portraitd card store-a same:1:2" == card.info["comment"]
        card.load()
        assert (24, 30) == card.size


def move(source: Path, target: Path) -> None:
    source.rename(target)


def copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


@pytest.mark.parametrize("gesture", [move, copy])
@pytest.mark.parametrize("name", ["Anna and Bob.jpg", "IMG_0001.JPEG", "Kopie (2) von Anna"])
def test_a_card_in_an_answer_folder_answers(
    questions: CardFolder, gesture: Callable[[Path, Path], None], name: str
) -> None:
    """Moved or copied, under any name; then every file of it is removed."""
    gesture(questions.path / "Anna and Bob.jpg", questions.path / "yes" / name)

    reading = questions.read()

    assert ({"same:1:2": "yes"}, frozenset()) == (reading.answers, reading.deleted)
    assert ["same:1:3"] == list(reading.in_place)
    assert reading == questions.read()
    assert ["Anna and Carl.jpg"] == settle(questions, ["same:1:2"], TWO)
    assert {} == questions.read().answers


def test_an_answer_waits_until_it_is_closed(questions: CardFolder) -> None:
    """Neither written again while it is desired, nor removed when it is not."""
    move(questions.path / "Anna and Bob.jpg", questions.path / "no/Anna and Bob.jpg")

    assert 0 == questions.update([ONE, TWO], refuse)
    assert 0 == questions.update([TWO], refuse)

    assert {"same:1:2": "no"} == questions.read().answers


def test_a_card_without_its_comment_is_recognised_by_its_content(root: Path) -> None:
    """By the hash that the note lists, for a card whose key nothing reads."""
    here = CardFolder(root, QUESTIONS_NAME, ("yes", "no"), "store-a")
    here.update([ONE], picture)
    card = here.path / "Anna and Bob.jpg"
    note = here.path / CARDS_NOTE
    plain = card.read_bytes().replace(b"portraitd card", b"no comment now")
    note.write_text(note.read_text().replace(digest(card.read_bytes()), digest(plain)))
    card.unlink()
    (here.path / "yes/photo.jpg").write_bytes(plain)

    assert {"same:1:2": "yes"} == here.read().answers


def test_both_answers_are_no_answer(questions: CardFolder) -> None:
    """Both files are removed, and the question is asked again."""
    for answer in ("yes", "no"):
        copy(questions.path / "Anna and Bob.jpg", questions.path / answer / "card.jpg")

    reading = questions.read()

    assert ({}, frozenset({"same:1:2"})) == (reading.answers, reading.contradictory)
    assert ["Anna and Bob.jpg", "Anna and Carl.jpg"] == settle(questions, ["same:1:2"], ONE, TWO)


def test_a_deleted_card_is_reported_and_not_written_again(questions: CardFolder) -> None:
    """Until it is closed; then it is written if it is desired."""
    (questions.path / "Anna and Bob.jpg").unlink()

    assert 0 == questions.update([ONE, TWO], refuse)
    assert frozenset({"same:1:2"}) == questions.read().deleted

    assert ["Anna and Carl.jpg"] == settle(questions, ["same:1:2"], TWO)
    assert frozenset() == questions.read().deleted
    assert ["Anna and Bob.jpg", "Anna and Carl.jpg"] == settle(questions, [], ONE, TWO)


def test_a_renamed_card_stays_and_is_removed_under_its_name(questions: CardFolder) -> None:
    """A reviewer may sort cards by names of their own."""
    move(questions.path / "Anna and Bob.jpg", questions.path / "ask grandma.jpg")

    assert "_questions/ask grandma.jpg" == questions.read().in_place["same:1:2"]
    assert 0 == questions.update([ONE, TWO], refuse)
    assert ["Anna and Carl.jpg"] == settle(questions, [], TWO)


def test_a_copy_beside_its_card_means_nothing(questions: CardFolder) -> None:
    """It goes when the card goes."""
    copy(questions.path / "Anna and Bob.jpg", questions.path / "Copy of Anna and Bob.jpg")

    reading = questions.read()

    assert ({}, frozenset(), ()) == (reading.answers, reading.deleted, reading.others)
    assert "_questions/Anna and Bob.jpg" == reading.in_place["same:1:2"]
    assert 0 == questions.update([ONE, TWO], refuse)
    assert ["Anna and Carl.jpg"] == settle(questions, [], TWO)


def test_a_card_that_shows_something_else_now_is_replaced(questions: CardFolder) -> None:
    """Also its name; a reviewer's file that has the name stays."""
    (questions.path / "Anna Berg and Bob.jpg").write_bytes(b"mine")

    settle(questions, [], Card("same:1:2", "Anna Berg and Bob.jpg", "v2"), TWO)

    assert [
        "Anna Berg and Bob (2).jpg",
        "Anna Berg and Bob.jpg",
        "Anna and Carl.jpg",
    ] == files(questions)
    assert b"mine" == (questions.path / "Anna Berg and Bob.jpg").read_bytes()
    assert "_questions/Anna Berg and Bob (2).jpg" == questions.read().in_place["same:1:2"]


def test_names_are_safe_and_distinct(root: Path) -> None:
    """Also where case is ignored; a name without any usable character becomes ``card``."""
    folder = CardFolder(root, QUESTIONS_NAME, ("yes", "no"), "store-a")

    folder.update(
        [Card("a", "../up?.jpg"), Card("b", "UP-.jpg"), Card("c", "\u202e .jpg")], picture
    )

    assert ["UP- (2).jpg", "card.jpg", "up-.jpg"] == [
        name.replace("-up-", "up-") for name in files(folder)
    ]


def test_text_cards_are_recognised_as_well(root: Path) -> None:
    """Also if an editor saved one with other line ends."""
    folder = CardFolder(root, "_edits", ("undo",), "store-a")
    folder.update([NOTE], lambda card: b"Anna: 3 portraits moved in\n")
    text = (folder.path / "0007 Anna.txt").read_bytes()
    assert b"Anna: 3 portraits moved in\n\nportraitd card store-a undo:7\n" == text
    (folder.path / "0007 Anna.txt").unlink()
    (folder.path / "undo/x.txt").write_bytes(b"hm\r\n" + text.replace(b"\n", b"\r\n"))

    assert {"undo:7": "undo"} == folder.read().answers
    assert [] == settle(folder, ["undo:7"])


def test_cards_of_another_store_are_no_answers(questions: CardFolder, tmp_path: Path) -> None:
    """Their numbers mean other people."""
    PeopleTree(tmp_path / "other").create()
    other = CardFolder(tmp_path / "other", QUESTIONS_NAME, ("yes", "no"), "store-b")
    other.update([ONE], picture)
    copy(other.path / "Anna and Bob.jpg", questions.path / "yes/from elsewhere.jpg")

    reading = questions.read()

    assert ({}, ("_questions/yes/from elsewhere.jpg",)) == (reading.answers, reading.others)


def test_what_is_not_a_card_stays(questions: CardFolder, tmp_path: Path) -> None:
    """Links, pipes, huge and empty files, folders, file managers' files, pictures."""
    elsewhere = tmp_path / "elsewhere.jpg"
    copy(questions.path / "Anna and Bob.jpg", elsewhere)
    yes = questions.path / "yes"
    (yes / "link.jpg").symlink_to(elsewhere)
    os.mkfifo(yes / "pipe.jpg")
    make_sparse(yes / "huge.jpg")
    (yes / "empty.jpg").touch()
    (yes / "folder").mkdir()
    (yes / "photo.jpg").write_bytes(picture_of(1))
    (yes / "Thumbs.db").write_bytes(b"x")
    (yes / "bytes \udcff.jpg").write_bytes(b"portraitd card")

    reading = questions.read()

    names = [
        "bytes \udcff.jpg",
        "empty.jpg",
        "folder",
        "huge.jpg",
        "link.jpg",
        "photo.jpg",
        "pipe.jpg",
    ]
    assert {f"_questions/yes/{name}" for name in names} == set(reading.others)
    assert {} == reading.answers
    before = sorted(os.listdir(yes))
    questions.update([], picture, ["same:1:2", "same:1:3"])
    assert before == sorted(os.listdir(yes))


def test_a_key_says_only_what_a_key_can(questions: CardFolder) -> None:
    """Nothing that a reviewer writes into a file leads out of the folder."""
    for number, text in enumerate([b"../../x", b"a b", b"x" * 1100, b"\xff\xfe"]):
        (questions.path / f"yes/{number}.jpg").write_bytes(b"portraitd card store-a " + text)

    assert {"a"} == set(questions.read().answers)


def test_an_answer_folder_that_is_a_link_is_not_followed(
    questions: CardFolder, tmp_path: Path
) -> None:
    """The other one works."""
    (tmp_path / "outside").mkdir()
    copy(questions.path / "Anna and Carl.jpg", tmp_path / "outside/card.jpg")
    (questions.path / "yes").rmdir()
    (questions.path / "yes").symlink_to(tmp_path / "outside")
    move(questions.path / "Anna and Bob.jpg", questions.path / "no/card.jpg")

    reading = questions.read()

    assert ({"same:1:2": "no"}, ("_questions/yes",)) == (reading.answers, reading.others)
    settle(questions, ["same:1:2"])
    assert (tmp_path / "outside/card.jpg").exists()


def test_deleted_answer_folders_come_back(questions: CardFolder) -> None:
    """With the next update, even if no card changes."""
    shutil.rmtree(questions.path / "yes")

    questions.update([ONE, TWO], refuse)

    assert (questions.path / "yes").is_dir()


def test_a_deleted_folder_comes_back_with_its_cards(questions: CardFolder) -> None:
    """The note went with it, so nothing counts as deleted."""
    shutil.rmtree(questions.path)
    assert CardReading() == questions.read()

    assert ["Anna and Bob.jpg", "Anna and Carl.jpg"] == settle(questions, [], ONE, TWO)


def test_cards_survive_the_loss_of_their_note(questions: CardFolder) -> None:
    """They are written over, and not a second time beside."""
    (questions.path / CARDS_NOTE).write_bytes(b"\0" * 100)
    move(questions.path / "Anna and Carl.jpg", questions.path / "yes/x.jpg")

    assert {"same:1:3": "yes"} == questions.read().answers
    assert ["Anna and Bob.jpg"] == settle(questions, ["same:1:3"], ONE)


def test_a_folder_in_place_of_the_note_is_moved_aside(questions: CardFolder) -> None:
    """What is in it is kept."""
    (questions.path / CARDS_NOTE).unlink()
    (questions.path / CARDS_NOTE).mkdir()
    (questions.path / CARDS_NOTE / "mine").write_bytes(b"x")

    assert "Anna and Bob.jpg" in settle(questions, [], ONE, TWO)

    assert ["mine"] == [path.name for path in questions.path.rglob("mine")]


def test_removing_leaves_only_what_others_put_there(questions: CardFolder) -> None:
    """The folders go when they are empty."""
    (questions.path / "no/mine.txt").write_bytes(b"x")

    questions.remove()

    assert ["no/mine.txt"] == files(questions)
    (questions.path / "no/mine.txt").unlink()
    questions.remove()
    assert not questions.path.exists()
    questions.remove()
    assert not questions.path.exists()


def test_an_answer_is_not_removed_with_the_folder(questions: CardFolder) -> None:
    """It is not recorded yet."""
    move(questions.path / "Anna and Bob.jpg", questions.path / "yes/x.jpg")

    questions.remove()

    assert {"same:1:2": "yes"} == questions.read().answers


def test_no_folder_is_made_for_no_cards(root: Path) -> None:
    """Where there was none."""
    folder = CardFolder(root, QUESTIONS_NAME, ("yes", "no"), "store-a")

    assert 0 == folder.update([], refuse)

    assert not folder.path.exists()


def test_a_root_without_its_marker_is_left_alone(questions: CardFolder, root: Path) -> None:
    """It may be where a share should be mounted."""
    (root / ".portraitd-root").unlink()

    with pytest.raises(PublishError, match="marker"):
        questions.read()
    with pytest.raises(PublishError, match="marker"):
        questions.update([ONE], picture)


def test_the_folder_of_a_person_is_not_used(root: Path) -> None:
    """A reviewer may have named one so before the name was reserved."""
    folder = CardFolder(root, QUESTIONS_NAME, ("yes", "no"), "store-a")
    folder.path.mkdir()
    (folder.path / ".person.json").write_bytes(b"{}")

    with pytest.raises(PublishError, match="folder of a person"):
        folder.update([ONE], picture)
    assert CardReading() == folder.read()
    folder.remove()
    assert [".person.json"] == os.listdir(folder.path)


def test_a_link_in_place_of_the_folder_is_not_followed(root: Path, tmp_path: Path) -> None:
    """Neither to read nor to write."""
    folder = CardFolder(root, QUESTIONS_NAME, ("yes", "no"), "store-a")
    (tmp_path / "outside").mkdir()
    folder.path.symlink_to(tmp_path / "outside")

    assert CardReading() == folder.read()
    with pytest.raises(PublishError, match="people/_questions: Not a directory"):
        folder.update([ONE], picture)
    assert [] == os.listdir(tmp_path / "outside")


def test_a_portrait_among_the_cards_is_put_back(tmp_path: Path) -> None:
    """It was neither deleted nor moved to a person; the moved one is a copy from then on."""
    root = tmp_path / "people"
    tree = three_people(root)
    (root / "_questions/yes").mkdir(parents=True)
    move(root / A1, root / "_questions/yes/000001.jpg")

    assert [] == tree.read_edits(KNOWN)
    publish(tree, PEOPLE, UNSORTED, picture_of, {})
    assert (root / A1).exists()
    assert [] == tree.read_edits(KNOWN)
    publish(tree, PEOPLE, UNSORTED, picture_of, {})
    (root / A1).unlink()

    assert [1] == [face for edit in tree.read_edits(KNOWN) for face in edit.face_ids]  # type: ignore[union-attr]
