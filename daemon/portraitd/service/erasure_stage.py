"""Forgetting at somebody's word, or when the time to keep is over, until nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

import structlog

from portraitd.config import Settings
from portraitd.datasets.set_erasure import build_lock, erase_sets
from portraitd.media.xmp import Mark
from portraitd.model.errors import ConfigError
from portraitd.model.stage import Now, Stage
from portraitd.people.tree.tree_erasure import Erased, ErasureTarget, erase_portraits
from portraitd.store.erasure.derived_files import destroy_copies
from portraitd.store.erasure.eraser import Eraser, ErasureScope, PendingErasure

log = structlog.get_logger(stage="erasure")

DAY_S = 86_400.0

REQUEST = "forget"
"""What a command asks for, with two words: what kind, and which."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where faces may lie besides the database.

    Attributes:
        state: Copies that grouping_runs and training sets keep.
        people: The tree people look at.
        dataset: Training sets, where there are any.
    """

    state: Path
    people: Path
    dataset: Path

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those of a home."""
        return cls(settings.state_dir, settings.people_dir, settings.dataset_dir)


class ErasureStage(Stage):
    """Does what was asked, and what retention asks once a day.

    Each forgetting is one transaction; what it must still reach outside of the database stands
    in a row until it is done, so a crash, a busy journal or a share that is away only delay it.

    Args:
        forgetting: The rows.
        places: Everything else.
        keep_days: Videos taken up longer ago are forgotten; 0 for never.
        hinders: Whether somebody holds faces just now and will write them down later: a worker
            that groups, or cuts a training set. Then all waits.
        on_forgotten: Called when rows have gone, so that nobody goes on with what they hold.
    """

    def __init__(
        self,
        eraser: Eraser,
        places: Places,
        keep_days: float,
        hinders: Callable[[], bool] = lambda: False,
        on_forgotten: Callable[[], None] = lambda: None,
    ) -> None:
        self._forgetting = eraser
        self._places = places
        self._keep_days = keep_days
        self._hinders = hinders
        self._on_forgotten = on_forgotten
        self._looked_s = float("-inf")

    @property
    def pending(self) -> bool:
        """Whether something has not reached everything yet."""
        return self._forgetting.pending

    @property
    def is_free(self) -> bool:
        """Whether something can be forgotten now."""
        return not self._hinders()

    def answer(self, kind: str, word: str, now_s: float) -> str:
        """Forget what somebody asks for. Returns what to tell them.

        Raises:
            ConfigError: Nothing is called like that, or it is no day.
        """
        scope = find(self._forgetting, kind, word)
        self.forget(scope, now_s)
        return said(scope)

    def tick(self, now: Now) -> None:
        """Forget what is too old, and finish what was begun.

        Raises:
            StoreError: The journal is in use, or a copy cannot be removed.
            PublishError: The people tree is away; the rest is forgotten already.
        """
        if not self.is_free:
            return
        now_s = now.wall_s
        # A clock that was set back must not put a day's look off for ever.
        if self._keep_days and not 0 <= now_s - self._looked_s < DAY_S:
            self._looked_s = now_s
            self.forget(self._forgetting.before(now_s - self._keep_days * DAY_S), now_s)
        self.finish(now_s)

    def forget(self, scope: ErasureScope, now_s: float) -> None:
        """Take it out of the database; ``finish`` does the rest."""
        if not scope:
            return
        number = self._forgetting.erase(scope, now_s)
        self._on_forgotten()
        log.info(
            "forgotten",
            number=number,
            what=scope.what,
            faces=len(scope.face_ids),
            videos=len(scope.video_ids),
            people=len(scope.person_ids),
        )

    def finish(self, now_s: float) -> list[Erased]:
        """Remove what is left outside of the rows, of every forgetting that is not finished.

        Raises:
            StoreError: The journal is in use, a copy cannot be removed, or somebody builds a
                training set.
            PublishError: The people tree or the training set is away or in use.
        """
        done = []
        for erasure in self._forgetting.pending_erasures():
            self._forgetting.truncate_journal()
            with build_lock(self._places.state):
                # The store that a restore put aside had forgotten it already.
                copies = destroy_copies(self._places.state, erasure.what != "restored")
                sets = erase_sets(self._places.state, self._places.dataset, erasure.stems)
            erased = erase_portraits(self._places.people, self._wanted(erasure))
            self._forgetting.finish(erasure.id, now_s)
            log.info(
                "forgetting_finished",
                number=erasure.id,
                files=erased.removed + sets,
                copies=copies,
            )
            done.append(erased)
        if done:
            # The notes of what was to be removed are gone from the journal too.
            self._forgetting.truncate_journal()
        return done

    def _wanted(self, erasure: PendingErasure) -> ErasureTarget:
        def is_forgotten(mark: Mark) -> bool:
            if mark.store == self._forgetting.store and mark.face_id in erasure.endings:
                return True
            # Somebody else's portrait may lie near by; one that the store has is in nobody's way.
            if mark.store == self._forgetting.store and self._forgetting.has_face(mark.face_id):
                return False
            return self._forgetting.is_erased(mark.sha256, mark.t_s, mark.box)

        return ErasureTarget(
            erasure.endings.keys(), frozenset(erasure.endings.values()), is_forgotten
        )


def find(eraser: Eraser, kind: str, word: str) -> ErasureScope:
    """What ``forget KIND WORD`` means.

    Raises:
        ConfigError: Nothing is called like that, or it is no day.
    """
    if kind == "person":
        return eraser.person(word)
    if kind == "video":
        return eraser.video(word)
    if kind == "before":
        return eraser.before(moment(word))
    raise ConfigError(f"forget {kind}: write person, video or before")


def moment(word: str) -> float:
    """The beginning of a day, or a moment, in seconds since 1970; local time if none is named.

    Raises:
        ConfigError: It is neither.
    """
    try:
        return datetime.fromisoformat(word).timestamp()
    except ValueError as error:
        raise ConfigError(f"{word!r} is no date; write 2026-03-31") from error


def said(scope: ErasureScope) -> str:
    """One line for whoever asked."""
    faces, videos = len(scope.face_ids), len(scope.video_ids)
    parts = [f"{videos} videos", f"{faces} faces"] if videos else [f"{faces} faces"]
    return f"{' and '.join(parts)} forgotten"
