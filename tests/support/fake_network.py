"""A network that is a table: the test says who is there, and what each answers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from portraitd import __version__
from portraitd.service.remote import agent
from portraitd.service.remote.agent import Handshake, RemoteJob
from portraitd.service.remote.file_cache import Received
from portraitd.service.remote.registry import Heartbeat, Roster
from portraitd.service.remote.remote_executor import DaskExecutor
from support.dask_cluster import terms

NAME = "dlib-resnet-v1 by dlib, hog"


class Table:
    """A network where the test says who is there and what each answers."""

    address = "tcp://table"
    dashboard = "http://table/status"

    def __init__(self, folder: Path) -> None:
        self.there: dict[str, int] | None = {}
        self.births: dict[str, str] = {}
        self.session = 0
        self.started: list[tuple[str, RemoteJob, Future[Any]]] = []
        self.forgotten: list[Future[Any]] = []
        self.introductions: dict[str, Handshake] = {}
        self.asked: dict[str, Future[Any]] = {}
        self.received = Received(folder / "received")
        self.calls: list[tuple[str, int]] = []

    def workers(self) -> Roster | None:
        if self.there is None:
            return None
        return Roster(
            self.session,
            {
                address: Heartbeat(threads, self.births.get(address, ""))
                for address, threads in self.there.items()
            },
        )

    def ask(self, address: str, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        assert fn is agent.introduce
        self.asked[address] = Future()
        if said := self.introductions.get(address):
            self.asked[address].set_result(said)
        return self.asked[address]

    def start(self, address: str, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        assert fn is agent.carry_out
        future: Future[Any] = Future()
        self.started.append((address, args[0], future))
        return future

    def call(self, address: str, fn: Callable[..., Any], *args: Any) -> Any:
        assert fn is agent.take_chunk
        self.calls.append((address, len(args[3])))
        return self.received.take(*args)

    def forget(self, outer: Future[Any]) -> None:
        self.forgotten.append(outer)

    def close(self) -> None:
        self.there = None

    def on(self, address: str) -> list[RemoteJob]:
        """What a worker was given."""
        return [order for place, order, _ in self.started if place == address]


class Floor:
    """An executor at a table, and the time."""

    def __init__(self, folder: Path, **asked: Any) -> None:
        self.table = Table(folder)
        self.now_s = 0.0
        self.rings = 0
        self.executor = DaskExecutor(
            self.table,
            terms(identity=NAME, answer_limit_s=100.0, **asked),
            self._ring,
            lambda: self.now_s,
            look_s=0.0,
        )

    def _ring(self) -> None:
        self.rings += 1

    def meet(self, address: str, processes: int = 1, **said: Any) -> None:
        """A worker comes and says who it is."""
        usual = Handshake(f"host of {address}", __version__, NAME, True, "")
        self.table.introductions[address] = usual._replace(**said)
        self.table.there = (self.table.there or {}) | {address: processes}
        self.executor.look()

    def lose(self, address: str) -> None:
        assert self.table.there
        del self.table.there[address]
        self.executor.look()
