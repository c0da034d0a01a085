"""Control requests to the running service: small files that a command leaves for it.

Only the service writes to the database, so commands ask it. Requests and answers are written
atomically; a request that no service answers stays until one starts.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from portraitd.media.fs import write_atomically
from portraitd.model.errors import StoreError

REQUEST_SUFFIX, ANSWER_SUFFIX = ".request", ".answer"


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
        """Return the requests without an answer, oldest first. Invalid ones are removed."""
        found = {}
        for path in sorted(self.folder.glob(f"*{REQUEST_SUFFIX}")):
            if path.name.startswith("."):
                # It is being written.
                continue
            try:
                facts = json.loads(path.read_bytes())
                entry = None if facts["row"] is None else int(facts["row"])
                arguments = tuple(str(word) for word in facts.get("words", ()))
                found[path.stem] = ControlRequest(str(facts["what"]), entry, arguments)
            except (OSError, ValueError, TypeError, KeyError, AttributeError):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        return found

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
            (self.folder / (name + REQUEST_SUFFIX)).unlink(missing_ok=True)
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

    def withdraw(self, name: str) -> None:
        """Remove a request and its answer."""
        for suffix in (REQUEST_SUFFIX, ANSWER_SUFFIX):
            with suppress(OSError):
                (self.folder / (name + suffix)).unlink(missing_ok=True)

    def _write(self, name: str, facts: Mapping[str, object]) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.folder}: {error.strerror}") from error
        write_atomically(self.folder / name, json.dumps(facts).encode(), error=StoreError)
