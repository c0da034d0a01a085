"""Implements ``portraitd dataset split``: look at the splits of a training set, and change them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from portraitd.cli.client import ask
from portraitd.cli.dataset_rules import read_rule
from portraitd.config import Settings
from portraitd.datasets.annotations import SPLITS
from portraitd.datasets.planner import read_set_faces
from portraitd.datasets.split_overview import (
    UNUSED,
    SplitOverview,
    make_overview,
    move_recording,
    reset_splits,
)
from portraitd.model.wording import counted, escape_unprintable
from portraitd.service.control import MOVE_RECORDING, RESET_SPLITS
from portraitd.service.control_files import ControlRequest
from portraitd.store.database import Database, StoreLock
from portraitd.store.dataset_store import DatasetStore
from portraitd.store.files import Files


def read_overview(settings: Settings) -> SplitOverview:
    """Return the splits of the next set.

    Raises:
        StoreError: Nothing has been processed in this home yet.
    """
    with Database.open_to_read(settings.state_dir) as database:
        store = DatasetStore(database, Files(database, settings.inbox_dir))
        found = read_set_faces(store, read_rule(settings))
        return make_overview(found, settings.inbox_dir)


def move(settings: Settings, word: str, split: str) -> str:
    """Put a recording into a split, or let the running service do it; return a sentence.

    Raises:
        ConfigError: No recording, or more than one, matches.
    """
    path = Path(word).absolute()
    if path.is_relative_to(settings.inbox_dir) and path.exists():
        word = str(path.relative_to(settings.inbox_dir))
    request = ControlRequest(MOVE_RECORDING, arguments=(word, split))
    return ask(settings, request) or _do_here(
        settings, lambda store: move_recording(store, word, split, time.time())
    )


def rebuild(settings: Settings) -> str:
    """Forget all assigned splits, or let the running service do it; return a sentence."""
    return ask(settings, ControlRequest(RESET_SPLITS)) or _do_here(
        settings, lambda store: reset_splits(store, time.time())
    )


def _do_here(settings: Settings, change: Callable[[DatasetStore], str]) -> str:
    with StoreLock(settings.state_dir), Database.open(settings.state_dir) as database:
        return change(DatasetStore(database, Files(database, settings.inbox_dir)))


def format_overview(found: SplitOverview) -> Iterator[str]:
    """Return the overview as lines for people."""
    columns = [
        split
        for split in (*SPLITS, UNUSED)
        if split in ("train", "val") or any(one.faces[split] for one in found.recordings)
    ]
    heads = "".join(f"{column:>14}" for column in columns)
    yield f"{'faces of':<24}{heads}"
    for person in found.people:
        cells = [
            f"{person.faces[one]:,}" + ("" if one == UNUSED else f" ({person.share(one):4.0%})")
            for one in columns
        ]
        name = escape_unprintable(person.name)
        yield f"{name:<24}" + "".join(f"{cell:>14}" for cell in cells)
    yield ""
    notes = {"moved": "moved by you", "stored": "", "new": "new"}
    for recording in found.recordings:
        faces = counted(sum(recording.faces.values()), "face")
        note = notes[recording.origin]
        name = escape_unprintable(recording.name)
        yield f"{recording.split:<8} {faces:>12}  {note:<12} {name}".rstrip()
