"""Figures for the textfile collector of the Prometheus node exporter.

Names, units and types by its conventions: seconds and bytes, ``_total`` for what only grows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from portraitd import __version__
from portraitd.config import Settings
from portraitd.service import log_setup
from portraitd.service.status import Status
from portraitd.store.database import FILE_NAME

log = structlog.get_logger(stage="metrics")

STATES = ("waiting", "ready", "probing", "encoding", "done", "duplicate", "failed", "gone")

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Metric:
    """One name with its values.

    Attributes:
        name: Whole, with its unit.
        kind: ``gauge`` or ``counter``.
        meaning: One line.
        values: By labels, as they stand between braces; empty for none.
    """

    name: str
    kind: str
    meaning: str
    values: Mapping[str, float]


def label(name: str, value: str) -> str:
    """A label as it stands between braces."""
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'{name}="{escaped}"'


def rendered(metrics: Iterator[Metric]) -> str:
    """In the text format, version 0.0.4."""
    lines = []
    for metric in metrics:
        if not metric.values:
            continue
        lines.append(f"# HELP {metric.name} {metric.meaning}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        for labels, value in metric.values.items():
            braces = f"{{{labels}}}" if labels else ""
            lines.append(f"{metric.name}{braces} {value:.17g}")
    return "\n".join(lines) + "\n"


def of_status(status: Status) -> Iterator[Metric]:
    """What the store tells."""
    files = {state: status.files.get(state, 0) for state in (*STATES, *status.files)}
    yield Metric("portraitd_files", "gauge", "Files by state.", _by("state", files))
    yield Metric("portraitd_videos", "gauge", "Contents by state.", _by("state", status.videos))
    yield _one("portraitd_faces", "Faces stored.", status.faces)
    yield _one("portraitd_people", "People who have a face.", status.people)
    footage = {"done": status.footage_done_s, "open": status.footage_open_s}
    yield Metric("portraitd_footage_seconds", "gauge", "Footage by state.", _by("state", footage))
    yield _one(
        "portraitd_oldest_open_seconds",
        "Age of the oldest file that is not finished; 0 if there is none.",
        status.oldest_open_s,
    )
    grouping_run = status.grouping
    yield _one(
        "portraitd_census_timestamp_seconds",
        "When people were last grouped.",
        grouping_run.finished_at if grouping_run else 0.0,
    )
    yield _one(
        "portraitd_census_duration_seconds",
        "What the last grouping took.",
        grouping_run.seconds if grouping_run else 0.0,
    )
    yield _one(
        "portraitd_faces_unassigned",
        "Faces of nobody.",
        grouping_run.unassigned if grouping_run else 0,
    )
    yield _one(
        "portraitd_publication_pending",
        "1 while the people folders do not show the last grouping.",
        status.publication_pending,
    )
    yield _one(
        "portraitd_forgetting_pending",
        "1 while a forgetting has not reached everything.",
        status.forgetting_pending,
    )


def of_process(settings: Settings, blocked_s: float, now_s: float) -> Iterator[Metric]:
    """What the running service tells of itself and its disks."""
    version = label("version", __version__)
    yield Metric("portraitd_build_info", "gauge", "Which version runs.", {version: 1})
    yield _one("portraitd_turn_timestamp_seconds", "When this was written.", now_s)
    yield _one(
        "portraitd_blocked_seconds",
        "How long something has stood in the way; 0 if nothing does.",
        blocked_s,
    )
    events = log_setup.repetition.counts
    yield Metric(
        "portraitd_events_total",
        "counter",
        "Lines for the log, by what they say; also those that were not repeated.",
        _by("event", dict(sorted(events.items()))),
    )
    folders = {"inbox": settings.inbox_dir, "people": settings.people_dir}
    free = {name: _free(path) for name, path in (folders | {"state": settings.state_dir}).items()}
    yield Metric("portraitd_free_bytes", "gauge", "Room left, by folder.", _by("folder", free))
    database = settings.state_dir / FILE_NAME
    yield _one("portraitd_database_bytes", "Size of the database.", _size(database))
    journal = database.with_name(FILE_NAME + "-wal")
    yield _one("portraitd_journal_bytes", "Size of its journal.", _size(journal))
    yield _one("portraitd_resident_memory_bytes", "Of the service, without workers.", _resident())
    yield _one("portraitd_open_fds", "Descriptors of the service.", _descriptors())


class MetricsFile:
    """The file, written at most every so often, whole or not at all.

    Args:
        settings: Where it goes, and how often.
        read: The state of the store.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Status],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._read = read
        self._clock = clock
        self._written_s = float("-inf")

    def refresh(self, steady_s: float, blocked_s: float) -> None:
        """Write it if it is due. Whatever goes wrong is logged; the service goes on."""
        target, every_s = self._settings.metrics.textfile, self._settings.metrics.every_s
        if target is None or steady_s - self._written_s < every_s:
            return
        self._written_s = steady_s
        try:
            found = [*of_process(self._settings, blocked_s, self._clock()), *self._of_store()]
            beside = target.with_name(f".{target.name}.new")
            beside.write_text(rendered(iter(found)), encoding="utf-8")
            # The exporter is another user; there is nothing personal in it.
            beside.chmod(0o644)
            beside.replace(target)
        except OSError as error:
            log.warning("metrics_not_written", reason=f"{target}: {error.strerror}")

    def remove(self) -> None:
        """A service that has ended has no figures; an alarm can tell that they are missing."""
        if self._settings.metrics.textfile is not None:
            with suppress(OSError):
                self._settings.metrics.textfile.unlink(missing_ok=True)

    def _of_store(self) -> list[Metric]:
        from portraitd.model.errors import StoreError

        try:
            return list(of_status(self._read()))
        except StoreError as error:
            log.warning("metrics_incomplete", reason=str(error))
            return []


def _one(name: str, meaning: str, value: float) -> Metric:
    return Metric(name, "gauge", meaning, {"": float(value)})


def _by(name: str, values: Mapping[str, float]) -> dict[str, float]:
    return {label(name, key): float(value) for key, value in values.items()}


def _free(folder: Path) -> float:
    try:
        facts = os.statvfs(folder)
    except OSError:
        return 0.0
    return float(facts.f_bavail * facts.f_frsize)


def _size(path: Path) -> float:
    try:
        return float(path.stat().st_size)
    except OSError:
        return 0.0


def _resident() -> float:
    try:
        return float(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0.0


def _descriptors() -> float:
    try:
        return float(len(os.listdir("/proc/self/fd")))
    except OSError:
        return 0.0
