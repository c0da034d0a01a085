"""What to do so that the tree shows what it should. Pure: trees go in as values, steps come out.

Three trees meet here. *Wanted* is what the store says, *published* is what we remember having
written, *present* is what lies there now. Between the last two stands the human: whatever is
present and not as we published it is theirs, and theirs is never touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from portraitd.model.edit import Placement
from portraitd.people.names import folded, is_numbered, safe_name, unique_name

UNSORTED_NAME = "_unsorted"
IGNORED_NAME = "_ignored"
"""A human may put folders and portraits in here; they stay out of sight."""


class Owner(StrEnum):
    """Whose a present file is: ours while it is as we wrote it, else a human's."""

    OURS = "ours"
    THEIRS = "theirs"


@dataclass(frozen=True, slots=True)
class WantedFolder:
    """A folder as it should be.

    Attributes:
        label: The name it should have, if portraitd is to name it.
        files: Identity of the content by file name. Equal identities mean equal content;
            how the content is got does not matter here.
        is_ignored: Whether it belongs among those that are out of sight.
    """

    label: str
    files: Mapping[str, str]
    is_ignored: bool = False


@dataclass(frozen=True, slots=True)
class SeenFolder:
    """A folder as it was found, by what is written in it and not by its name.

    Attributes:
        location: Where it is now, below the root.
        label: For which wanted label portraitd last named it.
        renamable: False while a human has named or moved it: then it stays where it is.
        removable: False where portraitd did not make it.
        published: Identity of the content last written, by file name.
        present: Whose each thing in it is. Things of any kind count, except portraitd's own notes.
        is_heard: Whether what a human did to its name and place has been read. Then, where that
            is as wanted, it is portraitd's again to rename.
    """

    location: str
    label: str
    renamable: bool
    removable: bool
    published: Mapping[str, str]
    present: Mapping[str, Owner]
    is_heard: bool = False


@dataclass(frozen=True, slots=True)
class RenameFolder:
    """Give a folder that nobody else named its new name, or accept the one it has."""

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
class Write:
    """Write a wanted file.

    Attributes:
        target: Where: the wanted name, or one beside it if a human's file has that name.
        name: Which of the wanted files.
        identity: Of its content.
    """

    folder: int
    target: str
    name: str
    identity: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a file that is ours and no longer wanted."""

    folder: int
    target: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Stop remembering a file that is gone, or that a human made theirs."""

    folder: int
    target: str


@dataclass(frozen=True, slots=True)
class RemoveFolder:
    """Remove a folder that portraitd made and that now holds nothing."""

    folder: int


@dataclass(frozen=True, slots=True)
class Release:
    """Leave a folder that a human moved to them, with what they put into it."""

    folder: int


Step = RenameFolder | MakeFolder | Write | Remove | Forget | RemoveFolder | Release


def plan(
    wanted: Mapping[int, WantedFolder],
    seen: Mapping[int, SeenFolder],
    taken: Mapping[str, Collection[str]],
    resting: Mapping[int, WantedFolder],
) -> list[Step]:
    """The steps from the tree that is there to the tree that is wanted.

    Once they are carried out, planning again gives no step. Nothing is removed before all
    that is new has been written, so a face that changes folders is never in none.

    Args:
        wanted: By person; ``Placement.UNSORTED`` for the faces of nobody, ``Placement.IGNORED`` for single faces that
            are out of sight.
        seen: Every folder that is ours, by person.
        taken: The names of everything in a folder, whosever it is, by the folder's location.
        resting: By person, of those who have nothing to show now and may again: where files of
            others keep their folder, it stays theirs.
    """
    names = _Names(taken)
    # People who are ignored need the folder where they go.
    first: list[Step] = []
    renames: list[Step] = []
    writes: list[Step] = []
    removals: list[Step] = []
    for number, folder in sorted(wanted.items()):
        known = seen.get(number)
        if known is None:
            making = first if number == Placement.IGNORED else writes
            parent = IGNORED_NAME if folder.is_ignored else ""
            location = names.give(parent, folder.label, is_own=number <= 0)
            making.append(MakeFolder(number, location, folder.label))
            making.extend(plan_files(number, folder.files, {}, {}))
            continue
        renames.extend(_renamed(number, folder, known, names))
        for step in plan_files(number, folder.files, known.published, known.present):
            (removals if isinstance(step, Remove) else writes).append(step)
    for number, known in sorted(seen.items()):
        if number not in wanted:
            steps = _dissolve(number, known, is_resting=number in resting)
            removals.extend(steps)
            if number in resting and not any(isinstance(step, RemoveFolder) for step in steps):
                renames.extend(_renamed(number, resting[number], known, names))
    return first + renames + writes + removals


def in_ignored(location: str) -> bool:
    """Whether a folder lies, at any depth, among those that are out of sight."""
    return location.startswith(f"{IGNORED_NAME}/")


def _renamed(
    number: int, folder: WantedFolder, known: SeenFolder, names: _Names
) -> Iterator[RenameFolder]:
    parent, _, leaf = known.location.rpartition("/")
    is_there = in_ignored(known.location) == folder.is_ignored
    if known.renamable:
        if not is_there:
            goal = IGNORED_NAME if folder.is_ignored else ""
            location = names.give(goal, folder.label, is_own=False)
            yield RenameFolder(number, known.location, location, folder.label)
        elif known.label != folder.label:
            location = names.change(parent, leaf, folder.label)
            yield RenameFolder(number, known.location, location, folder.label)
    elif number > 0 and known.is_heard and is_there and is_numbered(safe_name(leaf), folder.label):
        yield RenameFolder(number, known.location, known.location, folder.label)


def plan_files(
    folder: int,
    wanted: Mapping[str, str],
    published: Mapping[str, str],
    present: Mapping[str, Owner],
) -> list[Write | Remove | Forget]:
    """The steps within one folder: first what to forget, then to write, then to remove.

    Args:
        folder: Whose; only carried into the steps.
        wanted: Identity of the content by name.
        published: Identity of what we last wrote by name.
        present: Whose each thing there is; looked up only where something would change.
    """
    names = {folded(name) for name in present}
    targets: set[str] = set()
    writes = []
    for name, identity in wanted.items():
        for target in names_beside(name):
            if target in present and published.get(target) == identity:
                # As wanted when we wrote it. If a human changed it since, the change stays.
                targets.add(target)
                break
            if _is_free(target, present, names):
                targets.add(target)
                writes.append(Write(folder, target, name, identity))
                break
    leftovers = list(_leftovers(folder, targets, published, present))
    forgets = [step for step in leftovers if isinstance(step, Forget)]
    removes = [step for step in leftovers if isinstance(step, Remove)]
    return [*forgets, *writes, *removes]


def names_beside(name: str) -> Iterator[str]:
    """The wanted name, then those beside it: ``000123 (portraitd).jpg`` and so on."""
    yield name
    stem, dot, ending = name.rpartition(".")
    if not dot:
        stem, ending = name, ""
    for number in count(1):
        yield f"{stem} (portraitd{'' if number == 1 else f' {number}'}){dot}{ending}"


def _is_free(
    target: str,
    present: Mapping[str, Owner],
    names: Collection[str],
) -> bool:
    """Whether writing here destroys nothing of a human's, on file systems without case too."""
    if target in present:
        return present[target] is Owner.OURS
    return folded(target) not in names


def _leftovers(
    folder: int,
    targets: Collection[str],
    published: Mapping[str, str],
    present: Mapping[str, Owner],
) -> Iterator[Remove | Forget]:
    """What to do about files that we wrote and that are no longer wanted."""
    for name in published:
        if name in targets:
            continue
        if name in present and present[name] is Owner.OURS:
            yield Remove(folder, name)
        else:
            yield Forget(folder, name)


def _dissolve(number: int, known: SeenFolder, *, is_resting: bool) -> list[Step]:
    """Take our files out of a folder that is not wanted, and the folder if nothing is left."""
    steps: list[Step] = list(plan_files(number, {}, known.published, known.present))
    removed = {step.target for step in steps if isinstance(step, Remove)}
    if known.removable and removed.issuperset(known.present):
        steps.append(RemoveFolder(number))
    elif known.removable and not known.renamable and not is_resting:
        # Where a human put it, it would be taken for the person's if they came back.
        steps.append(Release(number))
    return steps


class _Names:
    """Which names are taken in each folder, while a plan gives some away."""

    def __init__(self, taken: Mapping[str, Collection[str]]) -> None:
        self._taken = {at: {folded(name) for name in names} for at, names in taken.items()}

    def give(self, parent: str, label: str, *, is_own: bool) -> str:
        taken = self._taken.setdefault(parent, set())
        is_free = is_own and folded(label) not in taken
        name = label if is_free else unique_name(label, taken)
        taken.add(folded(name))
        return f"{parent}/{name}" if parent else name

    def change(self, parent: str, old_name: str, label: str) -> str:
        # The old name stays taken for this plan: its folder moves only if nobody was faster.
        taken = self._taken.setdefault(parent, set())
        name = unique_name(label, taken - {folded(old_name)})
        taken.add(folded(name))
        return f"{parent}/{name}" if parent else name
