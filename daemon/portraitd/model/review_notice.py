"""Notices: what a reviewer did in the people folder that was not understood, or has no effect.

The sentence of a notice is a text of the pages, in each of their languages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from portraitd.model.reasons import ReasonCode
from portraitd.model.wording import to_display_text

NOTICE_DAYS = 1.0
"""How long a notice about a single action is kept."""

LASTING = frozenset({
    ReasonCode.NAME_UNUSABLE, ReasonCode.FOLDER_IN_UNSORTED, ReasonCode.FOLDER_COPIED,
    ReasonCode.OWN_FOLDER_MOVED, ReasonCode.FOLDER_TOO_DEEP, ReasonCode.FOLDER_MISPLACED,
})  # fmt: skip
"""What is true of the tree until it is remedied there; each reading of the tree finds it again."""


@dataclass(frozen=True, slots=True)
class ReviewNotice:
    """What a reviewer did that was not understood, or has no effect.

    Attributes:
        location: The folder or file, below the root of the tree; undecodable bytes are ``\\xff``.
        facts: The other values named in its sentence, by name.
        at: When it was noticed, in seconds since 1970; 0 before it is recorded.
    """

    code: ReasonCode
    location: str
    facts: tuple[tuple[str, str | int], ...] = ()
    at: float = 0.0

    @classmethod
    def of(cls, code: ReasonCode, location: str, **facts: str | int) -> Self:
        """Return a notice that is not recorded yet."""
        return cls(code, to_display_text(location), tuple(sorted(facts.items())))

    @property
    def key(self) -> tuple[ReasonCode, str]:
        """What notices about the same thing have in common."""
        return self.code, self.location

    @property
    def values(self) -> dict[str, str | int]:
        """All values named in its sentence."""
        return {"location": self.location, **dict(self.facts)}
