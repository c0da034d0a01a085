"""Complaints of the log, made a bounded number of times; and how often each thing was said.

Knows nothing of logging but the form of a line: a mapping with its event and its facts.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

WINDOW_S = 60.0
REMEMBERED = 1000

REPEATING = frozenset({"warning", "error", "critical"})

CHANGING = frozenset({"timestamp", "seconds", "exc_info"})
"""Facts that differ between two lines that say the same."""


@dataclass(slots=True)
class _Said:
    until_s: float
    held_back: int = 0


class Repetition:
    """Lets a complaint pass that was not made within the last minute, and every other line.

    The first that passes after lines were held back says how many.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: OrderedDict[Hashable, _Said] = OrderedDict()
        self.counts: Counter[str] = Counter()

    def passes(self, line: Mapping[str, Any]) -> int | None:
        """Whether to say a line: how many like it were held back before; None to hold it back."""
        self.counts[str(line.get("event"))] += 1
        # What happened, happened, however often; what is wrong is known after the first time.
        if line.get("level") not in REPEATING:
            return 0
        now_s = self._clock()
        key = tuple(sorted((k, str(v)) for k, v in line.items() if k not in CHANGING))
        said = self._said.get(key)
        if said is not None and now_s < said.until_s:
            said.held_back += 1
            return None
        self._said.pop(key, None)
        self._said[key] = _Said(now_s + WINDOW_S)
        # The oldest go: memory is bounded, whatever is said.
        while len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        return said.held_back if said else 0
