"""The laws of planning, tested on small trees that are values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import example, given
from hypothesis import strategies as st

from portraitd.model.edit import Placement
from portraitd.people.names import OWN_NAMES, folded
from portraitd.people.tree.desired import DesiredFolder
from portraitd.people.tree.folder_fs import WrittenFile
from portraitd.people.tree.folder_state import FolderState
from portraitd.people.tree.manifest import FolderManifest, ManifestEntry
from portraitd.people.tree.plan import (
    MakeFolder,
    Owner,
    ReleaseFolder,
    RemoveFile,
    RemoveFolder,
    RenameFolder,
    Step,
    UnlistFile,
    WriteFile,
    plan,
    plan_files,
)

NAMES = ["000001.jpg", "000002.jpg", "000002.txt", "montage.jpg"]
FOREIGN = [*NAMES, "MONTAGE.JPG", "000001 (portraitd).jpg", "holiday.png"]


def folder_with(label: str, files: dict[str, str]) -> DesiredFolder:
    """A folder as it should be; ``ModelTree.plan`` gives it its number."""
    return DesiredFolder(0, label, files=files)


@dataclass
class ModelFolder:
    """A folder as a value: what is there, and what was published."""

    name: str
    label: str = ""
    given: str = ""
    removable: bool = True
    present: dict[str, str] = field(default_factory=dict)
    published: dict[str, str] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)

    def owners(self) -> dict[str, Owner]:
        return {
            name: Owner.OURS if self.written.get(name) == content else Owner.THEIRS
            for name, content in self.present.items()
        }

    def state(self, number: int) -> FolderState:
        files = {
            name: ManifestEntry(content, WrittenFile("", 0, 0))
            for name, content in self.published.items()
        }
        return FolderState(
            self.name,
            names=tuple(self.present),
            manifest=FolderManifest(max(number, 1), self.label, self.given, 0, files),
            has_manifest=self.removable,
            number=number,
        )

    def foreign(self) -> dict[str, str]:
        return {n: c for n, c in self.present.items() if self.written.get(n) != c}


@dataclass
class ModelTree:
    """A whole tree as a value; content and its identity are the same word here."""

    folders: dict[int, ModelFolder] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    released: dict[int, ModelFolder] = field(default_factory=dict)

    def plan(self, desired: dict[int, DesiredFolder]) -> list[Step]:
        taken = {folder.name for folder in self.folders.values()} | self.others
        return plan(
            [replace(folder, number=number) for number, folder in desired.items()],
            {number: folder.state(number) for number, folder in self.folders.items()},
            lambda state: self.folders[state.number or 0].owners(),
            {"": taken},
        )

    def carry_out(self, steps: list[Step]) -> None:
        for step in steps:
            self._do(step)

    def _do(self, step: Step) -> None:
        match step:
            case MakeFolder(number, name, label):
                assert number not in self.folders
                self.folders[number] = ModelFolder(name, label, name)
            case RenameFolder(number, old_name, new_name, label):
                folder = self.folders[number]
                assert folder.name == old_name
                folder.name, folder.given, folder.label = new_name, new_name, label
            case WriteFile(number, target, name, identity):
                folder = self.folders[number]
                if target != name and folder.present.get(name) == identity:
                    self._remove_beside(folder, target)
                    target = name
                else:
                    assert target not in folder.foreign()
                folder.present[target] = identity
                folder.published[target] = folder.written[target] = identity
            case RemoveFile(number, target):
                folder = self.folders[number]
                assert target not in folder.foreign()
                del folder.present[target], folder.published[target], folder.written[target]
            case UnlistFile(number, target):
                del self.folders[number].published[target]
                del self.folders[number].written[target]
            case ReleaseFolder(number):
                folder = self.folders.pop(number)
                assert folder.present == folder.foreign()
                self.released[number] = folder
                self.others.add(folder.name)
            case RemoveFolder(number):
                assert not self.folders[number].present
                del self.folders[number]

    def _remove_beside(self, folder: ModelFolder, target: str) -> None:
        """Remove our file beside a person's file that turns out to be as desired."""
        if target in folder.published and target not in folder.foreign():
            del folder.present[target], folder.published[target], folder.written[target]


contents = st.sampled_from(["red", "green", "blue"])
labels = st.sampled_from(["Anna", "anna", "person-0001", "Jose\u0301", "José", "gallery"])
desired_folders = st.builds(
    folder_with, labels, st.dictionaries(st.sampled_from(NAMES), contents, max_size=4)
)
desired_trees = st.dictionaries(st.integers(1, 4), desired_folders, max_size=4).flatmap(
    lambda people: st.one_of(
        st.just(people),
        desired_folders.map(
            lambda one: people | {Placement.UNSORTED: folder_with("_unsorted", one.files)}
        ),
    )
)
edits = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 4), st.sampled_from(FOREIGN), contents),
        st.tuples(st.just("drop"), st.integers(0, 4), st.sampled_from(FOREIGN), contents),
        st.tuples(st.just("rename"), st.integers(1, 4), labels, contents),
    ),
    max_size=8,
)
others = st.sets(st.sampled_from(["Anna", "person-0001", "notes", "_unsorted"]), max_size=2)


def edit(tree: ModelTree, changes: list[tuple[str, int, str, str]]) -> None:
    """What a person may do to the tree between two publishes."""
    for edit, number, name, content in changes:
        folder = tree.folders.get(number)
        if folder is None:
            continue
        if edit == "put":
            folder.present[name] = f"human {content}" if content == "red" else content
        elif edit == "drop":
            folder.present.pop(name, None)
        else:
            folder.name = f"{name} renamed {number}"


@example(
    [
        ({Placement.UNSORTED: folder_with("_unsorted", {})}, []),
        (
            {Placement.UNSORTED: folder_with("_unsorted", {NAMES[0]: "red", NAMES[1]: "red"})},
            [("put", 0, NAMES[1], "green")],
        ),
        ({Placement.UNSORTED: folder_with("_unsorted", {NAMES[1]: "green"})}, []),
    ],
    set(),
)
@given(st.lists(st.tuples(desired_trees, edits), min_size=1, max_size=4), others)
def test_publishing_twice_changes_nothing(
    story: list[tuple[dict[int, DesiredFolder], list[tuple[str, int, str, str]]]],
    foreign: set[str],
) -> None:
    """Once a plan is carried out, there is nothing left to do, whatever people did before."""
    tree = ModelTree(others=foreign)
    for desired, changes in story:
        edit(tree, changes)

        tree.carry_out(tree.plan(desired))

        assert [] == tree.plan(desired)


@given(desired_trees, edits, desired_trees, others)
def test_nothing_foreign_is_lost(
    before: dict[int, DesiredFolder],
    changes: list[tuple[str, int, str, str]],
    after: dict[int, DesiredFolder],
    foreign: set[str],
) -> None:
    """What a person added or changed is there afterwards, with the same content."""
    tree = ModelTree(others=foreign)
    tree.carry_out(tree.plan(before))
    edit(tree, changes)
    theirs = {number: folder.foreign() for number, folder in tree.folders.items()}

    tree.carry_out(tree.plan(after))

    for number, files in theirs.items():
        if files:
            folder = tree.folders.get(number) or tree.released[number]
            assert files.items() <= folder.present.items()


@given(desired_trees, edits, desired_trees, others)
def test_every_desired_file_is_there(
    before: dict[int, DesiredFolder],
    changes: list[tuple[str, int, str, str]],
    after: dict[int, DesiredFolder],
    foreign: set[str],
) -> None:
    """Under its name, or beside a person's file, or replaced by a person's change."""
    tree = ModelTree(others=foreign)
    tree.carry_out(tree.plan(before))
    edit(tree, changes)
    tree.carry_out(tree.plan(after))

    for number, desired in after.items():
        folder = tree.folders[number]
        for name, content in desired.files.items():
            stem, _, ending = name.rpartition(".")
            beside = [n for n in folder.published if n.startswith(stem) and n.endswith(ending)]
            assert any(folder.published[one] == content for one in beside)
    assert not [f for n, f in tree.folders.items() if n not in after and not f.present]


@given(desired_trees, desired_trees, others)
def test_no_two_folders_have_one_name(
    before: dict[int, DesiredFolder], after: dict[int, DesiredFolder], foreign: set[str]
) -> None:
    """Not even on a file system that ignores case and composes accents differently."""
    tree = ModelTree(others=foreign)
    tree.carry_out(tree.plan(before))
    tree.carry_out(tree.plan(after))

    names = [folded(folder.name) for folder in tree.folders.values()]
    own = {folded(name) for name in OWN_NAMES}
    people = [folded(f.name) for number, f in tree.folders.items() if number != Placement.UNSORTED]
    assert len(names) == len(set(names))
    assert not set(names) & {folded(name) for name in foreign}
    assert not own & set(people)


def test_nothing_is_removed_before_all_is_written() -> None:
    """A face that changes folders is always in one of them."""
    tree = ModelTree()
    tree.carry_out(tree.plan({1: folder_with("Anna", {"000001.jpg": "red"})}))

    steps = tree.plan({2: folder_with("Bob", {"000001.jpg": "red"})})

    kinds = [type(step) for step in steps]
    assert [MakeFolder, WriteFile, RemoveFile, RemoveFolder] == kinds


def test_a_changed_file_gets_ours_beside_it() -> None:
    """Only if the content is new; and under the next name if that file was changed as well."""
    published = {"montage.jpg": "red"}
    changed = {"montage.jpg": Owner.THEIRS}

    assert [] == plan_files(1, {"montage.jpg": "red"}, published, changed)
    assert [
        UnlistFile(1, "montage.jpg"),
        WriteFile(1, "montage (portraitd).jpg", "montage.jpg", "blue"),
    ] == plan_files(1, {"montage.jpg": "blue"}, published, changed)
    assert [WriteFile(1, "montage (portraitd 2).jpg", "montage.jpg", "blue")] == plan_files(
        1,
        {"montage.jpg": "blue"},
        {},
        {"MONTAGE.jpg": Owner.THEIRS, "montage (portraitd).jpg": Owner.THEIRS},
    )


def test_a_folder_that_a_person_renamed_keeps_its_name() -> None:
    """portraitd changes only names that it gave itself."""
    tree = ModelTree()
    tree.carry_out(tree.plan({1: folder_with("person-0001", {}), 2: folder_with("p2", {})}))
    tree.folders[1].name = "Mum"

    tree.carry_out(tree.plan({1: folder_with("Anna", {}), 2: folder_with("Bob", {})}))

    assert ["Mum", "Bob"] == [tree.folders[number].name for number in (1, 2)]
