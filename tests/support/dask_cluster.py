"""A real scheduler and real workers on this machine."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from portraitd.config import SchedulerAddress
from portraitd.service.remote.dask_client import Cluster
from portraitd.service.remote.registry import Requirements
from portraitd.service.remote.remote_executor import DaskExecutor
from portraitd.workers.process import WorkerLimits
from support.processes import descendants, environment_for_support, is_alive, wait_until

LIMITS = WorkerLimits(nice=3, memory_mb=4000, time_limit_s=3.0)
QUICK_LOSS = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "4s",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "6s",
}
"""Dask settings: a disconnected worker is dropped after seconds, not minutes."""


def make_requirements(**changed: Any) -> Requirements:
    """Make the requirements for workers that run simple jobs."""
    asked: dict[str, Any] = {
        "limits": LIMITS,
        "encoder": None,
        "identity": "",
        "folder_check": None,
        "ahead": 1,
        "cache_bytes": 10**9,
        "answer_limit_s": 60.0,
    }
    return Requirements(**asked | changed)


def free_port() -> int:
    """Return a port of this machine that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A program of the cluster, which logs to a file."""

    def __init__(self, log: Path, command: Sequence[str | Path], **more: str) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=out, env=environment_for_support(**more)
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it, and wait for the end of its child processes."""
        family = descendants(self.pid)
        self.process.kill()
        self.process.wait()
        wait_until(
            lambda: not any(map(is_alive, family)), f"the children of {self.log.name} have ended"
        )


class TestCluster:
    """A scheduler on loopback, and the workers that were added to it."""

    __test__ = False
    host_address = "127.0.0.1"

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        scheduler_options: Sequence[str] = (),
        **more: str,
    ) -> None:
        self.folder = folder
        self._more = more
        self._options = scheduler_options
        self.port = port
        self.file = folder / "scheduler.json"
        self.workers: list[Process] = []
        self._executors: list[DaskExecutor] = []
        self.scheduler = self._start_scheduler()
        # The system chose it if none was given.
        self.port = int(json.loads(self.file.read_text())["address"].rpartition(":")[2])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Where a test fails, its threads would disturb those that follow.
        for executor in self._executors:
            executor.shutdown(cancel_futures=True)
        for process in [*self.workers, self.scheduler]:
            if process.process.poll() is None:
                process.signal(signal.SIGCONT)
                process.kill()
        if error is not None:
            for log in sorted(self.folder.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-3000:]}")

    @property
    def scheduler_address(self) -> SchedulerAddress:
        return SchedulerAddress(f"tcp://{self.host_address}:{self.port}")

    def _start_scheduler(self) -> Process:
        self.file.unlink(missing_ok=True)
        scheduler = Process(
            self.folder / "scheduler.log",
            [
                *(sys.executable, "-m", "distributed.cli.dask_scheduler"),
                *("--host", self.host_address, "--port", str(self.port)),
                *("--dashboard-address", "127.0.0.1:0", "--scheduler-file", self.file),
                *self._options,
            ],
            **self._more,
        )
        # The file exists before it has content.
        wait_until(lambda: self.file.exists() and self.file.read_text().endswith("}"), "scheduler")
        return scheduler

    def restart_scheduler(self) -> None:
        """Kill the scheduler, and start another one in its place."""
        self.scheduler.kill()
        self.scheduler = self._start_scheduler()

    def add_worker(
        self, *options: str, processes: int = 1, address: str = "", **more: str
    ) -> Process:
        """Start ``portraitd worker`` with its own folder."""
        number = len(self.workers)
        worker = Process(
            self.folder / f"worker-{number}.log",
            [
                *(
                    sys.executable,
                    "-m",
                    "portraitd",
                    "worker",
                    address or self.scheduler_address.address,
                ),
                *("--processes", str(processes), "--folder", self.folder / f"worker-{number}"),
                *options,
            ],
            **self._more,
            **more,
        )
        self.workers.append(worker)
        return worker

    def add_plain_worker(self, *options: str) -> Process:
        """Start ``dask worker``, with its nanny."""
        number = len(self.workers)
        worker = Process(
            self.folder / f"worker-{number}.log",
            [
                *(sys.executable, "-m", "distributed.cli.dask_worker"),
                *(f"tcp://127.0.0.1:{self.port}", "--nthreads", "1", "--no-dashboard"),
                *("--local-directory", self.folder / "scratch"),
                *options,
            ],
            PORTRAITD_WORKER_DIR=str(self.folder / f"worker-{number}"),
            **self._more,
        )
        self.workers.append(worker)
        return worker

    def connect(self, **changed: Any) -> DaskExecutor:
        """Return an executor that is connected to the cluster; it is shut down with that."""
        executor = DaskExecutor(
            Cluster(self.scheduler_address), make_requirements(**changed), poll_s=0.2
        )
        self._executors.append(executor)
        return executor


def accepted(executor: DaskExecutor) -> list[str]:
    """Return the addresses of workers that get jobs."""
    return [worker.address for worker in executor.workers() if worker.state == "accepted"]
