"""A simulated reviewer who edits the people folder of a home, and a model of their edits."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2

from portraitd.media.jpeg import encode_jpeg
from portraitd.model.edit import Placement
from portraitd.model.face import Box
from portraitd.model.question import Claim, Question
from support.home import Home, connect
from support.hostile_entries import put_hostile
from support.questions import cards, leave_open, questions_dir, read_key

UNSORTED, IGNORED = Placement.UNSORTED, Placement.IGNORED
EXCLUDED = -2
"""Where the model puts a deleted portrait: in no folder."""


class Key(NamedTuple):
    """A face, identified by content, time and box."""

    sha256: str
    t_s: float
    box: Box


@dataclass
class Truth:
    """What the edits mean, and what therefore must be true."""

    places: dict[Key, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    ignored: set[int] = field(default_factory=set)
    merged: dict[int, int] = field(default_factory=dict)

    def current(self, person: int) -> int:
        """Return who a person is now, after all merges."""
        return self.merged.get(person, person)

    def put(self, keys: list[Key], place: int) -> None:
        self.places |= dict.fromkeys(keys, place)

    def merge(self, person: int, into: int) -> None:
        for key, place in self.places.items():
            if place == person:
                self.places[key] = into
        name = self.names.pop(person, None)
        if name and into not in self.names:
            self.names[into] = name
        self.ignored.discard(person)
        self.merged = {one: into if now == person else now for one, now in self.merged.items()}
        self.merged[person] = into


class Reviewer:
    """Makes random edits in the folders of one home, and keeps a model of what they mean."""

    def __init__(self, home: Home, seed: int) -> None:
        self.home = home
        self.random = random.Random(seed)
        self.truth = Truth()
        self.foreign: dict[bytes, int] = {}
        self.copies: dict[str, int] = {}
        self.done: Counter[str] = Counter()
        self.number = 0
        self.settle: Callable[[], None] = lambda: None

    # --- What there is.

    def folders(self, below: str = "") -> dict[int, Path]:
        """Return folders by person, without those of people who were merged."""
        owned = self._owned(below)
        return {person: at for person, at in owned.items() if person not in self.truth.merged}

    def targets(self) -> list[tuple[int, Path]]:
        """Return the folders that things can be put into, each with the person whom it stands for.

        The folder of a person who was merged stays if it holds files of others. It stands for the
        person whom they became.
        """
        owned = sorted(self._owned().items())
        return [(self.truth.current(person), folder) for person, folder in owned]

    def _owned(self, below: str = "") -> dict[int, Path]:
        found = {}
        for manifest in (self.home.people / below).glob("*/.person.json"):
            person = json.loads(manifest.read_text())["person"]
            if person is not None:
                found[person] = manifest.parent
        return found

    def portraits(self, folder: Path) -> list[Path]:
        return sorted(folder.glob("[0-9]*.jpg"))

    def keys_of_track(self, portrait: Path) -> list[Key]:
        """Return every face that a portrait stands for."""
        return self.keys_of_face(int(portrait.stem[:6]))

    def keys_of_face(self, face: int) -> list[Key]:
        """Return every face of the track of a face."""
        with closing(connect(self.home.settings.state_dir)) as db:
            rows = db.execute(
                """
                select sha256, faces.* from faces join videos on videos.id = video_id
                where track_id = (select track_id from faces where id = ?)
                """,
                (face,),
            ).fetchall()
        assert rows, f"{face} is no face"
        return [Key(row["sha256"], row["t_s"], box_of(row)) for row in rows]

    def person_of(self, face: int) -> int:
        with closing(connect(self.home.settings.state_dir)) as db:
            row = db.execute("select person_id from faces where id = ?", (face,)).fetchone()
        return int(row["person_id"])

    # --- Edits. Each returns whether it could be made.

    def name(self) -> bool:
        person, folder = self.any_folder()
        self.number += 1
        name = self.random.choice(["Anna", "José", "小林", "O'Neill", "x#y%z", "Zoë & Co"])
        name = f"{name} {self.number}"
        folder.rename(folder.with_name(name))
        self.truth.names[person] = name
        return True

    def take_name_back(self) -> bool:
        """Give a folder the number of its person again."""
        named = [
            (person, folder)
            for person, folder in sorted(self.folders().items())
            if person in self.truth.names
        ]
        if not named:
            return False
        person, folder = self.random.choice(named)
        number = folder.with_name(f"person-{person:04d}")
        if number.exists():
            return False
        folder.rename(number)
        del self.truth.names[person]
        return True

    def merge(self) -> bool:
        folders = self.folders()
        if len(folders) < 6:
            return False
        person, into = self.random.sample(sorted(folders), 2)
        folders[person].rename(folders[into] / folders[person].name)
        self.truth.merge(person, into)
        return True

    def place(self) -> bool:
        if not self.shown():
            return False
        source, portrait = self.any_portrait()
        person, target = self.any_target()
        if person == source:
            return False
        self.truth.put(self.keys_of_track(portrait), person)
        portrait.rename(target / self._name_in(target, person, portrait))
        return True

    def split(self) -> bool:
        person, folder = self.any_folder()
        portraits = self.portraits(folder)
        if len(portraits) < 4:
            return False
        chosen = self.random.sample(portraits, 2)
        self.number += 1
        target = self.home.people / f"Somebody {self.number}"
        target.mkdir()
        keys = [key for portrait in chosen for key in self.keys_of_track(portrait)]
        for portrait in chosen:
            portrait.rename(target / portrait.name)
        self.settle()
        (created,) = [one for one, at in self.folders().items() if at == target]
        assert created != person, f"{target.name} was split from {folder} and is the same person"
        self.truth.put(keys, created)
        self.truth.names[created] = target.name
        return True

    def exclude(self) -> bool:
        """Delete a portrait and its copies: a copy that remains would count as moved."""
        if len(self.shown()) < 12:
            return False
        _, portrait = self.any_portrait()
        self.truth.put(self.keys_of_track(portrait), EXCLUDED)
        for path in [portrait, *self.copies_of(portrait)]:
            path.unlink()
        return True

    def move_by_copy(self) -> bool:
        """Copy a portrait to another person, and later delete the original."""
        if not self.shown():
            return False
        source, portrait = self.any_portrait()
        person, target = self.any_target()
        if person == source or self.copies_of(portrait):
            return False
        keys = self.keys_of_track(portrait)
        shutil.copy(portrait, target / self._name_in(target, person, portrait))
        self.settle()
        portrait.unlink()
        self.truth.put(keys, person)
        return True

    def ignore_face(self) -> bool:
        if len(self.shown()) < 12:
            return False
        _, portrait = self.any_portrait()
        self.truth.put(self.keys_of_track(portrait), IGNORED)
        self.ignored_dir.mkdir(exist_ok=True)
        portrait.rename(self.ignored_dir / portrait.name)
        return True

    def ignore_person(self) -> bool:
        person, folder = self.any_folder()
        if len(self.folders()) < 5:
            return False
        self.ignored_dir.mkdir(exist_ok=True)
        folder.rename(self.ignored_dir / folder.name)
        self.truth.ignored.add(person)
        return True

    def recall(self) -> bool:
        hidden = self.folders("_ignored")
        if not hidden:
            return False
        person = self.random.choice(sorted(hidden))
        hidden[person].rename(self.home.people / hidden[person].name)
        self.truth.ignored.discard(person)
        return True

    def recall_face(self) -> bool:
        hidden = self.portraits(self.ignored_dir)
        if not hidden:
            return False
        portrait = self.random.choice(hidden)
        person, target = self.any_target()
        self.truth.put(self.keys_of_track(portrait), person)
        portrait.rename(target / self._name_in(target, person, portrait))
        return True

    def copy(self) -> bool:
        if not self.shown():
            return False
        _, portrait = self.any_portrait()
        _, target = self.any_target()
        shutil.copy(portrait, target / self._name_copy(portrait))
        return True

    def answer(self) -> bool:
        """Ask about two people, as a grouping would, and answer with the picture."""
        folders = self.folders()
        if len(folders) < 6 or not self.shown():
            return False
        # Two who both have a name are not asked about.
        two = sorted(self.random.sample(sorted(folders), 2))
        if not all(one in self.truth.names for one in two):
            leave_open(self.home, {(two[0], two[1]): 0.9})
        # Something has to happen, or the service does not look.
        self.add_foreign()
        self.settle()
        # Reading a huge file to see that it is no card takes minutes.
        small = [one for one in cards(self.home) if one.is_file() and one.stat().st_size < 1 << 20]
        asked = [one for one in small if read_key(self.home, one)]
        if not asked:
            return False
        card, folder = self.random.choice(asked), questions_dir(self.home)
        question = Question.of(read_key(self.home, card))
        assert question, card
        self.number += 1
        what = self.random.choice(
            ["yes", "no", "copy", "delete", "rename", "both", "numbers", "wrong"]
        )
        right = list(question.claims)
        if what == "delete":
            card.unlink()
        elif what == "rename":
            card.rename(card.with_name(f"renamed {self.number}.jpg"))
        elif what == "no":
            card.rename(folder / "no" / card.name)
        elif what == "both":
            shutil.copy(card, folder / "no/copy.jpg")
            card.rename(folder / "yes/card.jpg")
        elif what == "wrong":
            card.rename(card.with_name("97.jpg"))
        elif what == "numbers":
            count = self.random.randint(1, len(right))
            numbers = sorted(self.random.sample(range(1, len(right) + 1), count))
            place = self.random.choice([folder, folder / "yes"])
            card.rename(place / f"{', '.join(map(str, numbers))}.jpg")
            self._answer_yes([right[number - 1] for number in numbers])
        else:
            if what == "copy":
                shutil.copy(card, folder / f"yes/copy {self.number}.jpg")
            else:
                card.rename(folder / "yes" / card.name)
            self._answer_yes(right)
        return True

    def _answer_yes(self, claims: list[Claim]) -> None:
        """Keep account of what is right; someone new has a folder after the service has read it."""
        for claim in claims:
            if not claim.face_ids:
                one, into = (self.truth.current(person) for person in claim.people[::-1])
                if one != into:
                    self.truth.merge(one, into)
        for claim in claims:
            keys = [key for face in claim.face_ids for key in self.keys_of_face(face)]
            if claim.people and keys:
                self.truth.put(keys, self.truth.current(claim.people[0]))
            elif keys:
                self.settle()
                self.truth.put(keys, self.person_of(claim.face_ids[0]))

    def delete_edit_card(self) -> bool:
        """It has no effect, and is written again or not."""
        found = sorted((self.home.people / "_edits").glob("*.txt"))
        if not found:
            return False
        self.random.choice(found).unlink()
        return True

    def ask_who(self) -> bool:
        """Put a picture of somebody into ``_who``; it is no portrait there, and stays."""
        if not self.shown():
            return False
        _, portrait = self.any_portrait()
        self.number += 1
        folder = self.home.people / "_who"
        folder.mkdir(exist_ok=True)
        image = cv2.imread(str(portrait))
        assert image is not None
        content = encode_jpeg(image, 80 + self.number % 15)
        (folder / f"asked {self.number}.jpg").write_bytes(content)
        self.foreign[content] = self.number
        return True

    def add_hostile(self) -> bool:
        """Put what is no card into a folder of cards; none of it has an effect."""
        folder = self.home.people / self.random.choice(
            ["_questions", "_questions/yes", "_questions/no", "_edits", "_edits/undo", "_who"]
        )
        if not folder.is_dir():
            return False
        self.number += 1
        put_hostile(folder, self.random, self.number)
        return True

    def add_foreign(self) -> bool:
        folder = self.random.choice([self.home.people, *(at for _, at in self.targets())])
        self.number += 1
        content = f"mine, {self.number}".encode()
        (folder / f"note {self.number}.txt").write_bytes(content)
        self.foreign[content] = self.number
        return True

    def add_reference(self) -> bool:
        """Put a picture of somebody into a folder, as a picture of the reviewer's own."""
        if not self.shown():
            return False
        _, portrait = self.any_portrait()
        _, folder = self.any_target()
        self.number += 1
        image = cv2.imread(str(portrait))
        assert image is not None
        # Another picture than the portrait, and than the last one of it.
        image[:4, :4] = self.number % 256
        content = encode_jpeg(image, 95)
        (folder / f"note {self.number}.jpg").write_bytes(content)
        self.foreign[content] = self.number
        return True

    def remove_reference(self) -> bool:
        found = sorted(self.home.people.rglob("note *.jpg"))
        if not found:
            return False
        picture = self.random.choice(found)
        del self.foreign[picture.read_bytes()]
        picture.unlink()
        return True

    # --- Names of portraits that are put somewhere.

    def _name_in(self, target: Path, person: int, portrait: Path) -> str:
        """Return the name of a portrait in a folder of a person.

        In the folder of someone who was merged it remains as a copy: it is shown in the folder of
        the person whom they became.
        """
        is_own = target == self.folders().get(person)
        return portrait.name if is_own else self._name_copy(portrait)

    def _name_copy(self, portrait: Path) -> str:
        self.number += 1
        name = f"copy {self.number}.jpg"
        self.copies[name] = int(portrait.stem[:6])
        return name

    # --- Choosing.

    def copies_of(self, portrait: Path) -> list[Path]:
        names = [name for name, face in self.copies.items() if face == int(portrait.stem[:6])]
        return [path for name in names for path in self.home.people.rglob(name)]

    @property
    def ignored_dir(self) -> Path:
        return self.home.people / "_ignored"

    def any_folder(self) -> tuple[int, Path]:
        return self.random.choice(sorted(self.folders().items()))

    def any_target(self) -> tuple[int, Path]:
        return self.random.choice(self.targets())

    def any_portrait(self) -> tuple[int, Path]:
        return self.random.choice(self.shown())

    def shown(self) -> list[tuple[int, Path]]:
        """Return the unsorted portraits, and those of people who have more than one."""
        found = [
            (person, portrait)
            for person, folder in self.folders().items()
            if len(portraits := self.portraits(folder)) > 1
            for portrait in portraits
        ]
        unsorted = self.portraits(self.home.people / "_unsorted")
        return found + [(UNSORTED, portrait) for portrait in unsorted]


def box_of(row: sqlite3.Row) -> Box:
    return Box(*(row[f"box_{side}"] for side in ("left", "top", "right", "bottom")))
