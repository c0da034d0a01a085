"""The people tree on disk: reads the edits that reviewers made in it, and publishes into it.

What was published is recorded in a manifest in each folder (``manifest``). So a folder that a
reviewer renames or moves takes its record along, and the tree cannot disagree with a database.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from portraitd.model.edit import Edit
from portraitd.model.errors import ForeignTree, PublishError
from portraitd.model.person import PersonFolder
from portraitd.model.review_notice import ReviewNotice
from portraitd.people.names import name_in
from portraitd.people.tree.acknowledged import AcknowledgedEdits
from portraitd.people.tree.consent_files import FolderConsent, find_consents
from portraitd.people.tree.content_match import match_by_content
from portraitd.people.tree.desired import (
    DesiredFolder,
    list_desired,
    list_idle,
    montage_identity,
)
from portraitd.people.tree.desired_files import DesiredFiles, published_montage
from portraitd.people.tree.diff import (
    MIN_MASS_LOSS,
    NO_LOSSES,
    Losses,
    RecordedState,
    detect_edits,
    find_lost_names,
)
from portraitd.people.tree.folder_faults import FolderFaults
from portraitd.people.tree.folder_fs import (
    open_folder,
    open_root,
    raise_as_publish_error,
    remove_empty_folders,
    set_mode,
    share_with_group,
)
from portraitd.people.tree.folder_state import PortraitFile
from portraitd.people.tree.manifest import ROOT_MANIFEST, FolderManifest, read_note
from portraitd.people.tree.ownership import assign_owners, claim_folder, read_root_manifest
from portraitd.people.tree.plan import ReleaseFolder, WriteFile
from portraitd.people.tree.plan_executor import Modes, PlanExecutor
from portraitd.people.tree.publish import (
    PublishResult,
    PublishRun,
    is_nearly_emptied,
    observed_for,
)
from portraitd.people.tree.reference_pictures import ReferenceScan, find_references
from portraitd.people.tree.scan import ScanCache, TreeScan, iter_locations, scan_tree
from portraitd.people.tree.tree_notices import find_notices
from portraitd.people.tree.tree_snapshot import (
    Copies,
    TreeSnapshot,
    find_copies,
    find_unsaved_copies,
)
from portraitd.store.publications import DesiredTree

_OPEN_TO_ALL = frozenset({0o755, 0o775, 0o777})
"""Modes of a new folder under the usual umasks."""

_MAX_SCANS = 3
"""How often a tree is scanned until two scans agree."""


class PeopleTree:
    """The folder where reviewers look at portraits and edit what they see.

    Every method raises PublishError if the tree cannot be read or written, and ForeignTree if
    it belongs to another store.

    Args:
        root: Root of the tree.
        modes: Modes of new files and folders.
        store: The store that the faces and people are from; empty if that does not matter.
    """

    def __init__(self, root: Path, modes: Modes | None = None, store: str = "") -> None:
        self._root = root
        self._modes = modes or Modes()
        self._store = store
        self._cache = ScanCache(store)
        self._acknowledged = AcknowledgedEdits()
        self._copies: Copies = frozenset()
        # Mentioned in each reading as long as they are there: the review waits for a second one.
        self._new_copies: Copies = frozenset()
        self._shown: tuple[int, int] | None = None
        self._is_ahead = False
        self._unreadable: frozenset[str] = frozenset()
        self._snapshot: TreeSnapshot | None = None
        self._notices: tuple[ReviewNotice, ...] = ()
        self._consents: tuple[FolderConsent, ...] | None = None
        self._losses = self._withheld = NO_LOSSES

    @property
    def root(self) -> Path:
        """The root of the tree."""
        return self._root

    @property
    def shown(self) -> tuple[int, int] | None:
        """Grouping run and ledger entry that the tree showed when it was last read; None before.

        After a backup of the tree was put back, they are not those of the last publish.
        """
        return self._shown

    @property
    def unreadable(self) -> frozenset[str]:
        """Locations of the folders that could not be read when edits were last read."""
        return self._unreadable

    @property
    def notices(self) -> Sequence[ReviewNotice]:
        """What reviewers did that had no effect when edits were last read."""
        return self._notices

    @property
    def consents(self) -> tuple[FolderConsent, ...] | None:
        """The consents that were there when edits were last read; None before."""
        return self._consents

    def read_consents(self) -> tuple[FolderConsent, ...]:
        """Return the consents that are there now. Nothing is written."""
        with raise_as_publish_error(self._root), open_root(self._root) as root_fd:
            manifest = self._read_root_manifest(root_fd)
            snapshot = assign_owners(self._scan(root_fd), manifest.folders)
            return find_consents(snapshot, root_fd)

    @property
    def losses(self) -> Losses:
        """What was missing when edits were last read, whether that was an edit or not."""
        return self._losses

    @property
    def withheld(self) -> Losses:
        """What was missing then and did not count as deleted, because a person must confirm it.

        A publish does not write it again.
        """
        return self._withheld

    @property
    def withheld_faces(self) -> frozenset[int]:
        """Faces whose portraits the next publish leaves alone for that reason."""
        return self._acknowledged.withheld

    def create(self, allow_new: bool = True) -> None:
        """Make the root and write its marker; does nothing where that was done before.

        Not part of ``publish``: an empty folder may be where a share should be mounted.

        Args:
            allow_new: Whether to make a tree where there is none.
        """
        with raise_as_publish_error(self._root):
            is_made = not self._root.is_dir()
            if is_made:
                if not allow_new:
                    return
                self._root.mkdir(parents=True, exist_ok=True)
            with open_root(self._root) as root_fd:
                found = read_note(root_fd, ROOT_MANIFEST)
                if found is None and not allow_new:
                    return
                manifest = found or FolderManifest()
                before = manifest.to_bytes()
                # A tree from before stores had names belongs to the first store that opens it.
                manifest.store = manifest.store or self._store
                is_new = found is None
                if is_made:
                    set_mode(root_fd, self._modes.folder)
                if manifest.publication is None:
                    self._close_to_others(root_fd)
                if manifest.to_bytes() != before or is_new:
                    self._executor(root_fd).save(root_fd, ROOT_MANIFEST, manifest)
                self._check_store(manifest)

    def _close_to_others(self, root_fd: int) -> None:
        """Let only the group into a tree, and into what its members will make there.

        Once, for a new tree or one of an earlier version: an operator who opens the root again
        means it. A root whose mode is not one of the defaults keeps it: the operator has set it.
        """
        if stat.S_IMODE(os.fstat(root_fd).st_mode) in _OPEN_TO_ALL:
            set_mode(root_fd, self._modes.folder)
        for location in (".", *(found for found, _ in iter_locations(root_fd))):
            with suppress(OSError), open_folder(location, root_fd) as fd:
                if os.fstat(fd).st_mode & stat.S_IWGRP:
                    share_with_group(fd)

    def read_edits(
        self,
        recorded: RecordedState,
        accept_losses: bool = False,
        *,
        awaits_answer: bool = False,
        restored: Losses = NO_LOSSES,
    ) -> list[Edit]:
        """Return what reviewers did since the last publish, in an order in which it can be applied.

        The same tree gives the same edits again, until a publish shows their result. A tree that
        changes during the scan gives no deletions. A publish leaves alone what was done after the
        last call.

        If more portraits are missing than a reviewer deletes by hand, none of them counts as
        deleted, and a publish does not write them again: see ``withheld``.

        Args:
            recorded: What the database holds.
            accept_losses: Whether a person confirmed that the missing portraits were deleted.
            awaits_answer: Whether a person was asked that, and did not answer; then nothing that
                is missing counts as deleted, however little it is by now.
            restored: What is missing and is to be written again: a person said that it was not
                meant to be deleted.
        """
        with raise_as_publish_error(self._root), open_root(self._root) as root_fd:
            root_manifest = self._read_root_manifest(root_fd)
            self._shown = root_manifest.publication or (0, 0)
            last_entry = recorded.last_entry
            self._is_ahead |= last_entry is not None and self._shown[1] > last_entry
            snapshot = self._take_snapshot(root_fd, root_manifest)
            detected = detect_edits(snapshot, recorded)
            scans = 1
            while detected.has_losses and scans < _MAX_SCANS:
                before, snapshot = snapshot, self._take_snapshot(root_fd, root_manifest)
                detected = detect_edits(snapshot, recorded)
                scans += 1
                if snapshot.evidence() == before.evidence():
                    break
            else:
                if detected.has_losses:
                    # The tree keeps changing: what is missing may be on its way elsewhere.
                    return []
            self._snapshot = snapshot
            copies = find_copies(snapshot, self._copies)
            new_copies = find_unsaved_copies(snapshot, copies - self._copies)
            self._new_copies = (self._new_copies & copies) | new_copies
            self._copies = copies
            self._notices = tuple(find_notices(snapshot, recorded, self._new_copies))
            self._consents = find_consents(snapshot, root_fd)
            self._save_copies(root_fd, snapshot)
        self._losses = detected.losses
        new = detected.losses.without(restored)
        is_doubtful = bool(new) and (awaits_answer or new.is_mass_disappearance)
        self._withheld = new if is_doubtful and not accept_losses else NO_LOSSES
        self._acknowledged = AcknowledgedEdits.of(snapshot)
        edits = detected.without(restored)
        if self._withheld:
            edits = detected.certain()
            self._acknowledged = self._acknowledged.withholding(
                new.faces | detected.refugees, restored.people
            )
        lost_names = find_lost_names(snapshot, recorded) if self._is_ahead else []
        return [*lost_names, *(edit for edit in edits if edit not in lost_names)]

    def find_references(self) -> ReferenceScan:
        """Return the pictures of reviewers' own that say who people are, as of the last reading.

        Without a reading since the last call, the tree is read for it.
        """
        with raise_as_publish_error(self._root), open_root(self._root) as root_fd:
            snapshot, self._snapshot = self._snapshot, None
            if snapshot is None:
                snapshot = self._take_snapshot(root_fd, self._read_root_manifest(root_fd))
            return find_references(snapshot, root_fd, self._unreadable)

    def differs(self, recorded: RecordedState) -> bool:
        """Return whether reading would give edits or notices. Nothing is written."""
        with raise_as_publish_error(self._root), open_root(self._root) as root_fd:
            manifest = self._read_root_manifest(root_fd)
            snapshot = assign_owners(self._scan(root_fd), manifest.folders)
        has_edits = bool(detect_edits(snapshot, recorded).edits)
        copies = find_unsaved_copies(snapshot, find_copies(snapshot, frozenset()))
        return has_edits or bool(find_notices(snapshot, recorded, copies))

    def find_last_change(self) -> float:
        """Return when an entry of a folder was last added, removed or renamed, since 1970."""
        with raise_as_publish_error(self._root), open_root(self._root) as root_fd:
            changed = [os.fstat(root_fd).st_mtime]
            for location, _ in iter_locations(root_fd):
                with suppress(FileNotFoundError):
                    facts = os.stat(location, dir_fd=root_fd, follow_symlinks=False)
                    changed.append(facts.st_mtime)
        return max(changed)

    def adopt(self, location: str, person_id: int) -> None:
        """Make a folder that a reviewer made this person's; nothing if it is missing or owned."""
        with raise_as_publish_error(self._root), open_root(self._root) as root_fd:
            manifest = self._read_root_manifest(root_fd)
            snapshot = assign_owners(self._scan(root_fd), manifest.folders)
            # After an older database was restored: a folder of a person whom it does not know.
            unknown = [*snapshot.owned.values()] if self._is_ahead else []
            for folder in [*snapshot.unowned, *unknown]:
                if location and folder.location == location and person_id not in snapshot.owned:
                    claimed = claim_folder(person_id, folder)
                    claimed.manifest.label = name_in(folder.name)
                    executor = PlanExecutor(root_fd, {person_id: claimed}, self._modes, _no_content)
                    # Where it cannot be written, the next publish says so.
                    with FolderFaults({}).ignoring():
                        executor.save_manifest(person_id)

    def release(self, location: str, person_id: int) -> None:
        """Make a folder of a person the reviewers' own again; nothing if it holds portraits."""
        with raise_as_publish_error(self._root), open_root(self._root) as root_fd:
            manifest = self._read_root_manifest(root_fd)
            folder = assign_owners(self._scan(root_fd), manifest.folders).owned.get(person_id)
            if folder is None or folder.location != location or folder.manifest.files:
                return
            executor = PlanExecutor(root_fd, {person_id: folder}, self._modes, _no_content)
            # First, so that an interruption does not look as if a reviewer had removed it.
            if manifest.folders.pop(person_id, None) is not None:
                executor.save(root_fd, ROOT_MANIFEST, manifest)
            with FolderFaults({}).ignoring():
                executor.carry_out(person_id, [ReleaseFolder(person_id)])

    def find_stale_montages(self, folders: Sequence[PersonFolder]) -> list[int]:
        """Return the people whose montage does not show their present faces, in given order."""
        with raise_as_publish_error(self._root), open_root(self._root) as root_fd:
            manifest = self._read_root_manifest(root_fd)
            owned = assign_owners(self._scan(root_fd), manifest.folders).owned
        return [
            folder.person_id
            for folder in folders
            if folder.faces
            and published_montage(owned.get(folder.person_id)) != montage_identity(folder.faces)
        ]

    def locate_portraits(self) -> dict[int, str]:
        """Return the path of each listed portrait below the root, by face id."""
        with raise_as_publish_error(self._root), open_root(self._root) as root_fd:
            manifest = self._read_root_manifest(root_fd)
            owned = assign_owners(self._scan(root_fd), manifest.folders).owned
        return {
            face_id: f"{folder.location}/{name}"
            for folder in owned.values()
            for name, face_id in folder.portraits.items()
            if name in folder.names
        }

    def publish(
        self,
        desired: DesiredTree,
        content: Callable[[int], bytes],
        montages: Mapping[int, bytes],
        accept_losses: bool = False,
        publication: tuple[int, int] | None = None,
    ) -> PublishResult:
        """Make the tree show these people; write and remove only what differs.

        Edits that ``read_edits`` has not read yet stay as they are: a missing portrait is put
        back only after it was read as missing.

        An exception from ``content`` ends the publish and passes through. What was written
        until then stays, and the next publish continues from there.

        Args:
            desired: Every person and face to be shown. A person without faces gets no folder, but
                keeps one that holds files of others.
            content: Returns the JPEG of a face; called only for portraits that are written. The
                portrait of a face id never changes.
            montages: JPEG by person. Needed for ``find_stale_montages`` only; a person who is not
                among them keeps the montage they have.
            accept_losses: Whether nearly all folders may be removed.
            publication: Grouping run and ledger entry that these people are from; see ``shown``.
        """
        with raise_as_publish_error(self._root), open_root(self._root) as root_fd:
            root_manifest = self._read_root_manifest(root_fd)
            remove_empty_folders(root_fd, {inode for _, inode in root_manifest.folders.values()})
            scan = self._scan(root_fd, sweeps=True)
            snapshot = assign_owners(scan, root_manifest.folders)
            everything = list_desired(desired)
            if not accept_losses:
                self._refuse_to_empty(snapshot, everything)
            observed = observed_for(snapshot, everything)
            files = DesiredFiles(observed, root_fd, root_manifest.store, content, montages)
            run = PublishRun(
                root_fd,
                root_manifest,
                scan,
                snapshot,
                self._acknowledged,
                self._modes,
                self._is_ahead,
            )
            result = run.run(everything, files, list_idle(desired), publication)
        self._acknowledged = AcknowledgedEdits()
        self._shown, self._is_ahead = publication or self._shown, False
        return result

    def _scan(self, root_fd: int, *, sweeps: bool = False) -> TreeScan:
        return match_by_content(scan_tree(root_fd, self._cache, sweeps=sweeps), root_fd)

    def _take_snapshot(self, root_fd: int, root_manifest: FolderManifest) -> TreeSnapshot:
        scan = self._scan(root_fd)
        snapshot = assign_owners(scan, root_manifest.folders)
        self._unreadable = scan.unreadable
        return snapshot.with_copies(self._copies)

    def _refuse_to_empty(self, snapshot: TreeSnapshot, everything: Sequence[DesiredFolder]) -> None:
        if is_nearly_emptied(snapshot, everything, MIN_MASS_LOSS):
            raise PublishError(
                f"{self._root}: nearly all people would be removed. If this is the right folder "
                "and that is intended, run `portraitd accept`"
            )

    def _save_copies(self, root_fd: int, snapshot: TreeSnapshot) -> None:
        """Record in the folders which pictures are copies, so that a restart remembers them."""
        executor = PlanExecutor(root_fd, snapshot.owned, self._modes, _no_content)
        for number, folder in snapshot.owned.items():
            manifest = folder.manifest
            copies = {
                name: face
                for name, face in folder.pictures.items()
                if name in manifest.copies or (number, PortraitFile(face, name)) in self._copies
            }
            if folder.has_manifest and copies != manifest.copies:
                manifest.copies = copies
                # In a folder that cannot be written, only this process remembers it.
                with suppress(OSError):
                    executor.save_manifest(number)

    def _executor(self, root_fd: int) -> PlanExecutor:
        return PlanExecutor(root_fd, {}, self._modes, _no_content)

    def _read_root_manifest(self, root_fd: int) -> FolderManifest:
        manifest = read_root_manifest(root_fd, self._root)
        self._check_store(manifest)
        return manifest

    def _check_store(self, manifest: FolderManifest) -> None:
        if self._store and manifest.store and manifest.store != self._store:
            raise ForeignTree(
                f"{self._root}: this tree belongs to another portraitd database, with other "
                "people under the same numbers. Set paths.state to the state folder it was made "
                "with, or move the tree away to start a new one"
            )
        self._cache.store = manifest.store


def _no_content(step: WriteFile) -> bytes:
    raise KeyError(step.name)
