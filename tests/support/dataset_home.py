"""A home with two named people in a clip and in photographs, and sets built from it."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np

from portraitd.cli.dataset_rules import read_rule
from portraitd.datasets.build import DatasetBuild, DatasetPaths
from portraitd.datasets.writer import DatasetSummary
from portraitd.media.jpeg import encode_jpeg
from portraitd.model.dataset_format import Format
from portraitd.model.face import Image
from portraitd.store.database import Database
from portraitd.store.dataset_store import ClassRegistration, DatasetStore
from portraitd.store.files import Files
from portraitd.workers.pool import InlineExecutor
from support.home import Home

ANN, BEA = "Ann", "Béa (née X)"

UNKNOWN = 2
"""The detector finds a face in a part of a space suit, which no one has named."""

FORMATS: tuple[Format, ...] = get_args(Format)

MakeHome = Callable[..., Home]

SECTIONS: dict[str, dict[str, Any]] = {
    "sampling": {"fps": 1.0},
    # The photographs are still images, so near-duplicates are needed here.
    "dataset": {"near_duplicate": 0.0, "formats": FORMATS},
}


class BuiltHome:
    """A home, its set, and the summary of the build."""

    def __init__(self, home: Home, done: DatasetSummary) -> None:
        self.home = home
        self.done = done
        self.root = home.settings.dataset_dir


@contextmanager
def opened_sets(home: Home) -> Iterator[DatasetStore]:
    """Open what the store of a home without a running service knows for sets."""
    with Database.open(home.settings.state_dir) as database:
        yield DatasetStore(database, Files(database, home.inbox))


def move_to_val(home: Home, recording: str) -> None:
    """Move a recording to val for good, as the command does."""
    with opened_sets(home) as store:
        store.move_recording(store.find(recording).sha256, "val", 5.0)


def build_set(home: Home) -> DatasetSummary:
    """Build a set inline, in a home without a running service."""
    settings = home.settings
    with opened_sets(home) as store:

        def register(registration: ClassRegistration) -> None:
            store.register(registration, time.time())

        build = DatasetBuild(
            DatasetPaths.of(settings),
            read_rule(settings),
            settings.dataset.frames == "keep",
            InlineExecutor(),
            lambda: None,
            register,
            store.record_frame_times,
        )
        done = build.advance()
        assert done
        return done


def with_dataset(home: Home, **changes: Any) -> Home:
    """Return the home with changed dataset settings."""
    dataset = home.settings.dataset.model_copy(update=changes)
    home.settings = home.settings.model_copy(update={"dataset": dataset})
    return home


def copy_of(home: Home, folder: Path, **changes: Any) -> Home:
    """Return a copy of the home with changed dataset settings."""
    shutil.copytree(home.settings.home_dir, folder, symlinks=True)
    return with_dataset(Home(folder, **SECTIONS), **changes)


def name(home: Home, person_id: int, called: str | None) -> None:
    """Name a person, as renaming a folder does."""
    database = Database.open(home.settings.state_dir)
    database.execute("update people set name = ? where id = ?", (called, person_id))
    database.close()


def name_two(home: Home) -> None:
    """Name the two people with the most faces; the clip starts with the first."""
    seen = Counter(row["person_id"] for row in home.rows("faces") if row["person_id"])
    people = sorted(person for person, _ in seen.most_common(2))
    for person, called in zip(people, (ANN, BEA), strict=True):
        name(home, person, called)


def ann(home: Home) -> int:
    """Return the id of the first of the two."""
    return next(int(row["id"]) for row in home.rows("people") if row["name"] == ANN)


def vary(image: Image, number: int) -> Image:
    """Vary a picture: brighter or darker, closer or farther."""
    height, width = image.shape[:2]
    cut = 6 * number
    part = image[cut : height - cut, cut : width - cut]
    bright = np.clip(part.astype(np.int16) + 8 * (number - 3), 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(bright, (width, height)), np.uint8)


def with_photos(home: Home, photographs: list[Path], count: int = 6) -> None:
    """Drop several pictures of each of the two people."""
    for who, photograph in enumerate(photographs):
        image = cv2.imread(str(photograph))
        assert image is not None
        for number in range(count):
            varied = vary(np.asarray(image, np.uint8), number)
            home.drop(encode_jpeg(varied, 95), f"{who}-{number}.jpg")


def file_stats(root: Path) -> dict[str, tuple[int, int]]:
    """Return every file of a set with its inode and time, which change when it is written."""
    return {
        str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(".portraitd")
    }


def labels(root: Path) -> dict[str, list[list[float]]]:
    """Return the lines of every label file, by the stem of its image."""
    return {
        path.stem: [
            [float(value) for value in line.split()] for line in path.read_text().splitlines()
        ]
        for path in root.glob("yolo/labels/*/*.txt")
    }
