"""Erases people and videos on request, and videos that are older than ``privacy.keep_days``."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import structlog

from portraitd.config import Settings
from portraitd.datasets.set_erasure import SetErasure, erase_sets, lock_builds
from portraitd.media.xmp import Mark
from portraitd.model.errors import ConfigError, FoldersUnavailable, PublishError, StoreError
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.model.wording import counted
from portraitd.people.publisher import describe_faulty
from portraitd.people.sidecars.sidecar_erasure import SidecarErasure, erase_from_sidecars
from portraitd.people.tree.manifest import PERSON_MANIFEST
from portraitd.people.tree.tree_erasure import Erased, ErasureTarget, erase_portraits
from portraitd.service.clock_check import ClockCheck, is_synchronised
from portraitd.service.control_files import ControlFiles
from portraitd.store.blocked_stages import BlockedStages
from portraitd.store.erasure.derived_files import destroy_copies
from portraitd.store.erasure.eraser import RETENTION, Eraser, ErasureScope, PendingErasure
from portraitd.store.files import display_path

log = structlog.get_logger(stage="erasure")

DAY_S = 86_400.0

LOOK_AGAIN_S = 60.0
"""How often to check again while retention waits for the clock or for the operator."""

STAGE = "retention"
"""The name under which ``status`` shows that retention waits."""

MANY_VIDEOS = 20
MANY_SHARE = 0.2
"""Retention waits for the operator if more than this share of the videos is due, and either this
many are due or the clock has jumped: the clock or the setting may be wrong."""

PAUSE_S = 60.0
"""How often folders that could not be erased are tried again."""

REQUEST = "forget"
"""The control request, with two arguments: kind and name."""


class FinishedErasure(NamedTuple):
    """What an erasure removed outside of the database.

    Attributes:
        portraits: In the people tree.
        sets: In the training set.
        sidecars: Beside the dropped files.
    """

    portraits: Erased
    sets: SetErasure
    sidecars: SidecarErasure


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
        blocked_stages: Where it is recorded that retention waits; None for a command.
        clock_is_synchronised: Returns whether the kernel calls the clock synchronised.
    """

    def __init__(
        self,
        eraser: Eraser,
        settings: Settings,
        holds_faces: Callable[[], bool] = lambda: False,
        on_erased: Callable[[], None] = lambda: None,
        blocked_stages: BlockedStages | None = None,
        clock_is_synchronised: Callable[[], bool] = is_synchronised,
    ) -> None:
        self._eraser = eraser
        self._settings = settings
        self._holds_faces = holds_faces
        self._on_erased = on_erased
        self._retained_s = float("-inf")
        self._blocked_stages = blocked_stages
        self._clock_is_synchronised = clock_is_synchronised
        self._clock = ClockCheck(settings.state_dir, settings.people_dir, eraser.newest_s)
        self._is_accepted = False
        self._waits = NO_REASON
        # The last service may have recorded a reason that has passed.
        self._is_reported = False
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
            StoreError: The database cannot be written.
        """
        scope = find(self._eraser, kind, name)
        self.erase(scope, now_s)
        try:
            done = self.finish(now_s)
        except (PublishError, StoreError) as error:
            return f"{describe(scope)} from the database; the rest is not finished: {error}"
        return "\n".join([describe(scope), *describe_rest(done, scope, self._settings)])

    def tick(self, now: Now) -> None:
        """Erase what is too old, and finish earlier erasures.

        Raises:
            StoreError: The journal is in use, or a copy cannot be removed.
            PublishError: The people tree is unavailable; everything else is erased already.
        """
        if not self.is_free:
            return
        self._has_failed = True
        self._retain(now)
        # Folders that cannot be erased are not searched again at every tick.
        if not self._pause.ready(now):
            raise FoldersUnavailable(self._unavailable)
        try:
            self.finish(now.wall_s)
        except FoldersUnavailable as error:
            self._pause.start(now)
            self._unavailable = str(error)
            raise
        self._has_failed = False

    @property
    def blocked(self) -> Reason:
        """Return why retention waits; ``NO_REASON`` if it does not."""
        return self._waits

    def accept(self) -> bool:
        """Erase at the next tick what is due, whatever the clock is. Return whether that waits."""
        self._is_accepted = bool(self._waits) or self._waited_before()
        return self._is_accepted

    def _waited_before(self) -> bool:
        """Return whether the last service waited, and this one has not looked yet."""
        if self._is_reported or self._blocked_stages is None:
            return False
        return STAGE in self._blocked_stages.all()

    def _retain(self, now: Now) -> None:
        """Erase what is too old: once a day, on a clock that can be trusted."""
        keep_days = self._settings.privacy.keep_days
        if not keep_days:
            self._wait_for(NO_REASON, now)
            return
        agrees = self._clock.agrees(now)
        pause_s = LOOK_AGAIN_S if self._waits or not agrees else DAY_S
        if not self._is_accepted and now.steady_s - self._retained_s < pause_s:
            return
        limit_s = now.wall_s - keep_days * DAY_S
        due = self._eraser.before(limit_s, RETENTION)
        is_trusted = agrees or self._is_accepted or self._clock_is_synchronised()
        reason = NO_REASON if self._is_accepted else self._doubt(due, agrees, is_trusted, now)
        self._wait_for(reason, now)
        if not reason and is_trusted:
            self.erase(due, now.wall_s)
            self._clock.trust(now, limit_s)
        # Only now: what a full disk prevents is tried again at the next tick.
        self._retained_s, self._is_accepted = now.steady_s, False

    def _doubt(self, due: ErasureScope, agrees: bool, is_trusted: bool, now: Now) -> Reason:
        """Return why what is due must wait for the operator; ``NO_REASON`` if it need not."""
        if not due:
            return NO_REASON
        said = datetime.fromtimestamp(now.wall_s, UTC)
        if not is_trusted:
            last = datetime.fromtimestamp(self._clock.last_s, UTC)
            return Reason.of(
                ReasonCode.RETENTION_CLOCK, now=f"{said:%Y-%m-%d}", last=f"{last:%Y-%m-%d}"
            )
        videos, total = len(due.video_ids), self._eraser.count_videos()
        if videos > MANY_SHARE * total and (videos >= MANY_VIDEOS or not agrees):
            return Reason.of(
                ReasonCode.RETENTION_MANY, due=videos, total=total, now=f"{said:%Y-%m-%d}"
            )
        return NO_REASON

    def _wait_for(self, reason: Reason, now: Now) -> None:
        if reason == self._waits and self._is_reported:
            return
        self._is_reported = True
        if reason:
            log.error("retention_waits", reason=reason.text, reason_code=reason.code)
            if self._blocked_stages:
                self._blocked_stages.record(STAGE, reason, now.wall_s)
        elif self._blocked_stages:
            self._blocked_stages.clear(STAGE)
        self._waits = reason

    def erase(self, scope: ErasureScope, now_s: float) -> None:
        """Erase in the database; ``finish`` does the rest."""
        if not scope:
            return
        number = self._eraser.erase(scope, now_s, self._settings.privacy.keep_days)
        self._on_erased()
        log.info(
            "erased",
            number=number,
            what=scope.what,
            faces=len(scope.face_ids),
            videos=len(scope.video_ids),
            people=len(scope.person_ids),
        )

    def finish(self, now_s: float) -> list[FinishedErasure]:
        """Erase outside of the database what pending erasures have not reached yet.

        Raises:
            StoreError: The journal is in use, a copy cannot be removed, or a training set is
                being built.
            PublishError: The people tree or the training set is unavailable or in use.
            FoldersUnavailable: Some folders of the tree, or sidecars, are; everything else is
                erased.
        """
        state_dir, done = self._settings.state_dir, []
        pending, sidecars = self._eraser.pending_erasures(), SidecarErasure()
        if pending:
            sidecars = erase_from_sidecars(self._eraser.database, self._settings.inbox_dir)
        unavailable = dict(sidecars.unavailable)
        for erasure in pending:
            self._eraser.truncate_journal()
            with lock_builds(state_dir):
                # The database that a restore set aside had been erased already.
                copies = destroy_copies(state_dir, erasure.what != "restored")
                sets = erase_sets(
                    state_dir,
                    self._settings.dataset_dir,
                    erasure.stems,
                    self._eraser.erased_classes(),
                )
            erased = erase_portraits(self._settings.people_dir, self._target(erasure))
            if erased.unavailable or sidecars.unavailable:
                # Other erasures do not wait for it.
                unavailable |= erased.unavailable
                continue
            self._eraser.finish(erasure.id, now_s)
            log.info(
                "erasure_finished",
                number=erasure.id,
                files=erased.removed + sets.files + sets.cached,
                copies=copies,
            )
            done.append(FinishedErasure(erased, sets, sidecars))
        if done:
            # Answers to earlier commands may list files of people who are erased by now.
            ControlFiles(self._settings.requests_dir).remove_old_answers(now_s)
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

        return ErasureTarget(
            erasure.endings.keys(),
            frozenset(erasure.endings.values()),
            is_erased,
            self._eraser.erased_people(),
        )


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
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(f"{text!r} is not a date; write 2026-03-31") from error


def describe_rest(
    done: Sequence[FinishedErasure], scope: ErasureScope, settings: Settings
) -> list[str]:
    """Return lines about what was erased outside of the database, and what was not."""
    files = sum(one.portraits.removed for one in done)
    images = sum(one.sets.files for one in done)
    lines = [f"{counted(files, 'file')} removed from {settings.people_dir}"]
    if images:
        lines.append(f"{counted(images, 'file')} removed from {settings.dataset_dir}")
    if any(one.sets.is_incomplete for one in done):
        lines.append(
            "The training set keeps all other pictures; `portraitd dataset build` writes its "
            "lists again."
        )
    kept = {settings.people_dir / path for one in done for path in one.portraits.left}
    kept.update(path for one in done for path in one.sidecars.left)
    if scope.what == "person":
        kept.update(find_named(settings.people_dir, scope.names))
        # A class may be called alike; its folder is portraitd's.
        in_set = find_named(settings.dataset_dir, scope.names)
        kept.update(path for path in in_set if not path.is_dir())
    lines += [
        f"not portraitd's file, so it was kept: {display_path(path)}" for path in sorted(kept)
    ]
    return lines


def find_named(folder: Path, names: Collection[str]) -> Iterator[Path]:
    """Yield files and folders of others whose names contain one of these names, as whole words.

    A folder that portraitd keeps up to date is left out: it is renamed at the next publication.
    """
    given = [name for name in names if not re.fullmatch(r"person \d+", name)]
    wanted = [re.compile(rf"(?<!\w){re.escape(_plain(name))}(?!\w)") for name in given]
    for above, folders, files in os.walk(folder):
        for name in (*folders, *files):
            place = Path(above, name)
            if any(one.search(_plain(name)) for one in wanted) and not os.path.lexists(
                place / PERSON_MANIFEST
            ):
                yield place


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def describe(scope: ErasureScope) -> str:
    """Return one line about what was erased."""
    faces = counted(len(scope.face_ids), "face")
    if not scope.video_ids:
        return f"{faces} erased"
    return f"{counted(len(scope.video_ids), 'video')} and {faces} erased"
