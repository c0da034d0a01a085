"""``portraitd status``: how things stand, read beside a running service."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from portraitd.config import Settings
from portraitd.model.media_file import FileState
from portraitd.service.health import Health, heard
from portraitd.store.blocked_stages import BlockedStages
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database
from portraitd.store.erasure.eraser import Eraser
from portraitd.store.faces import Faces
from portraitd.store.files import Files, display_path
from portraitd.store.people import GroupingRun, People
from portraitd.store.publications import Publications
from portraitd.store.remote_workers import ClusterState, RemoteWorker, RemoteWorkers
from portraitd.store.reprocess import ReprocessQueue
from portraitd.store.slices import SliceQueue
from portraitd.store.tracks import TrackStore


@dataclass(frozen=True, slots=True)
class Status:
    """How a home stands.

    Attributes:
        files: Files by state.
        videos: Videos and photos by state.
        faces: Faces stored.
        people: People who have a face.
        footage_done_s, footage_open_s: Seconds of footage encoded, and still to do.
        footage_per_work_s: Seconds of footage a worker gets through in a second; 0 if unknown.
        eta_s: Seconds of work left on all workers; 0 if nothing is left, None if unknown.
        grouping: The grouping in force.
        merge_candidates: Pairs of people who may be one, and the distance between them.
        blocked_stages: What stands in the way until somebody acts, by room.
        rebuild: Videos that were looked at again, and how many there are to be.
        problems: Path and reason of files that failed or wait for something.
        oldest_open_s: Age of the oldest file that is not finished; 0 if there is none.
        publication_pending: Whether the people tree does not show the grouping in force, and what
            people said since.
        forgetting_pending: Whether a forgetting has not reached everything.
        service: What a running service says of itself; its process is 0 if none runs.
        healthy: False while something stands in the way.
        cluster: The scheduler of other machines' workers; None if there is none.
        workers: Those workers.
    """

    files: dict[str, int]
    videos: dict[str, int]
    faces: int
    people: int
    footage_done_s: float
    footage_open_s: float
    footage_per_work_s: float
    eta_s: float | None
    grouping: GroupingRun | None
    merge_candidates: list[tuple[int, int, float]]
    troubles: dict[str, str]
    rebuild: tuple[int, int]
    problems: list[tuple[str, str]]
    oldest_open_s: float
    publication_pending: bool
    forgetting_pending: bool
    service: Health
    healthy: bool
    cluster: ClusterState | None = None
    workers: list[RemoteWorker] = field(default_factory=list)


def read_status(settings: Settings) -> Status:
    """Read the store.

    Raises:
        StoreError: Nothing has been processed in this home yet.
    """
    database = Database.open_to_read(settings.state_dir)
    try:
        return status_of(database, settings, time.time())
    finally:
        database.close()


def status_of(database: Database, settings: Settings, now_s: float) -> Status:
    """As ``read_status``, from a store that is open."""
    files, people = Files(database, settings.inbox_dir), People(database)
    slice_queue, remote_workers = SliceQueue(database, files), RemoteWorkers(database)
    footage = slice_queue.progress()
    problems = [
        (display_path(file.path), file.reason)
        for state in (FileState.FAILED, FileState.WAITING)
        for file in files.in_state(state)
        if file.reason
    ]
    grouping_run, service = people.last_grouping_run(), heard(settings.state_dir)
    troubles, shown_now = BlockedStages(database).all(), Publications(database).last()
    in_force = (grouping_run.id if grouping_run else 0, Ledger(database).last_id())
    return Status(
        files=files.counts(),
        videos=slice_queue.counts(),
        faces=Faces(database).count(),
        people=len(people.present()),
        footage_done_s=footage.footage_done_s,
        footage_open_s=footage.footage_open_s,
        footage_per_work_s=footage.speed,
        eta_s=footage.eta_s(remote_workers.at_once(settings.workers.processes)),
        grouping=grouping_run,
        merge_candidates=people.close(),
        troubles=troubles,
        rebuild=ReprocessQueue(database, files, TrackStore(database)).progress(),
        problems=problems,
        oldest_open_s=max(0.0, now_s - oldest_s) if (oldest_s := files.oldest_open_s()) else 0,
        publication_pending=grouping_run is not None and shown_now[:2] != in_force,
        forgetting_pending=Eraser(database).pending,
        service=service,
        healthy=not service.blocked and not troubles,
        cluster=remote_workers.cluster(),
        workers=remote_workers.members(),
    )


def print_json(status: Status) -> None:
    """For scripts."""
    print(json.dumps(asdict(status), ensure_ascii=False, indent=2))


def print_table(status: Status, console: Console) -> None:
    """For people."""
    table = Table(show_header=False, box=None)
    table.add_row("service", _said(status.service))
    table.add_row("files", _counted(status.files))
    table.add_row("videos", _counted(status.videos))
    table.add_row("faces", f"{status.faces:,}")
    table.add_row("people", f"{status.people:,}")
    if status.footage_per_work_s:
        table.add_row("speed", f"{status.footage_per_work_s:.1f} s of footage a second and worker")
    if status.eta_s is None:
        table.add_row("left", f"{status.footage_open_s:.0f} s of footage")
    elif status.eta_s:
        left = f"{status.footage_open_s:.0f} s of footage, about {_spoken(status.eta_s)}"
        table.add_row("left", left)
    if status.grouping:
        grouping_run = status.grouping
        table.add_row(
            "last grouping",
            f"{grouping_run.people} people, {grouping_run.unassigned} of {grouping_run.faces} faces unassigned, "
            f"{grouping_run.churn} changed person, {grouping_run.names_lost} names lost, "
            f"{grouping_run.violations} times one person twice in a frame",
        )
    if status.merge_candidates:
        shown_pairs = [
            f"{one} and {other} ({d:.2f})" for one, other, d in status.merge_candidates[:8]
        ]
        more = len(status.merge_candidates) - len(shown_pairs)
        table.add_row("may be one", ", ".join(shown_pairs) + (f", {more} more" if more > 0 else ""))
    if status.rebuild[1]:
        table.add_row("rebuild", "{} of {} videos looked at again".format(*status.rebuild))
    if status.cluster:
        reached = "" if status.cluster.reached else ", out of reach"
        table.add_row("scheduler", f"{status.cluster.address}{reached}")
        if status.cluster.dashboard:
            table.add_row("dashboard", status.cluster.dashboard)
    for member in status.workers:
        table.add_row("worker", described(member))
    console.print(table)
    for stage, reason in status.troubles.items():
        console.print(f"  {stage} cannot go on: {reason}", style="red", markup=False)
    for path, reason in status.problems:
        console.print(f"  {path}: {reason}", markup=False, highlight=False)


def described(member: RemoteWorker) -> str:
    """A worker of another machine in one line."""
    name = f"{member.host or 'unknown'} {member.address}"
    if member.state != "accepted":
        return f"{name}: {member.state}" + (f", {member.reason}" if member.reason else "")
    speed = member.footage_s / member.work_s * member.processes if member.work_s else 0.0
    return (
        f"{name}: {member.processes} at once, {member.slices_out} slices out, "
        f"{member.slices_done} done"
        + (f", {speed:.1f} s of footage a second" if speed else "")
        + (", files are sent" if member.receives_files else "")
    )


def _said(service: Health) -> str:
    if not service.process:
        return "not running"
    if service.blocked:
        since = datetime.fromtimestamp(service.blocked_since_s, UTC)
        return f"BLOCKED since {since:%Y-%m-%d %H:%M} UTC: {service.blocked}"
    return f"running (process {service.process})"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items())) or "none"


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
