"""The real daemon and commands, as systemd or a person starts them, and waiting for processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.built_networks import add_built_networks

CONFIG = """\
[inbox]
quiet_s = 0.4
quiet_remote_s = 0.4
unfinished_s = 1.0
scan_s = 1.0
[sampling]
fps = 0.5
[encoder]
detector = "hog"
[detection]
upsample = 0
[workers]
count = 2
nice = 0
slice_s = 5.0
[grouping]
min_samples = 3
settle_s = 0.0
[review]
portraits_per_track = 0
scan_s = 2.0
settle_s = 0.5
"""
"""As ``support.home.QUICK``, with times for a real clock."""

ENDED_S = 60.0

TESTS = Path(__file__).parents[1]
"""Where ``support`` is imported from."""


def make_home(folder: Path, *, is_slow: bool = False) -> Path:
    """Create a home with the settings above and a network that every daemon would build.

    Args:
        folder: Where.
        is_slow: Whether dlib itself embeds faces, so that a test can find a worker at work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    slow = CONFIG.replace("[encoder]\n", '[encoder]\nkind = "dlib"\n')
    (folder / "config.toml").write_text(slow if is_slow else CONFIG)
    (folder / "inbox").mkdir(exist_ok=True)
    add_built_networks(folder / "state" / "models")
    return folder


def portraitd(*arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "portraitd", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=environment(**more),
    )


def environment_for_support(**more: str) -> dict[str, str]:
    """Return the environment for a program that imports ``support``."""
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return environment(PYTHONPATH=path, **more)


def environment(**more: str) -> dict[str, str]:
    """Return the environment for a command, without variables that would affect the test."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PORTRAITD_", "NOTIFY_", "WATCHDOG_", "PYTHONUNBUFFERED"))
    }
    # The output for scripts does not depend on the locale.
    return kept | {"COLUMNS": "200", "NO_COLOR": "1", **more}


def wait_until(condition: Callable[[], object], what: str, seconds: float = 120.0) -> None:
    """Poll until a condition holds; fail after ``seconds``."""
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, f"after {seconds:.0f} s still not: {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def children(pid: int) -> set[int]:
    """Return the child processes of a process.

    The kernel's own list (``/proc/PID/task/TID/children``) skips some while others end.
    """
    return {
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and _parent_of(entry) == pid
    }


def descendants(*pids: int) -> set[int]:
    """Return the processes that these started, and those that these started in turn."""
    found, new = set(), set(pids)
    while new:
        new = {child for pid in new for child in children(pid)} - found
        found |= new
    return found


def _parent_of(entry: Path) -> int | None:
    try:
        status = (entry / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(status.rpartition(")")[2].split()[1])


class Daemon:
    """``portraitd run`` in a process of its own, and its log."""

    def __init__(self, home: Path, *arguments: str, under: Sequence[str] = (), **more: str) -> None:
        self.home = home
        self._log_path = home / f"log-{len(list(home.glob('log-*')))}"
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*under, sys.executable, "-m", "portraitd", "run", "--home", home, *arguments],
                stdout=log,
                stderr=log,
                env=environment(**more),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        family = children(self.process.pid)
        self.process.kill()
        self.process.wait()
        wait_until(lambda: not any(map(is_alive, family)), "no worker is left")
        if error is not None:
            print(self._log_path.read_text())

    @property
    def log(self) -> list[dict[str, Any]]:
        """Every complete line it has written so far."""
        lines = self._log_path.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    @property
    def text(self) -> str:
        return self._log_path.read_text()

    def events(self) -> list[str]:
        return [line["event"] for line in self.log]

    def wait_for(self, event: str, times: int = 1, seconds: float = 120.0) -> None:
        """Wait for a log event; fail if the daemon ends meanwhile."""

        def is_logged() -> bool:
            ended = self.process.poll()
            found = self.events().count(event) >= times
            assert found or ended is None, f"ended with {ended}: {self.text}"
            return found

        wait_until(is_logged, f"{event} was logged", seconds)

    def has_settled(self) -> bool:
        """Return whether every file is processed and the people tree shows all faces."""
        assert self.process.poll() is None, self.text
        events = self.events()
        if (
            not events.count("video_done") == events.count("file_encoding") > 0
            or not events.count("people_published") == events.count("grouping_finished") > 0
        ):
            return False
        # A program that takes as long to start as the service to go on.
        status = self.status()
        busy = {"waiting", "ready", "probing", "encoding"}
        return not busy & status["files"].keys() and (
            status["grouping"]["faces"] == status["faces"]
        )

    def status(self) -> dict[str, Any]:
        """Return the output of ``portraitd status --json``."""
        found: dict[str, Any] = json.loads(
            portraitd("status", "--json", "--home", self.home).stdout
        )
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end. Returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(ENDED_S)


class NotifySocket:
    """The systemd side of the notification protocol."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # Of a process of the same number that was killed.
        Path(address).unlink(missing_ok=True)
        self._socket.bind(address)
        self._socket.setblocking(False)
        self.received: list[str] = []

    def listen(self) -> list[str]:
        """Return every message received so far."""
        while True:
            try:
                self.received.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return self.received

    def close(self) -> None:
        self._socket.close()
        Path(self.address).unlink(missing_ok=True)


def pids_in(text: str) -> list[int]:
    """Return the process ids that a text names."""
    return [int(number) for number in re.findall(r"process (\d+)", text)]
