"""``portraitd dataset``: building, checking and watching training sets from the command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from portraitd.config import Settings
from portraitd.datasets.annotations import set_fingerprint
from portraitd.datasets.build import DatasetBuild
from portraitd.datasets.output import read_note
from portraitd.datasets.set_erasure import build_lock
from portraitd.datasets.validate import FormatCheck, check_format
from portraitd.datasets.writer import DatasetSummary
from portraitd.ingest.dispatcher import encode_settings
from portraitd.model.errors import AlreadyRunning, ConfigError, PublishError, StoreError
from portraitd.service.control import BUILD_DATASET
from portraitd.service.control_files import ControlFiles, ControlRequest
from portraitd.service.pipeline import dataset_paths, dataset_rule
from portraitd.service.pools import make_workers
from portraitd.service.wakeup import Doorbell
from portraitd.store.database import Database, StoreLock
from portraitd.store.dataset_store import ClassRegistration, DatasetStore
from portraitd.store.files import Files

ASK_S = 1.0
"""How often a request to the daemon is looked after."""

Progress = Callable[[int, int], None]
"""Told how many frames were cut, and how many there are to cut."""


def build_dataset(
    settings: Settings, progress: Progress, doorbell: Doorbell | None = None
) -> DatasetSummary:
    """Build the set, or have it built by the portraitd that runs on this home.

    Raises:
        StoreError: Nothing has been processed in this home yet.
        PublishError: The set cannot be written.
    """
    if not settings.state_dir.is_dir():
        raise StoreError(f"{settings.state_dir}: nothing has been processed in this home yet")
    doorbell = doorbell or Doorbell()
    try:
        with StoreLock(settings.state_dir):
            # Brings an older store up to date.
            Database.open(settings.state_dir).close()
        return _build_here(settings, progress, doorbell)
    except AlreadyRunning:
        return _have_it_built(settings, doorbell)


def check_dataset(settings: Settings) -> list[FormatCheck]:
    """What the loaders would make of the set, by format.

    Raises:
        ConfigError: There is no set yet.
    """
    if read_note(settings.dataset_dir) is None:
        raise ConfigError(
            f"{settings.dataset_dir}: there is no training set yet; run `portraitd dataset build`"
        )
    return [check_format(settings.dataset_dir, form) for form in settings.dataset.formats]


def watch_dataset(
    settings: Settings, every_s: float, progress: Progress
) -> Iterator[DatasetSummary]:
    """Build the set now, and again whenever people have changed; never ends by itself.

    Raises:
        StoreError: Nothing has been processed in this home yet.
        PublishError: The set cannot be written.
    """
    doorbell = Doorbell()
    while True:
        if is_stale(settings):
            yield build_dataset(settings, progress, doorbell)
        doorbell.wait(every_s)


def is_stale(settings: Settings) -> bool:
    """Whether the set is not what the store says now."""
    note = read_note(settings.dataset_dir)
    database = Database.open_to_read(settings.state_dir)
    try:
        store = DatasetStore(database, Files(database, settings.inbox_dir))
        wanted = set_fingerprint(store.fingerprint(), dataset_rule(settings))
    finally:
        database.close()
    return note is None or note.fingerprint != wanted


def summary_lines(done: DatasetSummary) -> list[str]:
    """What a build came to, in lines for people."""
    backgrounds = sum(done.backgrounds.values())
    lines = [
        f"people  {done.people}",
        f"frames  {done.frames['train']:,} train, {done.frames['val']:,} val, "
        f"{backgrounds:,} of them backgrounds",
        f"faces   {done.faces.get('train', 0):,} train, {done.faces.get('val', 0):,} val; "
        f"{done.near_duplicates:,} near-duplicates left out",
        f"files   {done.written:,} written, {done.removed:,} removed, "
        f"{done.unchanged:,} as they were",
    ]
    if done.put_aside:
        lines.append(f"{done.put_aside} files that somebody changed were put into _changed/")
    return lines + [f"note    {sentence}" for sentence in done.warnings]


def format_check(found: FormatCheck) -> str:
    """What was found of one format, in a line."""
    unit = "videos" if found.form == "cvat" else "images"
    parts = [f"{found.images:,} {unit}", f"{found.faces:,} faces"]
    if found.backgrounds:
        parts.append(f"{found.backgrounds:,} backgrounds")
    return f"{found.form:<12} {', '.join(parts)}, dropped images: {len(found.dropped)}"


def _build_here(settings: Settings, progress: Progress, doorbell: Doorbell) -> DatasetSummary:
    """In workers of our own. The store is locked for a moment only, so the daemon may start."""

    def register(registration: ClassRegistration) -> None:
        with StoreLock(settings.state_dir):
            database = Database.open(settings.state_dir)
            try:
                store = DatasetStore(database, Files(database, settings.inbox_dir))
                store.register(registration, time.time())
            finally:
                database.close()

    with build_lock(settings.state_dir):
        executor = make_workers(settings, encode_settings(settings).encoder, loads=False)
        under_way = DatasetBuild(
            dataset_paths(settings),
            dataset_rule(settings),
            settings.dataset.frames == "keep",
            executor,
            lambda: doorbell.wake("job"),
            register,
        )
        try:
            while (done := under_way.advance()) is None:
                progress(under_way.frames_done, under_way.frames_requested)
                doorbell.wait(1.0)
            return done
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def _have_it_built(settings: Settings, doorbell: Doorbell) -> DatasetSummary:
    """By the daemon: it alone writes to the store. It takes the request up at its next turn."""
    requests = ControlFiles(settings.requests_dir)
    name = requests.leave(ControlRequest(BUILD_DATASET))
    try:
        while (answer := requests.answer_to(name)) is None:
            doorbell.wait(ASK_S)
    finally:
        requests.withdraw(name)
    text, is_built = answer
    if not is_built:
        raise PublishError(text)
    return DatasetSummary.from_json(text)
