"""Metrics for the textfile collector of the Prometheus node exporter.

Names, units and types follow its conventions: seconds and bytes, ``_total`` for counters.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from portraitd import __version__
from portraitd.config import Settings
from portraitd.media.fs import write_atomically
from portraitd.model.errors import StoreError
from portraitd.model.media_file import FileState, VideoState
from portraitd.model.stage import Now
from portraitd.service import log_setup
from portraitd.store.database import FILE_NAME
from portraitd.store.snapshot import Snapshot

log = structlog.get_logger(stage="metrics")

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def metrics_of_store(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield the metrics of the store."""
    files = {str(state): snapshot.files.get(state, 0) for state in FileState}
    yield _gauges("portraitd_files", "Files by state.", "state", files)
    videos = {str(state): snapshot.videos.get(state, 0) for state in VideoState}
    yield _gauges("portraitd_videos", "Videos and photos by state.", "state", videos)
    yield _gauge("portraitd_faces", "Faces stored.", snapshot.faces)
    yield _gauge("portraitd_people", "People who have a face.", snapshot.people)
    footage = {"done": snapshot.footage.footage_done_s, "open": snapshot.footage.footage_open_s}
    yield _gauges("portraitd_footage_seconds", "Footage by state.", "state", footage)
    yield _gauge(
        "portraitd_oldest_open_seconds",
        "Age of the oldest file that is not finished; 0 if there is none.",
        snapshot.oldest_open_s,
    )
    grouping = snapshot.grouping
    yield _gauge(
        "portraitd_grouping_timestamp_seconds",
        "Time of the last grouping run; 0 if there was none.",
        grouping.finished_at if grouping else 0.0,
    )
    yield _gauge(
        "portraitd_grouping_duration_seconds",
        "Duration of the last grouping run.",
        grouping.seconds if grouping else 0.0,
    )
    yield _gauge(
        "portraitd_faces_unassigned",
        "Faces that the last grouping run assigned to no person.",
        grouping.unassigned if grouping else 0,
    )
    yield _gauge(
        "portraitd_publication_pending",
        "1 while the people tree does not show the last grouping run and all edits.",
        snapshot.publication_pending,
    )
    yield _gauge(
        "portraitd_erasure_pending",
        "1 while an erasure is not finished.",
        snapshot.erasure_pending,
    )


def metrics_of_process(settings: Settings, blocked_s: float, now_s: float) -> Iterator[Metric]:
    """Yield the metrics of the running service and of its disks."""
    yield _gauges("portraitd_build_info", "The version that runs.", "version", {__version__: 1})
    yield _gauge("portraitd_last_tick_timestamp_seconds", "Time of the last tick.", now_s)
    yield _gauge(
        "portraitd_blocked_seconds",
        "For how long a stage has been blocked; 0 if none is.",
        blocked_s,
    )
    events = CounterMetricFamily(
        "portraitd_events_total",
        "Log events by name, including suppressed repeats.",
        labels=["event"],
    )
    for event, count in sorted(log_setup.repeat_filter.counts.items()):
        events.add_metric([event], count)
    yield events
    folders = {
        "inbox": settings.inbox_dir,
        "people": settings.people_dir,
        "state": settings.state_dir,
    }
    free = {name: _free_bytes(folder) for name, folder in folders.items()}
    yield _gauges("portraitd_free_bytes", "Free space by folder.", "folder", free)
    database = settings.state_dir / FILE_NAME
    yield _gauge("portraitd_database_bytes", "Size of the database.", _file_bytes(database))
    journal = database.with_name(FILE_NAME + "-wal")
    yield _gauge("portraitd_journal_bytes", "Size of its journal.", _file_bytes(journal))
    yield _gauge(
        "portraitd_resident_memory_bytes",
        "Memory of the service, without its workers.",
        _resident_bytes(),
    )
    yield _gauge("portraitd_open_fds", "Open file descriptors of the service.", _open_fds())


class MetricsFile(Collector):
    """The file with the metrics, rewritten every few seconds.

    Args:
        settings: Where the file is, and how often it is written.
        read: Reads how things stand.
    """

    def __init__(self, settings: Settings, read: Callable[[Now], Snapshot]) -> None:
        self._settings = settings
        self._read = read
        self._written_s = float("-inf")
        self._now, self._blocked_s = Now(0.0, 0.0), 0.0
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def describe(self) -> list[Metric]:
        """Return nothing: the names are known when they are collected."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric that has a value."""
        process = metrics_of_process(self._settings, self._blocked_s, self._now.wall_s)
        yield from (metric for metric in process if metric.samples)
        try:
            yield from metrics_of_store(self._read(self._now))
        except StoreError as error:
            log.warning("metrics_incomplete", reason=str(error))

    def write(self, now: Now, blocked_s: float) -> None:
        """Write the file if that is due. An error is logged; the service continues.

        Args:
            now: The time.
            blocked_s: For how long a stage has been blocked.
        """
        target, every_s = self._settings.metrics.textfile, self._settings.metrics.every_s
        if target is None or now.steady_s - self._written_s < every_s:
            return
        self._written_s = now.steady_s
        self._now, self._blocked_s = now, blocked_s
        try:
            # The exporter runs as another user; the file contains nothing personal.
            write_atomically(target, generate_latest(self._registry), mode=0o644)
        except OSError as error:
            log.warning("metrics_not_written", reason=f"{target}: {error.strerror}")

    def remove(self) -> None:
        """Remove the file when the service ends: an alert can detect that it is missing."""
        if self._settings.metrics.textfile is not None:
            with suppress(OSError):
                self._settings.metrics.textfile.unlink(missing_ok=True)


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, value=float(value))


def _gauges(name: str, meaning: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    gauges = GaugeMetricFamily(name, meaning, labels=[label])
    for key, value in values.items():
        gauges.add_metric([key], float(value))
    return gauges


def _free_bytes(folder: Path) -> float:
    try:
        facts = os.statvfs(folder)
    except OSError:
        return 0.0
    return float(facts.f_bavail * facts.f_frsize)


def _file_bytes(path: Path) -> float:
    try:
        return float(path.stat().st_size)
    except OSError:
        return 0.0


def _resident_bytes() -> float:
    try:
        return float(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0.0


def _open_fds() -> float:
    try:
        return float(len(os.listdir("/proc/self/fd")))
    except OSError:
        return 0.0
