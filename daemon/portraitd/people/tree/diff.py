"""What people did in the tree since portraitd last wrote there. Pure: values in, edits out.

Three things are compared: what the notes say was published, what lies there now, and what the
store knows already. Only the first two can tell a edit, for the store may have changed since;
it tells what has been heard.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

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
from portraitd.people.names import folded, folder_name, is_numbered, safe_name
from portraitd.people.tree.plan import in_ignored
from portraitd.people.tree.tree_snapshot import Home, SeenHome, TreeSnapshot

LEAST_LOSS = 20
LARGEST_LOSS = 0.2
"""More than this share of what was published, and so many portraits at least, do not vanish by
hand: the share is away, or something went wrong."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the store holds, for comparison with what lies in the tree.

    Attributes:
        person_of: Every face that is published now or was excluded or ignored, and its person;
            None where it has none.
        excluded: Faces that are not to be shown.
        ignored_faces: Faces that are out of sight.
        ignored_people: People who are.
        names: The name, or None, of every person who has a folder.
        empty: People who hold no face now. Where files of somebody else keep their folder, what
            is put into it makes them anew.
    """

    person_of: Mapping[int, int | None]
    excluded: Collection[int]
    ignored_faces: Collection[int]
    ignored_people: Collection[int]
    names: Mapping[int, str | None]
    empty: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a scene says.

    Attributes:
        edits: Names and people first, then faces, so that they can be applied in order.
        vanished: Portraits that are nowhere any more.
        published: Portraits that should be there.
    """

    edits: tuple[Edit, ...]
    vanished: int
    published: int

    @property
    def is_mass_disappearance(self) -> bool:
        return self.vanished >= LEAST_LOSS and self.vanished > LARGEST_LOSS * self.published

    @property
    def takes_away(self) -> bool:
        """Whether anything is taken for gone."""
        return any(isinstance(one, ExcludeFaces | IgnorePerson) for one in self.edits)


def read(scene: TreeSnapshot, known: Known) -> Reading:
    """What people did, so that the tree became as it is."""
    return _Comparison(scene, known).reading()


class _Comparison:
    def __init__(self, scene: TreeSnapshot, known: Known) -> None:
        self._scene = scene
        self._known = known
        self._folders: dict[int, SeenHome] = {
            home.home: home
            for home in scene.homes
            if isinstance(home.home, int) and (home.noted_at is not None or home.home > 0)
        }
        self._shown: set[int] = set()
        self._noted: dict[int, set[Home]] = {}
        self._arrived: dict[int, list[SeenHome]] = {}
        for home in scene.homes:
            self._shown |= home.shown
            for face in home.shown | home.absent:
                self._noted.setdefault(face, set()).add(home.home)
            for face in home.arrived:
                self._arrived.setdefault(face, []).append(home)
        self._gone = {
            number
            for number in scene.gone
            if number > 0 and number in known.names and number not in known.ignored_people
        }

    def reading(self) -> Reading:
        moves = self._moves()
        emptied = self._emptied(moves)
        edits: list[Edit] = self._people()
        for person, heir in sorted(emptied.items()):
            edits.append(MergePeople(person, heir))
        heirs = {
            face: emptied[person]
            for face, person in self._known.person_of.items()
            if person in emptied
        }
        edits += self._placed({f: home for f, home in moves.items() if heirs.get(f) != home})
        lost = self._lost()
        edits += [ExcludeFaces(tuple(sorted(faces))) for _, faces in sorted(lost.items())]
        left = sorted(self._gone - set(emptied))
        if not self._scene.is_partial:
            edits += [IgnorePerson(person) for person in left]
        with_them = self._nowhere(set(left))
        vanished = sum(map(len, lost.values())) + with_them
        return Reading(tuple(edits), vanished, len(self._noted) + with_them)

    # Faces

    def _moves(self) -> dict[int, Home]:
        """Where each face went that does not lie where it was published."""
        moves = {}
        for face, homes in self._arrived.items():
            if face not in self._shown:
                home = self._moved(face, homes)
                if home is not None and not self._is_heard(face, home):
                    moves[face] = home
        return moves

    def _moved(self, face: int, homes: Collection[SeenHome]) -> Home | None:
        if face in self._noted:
            # What lies there since the last publish; an old copy counts where nothing else does.
            homes = [home for home in homes if face not in home.strays] or homes
        candidates = [home for home in homes if self._counts(home.home)]
        if face in self._noted:
            # Found under another name where it was published: there it is.
            is_there = any(home.home in self._noted[face] for home in homes)
            return None if is_there else _best(home.home for home in candidates)
        if face not in self._known.person_of:
            return None
        if face in self._known.excluded or face in self._known.ignored_faces:
            # What lay there when it was excluded is a copy; what came since was brought back.
            return _best(
                home.home
                for home in candidates
                if isinstance(home.home, int) and home.home > 0 and face not in home.strays
            )
        expected = self._known.person_of[face] or Placement.UNSORTED
        # While there is a note it is believed: not listed there, this is an old copy.
        is_there = any(home.home == expected for home in homes)
        if is_there or not self._has_lost_its_note(expected):
            return None
        return _best(home.home for home in candidates)

    def _has_lost_its_note(self, number: int) -> bool:
        """Whether only the store can tell what lay in a folder."""
        folder = self._folders.get(number)
        return folder.noted_at is None if folder else number in self._scene.gone

    def _counts(self, home: Home) -> bool:
        """Whether it means something to lie there; not in a folder the store knows nothing of."""
        if isinstance(home, str) or home <= 0:
            return True
        known = self._known
        return home in known.names or home in known.ignored_people or home in known.empty

    def _is_heard(self, face: int, home: Home) -> bool:
        """Whether the store did this, and the tree does not show it yet."""
        known = self._known
        if home == Placement.IGNORED:
            return face in known.ignored_faces
        if isinstance(home, int):
            return False
        # A folder that became a person's, and has no note yet.
        person = known.person_of.get(face)
        if person is None or person in self._folders or person in self._scene.gone:
            return False
        label = folder_name(person, known.names.get(person))
        return person in known.names and folder_name(person, _leaf(home)) == label

    def _placed(self, moves: Mapping[int, Home]) -> list[Edit]:
        by_home: dict[Home, list[int]] = {}
        for face, home in sorted(moves.items()):
            by_home.setdefault(home, []).append(face)
        placed: list[Edit] = []
        for home, faces in sorted(by_home.items(), key=lambda one: str(one[0])):
            if isinstance(home, str):
                placed.append(SplitPerson(tuple(faces), safe_name(_leaf(home)), home))
            elif home == Placement.IGNORED:
                placed.append(IgnoreFaces(tuple(faces)))
            else:
                placed.append(
                    AssignFaces(tuple(faces), home if home != Placement.UNSORTED else None)
                )
        return placed

    def _lost(self) -> dict[int, set[int]]:
        """Faces that are nowhere any more, though their folder is there, by folder."""
        lost: dict[int, set[int]] = {}
        if self._scene.is_partial:
            return lost
        for home in self._scene.homes:
            for face in home.absent - self._shown:
                if face not in self._arrived and face not in self._known.excluded:
                    homes = self._noted[face]
                    lost.setdefault(min(h for h in homes if isinstance(h, int)), set()).add(face)
        return lost

    def _nowhere(self, people: Collection[int]) -> int:
        """How many faces went with the folders of these people, or with that of the unsorted."""
        known = self._known
        gone = {
            None if number == Placement.UNSORTED else number
            for number in self._scene.gone & {Placement.UNSORTED}
        }
        return sum(
            (person in people or person in gone)
            and not (face in self._noted or face in self._arrived)
            and face not in known.excluded
            and face not in known.ignored_faces
            for face, person in known.person_of.items()
        )

    # People

    def _emptied(self, moves: Mapping[int, Home]) -> dict[int, int]:
        """People all of whose portraits, and maybe the note, now lie with one other person."""
        known = self._known
        unnoted = {h for h in self._folders if self._folders[h].noted_at is None and h > 0}
        candidates = self._gone | (unnoted & set(known.names))
        faces: dict[int, list[int]] = {person: [] for person in candidates}
        for face, person in known.person_of.items():
            if person in faces and face not in known.excluded and face not in known.ignored_faces:
                faces[person].append(face)
        heirs = {}
        for person, own in faces.items():
            homes = {moves.get(face) for face in own}
            if len(homes) == 1:
                (home,) = homes
                if isinstance(home, int) and home > 0:
                    heirs[person] = home
        return heirs

    def _people(self) -> list[Edit]:
        names: list[Edit] = []
        merges: list[tuple[int, Edit]] = []
        sight: list[Edit] = []
        for person, home in sorted(self._folders.items()):
            if person <= 0 or home.noted_at in (None, home.location) or not self._counts(person):
                continue
            noted_at = home.noted_at or ""
            expected = self._taken_along(person, noted_at)
            heir = self._heir(person, expected)
            if heir is not None:
                # What lies deepest first, so that each is merged into somebody who is there.
                merges.append((-home.location.count("/"), MergePeople(person, heir)))
                continue
            name = self._name(person, home)
            if name is not None:
                names.append(NamePerson(person, name))
            is_ignored = person in self._known.ignored_people
            was, now = in_ignored(noted_at), in_ignored(home.location)
            if now and not was and not is_ignored:
                sight.append(IgnorePerson(person))
            if was and not now and is_ignored:
                sight.append(RecallPerson(person))
        merges.sort(key=lambda one: one[0])
        return names + [merge for _, merge in merges] + sight

    def _taken_along(self, person: int, noted_at: str) -> str:
        """Where a folder would lie if only those around it had been moved."""
        around = [
            home
            for other, home in self._folders.items()
            if other != person and home.noted_at and noted_at.startswith(f"{home.noted_at}/")
        ]
        nearest = max(around, key=lambda home: len(home.noted_at or ""), default=None)
        if nearest is None or nearest.noted_at is None:
            return noted_at
        return nearest.location + noted_at[len(nearest.noted_at) :]

    def _heir(self, person: int, expected: str) -> int | None:
        """Into whose folder this person's was put, or whose name it was given."""
        if self._folders[person].location == expected:
            return None
        return self._namesake(person) or self._around(person, expected)

    def _name(self, person: int, home: SeenHome) -> str | None:
        """The name that a human gave a folder, if it is news."""
        leaf = _leaf(home.location)
        if leaf == _leaf(home.noted_at or ""):
            return None
        name = safe_name(leaf)
        # One that portraitd itself could have given is none.
        label = folder_name(person, self._known.names.get(person))
        return name if name and not is_numbered(name, label) else None

    def _around(self, person: int, expected: str) -> int | None:
        """The person in whose folder this person's lies now, if it did not before."""
        location = self._folders[person].location
        around = [
            other
            for other, home in self._folders.items()
            if other > 0
            and other != person
            and self._counts(other)
            and location.startswith(f"{home.location}/")
        ]
        nearest = max(around, key=lambda other: len(self._folders[other].location), default=None)
        if nearest is None or expected.startswith(f"{self._folders[nearest].location}/"):
            return None
        return nearest

    def _namesake(self, person: int) -> int | None:
        """Another person beside whose folder this one has the same name, if that one remains."""
        own = self._folders[person]
        if _leaf(own.location) == _leaf(own.noted_at or ""):
            return None
        same = [
            other
            for other, home in self._folders.items()
            if other > 0 and self._counts(other) and folded(home.location) == folded(own.location)
        ]
        # Whoever had the name before remains, else the older.
        first = min(same, key=lambda other: (not self._kept_its_name(other), other))
        return first if first != person else None

    def _kept_its_name(self, person: int) -> bool:
        home = self._folders[person]
        return home.noted_at is None or _leaf(home.location) == _leaf(home.noted_at)


def _best(homes: Iterable[Home]) -> Home | None:
    """Where a portrait belongs that lies in several places: with a person first."""
    return min(homes, key=_preference, default=None)


def _preference(home: Home) -> tuple[int, int, str]:
    if isinstance(home, str):
        return 1, 0, home
    return (0, home, "") if home > 0 else (2, -home, "")


def _leaf(location: str) -> str:
    return location.rpartition("/")[2]
