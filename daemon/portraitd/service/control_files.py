"""Control requests to the running service: small files that a command leaves for it.

Only the service writes to the database, so commands ask it. Requests and answers are written
atomically; a request that no service answers stays until one starts. What a service has read but
cannot carry out yet, it acknowledges.
"""

from __future__ import annotations

import json
import os
import stat
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from portraitd.media.fs import write_atomically
from portraitd.model.errors import StoreError

log = structlog.get_logger(stage="control")

REQUEST_SUFFIX, ANSWER_SUFFIX = ".request", ".answer"

TAKEN_SUFFIX, INVALID_SUFFIX = ".taken", ".invalid"

MAX_REQUEST_BYTES = 16 << 20
"""Longer than the request of any command line, which Linux limits to 2 MB: JSON writes a byte
that is not text in six."""

MAX_NAME_BYTES = 128
"""Of a request without its suffix: room for the name of its answer while that is written."""

MAX_ENTRY = (1 << 63) - 1
"""The largest number that SQLite can hold."""

INVALID = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What reading the JSON of a file that is not a request may raise."""

OLD_ANSWER_S = 3600.0
"""A command waits for seconds; a build of a training set may last hours, but reads its answer at
once."""


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """A request to the running service.

    Attributes:
        command: The command that asks.
        entry: The ledger entry that ``undo`` is about; None for the last.
        arguments: What other commands are about.
    """

    command: str
    entry: int | None = None
    arguments: tuple[str, ...] = ()


class ControlFiles:
    """The folder with requests and answers.

    Args:
        folder: Created when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def leave(self, request: ControlRequest) -> str:
        """Write a request. Return its name, for the answer.

        Raises:
            StoreError: The request cannot be written.
        """
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
        facts = {
            "what": request.command,
            "row": request.entry,
            "words": list(request.arguments),
        }
        self._write(name + REQUEST_SUFFIX, facts)
        return name

    def waiting(self) -> dict[str, ControlRequest]:
        """Return the requests without an answer, oldest first.

        One that cannot be read stays; one that is not valid gets another name.

        Raises:
            StoreError: The folder cannot be read, so that a request could be there.
        """
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StoreError(f"{self.folder}: {error.strerror}; requests are kept there") from error
        found = {}
        for name in names:
            # One that begins with a dot is being written.
            if not name.endswith(REQUEST_SUFFIX) or name.startswith("."):
                continue
            path = self.folder / name
            try:
                found[path.stem] = _read(path)
            except OSError as error:
                if not isinstance(error, FileNotFoundError):
                    log.error("request_unreadable", request=name, reason=error.strerror)
            except INVALID as error:
                log.error("request_invalid", request=name, reason=str(error))
                with suppress(OSError):
                    path.replace(path.with_suffix(INVALID_SUFFIX))
        return found

    def acknowledge(self, name: str) -> None:
        """Tell the command that the service has read a request.

        Raises:
            StoreError: That cannot be written.
        """
        self._write(name + TAKEN_SUFFIX, {})

    def is_taken(self, name: str) -> bool:
        """Return whether the service has read a request."""
        return (self.folder / (name + TAKEN_SUFFIX)).exists()

    def is_invalid(self, name: str) -> bool:
        """Return whether the service set a request aside, as one that is not valid."""
        return (self.folder / (name + INVALID_SUFFIX)).exists()

    def answer(self, name: str, text: str, granted: bool = True) -> None:
        """Answer a request.

        Args:
            name: Of the request.
            text: What was done, or why it was refused.
            granted: Whether the request was carried out.

        Raises:
            StoreError: The answer cannot be written; the request stays.
        """
        self._write(name + ANSWER_SUFFIX, {"text": text, "granted": granted})
        try:
            for suffix in (REQUEST_SUFFIX, TAKEN_SUFFIX):
                (self.folder / (name + suffix)).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.folder}: {error.strerror}") from error

    def answer_to(self, name: str) -> tuple[str, bool] | None:
        """Remove and return an answer, and whether the request was carried out.

        None if the request is not answered yet.
        """
        path = self.folder / (name + ANSWER_SUFFIX)
        try:
            facts = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return None
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return str(facts["text"]), bool(facts["granted"])

    def remove_old_answers(self, now_s: float) -> None:
        """Remove the answers that no command has read, because it had stopped waiting."""
        for path in self.folder.glob(f"*{ANSWER_SUFFIX}"):
            with suppress(OSError):
                if now_s - path.stat().st_mtime > OLD_ANSWER_S:
                    path.unlink()

    def withdraw(self, name: str) -> None:
        """Remove a request and its answer."""
        for suffix in (REQUEST_SUFFIX, TAKEN_SUFFIX, ANSWER_SUFFIX):
            with suppress(OSError):
                (self.folder / (name + suffix)).unlink(missing_ok=True)

    def _write(self, name: str, facts: Mapping[str, object]) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.folder}: {error.strerror}") from error
        write_atomically(self.folder / name, json.dumps(facts).encode(), error=StoreError)


def _read(path: Path) -> ControlRequest:
    """Return the request in a file.

    Raises:
        OSError: The file cannot be read.
        ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError: It is not a
            request.
    """
    if len(os.fsencode(path.stem)) > MAX_NAME_BYTES:
        raise ValueError(f"its name is longer than {MAX_NAME_BYTES} bytes")
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("not a regular file")
        # One more byte than is allowed shows that the file is too large.
        with open(fd, "rb", closefd=False) as file:
            content = file.read(MAX_REQUEST_BYTES + 1)
    finally:
        os.close(fd)
    if len(content) > MAX_REQUEST_BYTES:
        raise ValueError(f"larger than {MAX_REQUEST_BYTES} bytes")
    facts = json.loads(content)
    entry = None if facts["row"] is None else int(facts["row"])
    if entry is not None and not -MAX_ENTRY <= entry <= MAX_ENTRY:
        raise ValueError("the number of the entry is too large")
    arguments = tuple(str(word) for word in facts.get("words", ()))
    return ControlRequest(str(facts["what"]), entry, arguments)
