"""A store that fails, or a process that ends, at any statement: the result is the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from portraitd.model.errors import StoreError
from portraitd.store.database import Database
from support.executors import CachingExecutor
from support.home import Dump, Home, assert_sound, dump
from support.media import as_jpeg

pytestmark = pytest.mark.slow

STRIDE = 151
"""Statements between two failures of one run; more than the longest transaction has."""

EVERY_ONE = pytest.param(1, marks=pytest.mark.exhaustive)


class Killed(BaseException):
    """As if the process ended here: no handler catches it."""


class WatchedStore(Database):
    """A store that counts its statements, remembers them, and fails at some.

    Attributes:
        statements: Their SQL so far, of all stores of this class.
        states: Where the files of the home were another than at the statement before: the
            numbers of those statements. A process that ends at another leaves the same files.
        failing: Numbers of the statements that fail.
        once: The SQL of those that fail when they are met first.
        failed: The SQL of those that did.
    """

    statements: list[str]
    states: list[int]
    failing: frozenset[int] | range
    once: set[str]
    failed: list[str]
    failure: BaseException
    root: Path
    _files: frozenset[tuple[object, ...]] = frozenset()

    @classmethod
    def made(
        cls,
        root: Path,
        failing: frozenset[int] | range,
        failure: BaseException,
        once: set[str] | None = None,
    ) -> type[WatchedStore]:
        """Return a class with a memory of its own."""
        values = {"statements": [], "states": [], "failed": [], "root": root}
        fails = {"failing": failing, "failure": failure, "once": set(once or ())}
        return type("Watched", (cls,), values | fails)

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        self._watch(sql)
        return super().execute(sql, parameters)

    def executemany(self, sql: str, rows: Any) -> None:
        self._watch(sql)
        super().executemany(sql, rows)

    def _watch(self, sql: str) -> None:
        kind = type(self)
        number = len(kind.statements)
        kind.statements.append(sql)
        if not kind.failing and not kind.once:
            files = frozenset(_files_of(kind.root))
            if files != kind._files:
                kind._files = files
                kind.states.append(number)
        if number in kind.failing or sql in kind.once:
            kind.failed.append(sql)
            kind.once.discard(sql)
            raise kind.failure


def _files_of(root: Path) -> Iterator[tuple[object, ...]]:
    """Yield each file below a folder with what changes when it is written."""
    for folder, _, names in os.walk(root):
        yield (folder,)
        for name in names:
            # SQLite's index of the journal is shared memory: another process makes it anew.
            if not name.endswith("-shm"):
                status = os.stat(os.path.join(folder, name))
                yield (folder, name, status.st_size, status.st_mtime_ns, status.st_ino)


class Photos(NamedTuple):
    """What is dropped, how it is grouped, and what comes of it in peace."""

    photographs: list[Path]
    method: str
    executor: CachingExecutor
    outcome: Dump | None = None
    statements: tuple[str, ...] = ()
    states: tuple[int, ...] = ()

    def home(self, folder: Path) -> Home:
        home = Home(folder, grouping={"method": self.method, "min_samples": 1})
        for photograph in self.photographs:
            home.drop(photograph, photograph.name)
        home.drop(as_jpeg(self.photographs[0]), "seen again.jpg")
        home.drop(self.photographs[0], "again.png")
        home.drop(b"no photo", "text.png")
        return home

    def assert_finished(self, home: Home) -> None:
        assert self.outcome == dump(home.settings), home.settings.home
        assert_sound(home.settings)


@pytest.fixture(scope="module", params=["people", "dbscan"])
def photos(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    photographs: list[Path],
) -> Photos:
    """The photographs, one of them twice under the same content, once under another."""
    dropped = Photos(photographs, request.param, CachingExecutor())
    home = dropped.home(tmp_path_factory.mktemp("peace"))
    store = WatchedStore.made(home.settings.home, frozenset(), Killed())
    with home.opened(store, dropped.executor) as service:
        home.run_until_idle(service)
    outcome = dump(home.settings)
    assert {2} | ({1} if request.param == "dbscan" else set()) == set(map(len, outcome.people))
    assert len(store.statements) > 300
    assert 30 < len(store.states) < len(store.statements)
    return dropped._replace(
        outcome=outcome, statements=tuple(store.statements), states=tuple(store.states)
    )


@pytest.mark.parametrize("step", [8, EVERY_ONE])
def test_being_killed_at_any_statement_changes_nothing(
    memory_path: Path, photos: Photos, step: int
) -> None:
    """At statements at which the files are others, the process ends; the next one goes on.

    A statement between two of them leaves the files of the first: it would be the same test.
    """
    for number in photos.states[step // 2 :: step]:
        home = photos.home(memory_path / str(number))
        store = WatchedStore.made(home.settings.home, frozenset({number}), Killed())
        with pytest.raises(Killed), home.opened(store, photos.executor) as service:
            home.run_until_idle(service)
        with home.opened(executor=photos.executor) as service:
            home.run_until_idle(service)

        photos.assert_finished(home)


@pytest.mark.parametrize("step", [25, EVERY_ONE])
def test_a_store_that_fails_is_survived(memory_path: Path, photos: Photos, step: int) -> None:
    """A full disk blocks the service while it is full. Nothing fails, nothing is lost.

    Each run fails at every 151st statement, and each of 151 runs begins with another. In the last
    run, each statement fails once that was not met in this way, because a failure shifts what
    follows.
    """
    failed = set()
    # The second way of grouping has statements of its own in the grouping alone.
    for first in range(0, STRIDE if photos.method == "people" else STRIDE // 5, step):
        failed |= _failures(memory_path, photos, range(first, 10**9, STRIDE))
    failed |= _failures(memory_path, photos, range(0), set(photos.statements) - failed)

    assert set(photos.statements) <= failed


def _failures(
    folder: Path, photos: Photos, failing: range, once: set[str] | None = None
) -> set[str]:
    """Run until all is done, however often the store fails; return the statements that did."""
    home = photos.home(folder / str(failing.start))
    store = WatchedStore.made(home.settings.home, failing, StoreError("the disk is full"), once)
    is_idle = False
    for attempt in range(20 + len(once or ())):
        try:
            with home.opened(store, photos.executor) as service:
                home.run_until_idle(service, ticks=200 + 20 * len(once or ()))
            is_idle = True
            break
        except StoreError:
            # At its start the service gives up; systemd starts it again. Each time it fails a
            # little later: at the same distance it might fail at the same statement for ever.
            if failing:
                next_failure = len(store.statements) + STRIDE + 7 * attempt
                store.failing = range(next_failure, failing.stop, STRIDE)
    assert is_idle
    photos.assert_finished(home)
    shutil.rmtree(home.settings.home)
    return set(store.failed)
