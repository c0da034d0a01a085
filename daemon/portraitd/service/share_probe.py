"""Whether a folder on a share answers at all. A call to a server that hangs never returns."""

from __future__ import annotations

import contextlib
import os
import threading
from concurrent.futures import Future
from pathlib import Path

PATIENCE_S = 5.0


class ShareProbe:
    """Asks a folder in a thread of its own, so that only the thread waits for ever.

    Args:
        folder: Which. That it is missing is an answer too.
        patience_s: How long an answer may take.
    """

    def __init__(self, folder: Path, patience_s: float = PATIENCE_S) -> None:
        self._folder = folder
        self._patience_s = patience_s
        self._asked: Future[None] | None = None

    def blocked(self) -> str:
        """Why the folder must not be touched now; empty if it may be.

        While one question is without an answer no other is asked, and nobody waits for it again.
        """
        if self._asked is None or self._asked.done():
            asked: Future[None] = Future()
            self._asked = asked
            # A daemon thread: one that hangs must not keep the process from ending.
            threading.Thread(target=_ask, args=(self._folder, asked), daemon=True).start()
            with contextlib.suppress(TimeoutError):
                asked.result(self._patience_s)
        return "" if self._asked.done() else f"{self._folder}: the share does not answer"


def _ask(folder: Path, asked: Future[None]) -> None:
    # Whoever works there says an error better. And what a folder is like may come from the
    # kernel's memory; how much room it has does not.
    with contextlib.suppress(OSError):
        os.statvfs(folder)
    asked.set_result(None)
