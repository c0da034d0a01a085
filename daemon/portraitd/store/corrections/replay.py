"""What people's word comes to: the rows of the ledger, read from the first to the last.

A later row wins over an earlier one about the same face. Nothing here reads or writes: rows go
in, what holds now comes out, so the same rows always say the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from portraitd.model.edit import Hidden

NO_PERSON = 0


class EditKind(StrEnum):
    """What a row of the ledger says."""

    NAME = "name"
    MERGE = "merge"
    PLACE = "place"
    SPLIT = "split"
    EXCLUDE = "exclude"
    IGNORE_FACES = "ignore-faces"
    IGNORE_PERSON = "ignore-person"
    RECALL_PERSON = "recall-person"
    UNDO = "undo"


class FaceRole(StrEnum):
    """What a face has to do with a row."""

    MOVED = "moved"
    """It is what the row is about."""
    ANCHOR = "exemplar"
    """It stands for a person, so that they stay who they were then."""
    AGAINST = "against"
    """It stands for a person whom the moved ones are not."""
    MEMBER = "member"
    """It was a merged person's, and would be again."""


class EntryFace(NamedTuple):
    """A face of a row, as it was recognised today.

    Attributes:
        face_id: Which.
        track_id: Its track, None while it has none.
        role: What it has to do with the row.
        person_id: Whose it was when the row was written, or whom it stands for.
        whole: Whether the row is about the whole track.
    """

    face_id: int
    track_id: int | None
    role: FaceRole
    person_id: int | None
    whole: bool


class LedgerEntry(NamedTuple):
    """A row of the ledger with the faces it is about."""

    id: int
    kind: EditKind
    person_id: int | None
    into_id: int | None
    name: str | None
    undoes: int | None
    faces: Sequence[EntryFace]


@dataclass(slots=True)
class ResolvedCorrection:
    """What people said about a face, all in all.

    Attributes:
        person: Who it is; ``NO_PERSON`` for nobody known, None if that was left to the grouping.
        hidden: Whether it is out of sight.
        whole: Whether that is said of its whole track.
        row: The last row that said so.
        was: Whose it was before that row.
    """

    person: int | None = None
    hidden: Hidden = Hidden.NO
    whole: bool = True
    row: int = 0
    was: int | None = None

    @property
    def verdict(self) -> tuple[int | None, Hidden]:
        """What two faces must share to stay in one track."""
        return self.person, self.hidden


@dataclass(slots=True)
class Corrections:
    """What holds now.

    Attributes:
        fates: By face, of those that somebody moved, excluded or ignored.
        anchors: By face, the person it stands for.
        against: By moved face, for each person it is not the faces that stand for them.
        track_of: Track of each face named here; None while it has none.
        names: By person, where somebody gave or took a name.
        ignored: By person, where somebody said so or took it back.
        merged: By person who is somebody else, who.
        undone: Rows that no longer count.
    """

    fates: dict[int, ResolvedCorrection] = field(default_factory=dict)
    exemplars: dict[int, int] = field(default_factory=dict)
    against: dict[int, dict[int, set[int]]] = field(default_factory=lambda: defaultdict(dict))
    track_of: dict[int, int | None] = field(default_factory=dict)
    names: dict[int, str | None] = field(default_factory=dict)
    ignored: dict[int, bool] = field(default_factory=dict)
    merged: dict[int, int] = field(default_factory=dict)
    undone: frozenset[int] = frozenset()

    def who(self, person_id: int) -> int:
        """Who a person is now, after all merges."""
        while person_id in self.merged:
            person_id = self.merged[person_id]
        return person_id

    def by_track(self) -> dict[int, ResolvedCorrection]:
        """What was said about tracks; of contradicting faces the newest row counts."""
        found: dict[int, ResolvedCorrection] = {}
        for face_id, fate in self.fates.items():
            track_id = self.track_of[face_id]
            if track_id is not None and (track_id not in found or found[track_id].row < fate.row):
                found[track_id] = fate
        return found


def undone_entries(rows: Iterable[tuple[int, int | None]]) -> frozenset[int]:
    """The rows that no longer count. An undo can be undone like every other row.

    Args:
        rows: Of each row its id and the one it undoes, rising.
    """
    undone: set[int] = set()
    for row, undoes in reversed(list(rows)):
        if undoes is not None and row not in undone:
            undone.add(undoes)
    return frozenset(undone)


def replay(entries: Sequence[LedgerEntry]) -> Corrections:
    """Read the ledger.

    Args:
        entries: All rows, rising.
    """
    undone = undone_entries((entry.id, entry.undoes) for entry in entries)
    held = Corrections(undone=undone)
    for entry in entries:
        if entry.id not in undone:
            for touched in entry.faces:
                held.track_of[touched.face_id] = touched.track_id
            _READ[entry.kind](held, entry)
    for face_id in held.fates:
        # What was moved itself needs nobody to stand for its old person.
        held.exemplars.pop(face_id, None)
    return held


def _name(held: Corrections, entry: LedgerEntry) -> None:
    if entry.person_id is not None:
        held.names[held.who(entry.person_id)] = entry.name
    _anchor(held, entry)


def _merge(held: Corrections, entry: LedgerEntry) -> None:
    if entry.person_id is None or entry.into_id is None:
        return
    one, into = held.who(entry.person_id), held.who(entry.into_id)
    if one != into:
        held.merged[one] = into
        name = held.names.pop(one, None)
        if name and not held.names.get(into):
            held.names[into] = name
        held.ignored.pop(one, None)
        for fate in held.fates.values():
            fate.person = into if fate.person == one else fate.person
        for face_id, person in held.exemplars.items():
            held.exemplars[face_id] = into if person == one else person
        for face_id, others in held.against.items():
            if one in others:
                others.setdefault(into, set()).update(others.pop(one))
            if face_id in held.fates and held.fates[face_id].person == into:
                others.pop(into, None)
    _anchor(held, entry)


def _place(held: Corrections, entry: LedgerEntry) -> None:
    person = NO_PERSON if entry.person_id is None else held.who(entry.person_id)
    if entry.kind is EditKind.SPLIT and entry.name:
        held.names[person] = entry.name
    for touched in _moved(entry):
        held.fates[touched.face_id] = ResolvedCorrection(
            person, Hidden.NO, touched.whole, entry.id, touched.person_id
        )
        held.against[touched.face_id].pop(person, None)
    _anchor(held, entry)
    _hold_apart(held, entry)


def _hide(hidden: Hidden) -> Callable[[Corrections, LedgerEntry], None]:
    def read(held: Corrections, entry: LedgerEntry) -> None:
        for touched in _moved(entry):
            before = held.fates.get(touched.face_id)
            person = before.person if before else None
            held.fates[touched.face_id] = ResolvedCorrection(
                person, hidden, touched.whole, entry.id, touched.person_id
            )

    return read


def _ignore(is_ignored: bool) -> Callable[[Corrections, LedgerEntry], None]:
    def read(held: Corrections, entry: LedgerEntry) -> None:
        if entry.person_id is not None:
            held.ignored[held.who(entry.person_id)] = is_ignored
        _anchor(held, entry)

    return read


def _nothing(held: Corrections, entry: LedgerEntry) -> None:
    """An undo says nothing by itself: the row it undoes was left out."""


def _moved(entry: LedgerEntry) -> list[EntryFace]:
    return [touched for touched in entry.faces if touched.role is FaceRole.MOVED]


def _anchor(held: Corrections, entry: LedgerEntry) -> None:
    for touched in entry.faces:
        if touched.role is FaceRole.ANCHOR and touched.person_id is not None:
            held.exemplars[touched.face_id] = held.who(touched.person_id)


def _hold_apart(held: Corrections, entry: LedgerEntry) -> None:
    moved = _moved(entry)
    for other in entry.faces:
        if other.role is FaceRole.AGAINST and other.person_id is not None:
            person = held.who(other.person_id)
            for touched in moved:
                if held.fates[touched.face_id].person != person:
                    held.against[touched.face_id].setdefault(person, set()).add(other.face_id)


_READ: dict[EditKind, Callable[[Corrections, LedgerEntry], None]] = {
    EditKind.NAME: _name,
    EditKind.MERGE: _merge,
    EditKind.PLACE: _place,
    EditKind.SPLIT: _place,
    EditKind.EXCLUDE: _hide(Hidden.EXCLUDED),
    EditKind.IGNORE_FACES: _hide(Hidden.IGNORED),
    EditKind.IGNORE_PERSON: _ignore(True),
    EditKind.RECALL_PERSON: _ignore(False),
    EditKind.UNDO: _nothing,
}
