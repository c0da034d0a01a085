"""Puts in force what people did: a row in the ledger, and its effect on the store at once.

One transaction for everything that was read together. A publish before the next grouping then
shows what was done, and the grouping confirms it, because the same rows bind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from portraitd.model.edit import (
    AssignFaces,
    Edit,
    ExcludeFaces,
    Hidden,
    IgnoreFaces,
    IgnorePerson,
    MergePeople,
    NamePerson,
    Placement,
    RecallPerson,
    SplitPerson,
)
from portraitd.model.errors import ConfigError
from portraitd.store.corrections.effects import KEEP_PERSON, Affected, Effects
from portraitd.store.corrections.exemplars import Exemplars
from portraitd.store.corrections.ledger import Ledger, Mention
from portraitd.store.corrections.replay import (
    NO_PERSON,
    Corrections,
    EditKind,
    FaceRole,
    LedgerEntry,
)
from portraitd.store.corrections.scope import EditScope, ScopedFace
from portraitd.store.database import Database
from portraitd.store.publications import Publications

_KINDS: dict[type, EditKind] = {
    NamePerson: EditKind.NAME,
    MergePeople: EditKind.MERGE,
    AssignFaces: EditKind.PLACE,
    SplitPerson: EditKind.SPLIT,
    ExcludeFaces: EditKind.EXCLUDE,
    IgnoreFaces: EditKind.IGNORE_FACES,
    IgnorePerson: EditKind.IGNORE_PERSON,
    RecallPerson: EditKind.RECALL_PERSON,
}


@dataclass(frozen=True, slots=True)
class RecordedEdit:
    """A edit that was put in force.

    Attributes:
        edit: Which.
        row: The ledger's; 0 where it held already and only the folder has to be adopted.
        person_id: Of a split, the new person.
    """

    edit: Edit
    row: int
    person_id: int | None = None


@dataclass(frozen=True, slots=True)
class _Reading:
    """Gestures that were read together, on their way into the ledger."""

    held: Corrections
    reach: EditScope
    affected: Affected
    now_s: float


def without_undone(edit: Edit, taken_back: Sequence[LedgerEntry]) -> Edit | None:
    """A edit without what these rows said, None if nothing is left."""
    for entry in taken_back:
        match edit:
            case (
                NamePerson(person_id=one)
                | IgnorePerson(person_id=one)
                | RecallPerson(person_id=one)
            ):
                if entry.kind is _KINDS[type(edit)] and entry.person_id == one:
                    return None
            case MergePeople():
                if (entry.person_id, entry.into_id) == (edit.person_id, edit.into_id):
                    return None
            case _:
                where = edit.person_id if isinstance(edit, AssignFaces) else entry.person_id
                if entry.kind is _KINDS[type(edit)] and entry.person_id == where:
                    moved = {one.face_id for one in entry.faces if one.role is FaceRole.MOVED}
                    left = tuple(face for face in edit.face_ids if face not in moved)
                    if not left:
                        return None
                    edit = replace(edit, face_ids=left)
    return edit


class EditRecorder:
    """What people did, put in force.

    Args:
        database: The store.
        ledger: Where the rows go.
        showing: Where portraits lie.
        whole_tracks: Whether a portrait stands for its track.
    """

    def __init__(
        self, database: Database, ledger: Ledger, publications: Publications, whole_tracks: bool
    ) -> None:
        self._db = database
        self._showing = publications
        self._ledger = ledger
        self._anchors = Exemplars(database)
        self._effects = Effects(database)
        self._whole_tracks = whole_tracks
        self._write: dict[type, Callable[[Any, _Reading], RecordedEdit | None]] = {
            NamePerson: self._name,
            MergePeople: self._merge,
            AssignFaces: self._place,
            SplitPerson: self._split,
            ExcludeFaces: self._exclude,
            IgnoreFaces: self._ignore_faces,
            IgnorePerson: self._ignore_person,
            RecallPerson: self._recall_person,
        }

    def apply(self, edits: Sequence[Edit], now_s: float) -> list[RecordedEdit]:
        """Put edits in force, all or none; those that hold already leave no row."""
        held = self._ledger.corrections()
        with self._db.transaction():
            reach = EditScope(self._db, edits, self._whole_tracks)
            reading = _Reading(held, reach, Affected(), now_s)
            done = [self._write[type(edit)](edit, reading) for edit in edits]
            if any(done):
                self._effects.enforce(held, self._ledger.corrections(), reading.affected)
        if any(done):
            self._ledger.keep()
        return [one for one in done if one]

    def undo(self, row: int | None, now_s: float) -> LedgerEntry:
        """Take back a row, or the last one that counts. Returns what was taken back.

        Raises:
            ConfigError: There is no such row, or it was taken back already.
        """
        held = self._ledger.corrections()
        entries = {entry.id: entry for entry in self._ledger.entries()}
        if row is None:
            counting = [
                entry.id
                for entry in entries.values()
                if entry.id not in held.undone and entry.kind is not EditKind.UNDO
            ]
            if not counting:
                raise ConfigError("there is nothing to undo")
            row = counting[-1]
        if row not in entries:
            raise ConfigError(f"there is no row {row}; `portraitd ledger` lists them")
        if row in held.undone:
            raise ConfigError(f"row {row} was undone before; undo that undo instead")
        meant = entries[row]
        while meant.undoes is not None:
            meant = entries[meant.undoes]
        with self._db.transaction():
            self._ledger.write(EditKind.UNDO, now_s, undoes=row)
            affected = self._effects.taken_back(meant)
            self._effects.enforce(held, self._ledger.corrections(), affected)
        return entries[row]

    def still_lying(self, edits: Sequence[Edit], since_row: int) -> list[Edit]:
        """Gestures without those that were undone after a row.

        Until the tree shows that row, it lies there as people left it before the undo.
        """
        entries = {entry.id: entry for entry in self._ledger.entries()}
        undone = self._ledger.corrections().undone
        taken_back = [
            entries[entry.undoes]
            for entry in entries.values()
            if entry.undoes is not None and entry.id > since_row and entry.id not in undone
        ]
        left = (without_undone(edit, taken_back) for edit in edits)
        return [edit for edit in left if edit is not None]

    # --- One edit each: whether it says something new, its row, and what that is about.

    def _name(self, edit: NamePerson, at: _Reading) -> RecordedEdit | None:
        person = at.held.who(edit.person_id)
        if self._fact("name", person) in (None, (edit.name,)):
            return None
        at.affected.people.add(person)
        row = self._ledger.write(
            EditKind.NAME, at.now_s, self._standing(person), person_id=person, name=edit.name
        )
        return RecordedEdit(edit, row)

    def _merge(self, edit: MergePeople, at: _Reading) -> RecordedEdit | None:
        one, into = at.held.who(edit.person_id), at.held.who(edit.into_id)
        if one == into or None in (self._fact("id", one), self._fact("id", into)):
            return None
        at.affected.people |= {one, into}
        members = [Mention(face, FaceRole.MEMBER, one) for face in self._anchors.all_of(one)]
        mentions = [*self._standing(one), *self._standing(into), *members]
        row = self._ledger.write(EditKind.MERGE, at.now_s, mentions, person_id=one, into_id=into)
        return RecordedEdit(edit, row)

    def _place(self, edit: AssignFaces, at: _Reading) -> RecordedEdit | None:
        person = NO_PERSON if edit.person_id is None else at.held.who(edit.person_id)
        if person and self._fact("id", person) is None:
            return None
        self._showing.lie(edit.face_ids, person)
        news = [
            face
            for face in edit.face_ids
            if face not in at.held.fates or at.held.fates[face].verdict != (person, Hidden.NO)
        ]
        moved = at.reach.of(edit, news)
        if not moved:
            return None
        mentions = self._moving(moved, person, at)
        row = self._ledger.write(EditKind.PLACE, at.now_s, mentions, person_id=person or None)
        return RecordedEdit(edit, row)

    def _split(self, edit: SplitPerson, at: _Reading) -> RecordedEdit | None:
        if (begun := self._begun(edit, at.held)) is not None:
            # A stop came between the row and the folder's note.
            return RecordedEdit(edit, 0, begun)
        moved = at.reach.of(edit, edit.face_ids)
        if not moved:
            return None
        person = self._db.execute(
            "insert into people (created_at, name) values (?, ?) returning id",
            (at.now_s, edit.name),
        ).fetchone()["id"]
        at.affected.people.add(person)
        self._showing.lie(edit.face_ids, person)
        mentions = self._moving(moved, person, at)
        row = self._ledger.write(
            EditKind.SPLIT, at.now_s, mentions, person_id=person, name=edit.name
        )
        return RecordedEdit(edit, row, person)

    def _exclude(self, edit: ExcludeFaces, at: _Reading) -> RecordedEdit | None:
        self._showing.lie(edit.face_ids, None)
        return self._hide(edit, EditKind.EXCLUDE, Hidden.EXCLUDED, at)

    def _ignore_faces(self, edit: IgnoreFaces, at: _Reading) -> RecordedEdit | None:
        self._showing.lie(edit.face_ids, Placement.IGNORED)
        return self._hide(edit, EditKind.IGNORE_FACES, Hidden.IGNORED, at)

    def _hide(
        self, edit: ExcludeFaces | IgnoreFaces, kind: EditKind, hidden: Hidden, at: _Reading
    ) -> RecordedEdit | None:
        news = [
            face
            for face in edit.face_ids
            if face not in at.held.fates or at.held.fates[face].hidden is not hidden
        ]
        moved = at.reach.of(edit, news)
        if not moved:
            return None
        at.affected.faces.update((one.face_id, KEEP_PERSON) for one in moved)
        mentions = [Mention(one.face_id, FaceRole.MOVED, one.person_id, one.whole) for one in moved]
        return RecordedEdit(edit, self._ledger.write(kind, at.now_s, mentions))

    def _ignore_person(self, edit: IgnorePerson, at: _Reading) -> RecordedEdit | None:
        return self._put_out_of_sight(edit, EditKind.IGNORE_PERSON, at)

    def _recall_person(self, edit: RecallPerson, at: _Reading) -> RecordedEdit | None:
        return self._put_out_of_sight(edit, EditKind.RECALL_PERSON, at)

    def _put_out_of_sight(
        self, edit: IgnorePerson | RecallPerson, kind: EditKind, at: _Reading
    ) -> RecordedEdit | None:
        person, is_ignored = at.held.who(edit.person_id), kind is EditKind.IGNORE_PERSON
        if self._fact("ignored", person) in (None, (is_ignored,)):
            return None
        at.affected.people.add(person)
        row = self._ledger.write(kind, at.now_s, self._standing(person), person_id=person)
        return RecordedEdit(edit, row)

    # ---

    def _moving(self, moved: Sequence[ScopedFace], person: int, at: _Reading) -> list[Mention]:
        """Who is moved, who stands for whom they belong to, and for whom they are not."""
        at.affected.faces.update((one.face_id, KEEP_PERSON) for one in moved)
        mentions = [Mention(one.face_id, FaceRole.MOVED, one.person_id, one.whole) for one in moved]
        mine = {one.face_id for one in moved}
        if person:
            mentions += [one for one in self._standing(person) if one.face_id not in mine]
        for former in sorted({one.person_id for one in moved if one.person_id} - {person}):
            mentions += [
                Mention(face, FaceRole.AGAINST, former) for face in self._anchors.of(former, mine)
            ]
        return mentions

    def _standing(self, person: int) -> list[Mention]:
        return [Mention(face, FaceRole.ANCHOR, person) for face in self._anchors.of(person)]

    def _begun(self, edit: SplitPerson, held: Corrections) -> int | None:
        """The person that this very split has made, if it was recorded before."""
        people = {held.fates[face].person if face in held.fates else None for face in edit.face_ids}
        person = people.pop() if len(people) == 1 else None
        return person if person and held.names.get(person) == edit.name else None

    def _fact(self, column: str, person: int) -> tuple[object, ...] | None:
        """One column of a person; None if there is no such person."""
        columns = {"id": "select id", "name": "select name", "ignored": "select ignored"}
        row = self._db.execute(f"{columns[column]} from people where id = ?", (person,)).fetchone()
        return tuple(row) if row else None
