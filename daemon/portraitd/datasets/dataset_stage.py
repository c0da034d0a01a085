"""When the training set is out of date, and bringing it up to date."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from dataclasses import dataclass

import structlog

from portraitd.datasets.annotations import DatasetRule, set_fingerprint
from portraitd.datasets.build import DatasetBuild, DatasetPaths
from portraitd.datasets.output import read_note
from portraitd.datasets.writer import DatasetSummary
from portraitd.model.errors import PortraitdError, StoreError
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.store.dataset_store import ClassRegistration, DatasetStore

log = structlog.get_logger(stage="dataset")

BACK_OFF_S = 60.0


@dataclass(frozen=True, slots=True)
class BuildAnswer:
    """What became of a build that was asked for.

    Attributes:
        name: Of the request.
        text: The result as JSON, or the reason why there is none.
        granted: Whether the set was built.
    """

    name: str
    text: str
    granted: bool


class DatasetStage(Stage):
    """Builds the training set after each grouping, or when somebody asks for it.

    Args:
        store: What sets are made from.
        place: Where the home keeps it, and the set.
        rule: What a set holds.
        executor: Where the work happens.
        ring: Called, from any thread, when a step has come back.
        is_auto: Whether to build unasked.
        keeps_frames: Whether frames are kept while videos are processed.
        is_working: Returns whether the people are about to change: then no set is built yet.
    """

    def __init__(
        self,
        store: DatasetStore,
        paths: DatasetPaths,
        rule: DatasetRule,
        executor: Executor,
        wake: Callable[[], None],
        is_auto: bool,
        keeps_frames: bool,
        is_working: Callable[[], bool],
    ) -> None:
        self._store = store
        self._paths = paths
        self._rule = rule
        self._executor = executor
        self._wake = wake
        self._is_auto = is_auto
        self._keeps_frames = keeps_frames
        note = read_note(paths.dataset_dir) if is_auto else None
        self._made_from = note.fingerprint if note else ""
        self._build: DatasetBuild | None = None
        self._requested: tuple[str, ...] = ()
        self._asked: tuple[str, ...] = ()
        self._answers: list[BuildAnswer] = []
        self._now_s = 0.0
        self._is_working = is_working
        self._back_off = BackOff(BACK_OFF_S)

    @property
    def pending(self) -> bool:
        """Whether a set is being built or has to be."""
        return self.busy or self._is_stale() or bool(self._requested or self._answers)

    @property
    def busy(self) -> bool:
        """Whether a set is being built."""
        return self._build is not None

    @property
    def answers(self) -> tuple[BuildAnswer, ...]:
        """Answers to requests that were not delivered yet, the oldest first."""
        return tuple(self._answers)

    def request(self, names: Collection[str]) -> None:
        """Build a set for these requests: all that are waiting now.

        A request that is missing here was withdrawn, or answered.
        """
        answered = {answer.name for answer in self._answers}
        self._requested = tuple(name for name in names if name not in answered)

    def delivered(self, answer: BuildAnswer) -> None:
        """Forget an answer that reached the one who asked."""
        self._answers.remove(answer)

    def tick(self, now: Now) -> None:
        """Begin a build that is due, or continue one."""
        self._now_s = now.wall_s
        if self._build is None and not self._begin(now):
            return
        try:
            done = self._build.advance() if self._build else None
        except StoreError:
            self._build = None
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, PortraitdError) else repr(error)
            self._build = None
            self._back_off.start(now)
            log.error("dataset_failed", reason=reason)
            self._answer(None, reason)
            return
        if done is not None:
            self._finish(done)

    def release(self) -> None:
        """Forget a build that is out; the next start begins it again."""
        self._build = None

    def _begin(self, now: Now) -> bool:
        asked = self._requested
        waits = self._is_working() or not self._back_off.ready(now)
        if not asked and (waits or not self._is_stale()):
            return False
        self._asked = asked
        self._build = DatasetBuild(
            self._paths, self._rule, self._keeps_frames, self._executor, self._wake, self._register
        )
        return True

    def _finish(self, done: DatasetSummary) -> None:
        self._build = None
        note = read_note(self._paths.dataset_dir)
        self._made_from = note.fingerprint if note else ""
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

    def _answer(self, done: DatasetSummary | None, blocked: str) -> None:
        """Tell those who asked before the build began; who asked later waits for the next."""
        text = blocked if done is None else json.dumps(done._asdict())
        self._answers += [BuildAnswer(name, text, done is not None) for name in self._asked]
        self._requested = tuple(name for name in self._requested if name not in self._asked)
        if self._asked:
            self._wake()
        self._asked = ()

    def _is_stale(self) -> bool:
        if not self._is_auto:
            return False
        fingerprint = self._store.fingerprint()
        # Where there is neither a set nor anybody to be in it, nothing is made.
        nobody = not self._made_from and not self._store.persons(self._rule.people == "named")
        return not nobody and self._made_from != set_fingerprint(fingerprint, self._rule)

    def _register(self, registration: ClassRegistration) -> None:
        self._store.register(registration, self._now_s)
