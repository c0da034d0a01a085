"""The worker function that draws a montage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def montage(jpegs: Sequence[bytes]) -> bytes:
    """One picture of up to 25 portraits, as JPEG."""
    from portraitd.people.montage import build_montage

    return build_montage(jpegs)
