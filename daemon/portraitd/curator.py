"""When the training set is out of date, and bringing it up to date."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Executor

from portraitd import logs
from portraitd.dataset.assembly import Assembled
from portraitd.dataset.building import Build, Place
from portraitd.dataset.folder import read_note
from portraitd.dataset.truth import DatasetRule, marked
from portraitd.errors import PortraitdError, StoreError
from portraitd.requests import Requests
from portraitd.store.dataset import DatasetStore, Enrolment

log = logs.get("dataset")

BACK_OFF_S = 60.0

REQUEST = "dataset"
"""What a command asks for."""


class Curator:
    """Builds the training set after each census, or when somebody asks for it.

    Args:
        store: What sets are made from.
        place: Where the home keeps it, and the set.
        requests: Where somebody may ask for a set.
        rule: What a set holds.
        executor: Where the work happens.
        ring: Called, from any thread, when a step has come back.
        is_auto: Whether to build unasked.
        keeps_frames: Whether frames are kept while videos are processed.
    """

    def __init__(
        self,
        store: DatasetStore,
        place: Place,
        requests: Requests,
        rule: DatasetRule,
        executor: Executor,
        ring: Callable[[], None],
        is_auto: bool,
        keeps_frames: bool,
    ) -> None:
        self._store = store
        self._place = place
        self._requests = requests
        self._rule = rule
        self._executor = executor
        self._ring = ring
        self._is_auto = is_auto
        self._keeps_frames = keeps_frames
        note = read_note(place.dataset_dir) if is_auto else None
        self._made_from = note.fingerprint if note else ""
        self._build: Build | None = None
        self._asked: list[str] = []
        self._now_s = 0.0
        self._not_before_s = 0.0

    @property
    def pending(self) -> bool:
        """Whether a set is being built or has to be."""
        return self.busy or self._is_stale() or bool(self._waiting())

    @property
    def busy(self) -> bool:
        """Whether a set is being built."""
        return self._build is not None

    def refresh(self, now_s: float, working: bool) -> None:
        """Begin a build that is due, or go on with one.

        Args:
            now_s: The time.
            working: Whether the people are about to change: then a set is not worth it yet.
        """
        self._now_s = now_s
        if self._build is None and not self._begin(now_s, working):
            return
        try:
            done = self._build.advance() if self._build else None
        except StoreError:
            self._build = None
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, PortraitdError) else repr(error)
            self._build = None
            self._not_before_s = now_s + BACK_OFF_S
            log.error("dataset_failed", reason=reason)
            self._answer(None, reason)
            return
        if done is not None:
            self._finish(done)

    def park(self) -> None:
        """Forget a build that is out; the next start begins it again."""
        self._build = None

    def _begin(self, now_s: float, working: bool) -> bool:
        asked = self._waiting()
        # A clock that was set back must not make a short pause a long one.
        pauses = 0 < self._not_before_s - now_s <= BACK_OFF_S
        if not asked and (working or pauses or not self._is_stale()):
            return False
        self._asked = asked
        self._build = Build(
            self._place, self._rule, self._keeps_frames, self._executor, self._ring, self._enrol
        )
        return True

    def _finish(self, done: Assembled) -> None:
        self._build = None
        note = read_note(self._place.dataset_dir)
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

    def _answer(self, done: Assembled | None, trouble: str) -> None:
        """Tell those who asked before the build began; who asked later waits for the next."""
        text = trouble if done is None else json.dumps(done._asdict())
        for name in self._asked:
            self._requests.answer(name, text, granted=done is not None)
        self._asked = []

    def _waiting(self) -> list[str]:
        return [name for name, one in self._requests.waiting().items() if one.what == REQUEST]

    def _is_stale(self) -> bool:
        if not self._is_auto:
            return False
        fingerprint = self._store.fingerprint()
        # Where there is neither a set nor anybody to be in it, nothing is made.
        nobody = not self._made_from and not self._store.persons(self._rule.people == "named")
        return not nobody and self._made_from != marked(fingerprint, self._rule)

    def _enrol(self, enrolment: Enrolment) -> None:
        self._store.enrol(enrolment, self._now_s)
