"""One publish: compare the observed with the desired tree, plan, and carry the plan out."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from portraitd.people.names import is_numbered, safe_name
from portraitd.people.tree.acknowledged import AcknowledgedEdits
from portraitd.people.tree.desired import DesiredFolder
from portraitd.people.tree.desired_files import DesiredFiles, annotation_of
from portraitd.people.tree.diff import given_label
from portraitd.people.tree.folder_faults import FolderFaults
from portraitd.people.tree.folder_fs import digest, is_unchanged
from portraitd.people.tree.folder_state import FolderKey, FolderState, PortraitFile
from portraitd.people.tree.manifest import ROOT_MANIFEST, FolderManifest, face_of
from portraitd.people.tree.ownership import claim_folder, reopen_folder
from portraitd.people.tree.plan import (
    Owner,
    ReleaseFolder,
    RemoveFile,
    RemoveFolder,
    Step,
    UnlistFile,
    WriteFile,
    plan,
    plan_files,
)
from portraitd.people.tree.plan_executor import Modes, PlanExecutor
from portraitd.people.tree.published_folder import FileOwners
from portraitd.people.tree.readme import README_NAME, README_TEXT
from portraitd.people.tree.reserved_folders import is_reserved
from portraitd.people.tree.scan import TreeScan, iter_locations, list_names, read_face
from portraitd.people.tree.tree_snapshot import TreeSnapshot

_ROOT = -2
"""The root as a folder of a plan. Not the number of any person or placement."""


@dataclass(frozen=True, slots=True)
class PublishResult:
    """What a publish did.

    Attributes:
        written: Files written; manifests and folders do not count.
        removed: Files removed.
        unchanged: Desired files that needed no writing.
        portraits: Path of each face's portrait below the root, by the face's id.
        folders: Path of each person's folder below the root, by the person's id.
        faulty: What is wrong with each folder that could not be brought up to date, by its path.
    """

    written: int
    removed: int
    unchanged: int
    portraits: Mapping[int, str] = field(repr=False)
    folders: Mapping[int, str] = field(repr=False)
    faulty: Mapping[str, str] = field(default_factory=dict)


class PublishRun:
    """Carries out one publish in one open root.

    Args:
        root_fd: The root.
        root_manifest: Its manifest.
        scan: Every folder below it.
        snapshot: The same folders with their owners.
        acknowledged: The edits that a review has read.
        modes: Modes of new files and folders.
        keeps_unknown: Whether named folders of unknown people are given up instead of removed.
    """

    def __init__(
        self,
        root_fd: int,
        root_manifest: FolderManifest,
        scan: TreeScan,
        snapshot: TreeSnapshot,
        acknowledged: AcknowledgedEdits,
        modes: Modes,
        keeps_unknown: bool = False,
    ) -> None:
        self._root_fd = root_fd
        self._root_manifest = root_manifest
        self._scan = scan
        self._snapshot = snapshot
        self._acknowledged = acknowledged
        self._modes = modes
        self._keeps_unknown = keeps_unknown
        self._faults = FolderFaults(dict.fromkeys(snapshot.unreadable, os.strerror(errno.EACCES)))

    def run(
        self,
        everything: Sequence[DesiredFolder],
        files: DesiredFiles,
        idle: Sequence[DesiredFolder],
        publication: tuple[int, int] | None = None,
    ) -> PublishResult:
        """Make the tree show these folders.

        Args:
            everything: The folders there should be.
            files: Fills in their files; made for the folders that ``observed_for`` returns.
            idle: The folders of people who have no faces now; see ``plan``.
            publication: What the tree then shows; recorded last.
        """
        observed = files.folders
        key_of: dict[int, FolderKey] = {
            face.face_id: one.number for one in everything for face in one.faces
        }
        pending = self._acknowledged.find_pending(self._snapshot, key_of)
        # Folders with edits that no review has read yet stay as they are.
        skipped = self._snapshot.missing - self._acknowledged.missing_folders - observed.keys()
        skipped |= {one.number for one in everything if _is_dismantled(one, observed, pending)}
        skipped |= self._snapshot.unreadable
        active = [one for one in everything if one.number not in skipped]
        files.move_changed(active, pending, self._faults)
        desired = {}
        for one in active:
            with self._faults.catching(one.number):
                desired[one.number] = files.fill(one, pending)
        executor = PlanExecutor(
            self._root_fd, observed, self._modes, lambda step: _content(step, files)
        )
        self._publish_readme(executor)
        faulty = self._faults.reasons
        states = {
            number: self._with_review(folder, pending)
            for number, folder in observed.items()
            if number not in skipped and number not in faulty
        }
        taken = {folder.location: folder.names for folder in self._scan.folders}
        steps = plan(
            [one for number, one in desired.items() if number not in faulty],
            states,
            self._owners_in,
            taken,
            idle,
        )
        if self._keeps_unknown:
            steps = _give_up_unknown(steps, observed, {*desired, *(one.number for one in idle)})
        kept = desired.keys() | skipped | faulty.keys() | _list_kept(idle, observed, steps)
        if observed.keys() - kept:
            # First, so that an interruption does not look as if a reviewer had removed them.
            self._save_index(kept, self._scanned_locations(), executor)
        unlisted = self._find_unlisted(observed, steps)
        changed = files.changed | (_update_copies(observed, self._acknowledged, unlisted) - skipped)
        marked = {one for one in _list_remaining(observed, steps) if observed[one].has_manifest}
        bound = observed.keys() & (desired.keys() | (marked - skipped))
        changed |= {one for one in bound if _adopt_manifest(observed[one])}
        self._carry_out(steps, executor, key_of)
        for number in sorted(changed - executor.saved):
            if number in executor.inodes:
                with self._faults.catching(number):
                    executor.save_manifest(number)
        locations = (
            dict(_by_inode(iter_locations(self._root_fd))) if steps else self._scanned_locations()
        )
        self._save_index(kept | faulty.keys(), locations, executor, publication)
        whole = {number: one for number, one in desired.items() if number not in faulty}
        return _summarise(whole, locations, executor, self._locate_faulty(everything))

    def _locate_faulty(self, everything: Sequence[DesiredFolder]) -> dict[str, str]:
        """Return what is wrong with each faulty folder, by where it is or should be."""
        labels = {one.number: one.label for one in everything}
        found = {location: os.strerror(errno.EACCES) for location in self._scan.unreadable}
        for number, reason in self._faults.reasons.items():
            folder = self._snapshot.owned.get(number)
            found[folder.location if folder else labels.get(number, str(number))] = reason
        return dict(sorted(found.items()))

    def _carry_out(
        self, steps: Sequence[Step], executor: PlanExecutor, key_of: Mapping[int, FolderKey]
    ) -> None:
        """Carry out steps folder by folder; a folder that cannot be written stops no other one."""
        for (number, removes), group in groupby(steps, key=_folder_and_removal):
            if number in self._faults.reasons:
                continue
            wanted = list(group)
            if removes:
                wanted = self._without_refugees(number, wanted, key_of)
            if wanted:
                with self._faults.catching(number):
                    executor.carry_out(number, wanted)

    def _without_refugees(
        self, number: int, steps: list[Step], key_of: Mapping[int, FolderKey]
    ) -> list[Step]:
        """Return the steps without those that remove what could not be written elsewhere."""
        faulty = self._faults.reasons.keys()
        files = self._snapshot.owned[number].manifest.files if faulty else {}
        faces = {name: face_of(entry.identity) for name, entry in files.items()}
        stay = {name for name, face in faces.items() if face and key_of.get(face) in faulty}
        stay |= {annotation_of(name) for name in stay}
        kept = [
            step for step in steps if not (isinstance(step, RemoveFile) and step.target in stay)
        ]
        if len(kept) == len(steps):
            return steps
        return [step for step in kept if not isinstance(step, RemoveFolder | ReleaseFolder)]

    def _with_review(self, folder: FolderState, pending: Collection[int]) -> FolderState:
        """Return a folder with what the plan has to know about reviews."""
        names = {name for name, face_id in folder.portraits.items() if face_id in pending}
        return replace(
            folder,
            is_move_reviewed=(folder.number, folder.location) in self._acknowledged.moved,
            pending=frozenset(names | {annotation_of(name) for name in names}),
        )

    def _owners_in(self, folder: FolderState) -> FileOwners:
        def owner_of(name: str) -> Owner:
            entry = folder.manifest.files.get(name)
            if entry is None:
                return Owner.THEIRS
            is_ours = False
            with (
                self._faults.catching(folder.number or 0),
                reopen_folder(folder, self._root_fd) as fd,
            ):
                is_ours = is_unchanged(fd, name, entry.written)
            return Owner.OURS if is_ours else Owner.THEIRS

        return FileOwners(folder.names, owner_of)

    def _find_unlisted(
        self, observed: Mapping[int, FolderState], steps: Sequence[Step]
    ) -> set[tuple[int, PortraitFile]]:
        """Return the portraits that will be unlisted, and stay because a reviewer changed them."""
        found = set()
        for step in steps:
            if isinstance(step, UnlistFile) and step.target in observed[step.folder].names:
                face_id = None
                with (
                    self._faults.catching(step.folder),
                    reopen_folder(observed[step.folder], self._root_fd) as fd,
                ):
                    face_id = read_face(fd, step.target, self._root_manifest.store)
                if face_id is not None:
                    found.add((step.folder, PortraitFile(face_id, step.target)))
        return found

    def _scanned_locations(self) -> dict[int, str]:
        """Return where each folder was when the publish began, by inode."""
        return {folder.inode: folder.location for folder in self._scan.folders[1:]}

    def _publish_readme(self, executor: PlanExecutor) -> None:
        manifest = self._root_manifest
        desired = {README_NAME: digest(README_TEXT.encode())}
        published = {name: entry.identity for name, entry in manifest.files.items()}
        present = executor.owners(self._root_fd, manifest, list_names(self._root_fd))
        steps = plan_files(_ROOT, desired, published, present)
        if steps:
            executor.change_files(self._root_fd, ROOT_MANIFEST, manifest, steps)

    def _save_index(
        self,
        numbers: Collection[int],
        locations: Mapping[int, str],
        executor: PlanExecutor,
        publication: tuple[int, int] | None = None,
    ) -> None:
        """Record in the root which folders there are, and where."""
        index = {
            number: (locations[inode], inode)
            for number, inode in executor.inodes.items()
            if number in numbers and inode in locations
        }
        # A missing folder stays recorded until a review has read that it is missing.
        unread = self._snapshot.missing - self._acknowledged.missing_folders
        unread |= self._snapshot.unreadable
        for number in unread - index.keys():
            index[number] = self._root_manifest.folders[number]
        shown = publication or self._root_manifest.publication
        if (index, shown) != (self._root_manifest.folders, self._root_manifest.publication):
            self._root_manifest.folders, self._root_manifest.publication = index, shown
            executor.save(self._root_fd, ROOT_MANIFEST, self._root_manifest)


def observed_for(
    snapshot: TreeSnapshot, everything: Sequence[DesiredFolder]
) -> dict[int, FolderState]:
    """Return portraitd's own folders, and those reviewers made that belong to a new person.

    A folder that the store has assigned to a person, and that has no manifest yet, has the
    person's name and holds at least one of their portraits.
    """
    observed = dict(snapshot.owned)
    for one in everything:
        if one.number <= 0 or one.number in observed or one.number in snapshot.missing:
            continue
        faces = {face.face_id for face in one.faces}
        for folder in snapshot.unowned:
            is_own = folder.location and not is_reserved(folder.location)
            is_named = is_own and is_numbered(safe_name(folder.name), one.label)
            if is_named and faces & set(folder.pictures.values()):
                observed[one.number] = claim_folder(one.number, folder)
                observed[one.number].manifest.label = one.label
                break
    return observed


def is_nearly_emptied(
    snapshot: TreeSnapshot, everything: Sequence[DesiredFolder], min_portraits: int
) -> bool:
    """Return whether more than four of five people in the tree would lose their folder.

    Args:
        min_portraits: Smaller trees may be emptied.
    """
    people = {number: folder for number, folder in snapshot.owned.items() if number > 0}
    kept = sum(one.number in people for one in everything)
    portraits = sum(len(folder.portraits) for folder in people.values())
    return portraits >= min_portraits and kept * 5 < len(people)


def _is_dismantled(
    one: DesiredFolder, observed: Mapping[int, FolderState], pending: Collection[int]
) -> bool:
    """Return whether reviewers moved portraits out of a folder that also lost its manifest."""
    folder = observed.get(one.number)
    is_intact = folder is None or folder.has_manifest
    return not is_intact and any(face.face_id in pending for face in one.faces)


def _list_kept(
    idle: Sequence[DesiredFolder], observed: Mapping[int, FolderState], steps: Sequence[Step]
) -> set[int]:
    """Return the folders of people without faces that stay, for what reviewers put into them."""
    return {one.number for one in idle} & _list_remaining(observed, steps)


def _list_remaining(observed: Mapping[int, FolderState], steps: Sequence[Step]) -> set[int]:
    """Return the folders that the steps leave to portraitd, also those of merged people."""
    left = {step.folder for step in steps if isinstance(step, RemoveFolder | ReleaseFolder)}
    return observed.keys() - left


def _give_up_unknown(
    steps: Sequence[Step], observed: Mapping[int, FolderState], known: Collection[int]
) -> list[Step]:
    """Leave the named folders of unknown people where they are, as a reviewer's."""
    unknown = {
        number
        for number, folder in observed.items()
        if number > 0 and number not in known and given_label(folder)
    }
    kept = [step for step in steps if step.folder not in unknown]
    return [*kept, *(ReleaseFolder(number) for number in sorted(unknown))]


def _summarise(
    desired: Mapping[int, DesiredFolder],
    locations: Mapping[int, str],
    executor: PlanExecutor,
    faulty: Mapping[str, str],
) -> PublishResult:
    paths = {
        number: locations[executor.inodes[number]]
        for number in desired
        if executor.inodes.get(number) in locations
    }
    portraits = {}
    for number, path in paths.items():
        faces = {face_of(identity) for identity in desired[number].files.values()} - {None}
        for name, entry in executor.manifests[number].files.items():
            face_id = face_of(entry.identity)
            if face_id is not None and face_id in faces:
                portraits[face_id] = f"{path}/{name}"
    return PublishResult(
        written=executor.written,
        removed=executor.removed,
        unchanged=1 + sum(len(folder.files) for folder in desired.values()) - executor.written,
        portraits=portraits,
        folders={number: path for number, path in paths.items() if number > 0},
        faulty=faulty,
    )


def _update_copies(
    observed: Mapping[int, FolderState],
    acknowledged: AcknowledgedEdits,
    unlisted: Collection[tuple[int, PortraitFile]],
) -> set[int]:
    """Record which pictures in a folder mean nothing; return the folders where that changed.

    A picture that no review has read yet may be there on purpose.

    Args:
        unlisted: Portraits that are about to be unlisted, by folder.
    """
    changed = set()
    for number, folder in observed.items():
        manifest = folder.manifest
        copies = {
            name: face_id
            for name, face_id in folder.pictures.items()
            if name not in manifest.files
            and (
                (folder.location, PortraitFile(face_id, name)) in acknowledged.unlisted
                or name in manifest.copies
            )
        }
        copies |= {one.name: one.face for at, one in unlisted if at == number}
        if copies != manifest.copies:
            manifest.copies = copies
            changed.add(number)
    return changed


def _adopt_manifest(folder: FolderState) -> bool:
    """Bind the manifest to this folder, also one from a backup; return whether it was not."""
    is_bound = folder.has_manifest and folder.manifest.inode == folder.inode
    folder.manifest.inode = folder.inode
    return not is_bound


def _by_inode(found: Iterable[tuple[str, int]]) -> Iterator[tuple[int, str]]:
    for location, inode in found:
        yield inode, location


def _folder_and_removal(step: Step) -> tuple[int, bool]:
    return step.folder, isinstance(step, RemoveFile | RemoveFolder | ReleaseFolder)


def _content(step: WriteFile, files: DesiredFiles) -> bytes:
    return README_TEXT.encode() if step.folder == _ROOT else files.data(step)
