"""One build of a set, step by step: plan, cut what is missing, write. Never waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from portraitd.datasets.annotations import DatasetRule, Plan
from portraitd.datasets.crop_jobs import batch_requests, crop_frames, make_crop_requests
from portraitd.datasets.crop_requests import CropRequest, CropResult
from portraitd.datasets.planner import PlanRequest, plan_dataset
from portraitd.datasets.writer import DatasetSummary, WriteRequest, write_dataset
from portraitd.model.errors import PortraitdError
from portraitd.store.dataset_store import ClassRegistration
from portraitd.store.frame_cache import FrameCache

FRAMES_PER_JOB = 60


class DatasetPaths(NamedTuple):
    """Where a home keeps what a set is made from, and the set."""

    state_dir: Path
    inbox_dir: Path
    dataset_dir: Path


class DatasetBuild:
    """A build that is under way.

    Args:
        place: Of which home.
        rule: What the set should hold.
        keeps_frames: Whether frames are kept while videos are processed.
        executor: Where planning, cutting and writing happen.
        ring: Called, from any thread, when a step has come back.
        enrol: Remembers new classes and sides.
    """

    def __init__(
        self,
        paths: DatasetPaths,
        rule: DatasetRule,
        keeps_frames: bool,
        executor: Executor,
        wake: Callable[[], None],
        register: Callable[[ClassRegistration], None],
    ) -> None:
        self._paths = paths
        self._rule = rule
        self._keeps_frames = keeps_frames
        self._executor = executor
        self._wake = wake
        self._register = register
        self._plan: Plan | None = None
        self._cuts: dict[Future[list[CropResult]], list[CropRequest]] = {}
        self._cache = FrameCache(paths.state_dir)
        self._missing: set[str] = set()
        self._lost = 0
        self.frames_requested = 0
        self.frames_done = 0
        self._planning = self._submit(
            plan_dataset, PlanRequest(paths.state_dir, paths.inbox_dir, rule)
        )
        self._assembling: Future[DatasetSummary] | None = None

    def advance(self) -> DatasetSummary | None:
        """Take the next step if the last one is done. Returns what came of it, at the end.

        Raises:
            PortraitdError: A step failed; the set is as it was, or partly new.
        """
        if self._plan is None:
            if not self._planning.done():
                return None
            self._begin_cutting(self._planning.result())
        if self._assembling is None:
            self._collect()
            if self._cuts or self._plan is None:
                return None
            self._assembling = self._submit(
                write_dataset,
                WriteRequest(
                    self._plan,
                    self._paths.state_dir,
                    self._paths.inbox_dir,
                    self._paths.dataset_dir,
                    self._sentences(),
                    self._keeps_frames,
                ),
            )
        return self._assembling.result() if self._assembling.done() else None

    def _begin_cutting(self, planned: Plan) -> None:
        if planned.registration:
            self._register(planned.registration)
        self._plan = replace(planned, registration=ClassRegistration((), (), {}))
        requests = make_crop_requests(planned, self._paths.state_dir)
        for batch in batch_requests(requests, FRAMES_PER_JOB):
            self._cuts[self._submit(crop_frames, batch)] = batch
            self.frames_requested += _frames(batch)

    def _collect(self) -> None:
        for job in [job for job in self._cuts if job.done()]:
            requests = self._cuts.pop(job)
            self.frames_done += _frames(requests)
            try:
                for request, cut in zip(requests, job.result(), strict=True):
                    self._take(request, cut)
            except PortraitdError as error:
                # What the others cut is in the pool; the next build tries these again.
                self._missing.add(str(error))
                self._lost += 1

    def _take(self, request: CropRequest, cut: CropResult) -> None:
        """Put what was cut into the pool: under names that were ordered, whoever answered."""
        wanted = request.names
        for picture in cut.pictures:
            if picture.name in wanted:
                self._cache.put(request.sha256, picture.name, picture.jpeg)
        if cut.reason:
            self._missing.add(cut.reason)
            self._lost += 1

    def _sentences(self) -> tuple[str, ...]:
        if not self._missing:
            return ()
        reasons = "; ".join(sorted(self._missing))
        return (f"Some pictures of {self._lost} recordings could not be cut again: {reasons}.",)

    def _submit(self, job: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future = self._executor.submit(job, *arguments)
        future.add_done_callback(lambda _: self._wake())
        return future


def _frames(requests: Sequence[CropRequest]) -> int:
    return sum(len(request.frames) for request in requests)
