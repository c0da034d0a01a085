"""A simulated reviewer who edits a tree at random, and keeps account of what was meant."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

from portraitd.people.tree.diff import MAX_LOSS_SHARE, MIN_MASS_LOSS
from portraitd.people.tree.people_tree import PublishResult
from portraitd.people.tree.reserved_folders import RESERVED_FOLDERS
from support.accounts import Account
from support.hostile_entries import KINDS, put_hostile


class SimulatedReviewer:
    """A person who edits one tree.

    Attributes:
        store: What the service has recorded.
        truth: What the person meant.
        foreign: Content of the person's own files, which must be kept until they delete it.
        actions: What was done, for the message of a failed test.
        done: The last publish.
        is_asked: Whether so much is missing that the person was asked whether they deleted it.
        lost: Faces whose portraits they deleted since; it is no deletion before they answer.
        lost_people: People whose folders they deleted since.
        placed: Person of each face whose portrait was published, as the store knows it.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.random = random.Random(seed)
        self.store, self.truth = Account(), Account()
        self.foreign: set[bytes] = set()
        self.actions: list[str] = []
        self.kept = root.parent / "kept"
        self.kept.mkdir()
        self.copied: set[int] = set()
        self.copied_people: set[int] = set()
        self.done: PublishResult | None = None
        self.is_asked = False
        self.lost: set[int] = set()
        self.lost_people: set[int] = set()
        self.placed: dict[int, int | None] = {}
        self._next_person = 1
        self._names_given = 0
        self._busy: set[int] = set()
        self._busy_people: set[int] = set()

    # What is there

    def folder_of(self, person: int) -> Path | None:
        """Return the person's folder by its manifest; the original if there are copies."""
        for manifest in sorted(self.root.rglob(".person.json")):
            facts = json.loads(manifest.read_text())
            if facts["person"] == person and facts["inode"] == manifest.parent.stat().st_ino:
                return manifest.parent
        return None

    def person(self, *, ignored: bool = False) -> int | None:
        people = [
            number
            for number in self.truth.names
            if (number in self.truth.ignored_people) is ignored
            and number not in self._busy_people
            and self.truth.faces(number)
            and self.folder_of(number)
        ]
        return self._one(people)

    def _one(self, choices: list[int]) -> int | None:
        return self.random.choice(sorted(choices)) if choices else None

    def portrait(self) -> tuple[int, Path] | None:
        """Return a visible face and its portrait; each at most once in a step."""
        if self.done is None:
            return None
        choices = []
        for one in self.done.portraits:
            person = self.truth.person_of[one]
            is_free = one not in self._busy and person not in self._busy_people
            hidden = self.truth.excluded | self.truth.ignored_faces | self.copied
            if one in hidden | self.lost or person in self.lost_people or not is_free:
                continue
            if person in self.truth.ignored_people:
                continue
            choices.append(one)
        one = self._one(choices)
        if one is None:
            return None
        person = self.truth.person_of[one]
        folder = self.folder_of(person) if person else self.root / "_unsorted"
        if folder is None:
            return None
        path = folder / Path(self.done.portraits[one]).name
        assert path.is_file(), f"{path}: " + "\n".join(self.actions[-12:])
        self._busy.add(one)
        if person:
            # People do not merge or delete a folder from which they just moved something.
            self._busy_people.add(person)
        return one, path

    # What a person does

    def move_portrait(self) -> None:
        found, target = self.portrait(), self.person()
        if found and target:
            one, path = found
            folder = self.folder_of(target)
            assert folder
            name = path.name if self.random.random() < 0.7 else f"seen {one}.JPG"
            self._moved(path, folder / name)
            self._busy_people.add(target)
            self.truth.place(one, target)

    def _moved(self, path: Path, target: Path) -> None:
        self.actions.append(f"  {path} -> {target}")
        path.rename(target)
        if self.random.random() < 0.5 and path.with_suffix(".txt").is_file():
            path.with_suffix(".txt").rename(target.with_suffix(".txt"))

    def rename_portrait(self) -> None:
        found = self.portrait()
        if found:
            one, path = found
            self._moved(path, path.with_name(f"nice {one} {self.random.randint(0, 99)}.jpg"))

    def unsort(self) -> None:
        found = self.portrait()
        if found and self.truth.person_of[found[0]]:
            self._moved(found[1], self.root / "_unsorted" / found[1].name)
            self.truth.place(found[0], None)

    def name(self) -> None:
        person = self.person()
        if person:
            name = self._new_name("Name")
            self._rename(person, self.root / name)
            self.truth.names[person] = name

    def take_name_back(self) -> None:
        person = self.person()
        folder = person and self.folder_of(person)
        if person and folder and self.truth.names[person]:
            number = folder.with_name(f"{self.random.choice(['person', 'Person'])}-{person:04d}")
            if not number.exists():
                self._rename(person, number)
                self.truth.names[person] = None

    def take_strange_number(self) -> None:
        """The number of somebody else, or of nobody, is no name."""
        person = self.person()
        folder = person and self.folder_of(person)
        if person and folder:
            number = folder.with_name(f"person-{person + self.random.choice([1, 2, 5000])}")
            if not number.exists():
                self._rename(person, number)

    def _rename(self, person: int, to: Path) -> None:
        folder = self.folder_of(person)
        assert folder
        self.actions.append(f"  {folder} -> {to}")
        folder.rename(to)
        self._busy_people.add(person)

    def file_away(self) -> None:
        """Moving a person's folder into an ordinary folder has no effect."""
        person = self.person()
        folder = person and self.folder_of(person)
        if person and folder and folder.parent == self.root:
            (self.root / "Family").mkdir(exist_ok=True)
            self._rename(person, self.root / "Family" / folder.name)

    def _two(self) -> tuple[int, int] | None:
        one = self.person()
        if one is None:
            return None
        self._busy_people.add(one)
        other = self.person()
        if other is None:
            return None
        self._busy_people.add(other)
        return one, other

    def nest(self) -> None:
        pair = self._two()
        if pair:
            inner, outer = map(self.folder_of, pair)
            assert inner
            assert outer
            if outer not in inner.parents and inner not in outer.parents:
                self._rename(pair[0], outer / inner.name)
                self.truth.merge(*pair)

    def rename_over(self) -> None:
        """A name in another case is the same name to most people."""
        pair = self._two()
        if pair:
            folder = self.folder_of(pair[1])
            assert folder
            name = folder.with_name(folder.name.swapcase())
            if not name.exists() and self.folder_of(pair[0]) not in name.parents:
                self._rename(pair[0], name)
                self.truth.merge(*pair)

    def merge_files(self) -> None:
        """As a file manager merges two folders."""
        pair = None if self.is_asked else self._two()
        # Without the folder, its copy would count as the original. Without a portrait in it, there
        # is nothing that says whose files these are.
        is_lone = pair and pair[0] not in self.copied_people and not self._inside(pair[0])
        if pair and is_lone and self._count_shown(pair[0]):
            source, target = map(self.folder_of, pair)
            assert source
            assert target
            with_manifest = self.random.random() < 0.5
            for path in sorted(source.iterdir()):
                if path.name != ".person.json" or with_manifest:
                    path.replace(target / path.name) if path.is_file() else path.rename(
                        target / f"{path.name} {self.random.random()}"
                    )
            shutil.rmtree(source)
            self.truth.merge(*pair)

    def split(self) -> None:
        found = [one for one in (self.portrait(), self.portrait()) if one]
        if found:
            name = self._new_name("Split")
            parent = self.random.choice([self.root, self.root, found[0][1].parent])
            (parent / name).mkdir()
            number = self._next_person
            self._next_person += 1
            self.truth.names[number] = name
            self._busy_people.add(number)
            for one, path in found:
                self._moved(path, parent / name / path.name)
                self.truth.place(one, number)

    def _delete(self, path: Path) -> None:
        self.actions.append(f"  delete {path}")
        if path.is_dir():
            self.foreign -= {one.read_bytes() for one in path.rglob("*") if one.is_file()}
            shutil.rmtree(path)
        else:
            self.foreign.discard(path.read_bytes())
            path.unlink()

    def exclude(self) -> None:
        found = self.portrait()
        if found:
            one, path = found
            shutil.copy(path, self.kept / f"{one}.jpg")
            self._delete(path)
            if self.is_asked:
                self.lost.add(one)
            else:
                self.truth.excluded.add(one)

    def ignore_face(self) -> None:
        found = self.portrait()
        if found:
            one, path = found
            self._moved(path, self.root / "_ignored" / path.name)
            self.truth.ignored_faces.add(one)

    def recall_face(self) -> None:
        ignored = [
            one for one in self.truth.ignored_faces - self.truth.excluded if one not in self._busy
        ]
        one, target = self._one(ignored), self.person()
        if one and target and self.done and one in self.done.portraits:
            folder = self.folder_of(target)
            path = self.root / self.done.portraits[one]
            assert folder
            if path.is_file():
                self._moved(path, folder / path.name)
                self._busy.add(one)
                self._busy_people.add(target)
                self.truth.place(one, target)

    def bring_back(self) -> None:
        """Put back a deleted portrait of which a copy was kept elsewhere."""
        kept = [
            one for one in self.truth.excluded - self._busy if (self.kept / f"{one}.jpg").exists()
        ]
        one, target = self._one(kept), self.person()
        if one and target and one in self.store.excluded:
            folder = self.folder_of(target)
            assert folder
            self.actions.append(f"  kept {one} -> {folder}")
            shutil.copy(self.kept / f"{one}.jpg", folder / f"back {one}.jpg")
            self._busy.add(one)
            self._busy_people.add(target)
            self.truth.place(one, target)

    def _with_all_inside(self, person: int) -> set[int]:
        """Return the person, and the people whose folders are in theirs."""
        inside = self._inside(person)
        self._busy_people |= inside
        return inside | {person}

    def _inside(self, person: int) -> set[int]:
        own = self.folder_of(person)
        folders = {number: self.folder_of(number) for number in self.truth.names}
        return {number for number, folder in folders.items() if folder and own in folder.parents}

    def ignore_person(self) -> None:
        person = self.person()
        folder = person and self.folder_of(person)
        if person and folder:
            people = self._with_all_inside(person)
            self._rename(person, self.root / "_ignored" / folder.name)
            self.truth.ignored_people |= people

    def delete_person(self) -> None:
        person = self.person()
        folder = person and self.folder_of(person)
        # Folders inside it would be deleted too, and mean more than one thing.
        # A copy elsewhere would take the place of the original.
        is_lone = person not in self.copied_people and not (
            self.copied & {one for one, owner in self.truth.person_of.items() if owner == person}
        )
        if person and folder and is_lone and not list(folder.glob("*/**/*.jpg")):
            self._delete(folder)
            self._busy_people.add(person)
            if self.is_asked:
                self.lost_people.add(person)
                self.lost -= {*self.truth.faces(person)}
            else:
                self.truth.ignored_people.add(person)

    def lose_much(self) -> bool:
        """Delete more than a person usually does; return whether there was enough to delete."""
        wanted = max(MIN_MASS_LOSS, int(MAX_LOSS_SHARE * 1.3 * len(self.placed)) + 1)
        ignored = {one for person in self.truth.ignored_people for one in self.truth.faces(person)}
        kept = self.copied | ignored | self.truth.ignored_faces | self.truth.excluded
        if wanted > 0.7 * len(self.placed.keys() - kept):
            return False
        self.is_asked = True
        for _ in range(10 * wanted):
            self._busy, self._busy_people = set(), set()
            (self.delete_person if self.random.random() < 0.05 else self.exclude)()
            if len(self.lost) + sum(map(self._count_shown, self.lost_people)) >= wanted:
                return True
        raise AssertionError("not enough could be deleted")

    def _count_shown(self, person: int) -> int:
        return len(self.placed.keys() & self.truth.faces(person))

    def regroup(self) -> None:
        """The grouping makes a person who is missing part of another one."""
        missing = self._one([one for one in self.lost_people if not self.truth.names[one]])
        other = self.person()
        if missing and other:
            self.lost_people.discard(missing)
            self.lost |= self.placed.keys() & self.truth.faces(missing)
            for account in (self.truth, self.store):
                account.merge(missing, other)

    def recall_person(self) -> None:
        person = self.person(ignored=True)
        folder = person and self.folder_of(person)
        if person and folder and not (self.root / folder.name).exists():
            people = self._with_all_inside(person)
            self._rename(person, self.root / folder.name)
            self.truth.ignored_people -= people

    def copy_portrait(self) -> None:
        """Into the same folder. The copy would replace a deleted original, so that is kept."""
        found = self.portrait()
        if found:
            copy = found[1].with_name(f"copy {self.random.randint(0, 99)}.jpg")
            if not copy.exists():
                shutil.copy(found[1], copy)
                self.copied.add(found[0])

    def copy_folder(self) -> None:
        person = self.person()
        folder = person and self.folder_of(person)
        if folder and len(list(self.root.glob("Copy*"))) < 3:
            assert person
            self.copied_people |= {person, *self._inside(person)}
            shutil.copytree(folder, self.root / self._new_name("Copy"))

    def write_note(self) -> None:
        self._write_foreign("note {}.txt", b"written by hand %d")

    def write_picture(self) -> None:
        self._write_foreign("IMG_{}.jpg", b"\xff\xd8 a photo of a cake %d")

    def _write_foreign(self, name: str, content: bytes) -> None:
        person = self.person()
        folder = self.folder_of(person) if person else self.root
        if folder:
            number = self.random.randint(0, 10_000)
            (folder / name.format(number)).write_bytes(content % number)
            self.foreign.add(content % number)

    def put_into_cards(self) -> None:
        """A portrait among cards is written again where it belongs, and stays there as a copy."""
        found = None if self.is_asked else self.portrait()
        if found:
            folder = self._card_folder()
            self._moved(found[1], folder / f"card {found[0]} {self.random.randint(0, 99)}.jpg")
            self.copied.add(found[0])

    def put_hostile_card(self) -> None:
        """Links, folders, pipes and the like among cards have no effect."""
        folder = self._card_folder()
        if len(list(folder.iterdir())) < 12:
            # A huge file would be read to see that it is still there.
            kinds = [one for one in KINDS if one != "huge"]
            put_hostile(folder, self.random, self.random.randint(0, 10_000), kinds)

    def ask_who(self) -> None:
        """A picture in ``_who`` is the person's own and stays."""
        number = self.random.randint(0, 10_000)
        content = b"\xff\xd8 somebody %d" % number
        (self._card_folder("_who") / f"asked {number}.jpg").write_bytes(content)
        self.foreign.add(content)

    def _card_folder(self, name: str = "") -> Path:
        folder = self.root / (name or self.random.choice(sorted(RESERVED_FOLDERS)))
        folder.mkdir(exist_ok=True)
        return folder

    def edit(self) -> None:
        """As an image editor does: the content changes, the mark is kept."""
        found = self.portrait()
        if found:
            path = found[1]
            self.foreign.discard(path.read_bytes())
            content = path.read_bytes() + b"edited %d" % self.random.randint(0, 10_000)
            path.write_bytes(content)
            self.foreign.add(content)

    def make_clutter(self) -> None:
        person = self.person()
        folder = person and self.folder_of(person)
        if folder:
            for name in ("Thumbs.db", ".DS_Store", "._000001.jpg"):
                (folder / name).write_bytes(b"clutter")

    def delete_ours(self) -> None:
        """Files without meaning: annotations and the README."""
        for path in [*self.root.rglob("0*.txt"), self.root / "README.txt"]:
            if self.random.random() < 0.1 and path.exists():
                os.unlink(path)

    def _new_name(self, kind: str) -> str:
        self._names_given += 1
        return f"{kind} {self._names_given}"
