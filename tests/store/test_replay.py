"""What the rows of a ledger come to, whatever was said in between."""

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
    row: int,
    kind: EditKind,
    person_id: int | None = None,
    moved: tuple[int, ...] = (),
    exemplars: tuple[int, ...] = (),
    against: tuple[tuple[int, int], ...] = (),
    into_id: int | None = None,
    name: str | None = None,
    undoes: int | None = None,
) -> LedgerEntry:
    """A row; every face is a track of its own."""
    faces = [EntryFace(face, face, FaceRole.MOVED, None, True) for face in moved]
    standing = into_id or person_id
    faces += [EntryFace(face, face, FaceRole.ANCHOR, standing, True) for face in exemplars]
    faces += [EntryFace(face, face, FaceRole.AGAINST, person, True) for face, person in against]
    return LedgerEntry(row, kind, person_id, into_id, name, undoes, faces)


def test_the_last_word_about_a_face_counts() -> None:
    """Also where the first one was about more of them."""
    held = replay(
        [entry(1, EditKind.PLACE, 5, moved=(1, 2)), entry(2, EditKind.PLACE, 6, moved=(2,))]
    )

    assert {1: 5, 2: 6} == {face: fate.person for face, fate in held.fates.items()}


def test_what_was_placed_follows_its_person_into_another() -> None:
    """And what is said of the one afterwards is said of the other."""
    held = replay(
        [
            entry(1, EditKind.PLACE, 5, moved=(1,), exemplars=(7,)),
            entry(2, EditKind.NAME, 5, name="Ann"),
            entry(3, EditKind.MERGE, 5, into_id=6),
            entry(4, EditKind.PLACE, 5, moved=(2,)),
        ]
    )

    assert {1: 6, 2: 6} == {face: fate.person for face, fate in held.fates.items()}
    assert {7: 6} == held.exemplars
    assert {6: "Ann"} == held.names
    assert 6 == held.who(5)


def test_who_somebody_is_not_is_remembered() -> None:
    """Until they are said to be that person after all."""
    rows = [entry(1, EditKind.PLACE, 5, moved=(1,), against=((9, 4),))]
    assert {1: {4: {9}}} == replay(rows).against

    rows += [entry(2, EditKind.PLACE, 3, moved=(1,))]
    assert {1: {4: {9}}} == replay(rows).against

    rows += [entry(3, EditKind.PLACE, 4, moved=(1,))]
    assert {1: {}} == replay(rows).against


def test_an_excluded_face_that_is_placed_is_seen_again() -> None:
    """Ignored ones as well; and hiding keeps what was said before."""
    rows = [entry(1, EditKind.PLACE, 5, moved=(1,)), entry(2, EditKind.EXCLUDE, moved=(1,))]
    assert (5, Hidden.EXCLUDED) == replay(rows).fates[1].verdict

    rows += [entry(3, EditKind.IGNORE_FACES, moved=(1,))]
    assert (5, Hidden.IGNORED) == replay(rows).fates[1].verdict

    rows += [entry(4, EditKind.PLACE, None, moved=(1,))]
    assert (0, Hidden.NO) == replay(rows).fates[1].verdict


def test_an_undo_can_be_undone_and_that_too() -> None:
    """As often as somebody likes."""
    rows: list[tuple[int, int | None]] = [(1, None)]
    for row in range(2, 6):
        rows.append((row, row - 1))
        assert ({1} if row % 2 == 0 else set()) == undone_entries(rows) & {1}


PEOPLE = st.integers(1, 4)
FACES = st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True).map(tuple)


@st.composite
def ledgers(draw: st.DrawFn) -> list[LedgerEntry]:
    rows: list[LedgerEntry] = []
    for row in range(1, draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(list(EditKind)))
        if kind is EditKind.UNDO:
            undone = undone_entries((one.id, one.undoes) for one in rows)
            counting = [one.id for one in rows if one.id not in undone]
            if counting:
                rows.append(entry(row, kind, undoes=draw(st.sampled_from(counting))))
            continue
        of_faces = kind in (EditKind.PLACE, EditKind.SPLIT, EditKind.EXCLUDE, EditKind.IGNORE_FACES)
        rows.append(
            entry(
                row,
                kind,
                draw(PEOPLE),
                moved=draw(FACES) if of_faces else (),
                exemplars=draw(FACES) if not of_faces else (),
                into_id=draw(PEOPLE) if kind is EditKind.MERGE else None,
                name=draw(st.sampled_from(["Ann", "Bob"])),
            )
        )
    return rows


@given(ledgers())
def test_undoing_the_last_row_gives_what_was_before(rows: list[LedgerEntry]) -> None:
    """Whatever was said until then."""
    undone = undone_entries((one.id, one.undoes) for one in rows)
    counting = [one for one in rows if one.id not in undone and one.kind is not EditKind.UNDO]
    if counting:
        last = counting[-1]
        before = replay([one for one in rows if one is not last])
        after = replay([*rows, entry(99, EditKind.UNDO, undoes=last.id)])

        assert before.fates == after.fates
        assert before.exemplars == after.exemplars
        assert before.names == after.names
        assert before.merged == after.merged
        assert before.ignored == after.ignored


@given(ledgers())
def test_nobody_is_somebody_who_became_another(rows: list[LedgerEntry]) -> None:
    """Whoever is named in what holds is still there, and merging leads to an end."""
    held = replay(rows)

    for fate in held.fates.values():
        assert not fate.person or held.who(fate.person) == fate.person
    assert all(held.who(person) == person for person in held.exemplars.values())
    assert not set(held.names) & set(held.merged)
    assert not set(held.exemplars) & set(held.fates)
