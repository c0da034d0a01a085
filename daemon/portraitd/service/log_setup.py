"""Logging: JSON lines for the journal, coloured lines for a terminal.

Warnings and errors that repeat are suppressed for a minute; every event is counted.
"""

from __future__ import annotations

import io
import logging
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

import structlog

from portraitd.model.wording import escape_unprintable, escape_unprintable_lines
from portraitd.service.safe_output import encodable, unguarded

WINDOW_S = 60.0
MAX_REMEMBERED = 1000

LIMITED_LEVELS = frozenset({"warning", "error", "critical"})

VARYING_KEYS = frozenset({"timestamp", "seconds", "exc_info"})
"""Keys that are not compared: they differ between two lines about the same thing."""


@dataclass(slots=True)
class _Window:
    until_s: float
    suppressed: int = 0


class RepeatFilter:
    """Suppresses a warning or error that was logged within the last minute.

    The first line that passes after that says how many were suppressed.

    Args:
        clock: Seconds that never go back.

    Attributes:
        counts: Number of lines by event, with the suppressed ones.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: OrderedDict[Hashable, _Window] = OrderedDict()
        self.counts: Counter[str] = Counter()

    def check(self, line: Mapping[str, Any]) -> int | None:
        """Return how many equal lines were suppressed before this one; None to suppress it."""
        self.counts[str(line.get("event"))] += 1
        # An event that happened again is news; an error that lasts is not.
        if line.get("level") not in LIMITED_LEVELS:
            return 0
        now_s = self._clock()
        key = tuple(sorted((k, str(v)) for k, v in line.items() if k not in VARYING_KEYS))
        window = self._windows.get(key)
        if window is not None and now_s < window.until_s:
            window.suppressed += 1
            return None
        self._windows.pop(key, None)
        self._windows[key] = _Window(now_s + WINDOW_S)
        # The oldest are dropped: memory is bounded, whatever is logged.
        while len(self._windows) > MAX_REMEMBERED:
            self._windows.popitem(last=False)
        return window.suppressed if window else 0


repeat_filter = RepeatFilter()
"""Of this process; the metrics read its counts."""


def configure(verbose: bool = False, json: bool | None = None) -> None:
    """Send logs to stderr.

    Args:
        verbose: Show debug lines as well.
        json: One JSON object per line; by default if stderr is not a terminal.
    """
    stream = unguarded(sys.stderr)
    as_json = not stream.isatty() if json is None else json
    timestamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    finish: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else _renderers_for_people(stream)
    )
    structlog.configure(
        processors=[structlog.processors.add_log_level, _suppress_repeats, timestamp, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if verbose else logging.INFO
        ),
        logger_factory=structlog.PrintLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )


def quiet() -> None:
    """Show only warnings and errors, for commands that draw on the terminal themselves."""
    stream = unguarded(sys.stderr)
    structlog.configure(
        processors=[structlog.processors.add_log_level, *_renderers_for_people(stream)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )


def _renderers_for_people(stream: TextIO) -> list[Any]:
    """Return processors that print coloured lines, with names that cannot change them."""

    def escape(_: Any, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {key: _printable(value, stream.encoding or "utf-8") for key, value in line.items()}

    def print_exception(out: TextIO, error: structlog.typing.ExcInfo) -> None:
        text = io.StringIO()
        structlog.dev.plain_traceback(text, error)
        out.write(escape_unprintable_lines(encodable(text.getvalue(), stream.encoding or "utf-8")))

    renderer = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=print_exception
    )
    return [escape, renderer]


def _printable(value: Any, encoding: str) -> Any:
    if isinstance(value, str):
        return escape_unprintable(encodable(value, encoding))
    if isinstance(value, Mapping):
        return {key: _printable(item, encoding) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item, encoding) for item in value]
    return value


def _suppress_repeats(
    _: Any, __: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    suppressed = repeat_filter.check(line)
    if suppressed is None:
        raise structlog.DropEvent
    return {**line, "repeated": suppressed} if suppressed else line
