"""The tree at one moment, as far as people's edits show in it: where each portrait lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from portraitd.model.edit import Placement
from portraitd.people.tree.inventory import Survey
from portraitd.people.tree.plan import in_ignored

Home = int | str
"""Where a portrait lies: with a person, ``Placement.UNSORTED``, ``Placement.IGNORED``, or in a folder of nobody's,
which is named by its location."""


class Lying(NamedTuple):
    """A portrait in a folder: of which face, and the file's name."""

    face: int
    name: str


Copies = frozenset[tuple[Home, Lying]]
"""Where copies of portraits lie."""


@dataclass(frozen=True, slots=True)
class SeenHome:
    """A folder in which portraits may lie.

    Attributes:
        location: Its path below the root.
        noted_at: Where its note says it lies; None where it has no note of its own.
        shown: Faces whose portrait lies where the note says.
        absent: Faces in the note whose portrait does not.
        pictures: Portraits that lie here beside what the note says.
        strays: Faces of which no more lie here than before, as copies or when portraitd last
            wrote. They are counted, for a human may rename a copy.
    """

    location: str
    home: Home
    noted_at: str | None = None
    shown: frozenset[int] = frozenset()
    absent: frozenset[int] = frozenset()
    pictures: frozenset[Lying] = frozenset()
    strays: frozenset[int] = frozenset()

    @property
    def arrived(self) -> frozenset[int]:
        """The faces of the pictures."""
        return frozenset(one.face for one in self.pictures)


@dataclass(frozen=True, slots=True)
class TreeSnapshot:
    """The tree at one moment.

    Attributes:
        homes: Every folder that counts; copies do not.
        gone: People, and ``Placement.UNSORTED``, whose folder was there after the last publish and is not.
        is_partial: Whether something may lie where we may not look; then nothing is taken for gone.
    """

    homes: tuple[SeenHome, ...]
    gone: frozenset[int] = frozenset()
    is_partial: bool = False


def scene_of(survey: Survey) -> TreeSnapshot:
    """A survey as far as edits need it."""
    homes = []
    for number, place in survey.places.items():
        noted = place.portraits
        present = set(place.names)
        shown = frozenset(face for name, face in noted.items() if name in present)
        pictures = frozenset(Lying(face, name) for name, face in place.pictures.items())
        homes.append(
            SeenHome(
                place.location,
                number,
                place.note.name if place.has_note else None,
                shown,
                frozenset(noted.values()) - shown,
                pictures,
                _no_more_than(Counter(place.note.strays.values()), pictures),
            )
        )
    for folder in survey.nobodys:
        if folder.pictures:
            home = _home_of_nobodys(folder.location)
            pictures = frozenset(Lying(face, name) for name, face in folder.pictures.items())
            homes.append(SeenHome(folder.location, home, pictures=pictures))
    return TreeSnapshot(tuple(homes), survey.gone, survey.is_partial)


def copies_in(scene: TreeSnapshot, before: Copies) -> Copies:
    """Which portraits are copies: they lie beside an original that is still in its place.

    Args:
        scene: The tree now.
        before: What was a copy at the last look; it remains one for as long as it lies there,
            also when the original is moved away from it.
    """
    shown = {face for home in scene.homes for face in home.shown}
    return frozenset(
        (home.home, one)
        for home in with_copies(scene, before).homes
        for one in home.pictures
        if one.face in shown or one.face in home.strays or (home.home, one) in before
    )


def with_copies(scene: TreeSnapshot, copies: Copies) -> TreeSnapshot:
    """The scene in which these lay there before."""
    counted: dict[Home, Counter[int]] = {}
    for at, one in copies:
        counted.setdefault(at, Counter())[one.face] += 1
    return replace(
        scene,
        homes=tuple(
            replace(
                home, strays=home.strays | _no_more_than(counted.get(home.home, {}), home.pictures)
            )
            for home in scene.homes
        ),
    )


def _no_more_than(before: Mapping[int, int], pictures: Iterable[Lying]) -> frozenset[int]:
    """The faces of which there are no more pictures than before."""
    now = Counter(one.face for one in pictures)
    return frozenset(face for face, count in now.items() if count <= before.get(face, 0))


def _home_of_nobodys(location: str) -> Home:
    if not location:
        # Taken out of a folder and put into none.
        return Placement.UNSORTED
    return Placement.IGNORED if in_ignored(location) else location
