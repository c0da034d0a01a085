"""The dataset stage: builds the training set when it is out of date or requested."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime

import structlog

from portraitd.config import DatasetSettings
from portraitd.datasets.annotations import DatasetRule, make_set_fingerprint
from portraitd.datasets.build import DatasetBuild, DatasetPaths
from portraitd.datasets.consents import judge_consents
from portraitd.datasets.output import read_set_manifest
from portraitd.datasets.split_overview import move_recording, reset_splits
from portraitd.datasets.writer import DatasetSummary
from portraitd.model.errors import PortraitdError, PublishError, StoreError
from portraitd.model.reasons import NO_REASON, Reason
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.people.tree.consent_files import FolderConsent
from portraitd.store.dataset_store import ClassRegistration, DatasetStore

log = structlog.get_logger(stage="dataset")

BACK_OFF_S = 60.0


@dataclass(frozen=True, slots=True)
class BuildAnswer:
    """The answer to a request for a build.

    Attributes:
        name: Name of the request.
        text: The summary as JSON, or the reason for the failure.
        granted: Whether the set was built.
    """

    name: str
    text: str
    granted: bool


class DatasetStage(Stage):
    """Builds the training set after each grouping run, or on request.

    Args:
        store: The data that sets are made from.
        paths: The folders of the home.
        settings: The content of the set, and whether to build without a request.
        executor: Runs the steps of a build.
        wake: Called from any thread when a step has finished.
        is_working: Returns whether the people are about to change; then no set is built yet.
        consents: Returns the consents in the people tree; None while it was not read.
    """

    def __init__(
        self,
        store: DatasetStore,
        paths: DatasetPaths,
        settings: DatasetSettings,
        executor: Executor,
        wake: Callable[[], None],
        is_working: Callable[[], bool],
        consents: Callable[[], Sequence[FolderConsent] | None] = lambda: (),
    ) -> None:
        self._store = store
        self._paths = paths
        self._settings = settings
        self._consents = consents
        self._executor = executor
        self._wake = wake
        self._is_auto = settings.auto
        self._keeps_frames = settings.frames == "keep"
        manifest = read_set_manifest(paths.dataset_dir) if settings.auto else None
        self._built_fingerprint = manifest.fingerprint if manifest else ""
        self._build: DatasetBuild | None = None
        self._requested: tuple[str, ...] = ()
        self._answering: tuple[str, ...] = ()
        self._answers: list[BuildAnswer] = []
        self._now_s = 0.0
        self._is_working = is_working
        self._back_off = BackOff(BACK_OFF_S)
        self._blocked = NO_REASON

    @property
    def pending(self) -> bool:
        """Whether a set is being built or must be built."""
        return self.busy or self._is_stale() or bool(self._requested or self._answers)

    @property
    def defers(self) -> bool:
        """Return whether a set that could not be recorded waits to be built."""
        return self._has_failed and self.pending

    @property
    def blocked(self) -> Reason:
        """Return why the set could not be written; ``NO_REASON`` if it could."""
        return self._blocked

    @property
    def rule(self) -> DatasetRule:
        """The content of the next set, with the consents of today."""
        if self._settings.consent == "off":
            return DatasetRule.of(self._settings)
        today = datetime.fromtimestamp(self._now_s).astimezone().date()
        return DatasetRule.of(self._settings, judge_consents(self._consents() or (), today))

    @property
    def _knows_consents(self) -> bool:
        return self._settings.consent == "off" or self._consents() is not None

    @property
    def busy(self) -> bool:
        """Whether a set is being built."""
        return self._build is not None

    @property
    def answers(self) -> tuple[BuildAnswer, ...]:
        """The answers that were not delivered yet, oldest first."""
        return tuple(self._answers)

    def request(self, names: Collection[str]) -> None:
        """Build a set for these requests, which are all that are waiting.

        A request that is missing here was withdrawn or answered.
        """
        answered = {answer.name for answer in self._answers}
        self._requested = tuple(name for name in names if name not in answered)

    def remove_answer(self, answer: BuildAnswer) -> None:
        """Remove an answer that was delivered."""
        self._answers.remove(answer)

    def move_recording(self, word: str, split: str, now_s: float) -> str:
        """Put a recording into a split; see ``split_overview.move_recording``."""
        return move_recording(self._store, word, split, now_s)

    def reset_splits(self, now_s: float) -> str:
        """Forget all assigned splits; see ``split_overview.reset_splits``."""
        return reset_splits(self._store, now_s)

    def tick(self, now: Now) -> None:
        """Start a build that is due, or continue one."""
        self._now_s = now.wall_s
        if self._build is None and not self._start(now):
            return
        try:
            done = self._build.advance() if self._build else None
        except StoreError:
            self._build = None
            self._has_failed = True
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, PortraitdError) else repr(error)
            self._build = None
            self._has_failed = False
            self._back_off.start(now)
            log.error("dataset_failed", reason=reason)
            if isinstance(error, PublishError) and self._is_auto:
                self._blocked = Reason(error.reason.code, f"the training set: {reason}")
            self._answer(None, reason)
            return
        if done is not None:
            self._finish(done)

    def release(self) -> None:
        """Drop the current build; the next start begins again."""
        self._build = None

    def _start(self, now: Now) -> bool:
        requested = self._requested
        waits = self._is_working() or not self._back_off.ready(now)
        if not requested and (waits or not self._is_stale()):
            return False
        self._answering = requested
        if not self._knows_consents:
            self._answer(None, "people/ was not read yet, so it is not known who agreed")
            return False
        self._build = DatasetBuild(
            self._paths,
            self.rule,
            self._keeps_frames,
            self._executor,
            self._wake,
            self._register,
            self._store.record_frame_times,
        )
        return True

    def _finish(self, done: DatasetSummary) -> None:
        self._build = None
        self._has_failed = False
        self._blocked = NO_REASON
        manifest = read_set_manifest(self._paths.dataset_dir)
        self._built_fingerprint = manifest.fingerprint if manifest else ""
        log.info(
            "dataset_built",
            frames=sum(done.frames.values()),
            faces=sum(done.faces.values()),
            people=done.people,
            written=done.written,
            removed=done.removed,
            unchanged=done.unchanged,
        )
        self._answer(done, "")

    def _answer(self, done: DatasetSummary | None, failure: str) -> None:
        """Answer the requests from before the build began; later ones wait for the next."""
        text = failure if done is None else json.dumps(done._asdict())
        self._answers += [BuildAnswer(name, text, done is not None) for name in self._answering]
        self._requested = tuple(name for name in self._requested if name not in self._answering)
        if self._answering:
            self._wake()
        self._answering = ()

    def _is_stale(self) -> bool:
        if not self._is_auto or not self._knows_consents:
            return False
        fingerprint = self._store.fingerprint()
        # Without a set and without people for one, nothing is built.
        is_empty = not self._built_fingerprint and not self._store.persons(
            self._settings.people == "named"
        )
        return not is_empty and self._built_fingerprint != make_set_fingerprint(
            fingerprint, self.rule
        )

    def _register(self, registration: ClassRegistration) -> None:
        self._store.register(registration, self._now_s)
