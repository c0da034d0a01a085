"""Words for numbers, shared by everything that writes sentences for people."""

from __future__ import annotations


def counted(number: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 face``, ``1,204 faces``, ``2 people``.

    Args:
        number: How many.
        singular: The noun for one.
        plural: The noun for any other number; by default ``singular`` and an *s*.
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
