"""Reprocess every video with the current settings, and keep all people and edits.

The current people stay visible until the last video is reprocessed.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from portraitd.ingest.scanner import is_unchanged
from portraitd.model.stage import Now, Stage
from portraitd.store.files import Files, KnownFile
from portraitd.store.reprocess import ReprocessCounts, ReprocessQueue

log = structlog.get_logger(stage="reprocessing")


class ReprocessingStage(Stage):
    """Starts reprocessing, and swaps in the new faces once all are ready.

    Args:
        queue: The videos that are reprocessed.
        files: The files with their contents.
        slice_s: Seconds of footage in a slice.
        encoder: The current embedding space.
        may_replace: Returns whether the people tree was read in this tick and shows no edit
            that waits.
        on_replaced: Called when the reprocessed faces have replaced the old ones.
    """

    def __init__(
        self,
        queue: ReprocessQueue,
        files: Files,
        slice_s: float,
        encoder: str,
        may_replace: Callable[[Now], bool],
        on_replaced: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._files = files
        self._slice_s = slice_s
        self._encoder = encoder
        self._may_replace = may_replace
        self._on_replaced = on_replaced

    @property
    def pending(self) -> bool:
        """Return whether reprocessing is under way."""
        return self._queue.progress()[1] > 0

    @property
    def defers(self) -> bool:
        """Return whether an attempt to replace the old faces waits to be repeated."""
        return self._has_failed and self.pending

    @property
    def ready(self) -> bool:
        """Return whether every video is reprocessed."""
        finished, total = self._queue.progress()
        return 0 < total == finished

    def begin(self, now_s: float) -> ReprocessCounts:
        """Queue every video again."""
        started = self._queue.begin(self._is_there, self._slice_s, now_s)
        log.info("reprocessing_started", videos=started.videos, skipped=started.skipped)
        return started

    def tick(self, now: Now) -> None:
        """Replace the old faces once every video is reprocessed."""
        if not self._may_replace(now) or not self.ready:
            return
        self._has_failed = True
        if self._queue.retry_other_encoders(self._encoder, self._slice_s, now.wall_s):
            self._has_failed = False
            return
        replaced = self._queue.replace()
        self._has_failed = False
        log.info("reprocessing_finished", videos=replaced.videos, frozen=replaced.skipped)
        self._on_replaced()

    def _is_there(self, known: KnownFile) -> bool:
        return is_unchanged(self._files.place(known), known.stamp)
