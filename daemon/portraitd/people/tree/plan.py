"""Plan how the tree gets from the observed to the desired state. Pure: values in, steps out.

Three things are compared for each folder: the *desired* files, the files *published* according
to the manifest, and the files *present* now. A file that is present and not as published was
changed or added by a reviewer, and is never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from portraitd.model.edit import Placement
from portraitd.people.names import folded, is_numbered, safe_name, unique_name
from portraitd.people.tree.desired import DesiredFolder
from portraitd.people.tree.folder_state import IGNORED_NAME, FolderState, is_in_ignored, leaf_of


class Owner(StrEnum):
    """Whose a present file is: ours while it is as we wrote it, else a reviewer's."""

    OURS = "ours"
    THEIRS = "theirs"


@dataclass(frozen=True, slots=True)
class RenameFolder:
    """Give a folder that no reviewer named its new name, or accept the name it has."""

    folder: int
    old_location: str
    new_location: str
    label: str


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """Make a folder. The writes that follow belong to it; it appears when they are done."""

    folder: int
    location: str
    label: str


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Write a desired file.

    Attributes:
        target: The desired name, or one beside it if a reviewer's file has that name.
        name: The desired name.
        identity: Identity of the content.
    """

    folder: int
    target: str
    name: str
    identity: str


@dataclass(frozen=True, slots=True)
class RemoveFile:
    """Remove a file that is ours and no longer desired."""

    folder: int
    target: str


@dataclass(frozen=True, slots=True)
class UnlistFile:
    """Drop a file from the manifest that is missing, or that a reviewer changed."""

    folder: int
    target: str


@dataclass(frozen=True, slots=True)
class RemoveFolder:
    """Remove a folder that portraitd made and that is now empty."""

    folder: int


@dataclass(frozen=True, slots=True)
class ReleaseFolder:
    """Give up a folder that a reviewer moved, with what they put into it."""

    folder: int


Step = (
    RenameFolder | MakeFolder | WriteFile | RemoveFile | UnlistFile | RemoveFolder | ReleaseFolder
)


def plan(
    desired: Iterable[DesiredFolder],
    observed: Mapping[int, FolderState],
    owners_in: Callable[[FolderState], Mapping[str, Owner]],
    taken: Mapping[str, Collection[str]],
    idle: Iterable[DesiredFolder] = (),
) -> list[Step]:
    """Return the steps from the observed to the desired tree.

    Once they are carried out, planning again gives no steps. Nothing is removed before all new
    files are written, so a face that changes folders is always in one of them.

    Args:
        desired: The folders as they should be.
        observed: Every folder that is portraitd's, by number.
        owners_in: Returns the owner of each entry of a folder.
        taken: All names in a folder, by the folder's location.
        idle: Folders of people who have no portraits now. They are not made; one that is kept
            by a reviewer's files stays with its owner.
    """
    names = _NameAllocator(taken)
    idle_folders = {folder.number: folder for folder in idle}
    # Ignored people need the folder that theirs go into.
    first: list[Step] = []
    renames: list[Step] = []
    writes: list[Step] = []
    removals: list[Step] = []
    numbers = set()
    for folder in sorted(desired, key=lambda folder: folder.number):
        number = folder.number
        numbers.add(number)
        state = observed.get(number)
        if state is None:
            making = first if number == Placement.IGNORED else writes
            parent = IGNORED_NAME if folder.is_ignored else ""
            location = names.give(parent, folder.label, is_own=number <= 0)
            making.append(MakeFolder(number, location, folder.label))
            making.extend(plan_files(number, folder.files, {}, {}))
            continue
        renames.extend(_plan_rename(folder, state, names))
        for step in plan_files(number, folder.files, state.published, owners_in(state)):
            (removals if isinstance(step, RemoveFile) else writes).append(step)
    for number, state in sorted(observed.items()):
        if number not in numbers:
            steps = _plan_removal(number, state, owners_in(state), is_idle=number in idle_folders)
            removals.extend(steps)
            is_kept = not any(isinstance(step, RemoveFolder) for step in steps)
            if number in idle_folders and is_kept:
                renames.extend(_plan_rename(idle_folders[number], state, names))
    return first + renames + writes + removals


def _plan_rename(
    folder: DesiredFolder, state: FolderState, names: _NameAllocator
) -> Iterator[RenameFolder]:
    number = folder.number
    parent, _, leaf = state.location.rpartition("/")
    is_there = is_in_ignored(state.location) == folder.is_ignored
    if state.is_renamable:
        if not is_there:
            goal = IGNORED_NAME if folder.is_ignored else ""
            location = names.give(goal, folder.label, is_own=False)
            yield RenameFolder(number, state.location, location, folder.label)
        elif state.manifest.label != folder.label:
            location = names.change(parent, leaf, folder.label)
            yield RenameFolder(number, state.location, location, folder.label)
    elif (
        number > 0
        and state.is_move_reviewed
        and is_there
        and is_numbered(safe_name(leaf), folder.label)
    ):
        # A reviewer gave it the name it should have: portraitd may rename it from now on.
        yield RenameFolder(number, state.location, state.location, folder.label)
    elif (
        number > 0
        and state.is_move_reviewed
        and is_there
        and safe_name(leaf)
        and leaf != leaf_of(state.manifest.location)
    ):
        # What a reviewer renamed it to is another person's number, or was undone.
        yield RenameFolder(
            number, state.location, names.change(parent, leaf, folder.label), folder.label
        )


def plan_files(
    folder: int,
    desired: Mapping[str, str],
    published: Mapping[str, str],
    present: Mapping[str, Owner],
) -> list[WriteFile | RemoveFile | UnlistFile]:
    """Return the steps within one folder: first files to unlist, then to write, then to remove.

    Args:
        folder: The folder's number, for the steps.
        desired: Identity of the content by name. Equal identities mean equal content.
        published: Identity of what portraitd last wrote, by name.
        present: Owner of each entry; looked up only where something would change.
    """
    names = {folded(name) for name in present}
    targets: set[str] = set()
    writes = []
    for name, identity in desired.items():
        for target in names_beside(name):
            if target in present and published.get(target) == identity:
                # It was as desired when written. If a reviewer changed it since, the change stays.
                targets.add(target)
                break
            if _is_free(target, present, names):
                targets.add(target)
                writes.append(WriteFile(folder, target, name, identity))
                break
    leftovers = list(_plan_leftovers(folder, targets, published, present))
    unlists = [step for step in leftovers if isinstance(step, UnlistFile)]
    removes = [step for step in leftovers if isinstance(step, RemoveFile)]
    return [*unlists, *writes, *removes]


def names_beside(name: str) -> Iterator[str]:
    """Yield the desired name, then those beside it: ``000123 (portraitd).jpg`` and so on."""
    yield name
    stem, dot, ending = name.rpartition(".")
    if not dot:
        stem, ending = name, ""
    for number in count(1):
        yield f"{stem} (portraitd{'' if number == 1 else f' {number}'}){dot}{ending}"


def _is_free(target: str, present: Mapping[str, Owner], names: Collection[str]) -> bool:
    """Return whether writing here leaves a reviewer's files alone, also where case is ignored."""
    if target in present:
        return present[target] is Owner.OURS
    return folded(target) not in names


def _plan_leftovers(
    folder: int,
    targets: Collection[str],
    published: Mapping[str, str],
    present: Mapping[str, Owner],
) -> Iterator[RemoveFile | UnlistFile]:
    """Yield what to do about published files that are no longer desired."""
    for name in published:
        if name in targets:
            continue
        if name in present and present[name] is Owner.OURS:
            yield RemoveFile(folder, name)
        else:
            yield UnlistFile(folder, name)


def _plan_removal(
    number: int, state: FolderState, present: Mapping[str, Owner], *, is_idle: bool
) -> list[Step]:
    """Take our files out of a folder that is not desired, and remove it if nothing is left."""
    steps: list[Step] = list(plan_files(number, {}, state.published, present))
    removed = {step.target for step in steps if isinstance(step, RemoveFile)}
    if state.is_removable and removed.issuperset(present):
        steps.append(RemoveFolder(number))
    elif state.is_removable and not state.is_renamable and not is_idle:
        # Kept where a reviewer put it, it would count as the person's folder if they came back.
        steps.append(ReleaseFolder(number))
    return steps


class _NameAllocator:
    """Gives out folder names during one plan, so that no two folders get the same one."""

    def __init__(self, taken: Mapping[str, Collection[str]]) -> None:
        self._taken = {at: {folded(name) for name in names} for at, names in taken.items()}

    def give(self, parent: str, label: str, *, is_own: bool) -> str:
        taken = self._taken.setdefault(parent, set())
        is_free = is_own and folded(label) not in taken
        name = label if is_free else unique_name(label, taken)
        taken.add(folded(name))
        return f"{parent}/{name}" if parent else name

    def change(self, parent: str, old_name: str, label: str) -> str:
        # The old name stays taken in this plan: the rename is skipped if a reviewer was faster.
        taken = self._taken.setdefault(parent, set())
        name = unique_name(label, taken - {folded(old_name)})
        taken.add(folded(name))
        return f"{parent}/{name}" if parent else name
