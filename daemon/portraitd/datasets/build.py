"""One build of a training set in non-blocking steps: plan, crop missing images, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from portraitd.config import Settings
from portraitd.datasets.annotations import DatasetRule, Plan
from portraitd.datasets.crop_jobs import batch_requests, crop_frames, make_crop_requests
from portraitd.datasets.crop_requests import CropRequest, CropResult
from portraitd.datasets.output import lock_set
from portraitd.datasets.planner import PlanRequest, plan_dataset
from portraitd.datasets.writer import DatasetSummary, WriteRequest, write_dataset
from portraitd.ingest import media_jobs
from portraitd.model.errors import PortraitdError
from portraitd.model.face import FrameTimes
from portraitd.model.wording import counted
from portraitd.store.dataset_store import ClassRegistration, Recording
from portraitd.store.frame_cache import FrameCache

FRAMES_PER_JOB = 60


class DatasetPaths(NamedTuple):
    """The folders of a home that a build uses."""

    state_dir: Path
    inbox_dir: Path
    dataset_dir: Path

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the folders of the settings."""
        return cls(settings.state_dir, settings.inbox_dir, settings.dataset_dir)


class DatasetBuild:
    """A build in progress.

    Args:
        paths: The folders of the home.
        rule: The content of the set.
        keeps_frames: Whether the frame cache keeps frames that no set needs.
        executor: Runs planning, cropping and writing.
        wake: Called from any thread when a step has finished.
        register: Records new classes and splits.
        record_times: Records the times of the frames of a recording.
    """

    def __init__(
        self,
        paths: DatasetPaths,
        rule: DatasetRule,
        keeps_frames: bool,
        executor: Executor,
        wake: Callable[[], None],
        register: Callable[[ClassRegistration], None],
        record_times: Callable[[Recording, FrameTimes], None],
    ) -> None:
        self._paths = paths
        self._rule = rule
        self._keeps_frames = keeps_frames
        self._executor = executor
        self._wake = wake
        self._register = register
        self._record_times = record_times
        self._plan: Plan | None = None
        self._crop_jobs: dict[Future[list[CropResult]], list[CropRequest]] = {}
        self._time_jobs: dict[Future[FrameTimes], Recording] = {}
        self._cache = FrameCache(paths.state_dir)
        self._crop_errors: set[str] = set()
        self._failed = 0
        self.frames_requested = 0
        self.frames_done = 0
        self._planning = self._submit(
            plan_dataset, PlanRequest(paths.state_dir, paths.inbox_dir, rule)
        )
        self._writing: Future[DatasetSummary] | None = None

    def advance(self) -> DatasetSummary | None:
        """Start the next step if the last one has finished.

        Returns:
            The summary once the build is complete, else None.

        Raises:
            PortraitdError: A step failed; the set is unchanged or partly updated.
        """
        if self._plan is None:
            if not self._planning.done():
                return None
            self._start_cropping(self._planning.result())
        if self._writing is None:
            self._collect()
            if self._crop_jobs or self._time_jobs or self._plan is None:
                return None
            with lock_set(self._paths.dataset_dir):
                # Made here: the worker can write only to a folder that it finds.
                pass
            self._writing = self._submit(
                write_dataset,
                WriteRequest(
                    self._plan,
                    self._paths.state_dir,
                    self._paths.inbox_dir,
                    self._paths.dataset_dir,
                    self._crop_warnings(),
                    self._keeps_frames,
                ),
            )
        return self._writing.result() if self._writing.done() else None

    def _start_cropping(self, planned: Plan) -> None:
        if planned.registration:
            self._register(planned.registration)
        self._plan = replace(planned, registration=ClassRegistration((), (), {}))
        requests = make_crop_requests(planned, self._paths.state_dir)
        for batch in batch_requests(requests, FRAMES_PER_JOB):
            self._crop_jobs[self._submit(crop_frames, batch)] = batch
            self.frames_requested += _frames(batch)
        for video_id in planned.untimed:
            recording = planned.recordings[video_id]
            for source in recording.sources[:1]:
                job = self._submit(media_jobs.read_frame_times, source, recording.kind)
                self._time_jobs[job] = recording

    def _collect(self) -> None:
        for time_job in [one for one in self._time_jobs if one.done()]:
            recording = self._time_jobs.pop(time_job)
            # Without them, CVAT's files number frames by the declared rate.
            with suppress(PortraitdError):
                self._record_times(recording, time_job.result())
        for job in [job for job in self._crop_jobs if job.done()]:
            requests = self._crop_jobs.pop(job)
            self.frames_done += _frames(requests)
            try:
                for request, result in zip(requests, job.result(), strict=True):
                    self._store(request, result)
            except PortraitdError as error:
                # The results of other jobs are cached; the next build retries this one.
                self._crop_errors.add(str(error))
                self._failed += 1

    def _store(self, request: CropRequest, result: CropResult) -> None:
        """Store the images in the frame cache, but only under names that were requested."""
        requested = request.image_names
        for image in result.images:
            if image.name in requested:
                self._cache.put(request.sha256, image.name, image.jpeg)
        if result.reason:
            self._crop_errors.add(result.reason)
            self._failed += 1

    def _crop_warnings(self) -> tuple[str, ...]:
        if not self._crop_errors:
            return ()
        reasons = "; ".join(sorted(self._crop_errors))
        recordings = counted(self._failed, "recording")
        return (f"Some images of {recordings} could not be cropped: {reasons}.",)

    def _submit(self, job: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future = self._executor.submit(job, *arguments)
        future.add_done_callback(lambda _: self._wake())
        return future


def _frames(requests: Sequence[CropRequest]) -> int:
    return sum(len(request.frames) for request in requests)
