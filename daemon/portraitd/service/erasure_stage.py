"""Erases people and videos on request, and videos that are older than ``privacy.keep_days``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from portraitd.config import Settings
from portraitd.datasets.set_erasure import erase_sets, lock_builds
from portraitd.media.xmp import Mark
from portraitd.model.errors import ConfigError, FoldersUnavailable
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.model.wording import counted
from portraitd.people.publisher import describe_faulty
from portraitd.people.tree.tree_erasure import Erased, ErasureTarget, erase_portraits
from portraitd.store.erasure.derived_files import destroy_copies
from portraitd.store.erasure.eraser import Eraser, ErasureScope, PendingErasure

log = structlog.get_logger(stage="erasure")

DAY_S = 86_400.0

PAUSE_S = 60.0
"""How often folders that could not be erased are tried again."""

REQUEST = "forget"
"""The control request, with two arguments: kind and name."""


class ErasureStage(Stage):
    """Erases on request, and once a day what is kept for too long.

    The database is erased in one transaction. What remains outside of it is recorded there until
    it is erased too, so a crash, a journal in use or a share that is not mounted only delays it.

    Args:
        eraser: Erases in the database.
        settings: The folders that contain faces, and how long videos are kept.
        holds_faces: Returns whether a job that is out will write faces down later: a grouping, or
            a training set. Then erasure waits.
        on_erased: Called when faces are erased, so that jobs that are out are discarded.
    """

    def __init__(
        self,
        eraser: Eraser,
        settings: Settings,
        holds_faces: Callable[[], bool] = lambda: False,
        on_erased: Callable[[], None] = lambda: None,
    ) -> None:
        self._eraser = eraser
        self._settings = settings
        self._holds_faces = holds_faces
        self._on_erased = on_erased
        self._retained_s = float("-inf")
        self._unavailable = ""
        self._pause = BackOff(PAUSE_S)

    @property
    def pending(self) -> bool:
        """Return whether an erasure is not finished."""
        return self._eraser.pending

    @property
    def is_free(self) -> bool:
        """Return whether faces can be erased now."""
        return not self._holds_faces()

    def answer(self, kind: str, name: str, now_s: float) -> str:
        """Erase what a command asks for. Return the answer.

        Raises:
            ConfigError: There is no such person or video, or it is not a date.
        """
        scope = find(self._eraser, kind, name)
        self.erase(scope, now_s)
        return describe(scope)

    def tick(self, now: Now) -> None:
        """Erase what is too old, and finish earlier erasures.

        Raises:
            StoreError: The journal is in use, or a copy cannot be removed.
            PublishError: The people tree is unavailable; everything else is erased already.
        """
        if not self.is_free:
            return
        keep_days = self._settings.privacy.keep_days
        if keep_days and now.steady_s - self._retained_s >= DAY_S:
            self._retained_s = now.steady_s
            self.erase(self._eraser.before(now.wall_s - keep_days * DAY_S), now.wall_s)
        # Folders that cannot be erased are not searched again at every tick.
        if not self._pause.ready(now):
            raise FoldersUnavailable(self._unavailable)
        try:
            self.finish(now.wall_s)
        except FoldersUnavailable as error:
            self._pause.start(now)
            self._unavailable = str(error)
            raise

    def erase(self, scope: ErasureScope, now_s: float) -> None:
        """Erase in the database; ``finish`` does the rest."""
        if not scope:
            return
        number = self._eraser.erase(scope, now_s)
        self._on_erased()
        log.info(
            "erased",
            number=number,
            what=scope.what,
            faces=len(scope.face_ids),
            videos=len(scope.video_ids),
            people=len(scope.person_ids),
        )

    def finish(self, now_s: float) -> list[Erased]:
        """Erase outside of the database what pending erasures have not reached yet.

        Raises:
            StoreError: The journal is in use, a copy cannot be removed, or a training set is
                being built.
            PublishError: The people tree or the training set is unavailable or in use.
            FoldersUnavailable: Some folders of the tree are; everything else is erased.
        """
        state_dir, done = self._settings.state_dir, []
        unavailable: dict[str, str] = {}
        for erasure in self._eraser.pending_erasures():
            self._eraser.truncate_journal()
            with lock_builds(state_dir):
                # The database that a restore set aside had been erased already.
                copies = destroy_copies(state_dir, erasure.what != "restored")
                files = erase_sets(state_dir, self._settings.dataset_dir, erasure.stems)
            erased = erase_portraits(self._settings.people_dir, self._target(erasure))
            if erased.unavailable:
                # Other erasures do not wait for it.
                unavailable |= erased.unavailable
                continue
            self._eraser.finish(erasure.id, now_s)
            log.info(
                "erasure_finished",
                number=erasure.id,
                files=erased.removed + files,
                copies=copies,
            )
            done.append(erased)
        if done:
            # The journal contains the records of what was to be erased.
            self._eraser.truncate_journal()
        if unavailable:
            reason = describe_faulty(self._settings.people_dir, unavailable)
            raise FoldersUnavailable(f"an erasure is not finished: {reason}")
        return done

    def _target(self, erasure: PendingErasure) -> ErasureTarget:
        def is_erased(mark: Mark) -> bool:
            if mark.store == self._eraser.store and mark.face_id in erasure.endings:
                return True
            # Of another person, close to an erased face: a face that is stored is never erased.
            if mark.store == self._eraser.store and self._eraser.has_face(mark.face_id):
                return False
            return self._eraser.is_erased(mark.sha256, mark.t_s, mark.box)

        return ErasureTarget(erasure.endings.keys(), frozenset(erasure.endings.values()), is_erased)


def find(eraser: Eraser, kind: str, name: str) -> ErasureScope:
    """Return what ``forget KIND NAME`` erases.

    Raises:
        ConfigError: There is no such person or video, or it is not a date.
    """
    if kind == "person":
        return eraser.person(name)
    if kind == "video":
        return eraser.video(name)
    if kind == "before":
        return eraser.before(parse_date(name))
    raise ConfigError(f"forget {kind}: write person, video or before")


def parse_date(text: str) -> float:
    """Return the start of a day, or a time, in seconds since 1970; local time by default.

    Raises:
        ConfigError: It is neither.
    """
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise ConfigError(f"{text!r} is not a date; write 2026-03-31") from error


def describe(scope: ErasureScope) -> str:
    """Return one line about what was erased."""
    faces = counted(len(scope.face_ids), "face")
    if not scope.video_ids:
        return f"{faces} erased"
    return f"{counted(len(scope.video_ids), 'video')} and {faces} erased"
