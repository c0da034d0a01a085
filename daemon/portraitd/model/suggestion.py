"""Suggestions: two people who may be one person, and whom a face without a person may show."""

from __future__ import annotations

from dataclasses import dataclass

SHOWN_PROBABILITY = 0.6
"""Less likely pairs are not shown. Many of those above are well above, so that of all pairs shown,
three in four are one person."""

ASKED_PAIR_PROBABILITY = 0.4
"""Less likely pairs of people are not asked about."""

ASKED_PROBABILITY = 0.3
"""Less likely pairs of a person and a face without one are not asked about."""

GUESSED_PROBABILITY = 0.5
"""Less likely people are not named on the page of unsorted faces."""

LIKELY_PROBABILITY = 0.75
"""From here on a pair is called "very likely" one person, below it "maybe"."""


@dataclass(frozen=True, slots=True, order=True)
class Suggestion:
    """Two people who may be one person.

    Attributes:
        lower_id, higher_id: The people.
        distance: Root of the mean squared distance between their faces; its meaning depends on
            the embedding model.
        probability: That they are one person, calibrated for the model.
    """

    lower_id: int
    higher_id: int
    distance: float
    probability: float

    @property
    def is_likely(self) -> bool:
        """Whether they are very likely one person, rather than maybe."""
        return self.probability >= LIKELY_PROBABILITY


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Tracks without a person that probably show one person, who is new.

    Attributes:
        face_ids: The best face of each track, in ascending order.
        faces: How many faces the tracks have.
    """

    face_ids: tuple[int, ...]
    faces: int


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A track without a person, and whom it may show.

    Attributes:
        face_id: The best face of the track.
        person_id: The person.
        probability: That the track shows that person.
        faces: How many faces the track has.
    """

    face_id: int
    person_id: int
    probability: float
    faces: int
