"""Logging: JSON lines for the journal, coloured lines for a terminal. The one door to structlog."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from portraitd.service.log_repetition import Repetition

repetition = Repetition()
"""What was said in this process, and how often."""


def _bounded(_: Any, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    held_back = repetition.passes(line)
    if held_back is None:
        raise structlog.DropEvent
    return {**line, "repeated": held_back} if held_back else line


def configure(verbose: bool = False, json: bool | None = None) -> None:
    """Send logs to stderr.

    Args:
        verbose: Show debug lines as well.
        json: One JSON object a line; by default whenever stderr is not a terminal.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    timestamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    finish: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[structlog.processors.add_log_level, _bounded, timestamp, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if verbose else logging.INFO
        ),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def quiet() -> None:
    """Show warnings and errors alone, for commands that draw on the terminal themselves."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
