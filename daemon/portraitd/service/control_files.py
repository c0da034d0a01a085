"""ControlFiles to a running service: small files that a command leaves and the service answers.

The service holds the only connection that writes, so a command asks it. Written whole and
renamed, so half a request is never seen; a request that nobody answers stays until a service
starts.
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

ASKED, ANSWERED = ".request", ".answer"


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """What is asked.

    Attributes:
        what: The command.
        row: Of ``undo``, which; None for the last.
        words: Of other commands, what they are about.
    """

    what: str
    row: int | None = None
    words: tuple[str, ...] = ()


class ControlFiles:
    """The folder where requests lie.

    Args:
        folder: Made when needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def leave(self, request: ControlRequest) -> str:
        """Ask. Returns the name under which the answer will be found.

        Raises:
            StoreError: The request cannot be written.
        """
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
        facts = {"what": request.what, "row": request.row, "words": list(request.words)}
        self._write(name + ASKED, facts)
        return name

    def waiting(self) -> dict[str, ControlRequest]:
        """What is asked and not answered, the oldest first; what is no request is removed."""
        found = {}
        for path in sorted(self.folder.glob(f"*{ASKED}")):
            if path.name.startswith("."):
                # It is just being written.
                continue
            try:
                facts = json.loads(path.read_bytes())
                row = facts["row"]
                words = tuple(str(word) for word in facts.get("words", ()))
                number = None if row is None else int(row)
                found[path.stem] = ControlRequest(str(facts["what"]), number, words)
            except (OSError, ValueError, TypeError, KeyError, AttributeError):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        return found

    def answer(self, name: str, text: str, granted: bool = True) -> None:
        """Say what came of a request.

        Raises:
            StoreError: The answer cannot be written; the request stays.
        """
        self._write(name + ANSWERED, {"text": text, "granted": granted})
        try:
            (self.folder / (name + ASKED)).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.folder}: {error.strerror}") from error

    def answer_to(self, name: str) -> tuple[str, bool] | None:
        """The answer, and whether the request was granted; it is taken away. None if not yet."""
        path = self.folder / (name + ANSWERED)
        try:
            facts = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return None
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return str(facts["text"]), bool(facts["granted"])

    def withdraw(self, name: str) -> None:
        """Nobody waits for the answer any more."""
        for ending in (ASKED, ANSWERED):
            with suppress(OSError):
                (self.folder / (name + ending)).unlink(missing_ok=True)

    def _write(self, name: str, facts: Mapping[str, object]) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.folder}: {error.strerror}") from error
        write_atomically(self.folder / name, json.dumps(facts).encode(), error=StoreError)
