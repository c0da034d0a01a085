"""What the service runs: stages, one tick after the other."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, Self

from portraitd.model.reasons import NO_REASON, Reason

Phase = Literal["faces", "grouping", "folders", "idle", "stopped"]
"""What the service is doing, in a word; the pages and the progress bar have a text for each."""


@dataclass(frozen=True, slots=True)
class Now:
    """The time of a tick.

    Attributes:
        wall_s: Seconds since 1970, for records; this clock may be set back.
        steady_s: Seconds of a clock that never jumps, for waiting.
    """

    wall_s: float
    steady_s: float

    @classmethod
    def read(cls) -> Self:
        """Read both clocks."""
        return cls(time.time(), time.monotonic())


class Stage(ABC):
    """One step from a dropped file to the people tree and the training set.

    The service ticks its stages in order, again and again, and asks each whether it still has
    work and whether something blocks it. An error of one stage does not stop the others.
    """

    phase: Phase = "idle"
    """The phase of the service while this stage has work; ``idle`` does not count."""

    updates_tree: bool = False
    """Whether the people tree is out of date while this stage has work, without any new file."""

    _has_failed: bool = False
    """Set by a stage from the start of an attempt until one succeeds."""

    @abstractmethod
    def tick(self, now: Now) -> None:
        """Move everything that can move by one step, without waiting.

        Raises:
            StoreError: The database cannot be used.
            PublishError: The people tree or a training set cannot be read or written.
        """

    @property
    def pending(self) -> bool:
        """Return whether there is work that needs no new file."""
        return False

    @property
    def defers(self) -> bool:
        """Return whether what the last error prevented is still to be done.

        A tick that tried nothing, or did something else, does not show that the error has passed.
        """
        return self._has_failed

    @property
    def blocked(self) -> Reason:
        """Return why the stage cannot go on; ``NO_REASON`` if it can."""
        return NO_REASON

    def release(self) -> None:  # noqa: B027 - most stages have no job out
        """Give back the jobs that are out; the next start does them again."""


class BackOff:
    """The pause after a failure.

    Args:
        seconds: How long to wait before the next attempt.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._failed_s = float("-inf")

    def start(self, now: Now) -> None:
        """Begin the pause."""
        # By the steady clock: a wall clock set back would make a short pause a long one.
        self._failed_s = now.steady_s

    def ready(self, now: Now) -> bool:
        """Return whether no pause is going on."""
        return now.steady_s - self._failed_s >= self._seconds

    def reset(self) -> None:
        """End the pause."""
        self._failed_s = float("-inf")
