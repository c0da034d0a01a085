"""An inbox with its store, its admission stage and a clock, without a service."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from portraitd.config import InboxSettings
from portraitd.ingest.admission import Admission
from portraitd.model.media_file import FileState
from portraitd.model.stage import Now
from portraitd.store.database import Database
from portraitd.store.files import INBOX, Files, KnownFile

QUIET_S = 5.0

SETTINGS = InboxSettings(quiet_s=QUIET_S, quiet_remote_s=0.0, unfinished_s=0.0)


class InboxFixture:
    """An inbox, its store and admission stage, and a clock that advances with each scan."""

    def __init__(
        self,
        folder: Path,
        settings: InboxSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.inbox = folder / "inbox"
        self.inbox.mkdir(exist_ok=True)
        self.database = Database.open(folder)
        self.files = Files(self.database, self.inbox)
        self.admission = Admission(self.files, self.inbox, settings or SETTINGS, clock=clock)
        self.now_s = 0.0

    def write(self, name: str, content: bytes = b"video") -> Path:
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def look(self, after_s: float = 1.0) -> None:
        self.now_s += after_s
        self.admission.scan(Now(1000.0 + self.now_s, self.now_s))

    def settle(self) -> None:
        """Look until everything that stands still has been taken."""
        self.look()
        self.look(QUIET_S)

    def known(self, name: str = "clip.mp4") -> KnownFile:
        return self.files.below(INBOX)[Path(os.fsdecode(name))]

    def state(self, name: str = "clip.mp4") -> FileState:
        return self.known(name).state

    def states(self) -> dict[str, str]:
        return {str(path): known.state.value for path, known in self.files.below(INBOX).items()}

    def finish(self, name: str = "clip.mp4") -> None:
        """The file has been worked on."""
        self.files.move_on(self.known(name).id, FileState.DONE, self.now_s)
