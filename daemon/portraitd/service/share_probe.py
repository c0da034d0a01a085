"""Whether a folder on a network share answers. A call to a server that hangs never returns."""

from __future__ import annotations

import contextlib
import os
import threading
from concurrent.futures import Future
from pathlib import Path

from portraitd.model.errors import PublishError, StoreError
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.model.stage import Now, Stage

TIMEOUT_S = 5.0


class ShareProbe(Stage):
    """Probes a folder in a thread of its own, so that only that thread can hang.

    Args:
        folder: The folder. That it is missing is an answer too.
        timeout_s: How long an answer may take.
    """

    def __init__(self, folder: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._folder = folder
        self.timeout_s = timeout_s
        self._probe: Future[None] | None = None
        self._blocked = NO_REASON

    @property
    def blocked(self) -> Reason:
        """Return why the folder must not be touched; ``NO_REASON`` if it may be."""
        return self._blocked

    def tick(self, now: Now) -> None:
        """Probe the folder.

        While an earlier probe hangs, no other one is started, and nothing waits for it again.
        """
        if self._probe is None or self._probe.done():
            probe: Future[None] = Future()
            self._probe = probe
            # A daemon thread: one that hangs must not keep the process from ending.
            threading.Thread(target=_probe, args=(self._folder, probe), daemon=True).start()
            with contextlib.suppress(TimeoutError):
                probe.result(self.timeout_s)
        hangs = Reason.of(ReasonCode.SHARE_NOT_RESPONDING, folder=self._folder)
        self._blocked = NO_REASON if self._probe.done() else hangs


def require_share(folder: Path) -> None:
    """Check that the share of a folder responds.

    Raises:
        StoreError: It does not.
    """
    share = ShareProbe(folder)
    share.tick(Now.read())
    if share.blocked:
        raise StoreError(share.blocked)


class ShareGuard(Stage):
    """A stage that must not touch its folder while the share does not answer.

    Args:
        stage: The stage.
        probes: Those that say whether its folder may be touched.
    """

    def __init__(self, stage: Stage, *probes: Stage) -> None:
        self._stage = stage
        self._probes = probes
        self.phase = stage.phase
        self.updates_tree = stage.updates_tree

    def tick(self, now: Now) -> None:
        """Tick the stage, or raise ``PublishError`` while the folder must not be touched."""
        for probe in self._probes:
            if probe.blocked:
                raise PublishError(probe.blocked)
        self._stage.tick(now)

    @property
    def pending(self) -> bool:
        """Return whether the stage has work."""
        return self._stage.pending

    @property
    def defers(self) -> bool:
        """Return whether the stage still has to do what its last error prevented."""
        return self._stage.defers

    @property
    def blocked(self) -> Reason:
        """Return why the stage cannot go on; ``NO_REASON`` if it can."""
        return self._stage.blocked

    def release(self) -> None:
        """Give back the jobs of the stage."""
        self._stage.release()


def _probe(folder: Path, probe: Future[None]) -> None:
    # The stage that works there reports an error better. What the folder is may come from the
    # kernel's cache; how much space is free does not.
    with contextlib.suppress(OSError):
        os.statvfs(folder)
    probe.set_result(None)
