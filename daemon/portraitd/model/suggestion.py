"""A suggestion: two people of a grouping who may be one person."""

from __future__ import annotations

from dataclasses import dataclass

SHOWN_PROBABILITY = 0.6
"""Less likely pairs are not shown. Many of those above are well above, so that of all pairs shown,
three in four are one person."""

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
