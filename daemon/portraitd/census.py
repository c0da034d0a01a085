"""When to group the faces into people again, and putting the result in force."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portraitd import jobs, logs
from portraitd.config import GroupingSettings
from portraitd.errors import StoreError
from portraitd.grouping.identity import carry_over
from portraitd.store import Faces, People

log = logs.get("census")

BACK_OFF_S = 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    """When new faces call for a census.

    Attributes:
        settle_s: Seconds without a new face, once nothing is left to encode.
        max_wait_s: The longest a face waits while there is.
    """

    settle_s: float
    max_wait_s: float


def is_due(newest_s: float, oldest_s: float, now_s: float, working: bool, pace: Pace) -> bool:
    """Whether to regroup: new faces have settled, or have waited long enough."""
    settled = not working and not 0 <= now_s - newest_s < pace.settle_s
    return settled or now_s - oldest_s >= pace.max_wait_s


class CensusTaker:
    """Groups everything stored, in a worker, and records who is who.

    Args:
        faces: What there is to group.
        people: Where the result goes.
        executor: Where the grouping runs.
        ring: Called, from any thread, when it has come back.
        scratch: A folder for the matrix that the worker reads.
        settings: The method and its numbers.
        pace: When.
    """

    def __init__(
        self,
        faces: Faces,
        people: People,
        executor: Executor,
        ring: Callable[[], None],
        scratch: Path,
        settings: GroupingSettings,
        pace: Pace,
    ) -> None:
        self._faces = faces
        self._people = people
        self._executor = executor
        self._ring = ring
        self._matrix = scratch / "census.f32"
        self._settings = settings
        self._pace = pace
        self._running: Future[NDArray[np.int32]] | None = None
        self._face_ids = np.empty(0, np.int64)
        self._began_s = 0.0
        self._not_before_s = 0.0

    @property
    def parameters(self) -> str:
        """What the result depends on, besides the faces."""
        values = self._settings.model_dump(include={"method", "eps", "min_samples"})
        return json.dumps(values, sort_keys=True)

    @property
    def pending(self) -> bool:
        """Whether there is something that the census in force does not know."""
        return self._running is not None or self._people.arrivals(self.parameters).stale

    def refresh(self, now_s: float, working: bool) -> None:
        """Begin a census that is due, and record one that has come back."""
        if self._running is None and self._is_due(now_s, working):
            self._begin(now_s)
        if self._running is not None and self._running.done():
            self._record(self._running, now_s)
            self._running = None

    def park(self) -> None:
        """Forget a census that is out: the old people stay in force."""
        self._running = None

    def _is_due(self, now_s: float, working: bool) -> bool:
        new = self._people.arrivals(self.parameters)
        # A clock that was set back does not make the pause longer.
        if not new.stale or 0 < self._not_before_s - now_s <= BACK_OFF_S:
            return False
        return is_due(new.newest_s, new.oldest_s, now_s, working, self._pace)

    def _begin(self, now_s: float) -> None:
        encoders = self._faces.encoders()
        if len(encoders) > 1:
            raise StoreError(
                f"faces of several encoders in one store ({', '.join(encoders)}): their "
                "embeddings cannot be compared; process the videos into a new home"
            )
        self._face_ids = self._faces.ids()
        try:
            with self._matrix.open("wb") as file:
                for block in self._faces.embeddings():
                    file.write(block.tobytes())
        except OSError as error:
            raise StoreError(f"{self._matrix}: {error.strerror}") from error
        self._began_s = now_s
        self._running = self._executor.submit(
            jobs.cluster, self._matrix, self._settings.eps, self._settings.min_samples
        )
        self._running.add_done_callback(lambda _: self._ring())

    def _record(self, done: Future[NDArray[np.int32]], now_s: float) -> None:
        try:
            labels = done.result()
        except Exception as error:
            # The old people stay in force; the next turn after the pause tries again.
            self._not_before_s = now_s + BACK_OFF_S
            log.error("census_failed", reason=f"{type(error).__name__}: {error}")
            return
        finally:
            self._matrix.unlink(missing_ok=True)
        before = dict(zip(self._faces.ids().tolist(), self._faces.persons().tolist(), strict=True))
        previous = np.array([before.get(face, 0) for face in self._face_ids.tolist()], np.int64)
        census = self._people.record(
            self._face_ids,
            labels,
            carry_over(labels, previous),
            self.parameters,
            now_s - self._began_s,
            now_s,
        )
        log.info(
            "census_taken",
            census=census.id,
            faces=census.faces,
            people=census.people,
            unassigned=census.unassigned,
            churn=census.churn,
            seconds=round(census.seconds, 2),
        )
