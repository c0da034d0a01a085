"""What libraries, workers and the interpreter print on standard error, as lines of the JSON log."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from portraitd.model.errors import PortraitdError

log = structlog.get_logger(stage="service")

MAX_CHARACTERS = 1000

MAX_LINES = 100
"""In a minute; a worker that prints without end must not fill the journal."""

MINUTE_S = 60.0

CRASHED = 1
"""The exit code after an error in portraitd itself."""

END_S = 2.0
"""How long to wait for the last lines; a worker that cannot be killed keeps the pipe open."""


def logs_json() -> bool:
    """Return whether the log is JSON, as in a journal."""
    last = structlog.get_config()["processors"][-1]
    return isinstance(last, structlog.processors.JSONRenderer)


def log_failure(reason: str, exit_code: int) -> bool:
    """Log why the process ends. Return False if the log is not JSON: then it is to be printed."""
    if not logs_json():
        return False
    log.critical("service_failed", reason=reason, exit_code=exit_code)
    structlog.reset_defaults()
    return True


@contextmanager
def capture_stderr() -> Iterator[None]:
    """Log what is printed on standard error, also by child processes, while the log is JSON.

    Raises:
        SystemExit: An error in portraitd itself, which was logged with its traceback.
    """
    if not logs_json():
        yield
        return
    sys.stderr.flush()
    original, (reader, writer) = os.dup(2), os.pipe()
    os.dup2(writer, 2)
    os.close(writer)
    before = structlog.get_config()["logger_factory"]
    with open(original, "w", encoding="utf-8", buffering=1, closefd=False) as stream:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=stream))
        # A daemon thread: a child that holds the pipe must not keep the process from ending.
        thread = threading.Thread(target=_log_lines, args=(reader,), daemon=True)
        thread.start()
        try:
            yield
        except PortraitdError:
            raise
        except Exception as error:
            log.critical("crashed", exc_info=True)
            raise SystemExit(CRASHED) from error
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            thread.join(END_S)
            structlog.configure(logger_factory=before)


def _log_lines(reader: int) -> None:
    """Log each line until the last writer closes the pipe."""
    limit = _Limit()
    with open(reader, encoding="utf-8", errors="replace") as lines:
        while line := lines.readline(MAX_CHARACTERS):
            if text := line.strip():
                limit.log(text)


class _Limit:
    """Logs up to ``MAX_LINES`` lines a minute, then only how many there were."""

    def __init__(self) -> None:
        self._until_s = 0.0
        self._lines = 0

    def log(self, text: str) -> None:
        """Log a line, unless there were too many."""
        now_s = time.monotonic()
        if now_s >= self._until_s:
            if self._lines > MAX_LINES:
                log.warning("stderr_suppressed", lines=self._lines - MAX_LINES)
            self._until_s, self._lines = now_s + MINUTE_S, 0
        self._lines += 1
        if self._lines <= MAX_LINES:
            log.warning("stderr", text=text)
