"""Events wake, looking decides: what happens where none come, or not all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.media import write_pattern_clip
from support.processes import Daemon, make_home, wait_until

INJECTED = "inotify_init,inotify_init1,inotify_add_watch"

needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
needs_bindfs = pytest.mark.skipif(
    not shutil.which("bindfs") or os.getuid() != 0 or not Path("/dev/fuse").exists(),
    reason="bindfs, root and /dev/fuse are needed",
)


def drop(folder: Path, name: str) -> None:
    """A clip that is whole when it appears."""
    beside = write_pattern_clip(folder.parent / f"{name}.mp4", 20)
    shutil.move(beside, folder / f"{name}.mp4")


def under_strace(fault: str) -> list[str]:
    """As a grandchild, so that the process that is started is the service."""
    return ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={INJECTED}",
            "-e", f"inject={fault}"]  # fmt: skip


@needs_strace
@pytest.mark.parametrize(
    "fault",
    [
        "inotify_init,inotify_init1:error=EMFILE",
        "inotify_add_watch:error=ENOSPC",
        "inotify_add_watch:retval=1",
    ],
    ids=["no instance is left", "no watch is left", "nothing is heard"],
)
def test_without_events_the_scan_finds_everything(tmp_path: Path, fault: str) -> None:
    """Also in a new folder; the service does not end, and says that it only scans."""
    home = make_home(tmp_path / "home")
    with Daemon(home, under=under_strace(fault)) as daemon:
        daemon.wait_for("service_started")
        drop(home / "inbox", "first")
        daemon.wait_for("video_done")
        (home / "inbox" / "new").mkdir()
        drop(home / "inbox" / "new", "second")
        wait_until(
            lambda: 2 == daemon.status()["files"].get("done", 0) + duplicates(daemon), "both"
        )
        started = next(line for line in daemon.log if line["event"] == "service_started")
        if "error" in fault:
            assert "scan" == started["watching"]
            # Once for each of three folders, however often it is tried again.
            assert 3 == daemon.events().count("folder_not_watched")
        assert 0 == daemon.stop(signal.SIGTERM)


def duplicates(daemon: Daemon) -> int:
    """The second clip has the content of the first."""
    return int(daemon.status()["files"].get("duplicate", 0))


@contextmanager
def other_side(home: Path, backing: Path) -> Iterator[Callable[[], None]]:
    """The inbox as a network mount: written on the other side. Yields what cuts it off."""
    (home / "inbox").mkdir(exist_ok=True)
    backing.mkdir()
    served = subprocess.Popen(["bindfs", "-f", backing, home / "inbox"])
    try:
        wait_until(lambda: os.path.ismount(home / "inbox"), "it is mounted")
        yield served.kill
    finally:
        subprocess.run(["umount", "-l", home / "inbox"], check=False)
        served.kill()
        served.wait()


@needs_bindfs
def test_what_is_written_on_the_other_side_of_a_mount_is_found(tmp_path: Path) -> None:
    """No event comes through; the mode says so. When the mount breaks nothing counts as gone."""
    home, backing = make_home(tmp_path / "home"), tmp_path / "backing"
    with other_side(home, backing) as break_it, Daemon(home) as daemon:
        daemon.wait_for("service_started")
        drop(backing, "clip")
        daemon.wait_for("video_done")
        mode = next(line for line in daemon.log if line["event"] == "inbox_mode")
        assert mode["remote"]
        assert {"done": 1} == daemon.status()["files"]

        break_it()
        daemon.wait_for("inbox_unavailable")

        assert {"done": 1} == daemon.status()["files"]
        assert 0 == daemon.stop(signal.SIGTERM)
