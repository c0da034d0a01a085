"""Replay the ledger: entries in, corrections of today's faces and people out.

A later entry wins over an earlier one about the same face. Nothing here reads or writes the
database, so the same entries always resolve to the same corrections.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from portraitd.model.edit import Hidden
from portraitd.store.corrections.separations import Separation, drop_moved, merge_people

NO_PERSON = 0


class EditKind(StrEnum):
    """What a ledger entry records."""

    NAME = "name"
    MERGE = "merge"
    PLACE = "place"
    SPLIT = "split"
    EXCLUDE = "exclude"
    IGNORE_FACES = "ignore-faces"
    IGNORE_PERSON = "ignore-person"
    RECALL_PERSON = "recall-person"
    SEPARATE = "separate"
    REJECT = "reject"
    REFERENCE = "reference"
    REMOVE_REFERENCE = "remove-reference"
    REGION = "region"
    DRAW = "draw"
    REDRAW = "redraw"
    UNDO = "undo"


class FaceRole(StrEnum):
    """Why a ledger entry names a face."""

    MOVED = "moved"
    """The edit is about it."""
    EXEMPLAR = "exemplar"
    """It represents a person, who keeps their identity by it."""
    CANNOT_LINK = "cannot-link"
    """It represents a person who is not shown by the moved faces."""
    MEMBER = "member"
    """It belonged to a merged person, and will again if the merge is undone."""
    DRAWN = "drawn"
    """A person drew its box."""
    REPLACED = "replaced"
    """Its box was drawn anew. Only named while the drawn face is in the store."""


class EntryFace(NamedTuple):
    """A face of a ledger entry, as it is matched today.

    Attributes:
        role: Why the entry names it.
        person_id: Whose it was when the entry was written; for an exemplar, whom it represents.
        whole_track: Whether the entry is about its whole track.
        track_id: Its track, None while it has none.
    """

    face_id: int
    role: FaceRole
    person_id: int | None
    whole_track: bool = True
    track_id: int | None = None


class LedgerEntry(NamedTuple):
    """An entry of the ledger with the faces it names."""

    id: int
    kind: EditKind
    person_id: int | None
    into_id: int | None
    name: str | None
    undoes: int | None
    faces: Sequence[EntryFace]


@dataclass(slots=True)
class ResolvedCorrection:
    """What all edits of a face add up to.

    Attributes:
        person_id: Who it is; ``NO_PERSON`` for an unknown person, None if the grouping decides.
        hidden: Whether it is kept out of the tree.
        whole_track: Whether that is true of its whole track.
        entry_id: The last entry about it.
        previous_person_id: Whose it was before that entry.
        is_exemplar: Whether it represents the person, as their other exemplars do.
    """

    person_id: int | None = None
    hidden: Hidden = Hidden.NO
    whole_track: bool = True
    entry_id: int = 0
    previous_person_id: int | None = None
    is_exemplar: bool = False

    @property
    def outcome(self) -> tuple[int | None, Hidden]:
        """What two faces must share to stay in one track."""
        return self.person_id, self.hidden


class ReferenceDecision(NamedTuple):
    """The last entry about the face of a reference picture or region, counting or undone.

    Attributes:
        person_id: Who it says the face is; None if it says that the picture was removed.
        name: The name that it gave a new person; None if the person was there.
    """

    person_id: int | None
    name: str | None


@dataclass(slots=True)
class Corrections:
    """What the ledger adds up to.

    Attributes:
        by_face: The correction of each face that was moved, excluded or ignored.
        exemplars: By face, the person it represents.
        cannot_link: By moved face, for each person it is not, the faces that represent them.
        separations: What else a user said does not show one person.
        track_of: Track of each face named here; None while it has none.
        names: By person whose name was set or removed.
        ignored: By person who was ignored or recalled.
        merged: By person who was merged, the person they became.
        references: By face of a reference picture or of a named region, the last entry about it.
        undone: Ids of the entries that no longer count.
    """

    by_face: dict[int, ResolvedCorrection] = field(default_factory=dict)
    exemplars: dict[int, int] = field(default_factory=dict)
    cannot_link: dict[int, dict[int, set[int]]] = field(default_factory=lambda: defaultdict(dict))
    track_of: dict[int, int | None] = field(default_factory=dict)
    separations: list[Separation] = field(default_factory=list)
    names: dict[int, str | None] = field(default_factory=dict)
    ignored: dict[int, bool] = field(default_factory=dict)
    merged: dict[int, int] = field(default_factory=dict)
    references: dict[int, ReferenceDecision] = field(default_factory=dict)
    undone: frozenset[int] = frozenset()

    def current_person(self, person_id: int) -> int:
        """Return who a person is now, after all merges."""
        while person_id in self.merged:
            person_id = self.merged[person_id]
        return person_id

    def assigned_person(self, face_id: int) -> int | None:
        """Return the person a user assigned a face to, also ``NO_PERSON``; None if none did."""
        correction = self.by_face.get(face_id)
        return correction.person_id if correction else None

    def separated_people(self) -> set[frozenset[int]]:
        """Return the pairs of people who a user said are two."""
        return {
            frozenset((one.person_id, one.other_id))
            for one in self.separations
            if one.other_id is not None
        }

    def by_track(self) -> dict[int, ResolvedCorrection]:
        """Return the correction of each track; where its faces disagree, the newest entry's."""
        found: dict[int, ResolvedCorrection] = {}
        for face_id, correction in self.by_face.items():
            track_id = self.track_of.get(face_id)
            if track_id is None or correction.hidden is Hidden.REPLACED:
                continue
            if track_id not in found or found[track_id].entry_id < correction.entry_id:
                found[track_id] = correction
        return found


def undone_entries(entries: Iterable[tuple[int, int | None]]) -> frozenset[int]:
    """Return the ids of entries that no longer count. An undo can itself be undone.

    Args:
        entries: Of each entry its id and the id it undoes, rising.
    """
    undone: set[int] = set()
    for entry_id, undoes in reversed(list(entries)):
        if undoes is not None and entry_id not in undone:
            undone.add(undoes)
    return frozenset(undone)


def replay(entries: Sequence[LedgerEntry]) -> Corrections:
    """Return what the entries add up to.

    Args:
        entries: The whole ledger, oldest first.
    """
    undone = undone_entries((entry.id, entry.undoes) for entry in entries)
    corrections = Corrections(undone=undone)
    for entry in entries:
        if entry.id not in undone:
            for face in entry.faces:
                corrections.track_of[face.face_id] = face.track_id
            _READERS[entry.kind](corrections, entry)
        if entry.kind in (EditKind.REFERENCE, EditKind.REGION, EditKind.REMOVE_REFERENCE):
            is_added = entry.kind is not EditKind.REMOVE_REFERENCE
            decision = ReferenceDecision(entry.person_id if is_added else None, entry.name)
            corrections.references |= {face.face_id: decision for face in _moved(entry)}
    _replace_boxes(corrections, entries)
    for face_id in corrections.by_face:
        # A face that was moved itself cannot represent the person it belonged to before.
        corrections.exemplars.pop(face_id, None)
    corrections.separations = drop_moved(corrections.separations, corrections.assigned_person)
    return corrections


def _read_name(corrections: Corrections, entry: LedgerEntry) -> None:
    if entry.person_id is not None:
        corrections.names[corrections.current_person(entry.person_id)] = entry.name
    _add_exemplars(corrections, entry)


def _read_merge(corrections: Corrections, entry: LedgerEntry) -> None:
    if entry.person_id is None or entry.into_id is None:
        return
    one = corrections.current_person(entry.person_id)
    into = corrections.current_person(entry.into_id)
    if one != into:
        corrections.merged[one] = into
        name = corrections.names.pop(one, None)
        if name and not corrections.names.get(into):
            corrections.names[into] = name
        corrections.ignored.pop(one, None)
        for correction in corrections.by_face.values():
            if correction.person_id == one:
                correction.person_id = into
        for face_id, person_id in corrections.exemplars.items():
            corrections.exemplars[face_id] = into if person_id == one else person_id
        for face_id, others in corrections.cannot_link.items():
            if one in others:
                others.setdefault(into, set()).update(others.pop(one))
            moved = corrections.by_face.get(face_id)
            if moved is not None and moved.person_id == into:
                others.pop(into, None)
        named = {face.face_id for face in entry.faces}
        corrections.separations = merge_people(corrections.separations, one, into, named)
    _add_exemplars(corrections, entry)


def _read_place(corrections: Corrections, entry: LedgerEntry) -> None:
    person_id = NO_PERSON
    if entry.person_id is not None:
        person_id = corrections.current_person(entry.person_id)
    if entry.kind is EditKind.SPLIT and entry.name:
        corrections.names[person_id] = entry.name
    for face in _moved(entry):
        corrections.by_face[face.face_id] = ResolvedCorrection(
            person_id, Hidden.NO, face.whole_track, entry.id, face.person_id
        )
        corrections.cannot_link[face.face_id].pop(person_id, None)
    _add_exemplars(corrections, entry)
    _add_cannot_link(corrections, entry)


def _read_reference(corrections: Corrections, entry: LedgerEntry) -> None:
    if entry.person_id is None:
        return
    person_id = corrections.current_person(entry.person_id)
    if entry.name:
        corrections.names[person_id] = entry.name
    # The face of a region is in a photo that is shown like any other.
    hidden = Hidden.REFERENCE if entry.kind is EditKind.REFERENCE else Hidden.NO
    for face in _moved(entry):
        corrections.by_face[face.face_id] = ResolvedCorrection(
            person_id, hidden, face.whole_track, entry.id, face.person_id, is_exemplar=True
        )
        corrections.cannot_link.pop(face.face_id, None)


def _read_removed_reference(corrections: Corrections, entry: LedgerEntry) -> None:
    for face in _moved(entry):
        corrections.by_face.pop(face.face_id, None)


def _read_separation(corrections: Corrections, entry: LedgerEntry) -> None:
    if entry.person_id is None:
        return
    found = Separation(corrections.current_person(entry.person_id))
    if entry.into_id is not None:
        found.other_id = corrections.current_person(entry.into_id)
    for face in entry.faces:
        is_exemplar = face.role is FaceRole.EXEMPLAR and face.person_id == entry.person_id
        (found.exemplars if is_exemplar else found.faces).add(face.face_id)
    _add_exemplars(corrections, entry)
    if found.person_id != found.other_id:
        corrections.separations.append(found)


def _hide_reader(hidden: Hidden) -> Callable[[Corrections, LedgerEntry], None]:
    def read(corrections: Corrections, entry: LedgerEntry) -> None:
        for face in _moved(entry):
            before = corrections.by_face.get(face.face_id)
            person_id = before.person_id if before else None
            corrections.by_face[face.face_id] = ResolvedCorrection(
                person_id, hidden, face.whole_track, entry.id, face.person_id
            )

    return read


def _ignore_reader(is_ignored: bool) -> Callable[[Corrections, LedgerEntry], None]:
    def read(corrections: Corrections, entry: LedgerEntry) -> None:
        if entry.person_id is not None:
            corrections.ignored[corrections.current_person(entry.person_id)] = is_ignored
        _add_exemplars(corrections, entry)

    return read


def _read_drawing(corrections: Corrections, entry: LedgerEntry) -> None:
    if entry.person_id is None:
        return
    person_id = corrections.current_person(entry.person_id)
    for face in entry.faces:
        if face.role is FaceRole.DRAWN:
            corrections.by_face[face.face_id] = ResolvedCorrection(
                person_id, Hidden.NO, False, entry.id, face.person_id
            )
    _add_exemplars(corrections, entry)


def _replace_boxes(corrections: Corrections, entries: Sequence[LedgerEntry]) -> None:
    """Hide faces whose box was drawn anew, and drawn faces that were taken back.

    Whatever else was said about such a face, another box counts in its place.
    """
    drawn: set[int] = set()
    replaced: dict[int, ResolvedCorrection] = {}
    taken_back: dict[int, ResolvedCorrection] = {}
    for entry in entries:
        is_undone = entry.id in corrections.undone
        for face in entry.faces:
            hides = ResolvedCorrection(None, Hidden.REPLACED, False, entry.id, face.person_id)
            if face.role is FaceRole.REPLACED and not is_undone:
                replaced[face.face_id] = hides
            elif face.role is FaceRole.DRAWN and is_undone:
                taken_back[face.face_id] = hides
            elif face.role is FaceRole.DRAWN:
                drawn.add(face.face_id)
    corrections.by_face |= {face: one for face, one in taken_back.items() if face not in drawn}
    corrections.by_face |= replaced


def _read_undo(corrections: Corrections, entry: LedgerEntry) -> None:
    """Do nothing: the entry that it undoes was left out."""


def _moved(entry: LedgerEntry) -> list[EntryFace]:
    return [face for face in entry.faces if face.role is FaceRole.MOVED]


def _add_exemplars(corrections: Corrections, entry: LedgerEntry) -> None:
    for face in entry.faces:
        if face.role is FaceRole.EXEMPLAR and face.person_id is not None:
            corrections.exemplars[face.face_id] = corrections.current_person(face.person_id)


def _add_cannot_link(corrections: Corrections, entry: LedgerEntry) -> None:
    moved = _moved(entry)
    for other in entry.faces:
        if other.role is FaceRole.CANNOT_LINK and other.person_id is not None:
            person_id = corrections.current_person(other.person_id)
            for face in moved:
                if corrections.by_face[face.face_id].person_id != person_id:
                    others = corrections.cannot_link[face.face_id]
                    others.setdefault(person_id, set()).add(other.face_id)


_READERS: dict[EditKind, Callable[[Corrections, LedgerEntry], None]] = {
    EditKind.NAME: _read_name,
    EditKind.MERGE: _read_merge,
    EditKind.PLACE: _read_place,
    EditKind.SPLIT: _read_place,
    EditKind.EXCLUDE: _hide_reader(Hidden.EXCLUDED),
    EditKind.IGNORE_FACES: _hide_reader(Hidden.IGNORED),
    EditKind.IGNORE_PERSON: _ignore_reader(True),
    EditKind.RECALL_PERSON: _ignore_reader(False),
    EditKind.SEPARATE: _read_separation,
    EditKind.REJECT: _read_separation,
    EditKind.REFERENCE: _read_reference,
    EditKind.REGION: _read_reference,
    EditKind.REMOVE_REFERENCE: _read_removed_reference,
    EditKind.DRAW: _read_drawing,
    EditKind.REDRAW: _read_drawing,
    EditKind.UNDO: _read_undo,
}
