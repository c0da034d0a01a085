"""What the entries of a ledger add up to, whatever the edits were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from portraitd.model.edit import Hidden
from portraitd.store.corrections.replay import (
    EditKind,
    EntryFace,
    FaceRole,
    LedgerEntry,
    replay,
    undone_entries,
)


def entry(
    entry_id: int,
    kind: EditKind,
    person_id: int | None = None,
    moved: tuple[int, ...] = (),
    exemplars: tuple[int, ...] = (),
    cannot_link: tuple[tuple[int, int], ...] = (),
    into_id: int | None = None,
    name: str | None = None,
    undoes: int | None = None,
) -> LedgerEntry:
    """An entry; every face is a track of its own."""
    faces = [EntryFace(face, FaceRole.MOVED, None, track_id=face) for face in moved]
    represented = into_id or person_id
    for face in exemplars:
        # A separation names faces of both people.
        person = person_id if kind is EditKind.SEPARATE and face % 2 else represented
        faces.append(EntryFace(face, FaceRole.EXEMPLAR, person, track_id=face))
    faces += [
        EntryFace(face, FaceRole.CANNOT_LINK, person, track_id=face) for face, person in cannot_link
    ]
    return LedgerEntry(entry_id, kind, person_id, into_id, name, undoes, faces)


def test_the_last_word_about_a_face_counts() -> None:
    """Also where the first one was about more of them."""
    corrections = replay(
        [entry(1, EditKind.PLACE, 5, moved=(1, 2)), entry(2, EditKind.PLACE, 6, moved=(2,))]
    )

    assert {1: 5, 2: 6} == {
        face: correction.person_id for face, correction in corrections.by_face.items()
    }


def test_what_was_placed_follows_its_person_into_another() -> None:
    """A later edit of the one is an edit of the other."""
    corrections = replay(
        [
            entry(1, EditKind.PLACE, 5, moved=(1,), exemplars=(7,)),
            entry(2, EditKind.NAME, 5, name="Ann"),
            entry(3, EditKind.MERGE, 5, into_id=6),
            entry(4, EditKind.PLACE, 5, moved=(2,)),
        ]
    )

    assert {1: 6, 2: 6} == {
        face: correction.person_id for face, correction in corrections.by_face.items()
    }
    assert {7: 6} == corrections.exemplars
    assert {6: "Ann"} == corrections.names
    assert 6 == corrections.current_person(5)


def test_who_somebody_is_not_is_remembered() -> None:
    """Until an edit assigns them to that person after all."""
    entries = [entry(1, EditKind.PLACE, 5, moved=(1,), cannot_link=((9, 4),))]
    assert {1: {4: {9}}} == replay(entries).cannot_link

    entries += [entry(2, EditKind.PLACE, 3, moved=(1,))]
    assert {1: {4: {9}}} == replay(entries).cannot_link

    entries += [entry(3, EditKind.PLACE, 4, moved=(1,))]
    assert {1: {}} == replay(entries).cannot_link


def test_an_excluded_face_that_is_placed_is_seen_again() -> None:
    """Ignored ones as well; a hidden face keeps its person."""
    entries = [entry(1, EditKind.PLACE, 5, moved=(1,)), entry(2, EditKind.EXCLUDE, moved=(1,))]
    assert (5, Hidden.EXCLUDED) == replay(entries).by_face[1].outcome

    entries += [entry(3, EditKind.IGNORE_FACES, moved=(1,))]
    assert (5, Hidden.IGNORED) == replay(entries).by_face[1].outcome

    entries += [entry(4, EditKind.PLACE, None, moved=(1,))]
    assert (0, Hidden.NO) == replay(entries).by_face[1].outcome


def test_an_undo_can_be_undone_and_that_too() -> None:
    """Any number of times."""
    entries: list[tuple[int, int | None]] = [(1, None)]
    for entry_id in range(2, 6):
        entries.append((entry_id, entry_id - 1))
        assert ({1} if entry_id % 2 == 0 else set()) == undone_entries(entries) & {1}


PEOPLE = st.integers(1, 4)
FACES = st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True).map(tuple)


@st.composite
def ledgers(draw: st.DrawFn) -> list[LedgerEntry]:
    entries: list[LedgerEntry] = []
    for entry_id in range(1, draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(list(EditKind)))
        if kind is EditKind.UNDO:
            undone = undone_entries((one.id, one.undoes) for one in entries)
            counting = [one.id for one in entries if one.id not in undone]
            if counting:
                entries.append(entry(entry_id, kind, undoes=draw(st.sampled_from(counting))))
            continue
        of_faces = kind in (
            EditKind.PLACE, EditKind.SPLIT, EditKind.EXCLUDE, EditKind.IGNORE_FACES,
            EditKind.REJECT,
        )  # fmt: skip
        entries.append(
            entry(
                entry_id,
                kind,
                draw(PEOPLE),
                moved=draw(FACES) if of_faces else (),
                exemplars=draw(FACES) if not of_faces or kind is EditKind.REJECT else (),
                into_id=draw(PEOPLE) if kind in (EditKind.MERGE, EditKind.SEPARATE) else None,
                name=draw(st.sampled_from(["Ann", "Bob"])),
            )
        )
    return entries


@given(ledgers())
def test_undoing_the_last_row_gives_what_was_before(entries: list[LedgerEntry]) -> None:
    """Whatever the entries before were."""
    undone = undone_entries((one.id, one.undoes) for one in entries)
    counting = [one for one in entries if one.id not in undone and one.kind is not EditKind.UNDO]
    if counting:
        last = counting[-1]
        before = replay([one for one in entries if one is not last])
        after = replay([*entries, entry(99, EditKind.UNDO, undoes=last.id)])

        assert before.by_face == after.by_face
        assert before.exemplars == after.exemplars
        assert before.names == after.names
        assert before.merged == after.merged
        assert before.ignored == after.ignored
        assert before.separations == after.separations


@given(ledgers())
def test_nobody_is_somebody_who_became_another(entries: list[LedgerEntry]) -> None:
    """Corrections name only people who were not merged; merges have no cycle."""
    corrections = replay(entries)

    for correction in corrections.by_face.values():
        assert (
            not correction.person_id
            or corrections.current_person(correction.person_id) == correction.person_id
        )
    assert all(
        corrections.current_person(person) == person for person in corrections.exemplars.values()
    )
    assert not set(corrections.names) & set(corrections.merged)
    assert not set(corrections.exemplars) & set(corrections.by_face)


@given(ledgers())
def test_separations_are_of_people_who_are_two(entries: list[LedgerEntry]) -> None:
    """Whatever was merged and moved since; and what was moved by hand contradicts none."""
    corrections = replay(entries)

    for one in corrections.separations:
        people = [one.person_id, *([one.other_id] if one.other_id else [])]
        assert len(people) == len(set(people))
        assert not set(people) & set(corrections.merged)
        assert one.exemplars
        assert one.faces
        for face in one.faces:
            moved_to = corrections.assigned_person(face)
            assert moved_to != one.person_id or one.other_id == moved_to
