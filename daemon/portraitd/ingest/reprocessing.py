"""Looks at every video again with the settings of now, and keeps who everybody is.

The old people stay in force, and in sight, until the last video has been looked at.
"""

from __future__ import annotations

import structlog

from portraitd.model.media_file import Stamp
from portraitd.store import Files, KnownFile
from portraitd.store.reprocess import Begun, Rebuild

log = structlog.get_logger(stage="reprocessing")


class ReprocessingStage:
    """Begins a rebuild, and ends it when everything is there.

    Args:
        rebuild: The videos that are looked at again.
        files: Where they lie.
        slice_s: Seconds of footage in a slice.
        encoder: The space in which faces are embedded now.
    """

    def __init__(self, rebuild: Rebuild, files: Files, slice_s: float, encoder: str) -> None:
        self._rebuild = rebuild
        self._files = files
        self._slice_s = slice_s
        self._encoder = encoder

    @property
    def pending(self) -> bool:
        """Whether a rebuild was begun and has not ended."""
        return self._rebuild.progress()[1] > 0

    @property
    def ready(self) -> bool:
        """Whether everything was looked at."""
        ended, every = self._rebuild.progress()
        return 0 < every == ended

    def begin(self, now_s: float) -> Begun:
        """Look at every video again."""
        begun = self._rebuild.begin(self._is_there, self._slice_s, now_s)
        log.info("rebuild_begun", videos=begun.videos, left_out=begun.left_out)
        return begun

    def refresh(self, now_s: float) -> bool:
        """Let what was found take the place of the old, when all is there. Whether it did."""
        if not self.ready or self._rebuild.retry_others(self._encoder, self._slice_s, now_s):
            return False
        ended = self._rebuild.replace()
        log.info("rebuild_ended", videos=ended.videos, frozen=ended.left_out)
        return True

    def _is_there(self, known: KnownFile) -> bool:
        try:
            facts = self._files.place(known).stat()
        except OSError:
            return False
        return Stamp(facts.st_size, facts.st_mtime_ns, facts.st_ino) == known.stamp
