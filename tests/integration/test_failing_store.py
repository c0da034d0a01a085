"""A store that fails, or a process that ends, at any statement: the result is the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from portraitd.model.errors import StoreError
from portraitd.store.database import Database
from support.executors import CachingExecutor
from support.home import Dump, Home, assert_sound, dump
from support.media import as_jpeg


@pytest.fixture(scope="module")
def recalling() -> CachingExecutor:
    return CachingExecutor()


class Killed(BaseException):
    """As if the process ended here: no handler catches it."""


class Stumbling(Database):
    """A store that fails once, at a certain statement."""

    countdown = 0
    failure: BaseException = Killed()

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        self._stumble()
        return super().execute(sql, parameters)

    def executemany(self, sql: str, rows: Any) -> None:
        self._stumble()
        super().executemany(sql, rows)

    def _stumble(self) -> None:
        type(self).countdown -= 1
        if type(self).countdown == 0:
            raise type(self).failure


class Photos(NamedTuple):
    """What is dropped, how it is grouped, and what comes of it in peace."""

    photographs: list[Path]
    method: str
    outcome: Dump | None = None

    def home(self, folder: Path) -> Home:
        home = Home(folder, grouping={"method": self.method, "min_samples": 1})
        for photograph in self.photographs:
            home.drop(photograph, photograph.name)
        home.drop(as_jpeg(self.photographs[0]), "seen again.jpg")
        home.drop(self.photographs[0], "again.png")
        home.drop(b"no photo", "text.png")
        return home


@pytest.fixture(scope="module", params=["people", "dbscan"])
def photos(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    photographs: list[Path],
    recalling: CachingExecutor,
) -> Photos:
    """The photographs, one of them twice under the same content, once under another."""
    dropped = Photos(photographs, request.param)
    home = dropped.home(tmp_path_factory.mktemp("peace"))
    with home.opened(executor=recalling) as service:
        home.run_until_idle(service)
    outcome = dump(home.settings)
    assert {2} | ({1} if request.param == "dbscan" else set()) == set(map(len, outcome.people))
    return dropped._replace(outcome=outcome)


def stumbling(at: int, failure: BaseException) -> type[Stumbling]:
    return type("StumblingOnce", (Stumbling,), {"countdown": at, "failure": failure})


def _all_statements(
    memory_path: Path, photos: Photos, failure: BaseException
) -> Iterator[tuple[Home, type[Stumbling]]]:
    """A home for each statement that a run makes, with a store that fails at that one."""
    for at in range(1, 10_000):
        home = photos.home(memory_path / str(at))
        store = stumbling(at, failure)
        yield home, store
        if store.countdown > 0:
            assert at > 50
            return


def _assert_got_over(
    home: Home, store: type[Stumbling], recalling: CachingExecutor, photos: Photos
) -> None:
    """Work until the store fails; the next start finishes as if nothing had happened."""
    try:
        with home.opened(store, recalling) as service:
            home.run_until_idle(service)
    except type(store.failure):
        with home.opened(executor=recalling) as service:
            home.run_until_idle(service)

    assert photos.outcome == dump(home.settings), home.settings.home
    assert_sound(home.settings)


def test_being_killed_at_any_statement_changes_nothing(
    memory_path: Path, photos: Photos, recalling: CachingExecutor
) -> None:
    """Between any two statements the process may end; the next one finishes the work."""
    for home, store in _all_statements(memory_path, photos, Killed()):
        _assert_got_over(home, store, recalling, photos)


def test_a_store_that_fails_once_is_got_over(
    memory_path: Path, photos: Photos, recalling: CachingExecutor
) -> None:
    """A full disk blocks the service while it is full. Nothing fails, nothing is lost."""
    for home, store in _all_statements(memory_path, photos, StoreError("the disk is full")):
        # At its start the service gives up; systemd starts it again.
        _assert_got_over(home, store, recalling, photos)
