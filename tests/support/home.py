"""A home that is worked on inline: real files, real SQLite, real faces, and no other process.

Time is what the test says it is: every tick is one second later than the last.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from portraitd.config import Settings
from portraitd.model.stage import Now
from portraitd.service.executors import Executors
from portraitd.service.home import make_home
from portraitd.service.pipeline import Service
from portraitd.service.wakeup import Doorbell
from portraitd.store.database import Database, StoreLock
from support.executors import CachingExecutor
from support.xmp_removal import without_mark

START_S = 1_000_000_000.0

QUICK: dict[str, dict[str, Any]] = {
    "inbox": {"quiet_s": 2.0, "quiet_remote_s": 2.0, "unfinished_s": 0.0},
    "sampling": {"fps": 0.5},
    "encoder": {"detector": "hog"},
    "detection": {"upsample": 0},
    "workers": {"count": 2, "slice_s": 5.0},
    "grouping": {"min_samples": 3, "settle_s": 1.0},
    "review": {"portraits_per_track": 0, "unsorted_portraits": 0, "scan_s": 10.0, "settle_s": 1.0},
}
"""One second of work for a clip of 20 s: ten frames, in four slices."""


class Home:
    """A home, and the time that has passed in it.

    Args:
        folder: Where it is made.
        sections: What differs from ``QUICK``, as ``inbox={"after": "move"}``.
    """

    def __init__(self, folder: Path, **sections: dict[str, Any]) -> None:
        merged = {name: QUICK.get(name, {}) | sections.get(name, {}) for name in QUICK | sections}
        self.settings = Settings.model_validate({"home": folder, **merged})
        self.steady_s = 0.0
        make_home(self.settings)

    @property
    def inbox(self) -> Path:
        return self.settings.inbox_dir

    @property
    def people(self) -> Path:
        return self.settings.people_dir

    def drop(self, source: Path | bytes, name: str) -> Path:
        """Put a file into the inbox, whole."""
        target = self.inbox / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, bytes):
            target.write_bytes(source)
        else:
            shutil.copyfile(source, target)
        return target

    @contextmanager
    def opened(
        self, store: type[Database] = Database, executor: Executor | None = None
    ) -> Iterator[Service]:
        """The service, from its start to a sudden end: nothing is wound up."""
        with StoreLock(self.settings.state_dir):
            database = store.open(self.settings.state_dir)
            executors = Executors(executor or CachingExecutor(), 2)
            service = Service(self.settings, database, executors, Doorbell())
            try:
                yield service
            finally:
                service.people_lease.close()
                database.close()

    def tick(self, service: Service) -> None:
        """Tick the service, a second later than the last time."""
        self.steady_s += 1.0
        service.tick(self.now)

    @property
    def now(self) -> Now:
        return Now(START_S + self.steady_s, self.steady_s)

    def run_until_idle(self, service: Service, ticks: int = 200) -> None:
        """Tick until there is nothing left to do."""
        for _ in range(ticks):
            self.tick(service)
            if service.idle:
                return
        raise AssertionError(f"not idle after {ticks} ticks: {self.rows('files')}")

    def tick_until(
        self, service: Service, is_reached: Callable[[], bool], ticks: int = 200
    ) -> None:
        """Tick until something is the case."""
        for _ in range(ticks):
            self.tick(service)
            if is_reached():
                return
        raise AssertionError(f"not reached in {ticks} ticks: {self.rows('files')}")

    def run(self) -> None:
        """Start, work until idle, end."""
        with self.opened() as service:
            self.run_until_idle(service)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """A table as it is in the database file."""
        with closing(connect(self.settings.state_dir)) as connection:
            return [dict(row) for row in connection.execute(f"select * from {table} order by id")]

    def blocked_stages(self) -> dict[str, str]:
        """Return why a stage is blocked, by stage."""
        with closing(connect(self.settings.state_dir)) as connection:
            return dict(connection.execute("select stage, reason from blocked_stages").fetchall())

    def states(self) -> dict[str, str]:
        """State of each file by path."""
        return {row["path"].decode("utf-8", "replace"): row["state"] for row in self.rows("files")}

    def reasons(self) -> dict[str, str]:
        """Reason of each file by path."""
        return {row["path"].decode("utf-8", "replace"): row["reason"] for row in self.rows("files")}


def connect(state_dir: Path) -> sqlite3.Connection:
    """The store, for looking only, as any other program would open it."""
    connection = sqlite3.connect(f"file:{state_dir / 'portraitd.sqlite3'}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    return connection


@contextmanager
def full_table(database: Database, table: str) -> Iterator[None]:
    """Let no row be added to a table, as on a disk that is full."""
    database.execute(
        f"create trigger full before insert on {table} begin select raise(fail, 'full'); end"
    )
    yield
    database.execute("drop trigger full")


class SeenFace(NamedTuple):
    """A face by what it is, not by its number: equal in two homes that saw the same."""

    sha256: str
    t_s: float
    box: tuple[int, int, int, int]


class Dump(NamedTuple):
    """A home without anything that depends on when and in which order things were done."""

    files: dict[bytes, tuple[str, str]]
    videos: dict[str, tuple[str, str]]
    slices: dict[tuple[str, float, float], tuple[str, int, int, float | None]]
    faces: dict[SeenFace, str]
    people: frozenset[frozenset[SeenFace]]
    folders: frozenset[frozenset[str]]
    """For each person's folder the contents of its portraits and its montage."""
    unsorted: frozenset[str]


def dump(home: Settings) -> Dump:
    """What a home holds. No two faces of one frame may have the same place."""
    with closing(connect(home.state_dir)) as db:
        sha256 = {row["id"]: row["sha256"] for row in db.execute("select * from videos")}
        faces: dict[SeenFace, str] = {}
        person_of: dict[SeenFace, int | None] = {}
        for row in db.execute("select faces.*, jpeg from faces join portraits on face_id = id"):
            box = (row["box_left"], row["box_top"], row["box_right"], row["box_bottom"])
            seen = SeenFace(sha256[row["video_id"]], row["t_s"], box)
            assert seen not in faces, f"doubled: {seen}"
            faces[seen] = digest(row["embedding"] + row["jpeg"])
            person_of[seen] = row["person_id"]
        people: dict[int, set[SeenFace]] = defaultdict(set)
        for seen, person in person_of.items():
            if person is not None:
                people[person].add(seen)
        return Dump(
            files={
                row["path"]: (row["state"], row["reason"])
                for row in db.execute("select * from files")
            },
            videos={
                row["sha256"]: (row["state"], row["reason"])
                for row in db.execute("select * from videos")
            },
            slices={
                (sha256[row["video_id"]], row["start_s"], row["stop_s"]): (
                    row["state"], row["sampled"], row["decoded"], row["ended_s"]
                )
                for row in db.execute("select * from slices")
            },
            faces=faces,
            people=frozenset(map(frozenset, people.values())),
            folders=frozenset(
                contents(folder) for folder in person_folders(home.people_dir)
            ),
            unsorted=contents(home.people_dir / "_unsorted"),
        )  # fmt: skip


def person_folders(people_dir: Path) -> list[Path]:
    """The folders of people, by name."""
    return sorted(folder for folder in people_dir.iterdir() if folder.name.startswith("person-"))


def contents(folder: Path) -> frozenset[str]:
    """The pictures of a folder, by what they show."""
    return frozenset(digest(without_mark(picture.read_bytes())) for picture in folder.glob("*.jpg"))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def assert_sound(home: Settings) -> None:
    """What must be true of every home at any time nobody is at work in it."""
    with closing(connect(home.state_dir)) as db:
        assert ["ok"] == [row[0] for row in db.execute("pragma integrity_check")]
        assert [] == [tuple(row) for row in db.execute("pragma foreign_key_check")]
        assert [] == db.execute("select * from slices where state = 'running'").fetchall()
        seen = db.execute(
            "select * from portraits join faces on id = face_id where hidden not in (1, 3, 4)"
        )
        kept = {row["face_id"]: row["jpeg"] for row in seen}
        published = dict(db.execute("select id, person_id from faces").fetchall())
    shown: dict[int, Path] = {}
    for picture in home.people_dir.glob("*/[0-9]*.jpg"):
        if picture.parent.name == "_questions":
            continue
        face_id = int(picture.stem)
        assert face_id not in shown, f"shown twice: {picture} and {shown[face_id]}"
        assert kept[face_id] == without_mark(picture.read_bytes())
        assert (published[face_id] is None) == (picture.parent.name == "_unsorted")
        shown[face_id] = picture
    assert kept.keys() == shown.keys()
    hidden = {path.name for path in home.people_dir.rglob(".*")}
    assert hidden <= {
        ".portraitd-root",
        ".person.json",
        ".portraitd-gallery",
        ".portraitd-status",
        ".portraitd-lease",
        ".portraitd-cards",
        ".portraitd-answers",
    }
    assert [] == list(home.state_dir.glob("faces*"))
