"""Implements ``portraitd dataset import``: record what was corrected in another program."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from portraitd.cli.client import ask
from portraitd.cli.dataset_rules import read_rule
from portraitd.cli.people_reading import read_people
from portraitd.config import Settings
from portraitd.datasets.box_import.coco_reading import read_coco
from portraitd.datasets.box_import.cvat_reading import read_cvat
from portraitd.datasets.box_import.import_plan import (
    ImportPlan,
    ImportPlanner,
    ReadTimes,
    count_problems,
)
from portraitd.ingest import media_jobs
from portraitd.ingest.dispatcher import encode_options
from portraitd.ingest.scanner import is_unchanged
from portraitd.model.errors import ConfigError, PortraitdError
from portraitd.model.face import FrameTimes
from portraitd.model.reasons import Reason
from portraitd.model.wording import counted, escape_unprintable
from portraitd.service.control import IMPORT_BOXES
from portraitd.service.control_files import MAX_REQUEST_BYTES, ControlRequest
from portraitd.service.people_lease import hold_people_tree
from portraitd.service.pools import decoding_pool
from portraitd.store.corrections.imported_edits import ImportedEdits, pack_edits, record_imported
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database, StoreLock
from portraitd.store.dataset_store import Recording
from portraitd.store.files import Files
from portraitd.store.frame_times import FrameTimeStore

READERS = {"cvat": read_cvat, "coco": read_coco}

MAX_EXAMPLES = 5
"""Places that are listed for each reason, without ``--verbose``."""


def plan_import(
    settings: Settings, form: str, path: Path, recording: str | None, deletes_missing: bool
) -> ImportPlan:
    """Return what a file says, and what of it does not match. Writes nothing.

    Args:
        settings: The home.
        form: A key of ``READERS``.
        path: The file.
        recording: The recording that it is about, by path or SHA-256; None to find out.
        deletes_missing: Whether faces without a box are deleted in any case.

    Raises:
        ConfigError: The file cannot be read, or there is no such recording.
        StoreError: Nothing has been processed in this home yet.
    """
    files = READERS[form](path)
    read_people(settings)
    if recording is not None:
        below = Path(recording).absolute()
        if below.is_relative_to(settings.inbox_dir) and below.exists():
            recording = str(below.relative_to(settings.inbox_dir))
    with (
        Database.open_to_read(settings.state_dir) as database,
        _open_reader(settings, database) as read_times,
    ):
        planner = ImportPlanner(
            database,
            Files(database, settings.inbox_dir),
            read_rule(settings),
            read_times,
            recording,
            deletes_missing,
        )
        return planner.plan(files)


def record(settings: Settings, edits: ImportedEdits) -> str:
    """Record edits, or let the running service do it; return a sentence.

    Raises:
        ConfigError: There are too many for one request.
        TreeInUse: The service of another home works on the people tree.
    """
    if not edits:
        return "Nothing to record."
    text = pack_edits(edits)
    # It is text in JSON once more.
    if len(text) > MAX_REQUEST_BYTES // 2:
        raise ConfigError("too many corrections at once; import a file for each recording")
    answer = ask(settings, ControlRequest(IMPORT_BOXES, arguments=(text,)))
    if answer is not None:
        return answer
    with (
        StoreLock(settings.state_dir),
        Database.open(settings.state_dir) as database,
        hold_people_tree(settings, database.name),
    ):
        unit = settings.review.unit
        answer = record_imported(database, Ledger(database), edits, unit, time.time())
    return f"{answer} `portraitd run` will read the faces in new boxes and update people/."


@contextmanager
def _open_reader(settings: Settings, database: Database) -> Iterator[ReadTimes]:
    """Yield a function that has a sandboxed worker read the times of frames.

    The worker starts when the first recording is to be read.
    """
    one_worker = settings.workers.model_copy(update={"count": 1})
    settings = settings.model_copy(update={"workers": one_worker})
    pool = decoding_pool(settings, encode_options(settings).encoder, loads=False)
    known = FrameTimeStore(database)

    def read_times(recording: Recording) -> FrameTimes | None:
        for source in recording.sources:
            if not is_unchanged(source.path, source.stamp):
                continue
            times_s = known.find(recording.id, recording.sha256)
            if times_s is not None:
                return times_s
            try:
                job = pool.submit(media_jobs.read_frame_times, source, recording.kind)
                return job.result()
            except PortraitdError:
                continue
        return None

    try:
        yield read_times
    finally:
        pool.shutdown(cancel_futures=True)


def format_plan(plan: ImportPlan, verbose: bool) -> Iterator[str]:
    """Return a plan as lines for people."""
    counts = (
        ("moved", plan.moved),
        ("new", plan.new),
        ("deleted", plan.deleted),
        ("relabelled", plan.relabelled),
        ("unchanged", plan.unchanged),
    )
    for word, count in counts:
        yield f"{word:<12} {counted(count, 'face')}"
    for code, count in sorted(count_problems(plan).items()):
        yield f"not taken over: {counted(count, 'item')}: {Reason.of(code)} ({code})"
        places = [escape_unprintable(one.place) for one in plan.problems if one.code is code]
        shown = places if verbose else places[:MAX_EXAMPLES]
        yield from (f"    {place}" for place in shown)
        if len(shown) < count:
            yield f"    and {count - len(shown):,} more; --verbose lists all"


def plan_as_json(plan: ImportPlan) -> dict[str, Any]:
    """Return a plan for programs."""
    return {
        "moved": plan.moved,
        "new": plan.new,
        "deleted": plan.deleted,
        "relabelled": plan.relabelled,
        "unchanged": plan.unchanged,
        "problems": [{"code": one.code, "place": one.place} for one in plan.problems],
    }
