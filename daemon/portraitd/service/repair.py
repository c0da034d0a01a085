"""``portraitd check --repair``: what is wrong with a home, and setting right what can be.

Nothing a person did is touched, and nothing is repaired that could lose a row or a picture.
"""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from portraitd.config import Settings
from portraitd.model.errors import PublishError, StoreError
from portraitd.model.stage import Now
from portraitd.people.tree.audit import survey_tree
from portraitd.service.daemon import open_service
from portraitd.service.health import lock_holder
from portraitd.service.wakeup import Doorbell
from portraitd.store.database import Database, StoreLock
from portraitd.store.erasure.derived_files import LEFTOVERS
from portraitd.store.maintenance.integrity import IntegrityCheck
from portraitd.store.publications import Publications


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it should be.

    Attributes:
        what: Short.
        detail: What exactly; and what helps, where there is no repair.
        repair: Sets it right; None where only a person can.
    """

    what: str
    detail: str
    repair: Callable[[], None] | None = None


def faults(settings: Settings) -> list[Fault]:
    """Look through a home that is not worked on.

    Raises:
        StoreError: There is no store, or it cannot be opened; the message says what helps.
    """
    found = [*_modes(settings.state_dir)]
    database = Database.open_to_read(settings.state_dir)
    with closing(database):
        found += _of_store(IntegrityCheck(database), settings)
        if not any(fault.what == "database" and fault.repair is None for fault in found):
            found += _of_tree(database, settings)
    if not lock_holder(settings.state_dir / "lock"):
        found += _leftovers(settings.state_dir, found_memory(settings))
    return found


def found_memory(settings: Settings) -> str:
    """The file that the next grouping goes on from; empty where the store cannot tell."""
    try:
        with closing(Database.open_to_read(settings.state_dir)) as database:
            return IntegrityCheck(database).snapshot()
    except StoreError:
        return ""


def repair(settings: Settings, wrong: list[Fault]) -> list[str]:
    """Set right what can be. Returns what was repaired, a line each.

    Raises:
        AlreadyRunning: A service works on this home.
        StoreError: Something cannot be written.
        PublishError: The people tree is away.
    """
    done = []
    with StoreLock(settings.state_dir):
        for fault in wrong:
            if fault.repair is not None:
                try:
                    fault.repair()
                except OSError as error:
                    raise StoreError(f"{error.filename}: {error.strerror}") from error
                done.append(f"{fault.what}: {fault.detail}")
    if any(fault.what in ("people", "montage", "note", "tracks") for fault in wrong):
        _publish(settings)
    return done


def _modes(state_dir: Path) -> Iterator[Fault]:
    """Faces are for the service's user alone."""
    for path in [state_dir, *sorted(state_dir.glob("*"))]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink() or not mode & 0o077 or path.name == "models":
            continue
        wanted = mode & 0o700
        yield Fault(
            "modes",
            f"{path} can be read by others ({mode:04o})",
            lambda path=path, wanted=wanted: path.chmod(wanted),  # type: ignore[misc]
        )


def _of_store(soundness: IntegrityCheck, settings: Settings) -> Iterator[Fault]:
    state_dir = settings.state_dir

    def writing(act: Callable[[IntegrityCheck], None]) -> Callable[[], None]:
        def carry_out() -> None:
            with closing(Database.open(state_dir)) as database:
                act(IntegrityCheck(database))

        return carry_out

    problems, only_indexes = soundness.damage()
    if problems:
        cure = writing(IntegrityCheck.rebuild_indexes) if only_indexes else None
        advice = "" if cure else "; stop the service and `portraitd restore` your last backup"
        yield Fault("database", "; ".join(problems[:3]) + advice, cure)
        if cure is None:
            return
    for name, statement in soundness.missing().items():
        yield Fault(
            "schema",
            f"{name} is missing",
            writing(lambda store, statement=statement: store.make(statement)),  # type: ignore[misc]
        )
    if not lock_holder(state_dir / "lock") and (count := soundness.claimed()):
        # The next start queues them again; nothing has to be done.
        yield Fault("claimed", f"{count} rows count as being worked on", _nothing)
    if videos := soundness.without_tracks():
        yield Fault(
            "tracks",
            f"{len(videos)} videos have faces without a track",
            writing(lambda store: store.track_again(videos)),
        )
    for video in soundness.without_portrait():
        yield Fault("portraits", f"faces of video {video} have no picture; forget the video")
    matrix = state_dir / "tracks.f32"
    if problem := soundness.matrix_problem(matrix):
        yield Fault("tracks.f32", problem, lambda: matrix.unlink(missing_ok=True))
    snapshot = soundness.snapshot()
    if snapshot and not _is_whole(state_dir / snapshot):
        forget = writing(IntegrityCheck.forget_memory)

        def begin_anew() -> None:
            forget()
            (state_dir / snapshot).unlink(missing_ok=True)

        yield Fault("memory", f"{snapshot} cannot be read", begin_anew)


def _nothing() -> None:
    pass


def _is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, RuntimeError, ValueError, EOFError):
        return False


def _leftovers(state_dir: Path, snapshot: str) -> Iterator[Fault]:
    """What a process left that ended in the middle of something."""
    paths = [path for pattern in LEFTOVERS for path in sorted(state_dir.glob(pattern))]
    paths += sorted(state_dir.glob("requests/.*"))
    for path in paths:
        if path.name != snapshot:
            yield Fault("leftover", os.fspath(path), lambda path=path: path.unlink())  # type: ignore[misc]


def _of_tree(database: Database, settings: Settings) -> Iterator[Fault]:
    def again() -> None:
        with closing(Database.open(settings.state_dir)) as store:
            IntegrityCheck(store).show_again()

    if not Publications(database).last().grouping_run_id:
        return
    try:
        seen = survey_tree(settings.people_dir, database.name)
    except PublishError as error:
        yield Fault("people", str(error))
        return
    for what, lines in (
        ("note", seen.without_note),
        ("people", seen.emptied),
        ("people", seen.unfinished),
        ("montage", seen.without_montage),
    ):
        for line in lines:
            yield Fault(what, line, again)


def _publish(settings: Settings) -> None:
    """Let the service bring the tree up to date, and end."""
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
