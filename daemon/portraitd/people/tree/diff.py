"""Detect what reviewers did in the tree since the last publish. Pure: values in, edits out.

Three things are compared: what the manifests say was published, what is present now, and what
the database has recorded. Only the difference between the first two can be an edit, because the
database may have changed since; it tells which edits have been recorded already.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from portraitd.model.edit import (
    AssignFaces,
    Edit,
    ExcludeFaces,
    IgnoreFaces,
    IgnorePerson,
    MergePeople,
    NamePerson,
    Placement,
    RecallPerson,
    SplitPerson,
)
from portraitd.people.names import folded, folder_name, is_numbered, name_in, number_in, safe_name
from portraitd.people.tree.folder_state import (
    FolderKey,
    FolderState,
    carry_location,
    is_in_ignored,
    leaf_of,
)
from portraitd.people.tree.reserved_folders import is_reserved
from portraitd.people.tree.tree_snapshot import TreeSnapshot

MIN_MASS_LOSS = 20
MAX_LOSS_SHARE = 0.2
"""If more than this share of the published portraits is missing, and at least that many, they were
not deleted by hand: the network share is not mounted, or something went wrong."""


@dataclass(frozen=True, slots=True)
class RecordedState:
    """What the database holds, for comparison with the tree.

    Attributes:
        person_of: Person, or None, of every face that is published, excluded or ignored.
        excluded: Faces that are never to be shown.
        ignored_faces: Faces that are ignored.
        ignored_people: People who are ignored.
        names: The name, or None, of every person who has a folder.
        empty: People who hold no face now. If files of others keep their folder, a portrait that
            is moved into it is theirs again.
        last_entry: The newest entry of the ledger; None if that does not matter.
    """

    person_of: Mapping[int, int | None]
    excluded: Collection[int]
    ignored_faces: Collection[int]
    ignored_people: Collection[int]
    names: Mapping[int, str | None]
    empty: Collection[int] = ()
    last_entry: int | None = None


@dataclass(frozen=True, slots=True)
class Losses:
    """What is in no folder of the tree any more; false if nothing is missing.

    Attributes:
        faces: Faces whose portraits are missing, also those that were in missing folders.
        people: People whose folders are missing.
        published: Number of portraits that should be there.
    """

    faces: frozenset[int] = frozenset()
    people: frozenset[int] = frozenset()
    published: int = 0

    def __bool__(self) -> bool:
        return bool(self.faces or self.people)

    @property
    def is_mass_disappearance(self) -> bool:
        vanished = len(self.faces)
        return vanished >= MIN_MASS_LOSS and vanished > MAX_LOSS_SHARE * self.published

    def without(self, others: Losses) -> Losses:
        """Return what is missing besides others."""
        return replace(self, faces=self.faces - others.faces, people=self.people - others.people)

    def only(self, others: Losses) -> Losses:
        """Return what is missing there, too."""
        return replace(self, faces=self.faces & others.faces, people=self.people & others.people)


NO_LOSSES = Losses()


@dataclass(frozen=True, slots=True)
class DetectedEdits:
    """The edits in a snapshot.

    Attributes:
        edits: Names and people first, then faces, so that they can be applied in order.
        losses: What is missing.
        refugees: Faces that were moved, and whose former folder is missing.
        heirs: People whose folder is missing and whose portraits were all moved to one person.
    """

    edits: tuple[Edit, ...]
    losses: Losses
    refugees: frozenset[int] = frozenset()
    heirs: frozenset[int] = frozenset()

    @property
    def has_losses(self) -> bool:
        """Whether anything counts as deleted."""
        return any(isinstance(one, ExcludeFaces | IgnorePerson) for one in self.edits)

    def without(self, losses: Losses) -> list[Edit]:
        """Return the edits without the deletion of what is missing there."""
        kept = (_without_losses(edit, losses) for edit in self.edits)
        return [edit for edit in kept if edit is not None]

    def certain(self) -> list[Edit]:
        """Return the edits that do not depend on whether what is missing was deleted.

        What was moved out of a missing folder may be a copy that a reviewer made.
        """
        kept = (_without_faces(edit, self.refugees) for edit in self.without(self.losses))
        return [
            edit
            for edit in kept
            if edit is not None
            and not (isinstance(edit, MergePeople) and edit.person_id in self.heirs)
        ]


def _without_losses(edit: Edit, losses: Losses) -> Edit | None:
    if isinstance(edit, IgnorePerson):
        return None if edit.person_id in losses.people else edit
    return _without_faces(edit, losses.faces) if isinstance(edit, ExcludeFaces) else edit


def _without_faces(edit: Edit, faces: Collection[int]) -> Edit | None:
    """Return an edit without some of its faces; None if none is left."""
    if not isinstance(edit, AssignFaces | SplitPerson | IgnoreFaces | ExcludeFaces):
        return edit
    left = tuple(face for face in edit.face_ids if face not in faces)
    return replace(edit, face_ids=left) if left else None


def detect_edits(snapshot: TreeSnapshot, recorded: RecordedState) -> DetectedEdits:
    """Return the edits that turned the published tree into the present one."""
    return _Comparison(snapshot, recorded).detect()


def find_lost_names(snapshot: TreeSnapshot, recorded: RecordedState) -> list[Edit]:
    """Return the names in a tree that shows entries which the ledger does not have.

    After an older database was restored, these names are in the tree and nowhere else. A folder
    is the person's of its number only if it shows one of their faces: the number may have been
    given again. The known faces in the folder of an unknown person become a person of that name.
    """
    edits: list[Edit] = []
    for number, folder in sorted(snapshot.owned.items()):
        name = given_label(folder)
        if not name or recorded.names.get(number) == name:
            continue
        faces = folder.faces_in_place | folder.faces_unlisted
        if number not in recorded.names:
            is_known = number in recorded.ignored_people or number in recorded.empty
            known = tuple(sorted(faces & recorded.person_of.keys() - set(recorded.excluded)))
            if known and not is_known:
                edits.append(SplitPerson(known, name, folder.location))
        elif any(recorded.person_of.get(face) == number for face in faces):
            edits.append(NamePerson(number, name))
    return edits


def given_label(folder: FolderState) -> str:
    """Return the name of the person for whom portraitd named a folder; empty if they had none."""
    label = folder.manifest.label
    is_own = not folder.has_manifest or folder.number is None or folder.number <= 0
    return "" if is_own or label == folder_name(folder.number or 0, None) else safe_name(label)


class _Comparison:
    def __init__(self, snapshot: TreeSnapshot, recorded: RecordedState) -> None:
        self._snapshot = snapshot
        self._recorded = recorded
        self._folders: dict[int, FolderState] = {
            number: folder
            for number, folder in snapshot.owned.items()
            if folder.published_location is not None or number > 0
        }
        self._in_place: set[int] = set()
        self._listed: dict[int, set[FolderKey]] = {}
        self._unlisted: dict[int, list[FolderState]] = {}
        for folder in snapshot.folders:
            self._in_place |= folder.faces_in_place
            for face in folder.faces_in_place | folder.faces_missing:
                self._listed.setdefault(face, set()).add(folder.key)
            for face in folder.faces_unlisted:
                # A copy in a folder for cards does not keep a face.
                if not (is_reserved(folder.location) and face in folder.copied):
                    self._unlisted.setdefault(face, []).append(folder)
        self._hidden = frozenset({*recorded.excluded, *recorded.ignored_faces})
        # Someone without portraits may have a folder, too, for what reviewers put into it.
        shown = {person for face, person in recorded.person_of.items() if face not in self._hidden}
        self._missing_people = {
            number
            for number in snapshot.missing & shown
            if number > 0 and number in recorded.names and number not in recorded.ignored_people
        }

    def detect(self) -> DetectedEdits:
        moves = self._find_moves()
        heirs = self._find_emptied(moves)
        edits: list[Edit] = self._people_edits()
        for person, heir in sorted(heirs.items()):
            edits.append(MergePeople(person, heir))
        heir_of_face = {
            face: heirs[person]
            for face, person in self._recorded.person_of.items()
            if person in heirs
        }
        edits += self._face_edits(
            {f: key for f, key in moves.items() if heir_of_face.get(f) != key}
        )
        lost = self._find_lost()
        edits += [ExcludeFaces(tuple(sorted(faces))) for _, faces in sorted(lost.items())]
        deleted = sorted(self._missing_people - set(heirs))
        if not self._snapshot.is_partial:
            edits += [IgnorePerson(person) for person in deleted]
        with_folders = self._find_lost_with(set(deleted))
        faces = with_folders.union(*lost.values())
        losses = Losses(faces, frozenset(deleted), len(self._listed.keys() | with_folders))
        # A deleted or ignored portrait was in no folder, so it was brought back on purpose.
        refugees = frozenset(
            face
            for face in moves.keys() - self._listed.keys() - self._hidden
            if self._former_number(face) in self._snapshot.missing
        )
        return DetectedEdits(
            tuple(edits), losses, refugees, frozenset(heirs) & self._snapshot.missing
        )

    # Faces

    def _find_moves(self) -> dict[int, FolderKey]:
        """Return where each face was moved whose portrait is not where it was published."""
        moves = {}
        for face, folders in self._unlisted.items():
            if face not in self._in_place:
                key = self._find_move(face, folders)
                if key is not None and not self._is_recorded(face, key):
                    moves[face] = key
        return moves

    def _find_move(self, face: int, folders: Collection[FolderState]) -> FolderKey | None:
        if face in self._listed:
            # What came since the last publish; an old copy counts only if there is nothing else.
            folders = [folder for folder in folders if face not in folder.copied] or folders
        candidates = [folder for folder in folders if self._counts(folder.key)]
        if face in self._listed:
            # Under another name in the folder where it was published, it was not moved.
            is_there = any(folder.key in self._listed[face] for folder in folders)
            return None if is_there else _choose(folder.key for folder in candidates)
        if face not in self._recorded.person_of:
            return None
        if face in self._hidden:
            # What was there when it was excluded is a copy; what came since was brought back.
            return _choose(
                folder.key
                for folder in candidates
                if isinstance(folder.key, int) and folder.key > 0 and face not in folder.copied
            )
        expected = self._former_number(face)
        # As long as the folder has its manifest, a portrait that it does not list is an old copy.
        is_there = any(folder.key == expected for folder in folders)
        if is_there or not self._lost_manifest(expected):
            return None
        return _choose(folder.key for folder in candidates)

    def _lost_manifest(self, number: int) -> bool:
        """Return whether only the database can tell what was in a folder."""
        folder = self._folders.get(number)
        if folder is None:
            return number in self._snapshot.missing
        return folder.published_location is None

    def _counts(self, key: FolderKey) -> bool:
        """Return whether a portrait in a folder means anything.

        It does not if the person is unknown, or the folder is one for cards.
        """
        if isinstance(key, str):
            return not is_reserved(key)
        if key <= 0:
            return True
        recorded = self._recorded
        return key in recorded.names or key in recorded.ignored_people or key in recorded.empty

    def _is_recorded(self, face: int, key: FolderKey) -> bool:
        """Return whether the database has recorded a move that the tree does not show yet."""
        recorded = self._recorded
        if key == Placement.IGNORED:
            return face in recorded.ignored_faces
        if isinstance(key, int):
            return False
        # A folder that became a person's, and has no manifest yet.
        person = recorded.person_of.get(face)
        if person is None or person in self._folders or person in self._snapshot.missing:
            return False
        label = folder_name(person, recorded.names.get(person))
        return person in recorded.names and folder_name(person, name_in(leaf_of(key))) == label

    def _face_edits(self, moves: Mapping[int, FolderKey]) -> list[Edit]:
        by_key: dict[FolderKey, list[int]] = {}
        for face, key in sorted(moves.items()):
            by_key.setdefault(key, []).append(face)
        edits: list[Edit] = []
        for key, faces in sorted(by_key.items(), key=lambda one: str(one[0])):
            if isinstance(key, str):
                edits.append(SplitPerson(tuple(faces), name_in(leaf_of(key)), key))
            elif key == Placement.IGNORED:
                edits.append(IgnoreFaces(tuple(faces)))
            else:
                edits.append(AssignFaces(tuple(faces), key if key != Placement.UNSORTED else None))
        return edits

    def _find_lost(self) -> dict[int, set[int]]:
        """Return the faces that are in no folder although theirs is present, by folder."""
        lost: dict[int, set[int]] = {}
        if self._snapshot.is_partial:
            return lost
        for folder in self._snapshot.folders:
            for face in folder.faces_missing - self._in_place:
                if face not in self._unlisted and face not in self._recorded.excluded:
                    keys = self._listed[face]
                    lost.setdefault(min(k for k in keys if isinstance(k, int)), set()).add(face)
        # The folder of a person who became another one in the meantime: the faces are known.
        gone = {
            number
            for number in self._snapshot.missing - self._recorded.names.keys()
            if number > 0 and number not in self._recorded.ignored_people
        }
        for face in self._find_lost_with(gone) if gone else ():
            if (number := self._former_number(face)) in gone:
                lost.setdefault(number, set()).add(face)
        return lost

    def _find_lost_with(self, people: Collection[int]) -> frozenset[int]:
        """Return the faces lost with these people's folders, or with ``_unsorted``."""
        recorded = self._recorded
        is_unsorted_missing = Placement.UNSORTED in self._snapshot.missing
        return frozenset(
            face
            for face, person in recorded.person_of.items()
            if (person in people or (person is None and is_unsorted_missing))
            and not (face in self._listed or face in self._unlisted or face in self._hidden)
        )

    def _former_number(self, face: int) -> int:
        """Return the folder that a face was published in, by the database."""
        return self._recorded.person_of.get(face) or Placement.UNSORTED

    # People

    def _find_emptied(self, moves: Mapping[int, FolderKey]) -> dict[int, int]:
        """Return the people whose portraits were all moved to one other person, and that person."""
        recorded = self._recorded
        without_manifest = {
            number
            for number, folder in self._folders.items()
            if folder.published_location is None and number > 0
        }
        candidates = self._missing_people | (without_manifest & set(recorded.names))
        faces: dict[int, list[int]] = {person: [] for person in candidates}
        for face, person in recorded.person_of.items():
            if person in faces and face not in self._hidden:
                faces[person].append(face)
        heirs = {}
        for person, own in faces.items():
            keys = {moves.get(face) for face in own}
            if len(keys) == 1:
                (key,) = keys
                if isinstance(key, int) and key > 0:
                    heirs[person] = key
        return heirs

    def _people_edits(self) -> list[Edit]:
        names: list[Edit] = []
        merges: list[tuple[int, Edit]] = []
        ignores: list[Edit] = []
        for person, folder in sorted(self._folders.items()):
            published_at = folder.published_location
            is_moved = published_at is not None and published_at != folder.location
            if person <= 0 or not is_moved or not self._counts(person):
                continue
            published_at = published_at or ""
            expected = self._carried_location(person, published_at)
            heir = self._find_heir(person, expected)
            if heir is not None:
                # The deepest folder first, so that each is merged into a person who still exists.
                merges.append((-folder.location.count("/"), MergePeople(person, heir)))
                continue
            named = self._find_name(person, folder)
            if named is not None:
                names.append(named)
            is_ignored = person in self._recorded.ignored_people
            was, now = is_in_ignored(published_at), is_in_ignored(folder.location)
            if now and not was and not is_ignored:
                ignores.append(IgnorePerson(person))
            if was and not now and is_ignored:
                ignores.append(RecallPerson(person))
        merges.sort(key=lambda one: one[0])
        return names + [merge for _, merge in merges] + ignores

    def _carried_location(self, person: int, published_at: str) -> str:
        """Return where a folder would be if only the folders around it had been moved."""
        around = [
            (at, folder.location)
            for other, folder in self._folders.items()
            if other != person
            and (at := folder.published_location)
            and published_at.startswith(f"{at}/")
        ]
        if not around:
            return published_at
        old, new = max(around, key=lambda pair: len(pair[0]))
        return carry_location(published_at, old, new)

    def _find_heir(self, person: int, expected: str) -> int | None:
        """Return the person whose folder this one was moved into, or whose name it was given."""
        if self._folders[person].location == expected:
            return None
        return self._find_namesake(person) or self._find_around(person, expected)

    def _find_name(self, person: int, folder: FolderState) -> NamePerson | None:
        """Return the name that a reviewer gave a folder, or took back, if that is new."""
        leaf = folder.name
        if leaf == leaf_of(folder.published_location or ""):
            return None
        name, named = safe_name(leaf), self._recorded.names.get(person)
        number = number_in(leaf)
        if number is not None:
            # Its own number takes the name back. Another person's is refused: see tree_notices.
            return NamePerson(person, None) if number == person and named else None
        # A name that portraitd itself could have given is not an edit.
        is_new = name and not is_numbered(name, folder_name(person, named))
        return NamePerson(person, name) if is_new else None

    def _find_around(self, person: int, expected: str) -> int | None:
        """Return the person in whose folder this one is now, if it was not before."""
        location = self._folders[person].location
        around = [
            other
            for other, folder in self._folders.items()
            if other > 0
            and other != person
            and self._counts(other)
            and location.startswith(f"{folder.location}/")
        ]
        nearest = max(around, key=lambda other: len(self._folders[other].location), default=None)
        if nearest is None or expected.startswith(f"{self._folders[nearest].location}/"):
            return None
        return nearest

    def _find_namesake(self, person: int) -> int | None:
        """Return another person whose folder has the same name beside this one and is kept."""
        own = self._folders[person]
        if own.name == leaf_of(own.published_location or ""):
            return None
        same = [
            other
            for other, folder in self._folders.items()
            if other > 0 and self._counts(other) and folded(folder.location) == folded(own.location)
        ]
        # The person who had the name before is kept, otherwise the older one.
        first = min(same, key=lambda other: (not self._kept_its_name(other), other))
        return first if first != person else None

    def _kept_its_name(self, person: int) -> bool:
        folder = self._folders[person]
        published_at = folder.published_location
        return published_at is None or folder.name == leaf_of(published_at)


def _choose(keys: Iterable[FolderKey]) -> FolderKey | None:
    """Return where a portrait belongs that is in several folders: a person's first."""
    return min(keys, key=_preference, default=None)


def _preference(key: FolderKey) -> tuple[int, int, str]:
    if isinstance(key, str):
        return 1, 0, key
    return (0, key, "") if key > 0 else (2, -key, "")
