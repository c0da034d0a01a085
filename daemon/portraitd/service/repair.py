"""``portraitd check --repair``: find faults of a home, and repair those that can be.

A repair never touches edits, and never loses a row or a picture.
"""

from __future__ import annotations

import os
import shlex
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from portraitd.config import Settings
from portraitd.model.errors import PublishError, StoreError
from portraitd.model.stage import Now
from portraitd.model.wording import counted
from portraitd.people.tree.audit import audit_tree
from portraitd.service.daemon import open_service
from portraitd.service.health import lock_holder
from portraitd.service.people_lease import hold_people_tree
from portraitd.service.wakeup import Doorbell
from portraitd.store.database import Database, StoreLock
from portraitd.store.erasure.derived_files import LEFTOVERS
from portraitd.store.maintenance.integrity import IntegrityCheck
from portraitd.store.publications import Publications
from portraitd.store.state_owner import find_owner


class FaultKind(StrEnum):
    """What is at fault."""

    MODES = "modes"
    OWNER = "owner"
    DATABASE = "database"
    SCHEMA = "schema"
    CLAIMED = "claimed"
    TRACKS = "tracks"
    PORTRAITS = "portraits"
    TRACK_MATRIX = "tracks.f32"
    GROUPING_SNAPSHOT = "grouping snapshot"
    LEFTOVER = "leftover"
    PEOPLE = "people"
    MANIFEST = "manifest"
    MONTAGE = "montage"


NEED_PUBLISHING = frozenset(
    {FaultKind.PEOPLE, FaultKind.MONTAGE, FaultKind.MANIFEST, FaultKind.TRACKS}
)
"""Faults whose repair ends with bringing the people tree up to date."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a home.

    Attributes:
        what: What is at fault.
        detail: Details; and what to do, if there is no repair.
        repair: Repairs it; None if only a person can.
    """

    what: FaultKind
    detail: str
    repair: Callable[[], None] | None = None


def faults(settings: Settings) -> list[Fault]:
    """Return the faults of a home.

    Raises:
        StoreError: There is no database, or it cannot be opened; the message says what to do.
    """
    found = [*_modes(settings.state_dir), *_owners(settings.state_dir)]
    with Database.open_to_read(settings.state_dir) as database:
        found += _of_store(IntegrityCheck(database), settings)
        if not any(fault.what is FaultKind.DATABASE and fault.repair is None for fault in found):
            found += _of_tree(database, settings)
    if not lock_holder(settings.state_dir):
        found += _leftovers(settings.state_dir, grouping_snapshot(settings))
    return found


def grouping_snapshot(settings: Settings) -> str:
    """Return the file that the next grouping continues from; empty if it is unknown."""
    try:
        with Database.open_to_read(settings.state_dir) as database:
            return IntegrityCheck(database).snapshot()
    except StoreError:
        return ""


def repair(settings: Settings, found: list[Fault]) -> list[str]:
    """Repair what can be repaired. Return one line for each repair.

    Raises:
        AlreadyRunning: A service works on this home.
        StoreError: Something cannot be written.
        PublishError: The people tree is unavailable, or another portraitd works on it.
    """
    done = []
    with ExitStack() as stack:
        stack.enter_context(StoreLock(settings.state_dir))
        store = ""
        # The tree of a damaged database is not touched.
        with suppress(StoreError), Database.open_to_read(settings.state_dir) as database:
            store = database.name
        if store:
            stack.enter_context(hold_people_tree(settings, store))
        for fault in found:
            if fault.repair is not None:
                try:
                    fault.repair()
                except OSError as error:
                    raise StoreError(f"{error.filename}: {error.strerror}") from error
                done.append(f"{fault.what}: {fault.detail}")
    if any(fault.what in NEED_PUBLISHING for fault in found):
        _publish(settings)
    return done


def _modes(state_dir: Path) -> Iterator[Fault]:
    """Only the user of the service may read faces."""
    for path in [state_dir, *sorted(state_dir.glob("*"))]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink() or not mode & 0o077 or path.name == "models":
            continue
        wanted = mode & 0o700
        yield Fault(
            FaultKind.MODES,
            f"other users can read {path} ({mode:04o})",
            lambda path=path, wanted=wanted: path.chmod(wanted),  # type: ignore[misc]
        )


def _owners(state_dir: Path) -> Iterator[Fault]:
    """Files that an earlier version left as root's; only root can give them away."""
    user, group = find_owner(state_dir)
    paths = [path for path in sorted(state_dir.rglob("*")) if path.lstat().st_uid != user]
    if paths:
        files = counted(len(paths), "file")
        yield Fault(
            FaultKind.OWNER,
            f"{files} belong to another user, such as {paths[0]}; run "
            f"`chown -R {user}:{group} {shlex.quote(str(state_dir))}` as root",
        )


def _of_store(check: IntegrityCheck, settings: Settings) -> Iterator[Fault]:
    state_dir = settings.state_dir

    def writing(act: Callable[[IntegrityCheck], None]) -> Callable[[], None]:
        def carry_out() -> None:
            with Database.open(state_dir) as database:
                act(IntegrityCheck(database))

        return carry_out

    problems, only_indexes = check.damage()
    if problems:
        cure = writing(IntegrityCheck.rebuild_indexes) if only_indexes else None
        advice = "" if cure else "; stop the service and `portraitd restore` your last backup"
        yield Fault(FaultKind.DATABASE, "; ".join(problems[:3]) + advice, cure)
        if cure is None:
            return
    for name, statement in check.missing().items():
        yield Fault(
            FaultKind.SCHEMA,
            f"{name} is missing",
            writing(lambda store, statement=statement: store.create(statement)),  # type: ignore[misc]
        )
    if not lock_holder(state_dir) and (count := check.claimed()):
        # The next start queues them again; there is nothing to repair.
        yield Fault(
            FaultKind.CLAIMED, f"{counted(count, 'row')} marked as being processed", _nothing
        )
    if videos := check.without_tracks():
        yield Fault(
            FaultKind.TRACKS,
            f"{counted(len(videos), 'video')} with faces that have no track",
            writing(lambda store: store.queue_tracking(videos)),
        )
    for video in check.without_portrait():
        yield Fault(
            FaultKind.PORTRAITS,
            f"faces of video {video} have no portrait; erase it with `portraitd forget video`",
        )
    matrix = state_dir / "tracks.f32"
    if problem := check.matrix_problem(matrix):
        yield Fault(FaultKind.TRACK_MATRIX, problem, lambda: matrix.unlink(missing_ok=True))
    snapshot = check.snapshot()
    if snapshot and not _is_whole(state_dir / snapshot):
        forget = writing(IntegrityCheck.drop_snapshot)

        def regroup() -> None:
            forget()
            (state_dir / snapshot).unlink(missing_ok=True)

        yield Fault(FaultKind.GROUPING_SNAPSHOT, f"{snapshot} cannot be read", regroup)


def _nothing() -> None:
    pass


def _is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, RuntimeError, ValueError, EOFError):
        return False


def _leftovers(state_dir: Path, snapshot: str) -> Iterator[Fault]:
    """Files of a process that was killed."""
    paths = [path for pattern in LEFTOVERS for path in sorted(state_dir.glob(pattern))]
    paths += sorted(state_dir.glob("requests/.*"))
    for path in paths:
        if path.name != snapshot:
            yield Fault(FaultKind.LEFTOVER, os.fspath(path), lambda path=path: path.unlink())  # type: ignore[misc]


def _of_tree(database: Database, settings: Settings) -> Iterator[Fault]:
    def publish_again() -> None:
        with Database.open(settings.state_dir) as store:
            IntegrityCheck(store).publish_again()

    if not Publications(database).last().grouping_run_id:
        return
    try:
        seen = audit_tree(settings.people_dir, database.name)
    except PublishError as error:
        yield Fault(FaultKind.PEOPLE, str(error))
        return
    for what, lines in (
        (FaultKind.MANIFEST, seen.without_manifest),
        (FaultKind.PEOPLE, seen.emptied),
        (FaultKind.PEOPLE, seen.unreadable),
        (FaultKind.PEOPLE, seen.unfinished),
        (FaultKind.MONTAGE, seen.without_montage),
    ):
        for line in lines:
            yield Fault(what, line, publish_again)


def _publish(settings: Settings) -> None:
    """Run the service until the people tree is up to date."""
    doorbell = Doorbell()
    with open_service(settings, doorbell) as service:
        service.admission.leave_inbox()
        # At least one tick: a repair asks for a grouping in its rows.
        service.tick(Now.read())
        while service.updates_tree:
            if service.blocked:
                raise PublishError(service.blocked)
            doorbell.wait(0.5)
            service.tick(Now.read())
