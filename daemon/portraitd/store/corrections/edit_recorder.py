"""Records edits: an entry in the ledger, and its effect on the store at once.

Edits that were read together are recorded in one transaction. The next publication shows them
before any grouping runs, and the grouping confirms them: the same entries constrain it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from portraitd.model.edit import (
    AddReference,
    AssignFaces,
    DeferQuestion,
    DrawFaces,
    Edit,
    ExcludeFaces,
    Hidden,
    IgnoreFaces,
    IgnorePerson,
    MergePeople,
    NamePerson,
    NameRegion,
    Placement,
    RecallPerson,
    RejectPerson,
    RemoveReference,
    SeparatePeople,
    SplitPerson,
    UndoEntry,
)
from portraitd.model.errors import ConfigError
from portraitd.store.corrections.effects import KEEP_PERSON, Affected, Effects
from portraitd.store.corrections.exemplars import Exemplars
from portraitd.store.corrections.ledger import DrawnFingerprint, Ledger
from portraitd.store.corrections.replay import (
    NO_PERSON,
    Corrections,
    EditKind,
    EntryFace,
    FaceRole,
    LedgerEntry,
    undone_entries,
)
from portraitd.store.corrections.scope import EditScope, ScopedFace
from portraitd.store.database import Database
from portraitd.store.publications import Publications
from portraitd.store.questions import DeferredAnswer, QuestionStore

_KINDS: dict[type, EditKind] = {
    NamePerson: EditKind.NAME,
    MergePeople: EditKind.MERGE,
    AssignFaces: EditKind.PLACE,
    SplitPerson: EditKind.SPLIT,
    ExcludeFaces: EditKind.EXCLUDE,
    IgnoreFaces: EditKind.IGNORE_FACES,
    IgnorePerson: EditKind.IGNORE_PERSON,
    RecallPerson: EditKind.RECALL_PERSON,
    SeparatePeople: EditKind.SEPARATE,
    RejectPerson: EditKind.REJECT,
    AddReference: EditKind.REFERENCE,
    RemoveReference: EditKind.REMOVE_REFERENCE,
    NameRegion: EditKind.REGION,
}
"""Without ``DrawFaces``, which is recorded as one of two kinds."""


@dataclass(frozen=True, slots=True)
class RecordedEdit:
    """An edit that has taken effect.

    Attributes:
        entry_id: Its ledger entry; 0 if it was recorded before and only the folder is missing.
        person_id: Of a split, the new person.
    """

    edit: Edit
    entry_id: int
    person_id: int | None = None


@dataclass(frozen=True, slots=True)
class _Batch:
    """Edits that were read together, on their way into the ledger."""

    corrections: Corrections
    scope: EditScope
    affected: Affected
    now_s: float


def without_undone(edit: Edit, undone: Sequence[LedgerEntry]) -> Edit | None:
    """Return an edit without what these entries recorded; None if nothing is left of it."""
    for entry in undone:
        match edit:
            case (
                NamePerson(person_id=person_id)
                | IgnorePerson(person_id=person_id)
                | RecallPerson(person_id=person_id)
            ):
                is_same = entry.kind is _KINDS[type(edit)] and entry.person_id == person_id
                # Another name is another edit.
                if is_same and getattr(edit, "name", None) == entry.name:
                    return None
            case MergePeople(person_id=one, into_id=other):
                if (entry.kind, entry.person_id, entry.into_id) == (EditKind.MERGE, one, other):
                    return None
            case SeparatePeople(person_id=one, other_id=other):
                if (entry.kind, entry.person_id, entry.into_id) == (EditKind.SEPARATE, one, other):
                    return None
            # The stages that compare reference pictures and regions check what was undone.
            # Boxes are drawn outside of the tree.
            case (
                AddReference()
                | RemoveReference()
                | NameRegion()
                | DeferQuestion()
                | UndoEntry()
                | DrawFaces()
            ):
                return edit
            case _:
                target = entry.person_id
                if isinstance(edit, AssignFaces | RejectPerson):
                    target = edit.person_id
                if entry.kind is _KINDS[type(edit)] and entry.person_id == target:
                    moved = {one.face_id for one in entry.faces if one.role is FaceRole.MOVED}
                    left = tuple(face for face in edit.face_ids if face not in moved)
                    if not left:
                        return None
                    edit = replace(edit, face_ids=left)
    return edit


class EditRecorder:
    """Records edits in the ledger and applies them.

    Args:
        database: The store.
        ledger: Where the entries go.
        publications: Where each portrait is in the tree; None for edits that were not made there,
            after which the portraits are still where they were.
        whole_tracks: Whether a portrait represents its track.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        publications: Publications | None,
        whole_tracks: bool,
    ) -> None:
        self._db = database
        self._publications = publications
        self._ledger = ledger
        self._exemplars = Exemplars(database)
        self._effects = Effects(database)
        self._questions = QuestionStore(database)
        self._whole_tracks = whole_tracks
        self._recorders: dict[type, Callable[[Any, _Batch], RecordedEdit | None]] = {
            NamePerson: self._name,
            MergePeople: self._merge,
            AssignFaces: self._place,
            SplitPerson: self._split,
            ExcludeFaces: self._exclude,
            IgnoreFaces: self._ignore_faces,
            IgnorePerson: self._ignore_person,
            RecallPerson: self._recall_person,
            UndoEntry: self._undo_entry,
            SeparatePeople: self._separate,
            RejectPerson: self._reject,
            DeferQuestion: self._defer,
            AddReference: self._add_reference,
            RemoveReference: self._remove_reference,
            NameRegion: self._name_region,
            DrawFaces: self._draw,
        }

    def record(self, edits: Sequence[Edit], now_s: float) -> list[RecordedEdit]:
        """Record and apply edits, all or none; those that change nothing leave no entry."""
        corrections = self._ledger.corrections()
        with self._db.transaction():
            scope = EditScope(self._db, edits, self._whole_tracks)
            batch = _Batch(corrections, scope, Affected(), now_s)
            recorded = [self._recorders[type(edit)](edit, batch) for edit in edits]
            if any(recorded):
                self._effects.apply(corrections, self._ledger.corrections(), batch.affected)
        if any(recorded):
            self._ledger.keep_cache()
        return [one for one in recorded if one]

    def undo(self, entry_id: int | None, now_s: float) -> LedgerEntry:
        """Undo an entry, or the last one that counts. Return the entry that was undone.

        Raises:
            ConfigError: There is no such entry, or it was undone already.
        """
        corrections = self._ledger.corrections()
        entries = {entry.id: entry for entry in self._ledger.entries()}
        if entry_id is None:
            counting = [
                entry.id
                for entry in entries.values()
                if entry.id not in corrections.undone and entry.kind is not EditKind.UNDO
            ]
            if not counting:
                raise ConfigError("there is nothing to undo")
            entry_id = counting[-1]
        if entry_id not in entries:
            raise ConfigError(f"there is no entry {entry_id}; `portraitd ledger` lists them")
        if entry_id in corrections.undone:
            raise ConfigError(f"entry {entry_id} is undone already; undo that undo instead")
        self.record([UndoEntry(entry_id)], now_s)
        return entries[entry_id]

    def drop_undone(self, edits: Sequence[Edit], after_id: int) -> list[Edit]:
        """Return edits without those that were undone after a ledger entry.

        Until the undo is published, the tree still looks as it did before it.
        """
        entries = {entry.id: entry for entry in self._ledger.entries()}
        undone = self._ledger.corrections().undone
        undone_later = [
            entries[entry.undoes]
            for entry in entries.values()
            if entry.undoes is not None and entry.id > after_id and entry.id not in undone
        ]
        left = (without_undone(edit, undone_later) for edit in edits)
        return [edit for edit in left if edit is not None]

    # --- One edit each: whether it changes anything, its entry, and what that is about.

    def _name(self, edit: NamePerson, batch: _Batch) -> RecordedEdit | None:
        person_id = batch.corrections.current_person(edit.person_id)
        if self._fact("name", person_id) in (None, (edit.name,)):
            return None
        batch.affected.people.add(person_id)
        entry_id = self._ledger.append(
            EditKind.NAME,
            batch.now_s,
            self._exemplars_of(person_id),
            person_id=person_id,
            name=edit.name,
        )
        return RecordedEdit(edit, entry_id)

    def _merge(self, edit: MergePeople, batch: _Batch) -> RecordedEdit | None:
        one = batch.corrections.current_person(edit.person_id)
        into = batch.corrections.current_person(edit.into_id)
        if one == into or None in (self._fact("id", one), self._fact("id", into)):
            return None
        batch.affected.people |= {one, into}
        members = [
            EntryFace(face_id, FaceRole.MEMBER, one)
            for face_id in self._exemplars.one_per_track(one)
        ]
        members += self._separated_faces({one, into}, batch.corrections)
        faces = [*self._exemplars_of(one), *self._exemplars_of(into), *members]
        entry_id = self._ledger.append(
            EditKind.MERGE, batch.now_s, faces, person_id=one, into_id=into
        )
        return RecordedEdit(edit, entry_id)

    def _place(self, edit: AssignFaces, batch: _Batch) -> RecordedEdit | None:
        person_id = NO_PERSON
        if edit.person_id is not None:
            person_id = batch.corrections.current_person(edit.person_id)
        if person_id and self._fact("id", person_id) is None:
            return None
        self._note_place(edit.face_ids, person_id)
        by_face = batch.corrections.by_face
        changed = [
            face_id
            for face_id in edit.face_ids
            if face_id not in by_face or by_face[face_id].outcome != (person_id, Hidden.NO)
        ]
        moved = batch.scope.faces_of(edit, changed)
        if not moved:
            return None
        faces = self._faces_of_move(moved, person_id, batch)
        entry_id = self._ledger.append(
            EditKind.PLACE,
            batch.now_s,
            faces,
            person_id=person_id or None,
            portraits=len(changed),
        )
        return RecordedEdit(edit, entry_id)

    def _split(self, edit: SplitPerson, batch: _Batch) -> RecordedEdit | None:
        if (existing := self._recorded_split(edit, batch.corrections)) is not None:
            # The service stopped after the entry and before it wrote the folder's manifest.
            return RecordedEdit(edit, 0, existing)
        moved = batch.scope.faces_of(edit, edit.face_ids)
        if not moved:
            return None
        person_id = self._insert_person(edit.name, batch)
        self._note_place(edit.face_ids, person_id)
        faces = self._faces_of_move(moved, person_id, batch)
        entry_id = self._ledger.append(
            EditKind.SPLIT,
            batch.now_s,
            faces,
            person_id=person_id,
            name=edit.name or None,
            portraits=len(edit.face_ids),
        )
        return RecordedEdit(edit, entry_id, person_id)

    def _exclude(self, edit: ExcludeFaces, batch: _Batch) -> RecordedEdit | None:
        self._note_place(edit.face_ids, None)
        return self._hide(edit, EditKind.EXCLUDE, Hidden.EXCLUDED, batch)

    def _ignore_faces(self, edit: IgnoreFaces, batch: _Batch) -> RecordedEdit | None:
        self._note_place(edit.face_ids, Placement.IGNORED)
        return self._hide(edit, EditKind.IGNORE_FACES, Hidden.IGNORED, batch)

    def _hide(
        self, edit: ExcludeFaces | IgnoreFaces, kind: EditKind, hidden: Hidden, batch: _Batch
    ) -> RecordedEdit | None:
        by_face = batch.corrections.by_face
        changed = [
            face_id
            for face_id in edit.face_ids
            if face_id not in by_face or by_face[face_id].hidden is not hidden
        ]
        moved = batch.scope.faces_of(edit, changed)
        if not moved:
            return None
        batch.affected.faces.update((face.face_id, KEEP_PERSON) for face in moved)
        entry_id = self._ledger.append(
            kind, batch.now_s, _moved_faces(moved), portraits=len(changed)
        )
        return RecordedEdit(edit, entry_id)

    def _ignore_person(self, edit: IgnorePerson, batch: _Batch) -> RecordedEdit | None:
        return self._set_ignored(edit, EditKind.IGNORE_PERSON, batch)

    def _recall_person(self, edit: RecallPerson, batch: _Batch) -> RecordedEdit | None:
        return self._set_ignored(edit, EditKind.RECALL_PERSON, batch)

    def _set_ignored(
        self, edit: IgnorePerson | RecallPerson, kind: EditKind, batch: _Batch
    ) -> RecordedEdit | None:
        person_id = batch.corrections.current_person(edit.person_id)
        if self._fact("ignored", person_id) in (None, (kind is EditKind.IGNORE_PERSON,)):
            return None
        batch.affected.people.add(person_id)
        entry_id = self._ledger.append(
            kind, batch.now_s, self._exemplars_of(person_id), person_id=person_id
        )
        return RecordedEdit(edit, entry_id)

    def _separate(self, edit: SeparatePeople, batch: _Batch) -> RecordedEdit | None:
        current = batch.corrections.current_person
        one, other = sorted((current(edit.person_id), current(edit.other_id)))
        if one == other or {one, other} in batch.corrections.separated_people():
            return None
        faces = [*self._exemplars_of(one), *self._exemplars_of(other)]
        # Without a face of each there is nothing to tell them apart by.
        if {face.person_id for face in faces} != {one, other}:
            return None
        self._db.execute(
            "delete from merge_candidates where lower_id = ? and higher_id = ?", (one, other)
        )
        entry_id = self._ledger.append(
            EditKind.SEPARATE, batch.now_s, faces, person_id=one, into_id=other
        )
        return RecordedEdit(edit, entry_id)

    def _reject(self, edit: RejectPerson, batch: _Batch) -> RecordedEdit | None:
        person_id = batch.corrections.current_person(edit.person_id)
        known = {
            face_id
            for one in batch.corrections.separations
            if one.person_id == person_id and one.other_id is None
            for face_id in one.faces
        }
        rejected = [
            face
            for face in batch.scope.faces_of(edit, edit.face_ids)
            if face.face_id not in known
            and batch.corrections.assigned_person(face.face_id) != person_id
        ]
        exemplars = self._exemplars.choose(person_id, {face.face_id for face in rejected})
        if not rejected or not exemplars:
            return None
        # Where the grouping assigned them to that person meanwhile, they are unsorted at once.
        batch.affected.faces.update(
            (face.face_id, NO_PERSON if face.person_id == person_id else KEEP_PERSON)
            for face in rejected
        )
        faces = _moved_faces(rejected)
        faces += [EntryFace(face_id, FaceRole.EXEMPLAR, person_id) for face_id in exemplars]
        entry_id = self._ledger.append(
            EditKind.REJECT,
            batch.now_s,
            faces,
            person_id=person_id,
            portraits=len(edit.face_ids),
        )
        return RecordedEdit(edit, entry_id)

    def _defer(self, edit: DeferQuestion, batch: _Batch) -> RecordedEdit | None:
        if edit.answer:
            self._questions.defer(edit.key, DeferredAnswer(edit.answer), batch.now_s)
        return None

    def _add_reference(self, edit: AddReference, batch: _Batch) -> RecordedEdit | None:
        face = self._find_face(edit.face_id, FaceRole.MOVED)
        if face is None:
            return None
        person_id = self._find_person(edit.person_id, edit.name, batch.corrections)
        if person_id is not None and face.person_id == person_id:
            return None
        return self._represent(person_id, edit, face, batch)

    def _name_region(self, edit: NameRegion, batch: _Batch) -> RecordedEdit | None:
        face = self._find_face(edit.face_id, FaceRole.MOVED)
        if face is None:
            return None
        # Also where the grouping has assigned it to that person: that was a guess.
        person_id = self._find_person(None, edit.name, batch.corrections)
        return self._represent(person_id, edit, face, batch)

    def _represent(
        self,
        person_id: int | None,
        edit: AddReference | NameRegion,
        face: EntryFace,
        batch: _Batch,
    ) -> RecordedEdit:
        """Record that a face represents a person; None for a new one."""
        name = None
        if person_id is None:
            name = edit.name
            person_id = self._insert_person(name, batch)
        batch.affected.people.add(person_id)
        batch.affected.faces[edit.face_id] = KEEP_PERSON
        entry_id = self._ledger.append(
            _KINDS[type(edit)], batch.now_s, [face], person_id=person_id, name=name
        )
        return RecordedEdit(edit, entry_id, person_id)

    def _remove_reference(self, edit: RemoveReference, batch: _Batch) -> RecordedEdit | None:
        face = self._find_face(edit.face_id, FaceRole.MOVED)
        if face is None:
            return None
        batch.affected.faces[edit.face_id] = NO_PERSON
        entry_id = self._ledger.append(
            EditKind.REMOVE_REFERENCE, batch.now_s, [face], person_id=face.person_id
        )
        return RecordedEdit(edit, entry_id, face.person_id)

    def _undo_entry(self, edit: UndoEntry, batch: _Batch) -> RecordedEdit | None:
        entries = {entry.id: entry for entry in self._ledger.entries()}
        undone = undone_entries((one.id, one.undoes) for one in entries.values())
        if edit.entry_id not in entries or edit.entry_id in undone:
            return None
        original = entries[edit.entry_id]
        while original.undoes is not None:
            original = entries[original.undoes]
        affected = self._effects.affected_by_undo(original)
        batch.affected.people |= affected.people
        batch.affected.faces |= affected.faces
        entry_id = self._ledger.append(EditKind.UNDO, batch.now_s, undoes=edit.entry_id)
        return RecordedEdit(edit, entry_id)

    def _draw(self, edit: DrawFaces, batch: _Batch) -> RecordedEdit | None:
        person_id = edit.person_id and batch.corrections.current_person(edit.person_id)
        if person_id is not None and self._fact("id", person_id) is None:
            return None
        drawn, exemplars = [], []
        for one in edit.boxes:
            before = None
            if one.replaces_id is not None:
                before = self._find_face(one.replaces_id, FaceRole.REPLACED)
                if before is None:
                    continue
                batch.affected.faces[one.replaces_id] = KEEP_PERSON
            former = before.person_id if before else None
            number = self._ledger.fingerprint_at(one.video_id, one.t_s, one.box)
            drawn.append(DrawnFingerprint(number, one.replaces_id, former))
            if (face_id := self._ledger.match_of(number)) is not None:
                # It was drawn before, and taken back.
                batch.affected.faces[face_id] = former or NO_PERSON
        if not drawn:
            return None
        if person_id is not None:
            exemplars = self._exemplars_of(person_id)
        is_new = edit.boxes[0].replaces_id is None
        entry_id = self._ledger.append(
            EditKind.DRAW if is_new else EditKind.REDRAW,
            batch.now_s,
            [one for one in exemplars if one.face_id not in batch.affected.faces],
            person_id=person_id,
            drawn=drawn,
        )
        return RecordedEdit(edit, entry_id, person_id)

    # ---

    def _note_place(self, face_ids: Sequence[int], placement: int | None) -> None:
        if self._publications is not None:
            self._publications.place(face_ids, placement)

    def _find_person(
        self, person_id: int | None, name: str, corrections: Corrections
    ) -> int | None:
        """Return who has a number or else a name; None for a person who is not known yet."""
        if person_id is not None:
            person_id = corrections.current_person(person_id)
            if self._fact("id", person_id) is not None:
                return person_id
        row = self._db.execute(
            "select min(id) as id from people where name = ? and merged_into is null",
            (name,),
        ).fetchone()
        return row["id"] if row["id"] is None else int(row["id"])

    def _insert_person(self, name: str, batch: _Batch) -> int:
        row = self._db.execute(
            "insert into people (created_at, name) values (?, ?) returning id",
            (batch.now_s, name or None),
        ).fetchone()
        batch.affected.people.add(int(row["id"]))
        return int(row["id"])

    def _faces_of_move(
        self, moved: Sequence[ScopedFace], person_id: int, batch: _Batch
    ) -> list[EntryFace]:
        """Return the moved faces, the new person's exemplars, and those of the former people."""
        batch.affected.faces.update((face.face_id, KEEP_PERSON) for face in moved)
        faces = _moved_faces(moved)
        moved_ids = {face.face_id for face in moved}
        if person_id:
            faces += [one for one in self._exemplars_of(person_id) if one.face_id not in moved_ids]
        former_people = {face.person_id for face in moved if face.person_id} - {person_id}
        for former in sorted(former_people):
            faces += [
                EntryFace(face_id, FaceRole.CANNOT_LINK, former)
                for face_id in self._exemplars.choose(former, without=moved_ids)
            ]
        return faces

    def _separated_faces(
        self, people: Collection[int], corrections: Corrections
    ) -> list[EntryFace]:
        """Return the faces of separations that belong to these people now.

        An entry that names them says that they are one person after all.
        """
        face_ids = sorted({face for one in corrections.separations for face in one.all_faces})
        found = (self._find_face(face_id, FaceRole.MEMBER) for face_id in face_ids)
        return [face for face in found if face is not None and face.person_id in people]

    def _find_face(self, face_id: int, role: FaceRole) -> EntryFace | None:
        """Return a face with the person it belongs to now; None if it is not in the store."""
        row = self._db.execute("select person_id from faces where id = ?", (face_id,)).fetchone()
        return None if row is None else EntryFace(face_id, role, row["person_id"])

    def _exemplars_of(self, person_id: int) -> list[EntryFace]:
        return [
            EntryFace(face_id, FaceRole.EXEMPLAR, person_id)
            for face_id in self._exemplars.choose(person_id)
        ]

    def _recorded_split(self, edit: SplitPerson, corrections: Corrections) -> int | None:
        """Return the person that this very split made, if it was recorded before."""
        by_face = corrections.by_face
        people = {by_face[one].person_id if one in by_face else None for one in edit.face_ids}
        person_id = people.pop() if len(people) == 1 else None
        # Someone whom a question was about may have a name by now.
        is_same = not edit.name or corrections.names.get(person_id or 0) == edit.name
        return person_id if person_id and is_same else None

    def _fact(self, column: str, person_id: int) -> tuple[object, ...] | None:
        """Return one column of a person; None if there is no such person."""
        columns = {"id": "select id", "name": "select name", "ignored": "select ignored"}
        row = self._db.execute(
            f"{columns[column]} from people where id = ?", (person_id,)
        ).fetchone()
        return tuple(row) if row else None


def _moved_faces(moved: Sequence[ScopedFace]) -> list[EntryFace]:
    return [
        EntryFace(face.face_id, FaceRole.MOVED, face.person_id, face.whole_track) for face in moved
    ]
