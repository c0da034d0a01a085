"""``portraitd status`` as JSON for scripts and as a table."""

from __future__ import annotations

import json
from dataclasses import asdict, astuple
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from portraitd.cli.model_advice import describe_indistinct, describe_missing
from portraitd.model.suggestion import Suggestion
from portraitd.model.wording import counted, escape_unprintable, join_names
from portraitd.people.pages.edit_words import describe_last_edits, describe_notice
from portraitd.service.health import Health
from portraitd.service.status import Status
from portraitd.store.files import display_path
from portraitd.store.people import GroupingRun
from portraitd.store.remote_workers import RemoteWorker
from portraitd.store.snapshot import FileEntry, Snapshot

if TYPE_CHECKING:
    from rich.console import Console

MAX_SUGGESTIONS = 8
MAX_NAMES = 8


def print_json(status: Status) -> None:
    """Print one JSON object; reasons have a code for programs and a text."""
    snapshot = status.snapshot
    facts: dict[str, Any] = {
        "home": display_path(status.home),
        "config": display_path(status.config) if status.config else None,
        "files": snapshot.files,
        "videos": snapshot.videos,
        "faces": snapshot.faces,
        "people": snapshot.people,
        "known_people": snapshot.known_people,
        "footage_done_s": snapshot.footage.footage_done_s,
        "footage_open_s": snapshot.footage.footage_open_s,
        "footage_per_work_s": snapshot.footage.speed,
        "eta_s": snapshot.eta_s,
        "grouping": asdict(snapshot.grouping) if snapshot.grouping else None,
        "merge_candidates": [astuple(suggestion) for suggestion in snapshot.suggestions],
        "blocked_stages": {
            stage: {"reason_code": reason.code, "reason": reason.text}
            for stage, reason in snapshot.blocked_stages.items()
        },
        "notices": [
            {
                "code": one.code,
                "location": one.location,
                "text": str(describe_notice(one)),
                "at": one.at,
            }
            for one in snapshot.notices
        ],
        "last_edits": _last_edits(snapshot),
        "reprocessing": snapshot.reprocessing,
        "problems": [
            {"path": path, "reason_code": reason.code, "reason": reason.text}
            for path, reason in problems(snapshot)
        ],
        "oldest_open_s": snapshot.oldest_open_s,
        "publication_pending": snapshot.publication_pending,
        "erasure_pending": snapshot.erasure_pending,
        "service": asdict(status.service),
        "healthy": status.healthy,
        "cluster": asdict(snapshot.cluster) if snapshot.cluster else None,
        "workers": [asdict(worker) for worker in snapshot.workers],
        "missing_models": snapshot.missing_models,
        "indistinct_faces": snapshot.grouping.indistinct_faces if snapshot.grouping else 0,
    }
    print(json.dumps(facts, ensure_ascii=False, indent=2))


def print_table(status: Status, console: Console) -> None:
    """Print a table, and below it the blocked stages and the files that wait or failed."""
    from rich.table import Table

    snapshot = status.snapshot
    table = Table(show_header=False, box=None)
    table.add_row("service", _service(status.service))
    table.add_row("files", _by_state(snapshot.files))
    table.add_row("videos", _by_state(snapshot.videos))
    table.add_row("faces", f"{snapshot.faces:,}")
    table.add_row("people", f"{snapshot.people:,}")
    if snapshot.known_people:
        table.add_row("known, not seen yet", join_names(snapshot.known_people, MAX_NAMES))
    if snapshot.footage.speed:
        table.add_row("speed", f"{snapshot.footage.speed:.1f} s of footage per second and worker")
    if snapshot.eta_s != 0:
        left = f"{snapshot.footage.footage_open_s:.0f} s of footage"
        eta = "" if snapshot.eta_s is None else f", about {_duration(snapshot.eta_s)}"
        table.add_row("left", left + eta)
    if snapshot.grouping:
        table.add_row("last grouping", _grouping(snapshot.grouping))
    if snapshot.suggestions:
        table.add_row("may be one", _suggestions(snapshot.suggestions))
    done, total = snapshot.reprocessing
    if total:
        table.add_row("rebuild", f"{done:,} of {counted(total, 'video')} reprocessed")
    if snapshot.cluster:
        reached = "" if snapshot.cluster.reached else ", unreachable"
        table.add_row("scheduler", f"{snapshot.cluster.address}{reached}")
        if snapshot.cluster.dashboard:
            table.add_row("dashboard", snapshot.cluster.dashboard)
    for worker in snapshot.workers:
        table.add_row("worker", describe_worker(worker))
    console.print(table)
    _print_places(status, console)
    _print_problems(snapshot, console)
    indistinct = snapshot.grouping.indistinct_faces if snapshot.grouping else 0
    if line := describe_indistinct(indistinct, snapshot.confused_embedder):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if advice := describe_missing(snapshot.missing_models):
        console.print(advice, markup=False, highlight=False, soft_wrap=True)


def _print_problems(snapshot: Snapshot, console: Console) -> None:
    for stage, reason in snapshot.blocked_stages.items():
        console.print(f"  {stage} is blocked: {reason.text}", style="red", markup=False)
    for notice in snapshot.notices:
        text = escape_unprintable(str(describe_notice(notice)))
        console.print(f"  people/: {text}", markup=False, highlight=False)
    for path, reason in problems(snapshot):
        console.print(f"  {path}: {reason.text}", markup=False, highlight=False)


def _print_places(status: Status, console: Console) -> None:
    """Print which home and which settings this is about, where long paths are not broken."""
    for what, place in (("home", status.home), ("settings", status.config)):
        shown = display_path(place) if place else "defaults"
        console.print(f" {what:<9} {shown}", markup=False, highlight=False, soft_wrap=True)


def _last_edits(snapshot: Snapshot) -> list[dict[str, Any]]:
    return [
        {
            "entry": one.id,
            "kind": one.kind,
            "text": str(text),
            "at": one.at,
            "is_undone": one.is_undone,
        }
        for one, text in describe_last_edits(snapshot.edits)
    ]


def problems(snapshot: Snapshot) -> list[FileEntry]:
    """Return the files that failed, and those that wait for a reason."""
    return [*snapshot.failed, *(entry for entry in snapshot.waiting if entry.reason)]


def describe_worker(worker: RemoteWorker) -> str:
    """Return one line about a remote worker."""
    name = f"{worker.host or 'unknown'} {worker.address}"
    if worker.state != "accepted":
        return f"{name}: {worker.state}" + (f", {worker.reason}" if worker.reason else "")
    speed = worker.footage_s / worker.work_s * worker.processes if worker.work_s else 0.0
    return (
        f"{name}: {worker.processes} at once, {counted(worker.slices_out, 'slice')} out, "
        f"{worker.slices_done:,} done"
        + (f", {speed:.1f} s of footage per second" if speed else "")
        + (", files are sent" if worker.receives_files else "")
    )


def _service(service: Health) -> str:
    running = f"running (process {service.process})" if service.process else "not running"
    if not service.blocked:
        return running
    since = datetime.fromtimestamp(service.blocked_since_s, UTC)
    blocked = f"BLOCKED since {since:%Y-%m-%d %H:%M} UTC: {service.blocked}"
    return blocked if service.process else f"{running}, {blocked}"


def _grouping(run: GroupingRun) -> str:
    facts = [
        counted(run.people, "person", "people"),
        f"{run.unassigned:,} of {counted(run.faces, 'face')} unassigned",
    ]
    if run.churn:
        have = "has" if run.churn == 1 else "have"
        facts.append(f"{counted(run.churn, 'face')} {have} another person than before or none")
    if run.names_lost:
        have = "has" if run.names_lost == 1 else "have"
        lost = counted(run.names_lost, "person", "people")
        facts.append(f"{lost} with a name {have} no face left")
    if run.violations:
        facts.append(f"{counted(run.violations, 'face')} too many of a person in one frame")
    return ", ".join(facts)


def _suggestions(suggestions: list[Suggestion]) -> str:
    pairs = [
        f"{one.lower_id} and {one.higher_id} ({'very likely' if one.is_likely else 'maybe'})"
        for one in suggestions[:MAX_SUGGESTIONS]
    ]
    more = len(suggestions) - len(pairs)
    return ", ".join(pairs) + (f", {more:,} more" if more else "")


def _by_state(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items())) or "none"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
