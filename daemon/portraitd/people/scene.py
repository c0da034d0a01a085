"""The tree at one moment, as far as people's gestures show in it: where each portrait lies."""

from __future__ import annotations

from dataclasses import dataclass

from portraitd.people.plan import IGNORED, UNSORTED, in_ignored
from portraitd.people.survey import Survey

Home = int | str
"""Where a portrait lies: with a person, ``UNSORTED``, ``IGNORED``, or in a folder of nobody's,
which is named by its location."""


@dataclass(frozen=True, slots=True)
class SeenHome:
    """A folder in which portraits may lie.

    Attributes:
        location: Its path below the root.
        noted_at: Where its note says it lies; None where it has no note of its own.
        shown: Faces whose portrait lies where the note says.
        absent: Faces in the note whose portrait does not.
        arrived: Faces whose portrait lies here beside what the note says.
        strays: Those of them that lay here already when portraitd last wrote.
    """

    location: str
    home: Home
    noted_at: str | None = None
    shown: frozenset[int] = frozenset()
    absent: frozenset[int] = frozenset()
    arrived: frozenset[int] = frozenset()
    strays: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Scene:
    """The tree at one moment.

    Attributes:
        homes: Every folder that counts; copies do not.
        gone: People, and ``UNSORTED``, whose folder was there after the last publish and is not.
        is_partial: Whether something may lie where we may not look; then nothing is taken for gone.
    """

    homes: tuple[SeenHome, ...]
    gone: frozenset[int] = frozenset()
    is_partial: bool = False


def scene_of(survey: Survey) -> Scene:
    """A survey as far as gestures need it."""
    homes = []
    for number, place in survey.places.items():
        noted = place.portraits
        present = set(place.names)
        shown = frozenset(face for name, face in noted.items() if name in present)
        homes.append(
            SeenHome(
                place.location,
                number,
                place.note.name if place.has_note else None,
                shown,
                frozenset(noted.values()) - shown,
                frozenset(place.pictures.values()),
                frozenset(
                    face for name, face in place.pictures.items() if name in place.note.strays
                ),
            )
        )
    for folder in survey.nobodys:
        if folder.pictures:
            home = _home_of_nobodys(folder.location)
            arrived = frozenset(folder.pictures.values())
            homes.append(SeenHome(folder.location, home, arrived=arrived))
    return Scene(tuple(homes), survey.gone, survey.is_partial)


def _home_of_nobodys(location: str) -> Home:
    if not location:
        # Taken out of a folder and put into none.
        return UNSORTED
    return IGNORED if in_ignored(location) else location
