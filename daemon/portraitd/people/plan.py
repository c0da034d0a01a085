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

from portraitd.people.names import folded, unique_name

UNSORTED = 0
"""The folder of the faces that belong to nobody; people have positive numbers."""


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
    """

    label: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SeenFolder:
    """A folder as it was found, by what is written in it and not by its name.

    Attributes:
        name: What it is called now.
        label: For which wanted label portraitd last named it.
        renamable: False once a human has named or moved it: then it keeps its name.
        removable: False where portraitd did not make it.
        published: Identity of the content last written, by file name.
        present: Whose each thing in it is. Things of any kind count, except portraitd's own notes.
    """

    name: str
    label: str
    renamable: bool
    removable: bool
    published: Mapping[str, str]
    present: Mapping[str, Owner]


@dataclass(frozen=True, slots=True)
class RenameFolder:
    """Give a folder that nobody else named its new name."""

    folder: int
    old_name: str
    new_name: str
    label: str


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """Make a folder. The writes that follow belong to it; it appears when they are done."""

    folder: int
    name: str
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


Step = RenameFolder | MakeFolder | Write | Remove | Forget | RemoveFolder


def plan(
    wanted: Mapping[int, WantedFolder],
    seen: Mapping[int, SeenFolder],
    taken: Collection[str],
) -> list[Step]:
    """The steps from the tree that is there to the tree that is wanted.

    Once they are carried out, planning again gives no step. Nothing is removed before all
    that is new has been written, so a face that changes folders is never in none.

    Args:
        wanted: By person; ``UNSORTED`` for the faces of nobody.
        seen: Every folder that is ours, by person.
        taken: The names of everything in the root, whosever it is.
    """
    names = _Names(taken)
    renames: list[Step] = []
    writes: list[Step] = []
    removals: list[Step] = []
    for number, folder in sorted(wanted.items()):
        known = seen.get(number)
        if known is None:
            name = names.give(folder.label, is_own=number == UNSORTED)
            writes.append(MakeFolder(number, name, folder.label))
            writes.extend(plan_files(number, folder.files, {}, {}))
            continue
        if known.renamable and known.label != folder.label:
            name = names.change(known.name, folder.label)
            renames.append(RenameFolder(number, known.name, name, folder.label))
        for step in plan_files(number, folder.files, known.published, known.present):
            (removals if isinstance(step, Remove) else writes).append(step)
    for number, known in sorted(seen.items()):
        if number not in wanted:
            removals.extend(_dissolve(number, known))
    return renames + writes + removals


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
        for target in _targets(name):
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


def _targets(name: str) -> Iterator[str]:
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


def _dissolve(number: int, known: SeenFolder) -> list[Step]:
    """Take our files out of a folder that is not wanted, and the folder if nothing is left."""
    steps: list[Step] = list(plan_files(number, {}, known.published, known.present))
    removed = {step.target for step in steps if isinstance(step, Remove)}
    if known.removable and removed.issuperset(known.present):
        steps.append(RemoveFolder(number))
    return steps


class _Names:
    """Which names in the root are taken, while a plan gives some away."""

    def __init__(self, taken: Collection[str]) -> None:
        self._taken = {folded(name) for name in taken}

    def give(self, label: str, *, is_own: bool) -> str:
        is_free = is_own and folded(label) not in self._taken
        name = label if is_free else unique_name(label, self._taken)
        self._taken.add(folded(name))
        return name

    def change(self, old_name: str, label: str) -> str:
        # The old name stays taken for this plan: its folder moves only if nobody was faster.
        without = self._taken - {folded(old_name)}
        name = unique_name(label, without)
        self._taken.add(folded(name))
        return name
