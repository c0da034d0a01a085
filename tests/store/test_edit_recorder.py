"""An edit takes effect at once, is kept in the ledger, and can be undone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from portraitd.model.edit import (
    AssignFaces,
    Edit,
    ExcludeFaces,
    Hidden,
    IgnoreFaces,
    IgnorePerson,
    MergePeople,
    NamePerson,
    RecallPerson,
    RejectPerson,
    SeparatePeople,
    SplitPerson,
)
from portraitd.model.errors import ConfigError, StoreError
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.database import Database
from portraitd.store.publications import Publications
from support.store import Store, embedding


class EditRecorderFixture:
    """A database with two people, of three tracks of two faces each, and their edits."""

    def __init__(self, folder: Path, whole_tracks: bool = True) -> None:
        self.store = Store(Database.open(folder))
        self.publications = Publications(self.store.database)
        self.recorder = EditRecorder(
            self.store.database, self.store.ledger, self.publications, whole_tracks
        )
        for number in range(3):
            self.see(1, number)
            self.see(2, number)
        self.store.group([0, 0, 1, 1] * 3)
        self.now_s = 100.0

    def see(self, seed: int, number: int) -> None:
        shift = np.float32(0.001 * number)
        self.store.see(embedding(seed) + shift, embedding(seed) + shift)
        self.store.track()

    def do(self, *edits: Edit) -> list[int]:
        """Returns the rows it made."""
        self.now_s += 1.0
        return [done.entry_id for done in self.recorder.record(edits, self.now_s)]

    def undo(self, row: int | None = None) -> None:
        self.now_s += 1.0
        self.recorder.undo(row, self.now_s)

    def persons(self) -> list[int]:
        """The person of each face; minus one for those that were excluded."""
        rows = self.store.database.execute("select person_id, hidden from faces order by id")
        return [-1 if row["hidden"] == 1 else row["person_id"] or 0 for row in rows]

    def hidden(self) -> list[int]:
        rows = self.store.database.execute("select id from faces where hidden = 2 order by id")
        return [row["id"] for row in rows]

    def names(self) -> dict[int, str | None]:
        return {person.id: person.name for person in self.store.people.present()}


BEFORE = [1, 1, 2, 2] * 3


@pytest.fixture
def fixture(memory_path: Path) -> EditRecorderFixture:
    return EditRecorderFixture(memory_path)


def test_a_portrait_stands_for_its_track(fixture: EditRecorderFixture) -> None:
    """One of two faces is moved; both are the other person's at once."""
    assert [1] == fixture.do(AssignFaces((3,), 1))

    assert [1, 1, 1, 1, *BEFORE[4:]] == fixture.persons()


def test_a_single_face_leaves_its_track(tmp_path: Path) -> None:
    """Where that is the unit, the other face stays, and each is a track of its own."""
    fixture = EditRecorderFixture(tmp_path, whole_tracks=False)
    fixture.do(AssignFaces((3,), 1))
    assert [1, 1, 1, 2, *BEFORE[4:]] == fixture.persons()
    assert 2 == fixture.store.tracks.untracked()

    fixture.store.track()

    tracks = fixture.store.database.execute("select track_id from faces where id in (3, 4)")
    assert 2 == len({row[0] for row in tracks})
    assert [1, 1, 1, 2, *BEFORE[4:]] == fixture.persons()


@pytest.mark.parametrize(
    "edit",
    [
        NamePerson(1, "Ann"),
        MergePeople(2, 1),
        AssignFaces((3,), 1),
        AssignFaces((3,), None),
        SplitPerson((3, 7), "Eve", "Eve"),
        ExcludeFaces((3,)),
        IgnoreFaces((3,)),
        IgnorePerson(2),
        SeparatePeople(1, 2),
        RejectPerson((3,), 1),
    ],
    ids=lambda edit: type(edit).__name__,
)
def test_a_gesture_that_holds_leaves_no_row(fixture: EditRecorderFixture, edit: Edit) -> None:
    """The tree may be read any number of times."""
    assert [1] == fixture.do(edit)
    after = fixture.persons()

    again = fixture.recorder.record([edit], 200.0)

    assert [0] * isinstance(edit, SplitPerson) == [done.entry_id for done in again]
    assert 1 == fixture.store.ledger.last_id()
    assert after == fixture.persons()


@pytest.mark.parametrize(
    "edit",
    [
        NamePerson(1, "Ann"),
        MergePeople(2, 1),
        AssignFaces((3,), 1),
        AssignFaces((3,), None),
        SplitPerson((3, 7), "Eve", "Eve"),
        ExcludeFaces((3,)),
        IgnoreFaces((3,)),
        IgnorePerson(2),
    ],
    ids=lambda edit: type(edit).__name__,
)
def test_undoing_gives_what_was_before_and_redoing_what_was_after(
    fixture: EditRecorderFixture, edit: Edit
) -> None:
    """Of persons, names and what is out of sight."""

    def everything() -> tuple[object, ...]:
        rows = fixture.store.database.execute(
            "select id, name, ignored, merged_into from people where id < 3 order by id"
        )
        return fixture.persons(), fixture.hidden(), [tuple(row) for row in rows]

    before = everything()
    fixture.do(edit)
    after = everything()

    fixture.undo()
    assert before == everything()
    fixture.undo(2)
    assert after == everything()
    assert before != after


def test_a_merge_moves_everybody_and_keeps_the_name(fixture: EditRecorderFixture) -> None:
    """A person without a name gets that of the one who goes."""
    fixture.do(NamePerson(2, "Bob"))

    fixture.do(MergePeople(2, 1))

    assert [1] * 12 == fixture.persons()
    assert {1: "Bob"} == fixture.names()


def test_a_split_makes_a_person_with_the_folders_name(fixture: EditRecorderFixture) -> None:
    """And with a new id."""
    (done,) = fixture.recorder.record([SplitPerson((3, 7), "Eve", "Eve")], 100.0)

    assert 3 == done.person_id
    assert [1, 1, 3, 3, 1, 1, 3, 3, 1, 1, 2, 2] == fixture.persons()
    assert {1: None, 2: None, 3: "Eve"} == fixture.names()


def test_excluded_faces_are_nobodys(fixture: EditRecorderFixture) -> None:
    """Nor do they take part in a grouping any more."""
    fixture.do(ExcludeFaces((3,)))

    assert [1, 1, -1, -1, *BEFORE[4:]] == fixture.persons()
    assert [1, 2, 5, 6, 7, 8, 9, 10, 11, 12] == fixture.store.faces.ids().tolist()


def test_what_was_excluded_can_be_put_back(fixture: EditRecorderFixture) -> None:
    """A portrait found again in the bin."""
    fixture.do(ExcludeFaces((3,)))

    fixture.do(AssignFaces((3,), 2))

    assert BEFORE == fixture.persons()


def test_ignored_faces_stay_with_their_person(fixture: EditRecorderFixture) -> None:
    """Only out of sight; moved back, they are in sight."""
    fixture.do(IgnoreFaces((3,)))
    assert BEFORE == fixture.persons()
    assert [3, 4] == fixture.hidden()

    fixture.do(AssignFaces((3,), 2))

    assert [] == fixture.hidden()


def test_a_later_word_wins(fixture: EditRecorderFixture) -> None:
    """About the same faces; undone, the earlier one holds again."""
    fixture.do(AssignFaces((3,), 1))
    fixture.do(SplitPerson((3,), "Eve", "Eve"))
    assert 3 == fixture.persons()[2]

    fixture.undo()

    assert 1 == fixture.persons()[2]
    fixture.undo()
    assert BEFORE == fixture.persons()


def test_a_person_comes_back_from_being_ignored(fixture: EditRecorderFixture) -> None:
    """Their folder was put among the others again."""
    fixture.do(IgnorePerson(2))
    assert {2} == fixture.store.people.ignored()

    fixture.do(RecallPerson(2))

    assert set() == fixture.store.people.ignored()


def test_of_one_track_part_may_be_removed_and_part_moved(fixture: EditRecorderFixture) -> None:
    """Each portrait counts for itself then, and neither comes back with the other."""
    fixture.do(ExcludeFaces((3,)), AssignFaces((4,), 1))
    assert [1, 1, -1, 1, *BEFORE[4:]] == fixture.persons()

    fixture.store.track()

    assert [1, 1, -1, 1, *BEFORE[4:]] == fixture.persons()


def test_what_cannot_be_undone_is_said(fixture: EditRecorderFixture) -> None:
    """In words."""
    with pytest.raises(ConfigError, match="nothing to undo"):
        fixture.undo()
    fixture.do(NamePerson(1, "Ann"))
    with pytest.raises(ConfigError, match="no entry 7"):
        fixture.undo(7)
    fixture.undo(1)
    with pytest.raises(ConfigError, match="entry 1 is undone already"):
        fixture.undo(1)


@pytest.mark.parametrize(
    "statement",
    [
        "update ledger set name = 'Eve'",
        "delete from ledger",
        "delete from ledger_faces",
        "update face_fingerprints set t_s = 0",
    ],
)
def test_the_ledger_cannot_be_changed(fixture: EditRecorderFixture, statement: str) -> None:
    """Not even by portraitd itself."""
    fixture.do(NamePerson(1, "Ann"))

    with pytest.raises(StoreError, match="append-only"):
        fixture.store.database.execute(statement)


def test_the_ledger_reads_like_what_was_done(fixture: EditRecorderFixture) -> None:
    """Who, what, how many faces, and whether it still counts."""
    fixture.do(NamePerson(1, "Ann"))
    fixture.do(AssignFaces((3,), 1))
    fixture.undo()

    undone = [
        (row.id, row.kind, row.person_id, row.name, row.faces, row.undoes, row.is_undone)
        for row in fixture.store.ledger.summaries()
    ]
    assert [
        (1, "name", 1, "Ann", 0, None, False),
        (2, "place", 1, None, 2, None, True),
        (3, "undo", None, None, 0, 2, False),
    ] == undone


def test_until_the_tree_shows_an_undo_the_gesture_still_lies_there(
    fixture: EditRecorderFixture,
) -> None:
    """It does not count a second time; what else was done does."""
    fixture.do(AssignFaces((3,), 1), NamePerson(1, "Ann"))
    fixture.undo(1)
    fixture.undo(2)

    left = fixture.recorder.drop_undone(
        [AssignFaces((3, 7), 1), NamePerson(1, "Ann"), ExcludeFaces((3,))], 2
    )

    assert [AssignFaces((7,), 1), ExcludeFaces((3,))] == left
    assert 3 == len(
        fixture.recorder.drop_undone(
            [AssignFaces((3, 7), 1), NamePerson(1, "Ann"), ExcludeFaces((3,))], 4
        )
    )


def near(seed: int, number: int) -> NDArray[np.float32]:
    return (embedding(seed) + np.float32(0.001 * number)).astype(np.float32)


def test_a_word_outlives_finding_everything_anew(fixture: EditRecorderFixture) -> None:
    """The faces of a video are deleted and found again, a little beside where they were."""
    fixture.do(AssignFaces((3,), 1), ExcludeFaces((7,)))
    database = fixture.store.database
    database.execute("pragma foreign_keys = off")
    database.execute(
        """
        insert into faces (video_id, slice_id, t_s, box_left, box_top, box_right, box_bottom, score,
            size_px, sharpness, frontal, encoder, embedding, added_at)
        select video_id, slice_id, t_s + 0.04, box_left + 4, box_top - 5, box_right, box_bottom,
            score, size_px, sharpness, frontal, 'another', embedding, added_at
        from faces where id in (3, 4, 7, 8) order by id
        """
    )
    database.execute("delete from faces where id in (3, 4, 7, 8)")
    database.execute("pragma foreign_keys = on")
    database.execute("update videos set tracked = 0")

    fixture.store.track()

    rows = database.execute("select person_id, hidden from faces where id > 12 order by id")
    assert [(1, 0), (1, 0), (None, 1), (None, 1)] == [tuple(row) for row in rows]
    held = fixture.store.ledger.corrections()
    assert {13: Hidden.NO, 14: Hidden.NO, 15: Hidden.EXCLUDED, 16: Hidden.EXCLUDED} == {
        face: correction.hidden for face, correction in held.by_face.items()
    }
