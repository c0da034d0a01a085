"""The progress bar of ``portraitd process``: the only module that imports rich's progress."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from portraitd.model.stage import Now, Phase
from portraitd.model.wording import counted
from portraitd.service.pipeline import Service

PHASES: dict[Phase, str] = {
    "faces": "finding faces",
    "grouping": "grouping people",
    "folders": "writing folders",
    "idle": "done",
    "stopped": "stopped",
}


UPDATE_INTERVAL_S = 0.2
"""Between two readings of the store while the phase stays the same."""


class ProgressBar:
    """Shows the footage done and known, and the time left."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            # The usual spinner is made of Braille.
            SpinnerColumn("dots" if console.encoding.startswith("utf") else "line"),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
        )
        self._phase: Phase | None = None
        self._shown_s = float("-inf")
        self._task = self._progress.add_task("scanning", total=None, counts="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def follow(self, service: Service, now: Now) -> None:
        """Show the progress of a service."""
        phase = service.phase
        if phase == self._phase and now.steady_s - self._shown_s < UPDATE_INTERVAL_S:
            return
        self._phase, self._shown_s = phase, now.steady_s
        snapshot = service.snapshots.read(now)
        footage = snapshot.footage
        known_s = footage.footage_done_s + footage.footage_open_s
        self._progress.update(
            self._task,
            description=PHASES[phase],
            total=known_s or None,
            completed=footage.footage_done_s,
            counts=(
                f"{footage.footage_done_s:.0f}/{known_s:.0f} s, {counted(snapshot.faces, 'face')}"
            ),
        )
