"""Times of ticks."""

from __future__ import annotations

from portraitd.model.stage import Now


def at(seconds: float) -> Now:
    """Return a time at which both clocks show the same."""
    return Now(seconds, seconds)
