"""Implements ``portraitd dataset``: build, check and watch a training set."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from portraitd.cli.client import ANSWER_TIMEOUT_S, await_answer
from portraitd.cli.dataset_rules import read_rule
from portraitd.cli.people_reading import read_people
from portraitd.config import Settings
from portraitd.datasets.annotations import make_set_fingerprint
from portraitd.datasets.build import DatasetBuild, DatasetPaths
from portraitd.datasets.output import read_set_manifest
from portraitd.datasets.quality_floor import list_left_out
from portraitd.datasets.set_erasure import lock_builds
from portraitd.datasets.validate import FormatCheck, check_format
from portraitd.datasets.writer import DatasetSummary
from portraitd.ingest.dispatcher import encode_options
from portraitd.model.errors import AlreadyRunning, ConfigError, PublishError, StoreError
from portraitd.model.face import FrameTimes
from portraitd.model.wording import counted
from portraitd.service.control import BUILD_DATASET
from portraitd.service.control_files import ControlFiles, ControlRequest
from portraitd.service.health import lock_holder
from portraitd.service.people_lease import hold_people_tree
from portraitd.service.pools import make_workers
from portraitd.service.wakeup import Doorbell
from portraitd.store.database import Database, StoreLock
from portraitd.store.dataset_store import ClassRegistration, DatasetStore, Recording
from portraitd.store.files import Files

ANSWER_INTERVAL_S = 1.0
"""How often to check for the answer of the service."""

Progress = Callable[[int, int], None]
"""Called with the number of cropped frames and of all frames to crop."""


def build_dataset(
    settings: Settings, progress: Progress, doorbell: Doorbell | None = None
) -> DatasetSummary:
    """Build the set, or let the running service build it.

    Raises:
        StoreError: Nothing has been processed in this home yet.
        PublishError: The set cannot be written, or the service of another home works on people/.
    """
    if not settings.state_dir.is_dir():
        raise StoreError(f"{settings.state_dir}: nothing has been processed in this home yet")
    doorbell = doorbell or Doorbell()
    try:
        with (
            StoreLock(settings.state_dir),
            # Brings an older store up to date.
            Database.open(settings.state_dir) as database,
            # Refused while the service of a copied home works, which builds the same set.
            hold_people_tree(settings, database.name),
        ):
            pass
        read_people(settings)
        return _build_here(settings, progress, doorbell)
    except AlreadyRunning:
        return _build_by_service(settings, doorbell)


def check_dataset(settings: Settings) -> list[FormatCheck]:
    """Check the set by the rules of its loaders, for each format.

    Raises:
        ConfigError: The set was not built yet.
    """
    if read_set_manifest(settings.dataset_dir) is None:
        raise ConfigError(
            f"{settings.dataset_dir}: there is no training set yet; run `portraitd dataset build`"
        )
    return [check_format(settings.dataset_dir, form) for form in settings.dataset.formats]


def watch_dataset(
    settings: Settings, every_s: float, progress: Progress
) -> Iterator[DatasetSummary]:
    """Build the set now, and again whenever people change; runs until it is stopped.

    Raises:
        StoreError: Nothing has been processed in this home yet.
        PublishError: The set cannot be written.
    """
    doorbell = Doorbell()
    while True:
        read_people(settings)
        if is_stale(settings):
            yield build_dataset(settings, progress, doorbell)
        doorbell.wait(every_s)


def is_stale(settings: Settings) -> bool:
    """Return whether the set is out of date."""
    manifest = read_set_manifest(settings.dataset_dir)
    with Database.open_to_read(settings.state_dir) as database:
        store = DatasetStore(database, Files(database, settings.inbox_dir))
        wanted = make_set_fingerprint(store.fingerprint(), read_rule(settings))
    return manifest is None or manifest.fingerprint != wanted


def format_summary(done: DatasetSummary) -> list[str]:
    """Return the summary of a build as lines for people."""
    backgrounds = sum(done.backgrounds.values())
    left_out = counted(sum(done.left_out.values()), "face") + " left out"
    if reasons := list_left_out(done.left_out):
        left_out += f": {reasons}"
    lines = [
        f"people  {done.people}",
        f"frames  {_format_splits(done.frames)}, including {counted(backgrounds, 'background')}",
        f"faces   {_format_splits(done.faces)}; {left_out}",
        f"files   {done.written:,} written, {done.removed:,} removed, {done.unchanged:,} unchanged",
    ]
    if done.put_aside:
        files = counted(done.put_aside, "changed file")
        lines.append(f"moved {files} of other programs to _changed/")
    return lines + [f"note    {sentence}" for sentence in done.warnings]


def _format_splits(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in counts.items())


def format_check_line(found: FormatCheck) -> str:
    """Return the result of a format check in one line."""
    unit = "video" if found.form == "cvat" else "image"
    parts = [counted(found.images, unit), counted(found.faces, "face")]
    if found.backgrounds:
        parts.append(counted(found.backgrounds, "background"))
    return f"{found.form:<12} {', '.join(parts)}, dropped images: {len(found.dropped):,}"


def _build_here(settings: Settings, progress: Progress, doorbell: Doorbell) -> DatasetSummary:
    """Build in local workers. The store is locked only briefly, so the service may start.

    A connection stays open, because the workers cannot create the files that SQLite needs beside
    the database.
    """

    def register(registration: ClassRegistration) -> None:
        with StoreLock(settings.state_dir), Database.open(settings.state_dir) as database:
            store = DatasetStore(database, Files(database, settings.inbox_dir))
            store.register(registration, time.time())

    def record_times(recording: Recording, times_s: FrameTimes) -> None:
        with StoreLock(settings.state_dir), Database.open(settings.state_dir) as database:
            store = DatasetStore(database, Files(database, settings.inbox_dir))
            store.record_frame_times(recording, times_s)

    with lock_builds(settings.state_dir), Database.open_to_read(settings.state_dir):
        executor = make_workers(settings, encode_options(settings).encoder, loads=False)
        try:
            under_way = DatasetBuild(
                DatasetPaths.of(settings),
                read_rule(settings),
                settings.dataset.frames == "keep",
                executor,
                lambda: doorbell.wake("job"),
                register,
                record_times,
            )
            while (done := under_way.advance()) is None:
                progress(under_way.frames_done, under_way.frames_requested)
                doorbell.wait(1.0)
            return done
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def _build_by_service(settings: Settings, doorbell: Doorbell) -> DatasetSummary:
    """Let the service build the set at its next tick: it alone writes to the store.

    Raises:
        StoreError: The service does not read the request, or ends before the set is built.
        PublishError: The set cannot be written.
    """
    requests = ControlFiles(settings.requests_dir)
    name = requests.leave(ControlRequest(BUILD_DATASET))
    try:
        answer = await_answer(settings, requests, name, ANSWER_TIMEOUT_S)
        while answer is None:
            doorbell.wait(ANSWER_INTERVAL_S)
            is_running = lock_holder(settings.state_dir)
            answer = requests.answer_to(name)
            if answer is None and not is_running:
                raise StoreError(
                    "the service has ended before the set was built; run the command again"
                )
    finally:
        requests.withdraw(name)
    text, is_built = answer
    if not is_built:
        raise PublishError(text)
    return DatasetSummary.from_json(text)
