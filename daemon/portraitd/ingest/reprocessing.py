"""Looks at every video again with the settings of now, and keeps who everybody is.

The old people stay in force, and in sight, until the last video has been looked at.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from portraitd.model.media_file import Stamp
from portraitd.model.stage import Now, Stage
from portraitd.store.files import Files, KnownFile
from portraitd.store.reprocess import ReprocessCounts, ReprocessQueue

log = structlog.get_logger(stage="reprocessing")


class ReprocessingStage(Stage):
    """Begins a rebuild, and ends it when everything is there.

    Args:
        rebuild: The videos that are looked at again.
        files: Where they lie.
        slice_s: Seconds of footage in a slice.
        encoder: The space in which faces are embedded now.
        may_replace: Returns whether the people tree was read in this tick and shows no edit
            that waits.
        on_replaced: Called when the reprocessed faces have replaced the old ones.
    """

    def __init__(
        self,
        rebuild: ReprocessQueue,
        files: Files,
        slice_s: float,
        encoder: str,
        may_replace: Callable[[Now], bool],
        on_replaced: Callable[[], None],
    ) -> None:
        self._rebuild = rebuild
        self._files = files
        self._slice_s = slice_s
        self._encoder = encoder
        self._may_replace = may_replace
        self._on_replaced = on_replaced

    @property
    def pending(self) -> bool:
        """Whether a rebuild was begun and has not ended."""
        return self._rebuild.progress()[1] > 0

    @property
    def ready(self) -> bool:
        """Whether everything was looked at."""
        ended, every = self._rebuild.progress()
        return 0 < every == ended

    def begin(self, now_s: float) -> ReprocessCounts:
        """Look at every video again."""
        begun = self._rebuild.begin(self._is_there, self._slice_s, now_s)
        log.info("rebuild_begun", videos=begun.videos, left_out=begun.skipped)
        return begun

    def tick(self, now: Now) -> None:
        """Replace the old faces once every video is reprocessed."""
        if not self._may_replace(now) or not self.ready:
            return
        if self._rebuild.retry_other_encoders(self._encoder, self._slice_s, now.wall_s):
            return
        ended = self._rebuild.replace()
        log.info("rebuild_ended", videos=ended.videos, frozen=ended.skipped)
        self._on_replaced()

    def _is_there(self, known: KnownFile) -> bool:
        try:
            facts = self._files.place(known).stat()
        except OSError:
            return False
        return Stamp.of(facts) == known.stamp
