"""The daemon as it really runs: its own process, real workers, signals and a clock that runs."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from portraitd.config import load
from support.home import Dump, assert_sound, connect, dump, person_folders
from support.processes import (
    Daemon,
    NotifySocket,
    children,
    is_alive,
    make_home,
    pids_in,
    portraitd,
    wait_until,
)

LATIN_CLIP = os.fsdecode(b"caf\xe9.mp4")
BAD_FILES = 5


@dataclass
class Day:
    """What was seen of a daemon on a quiet day, from its start to its end."""

    home: Path
    found: Dump
    heard: list[str]
    log: list[dict[str, Any]]
    text: str
    status: dict[str, Any]
    pid: int
    maps: str
    refused: CompletedProcess[str]
    taken_early: list[dict[str, Any]]
    stop_s: float
    exit_code: int


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory, two_people: Path, photographs: list[Path]) -> Day:
    """A photo is dropped by rename, a clip by slow copy, and what lies about in any inbox."""
    home = make_home(tmp_path_factory.mktemp("day") / "home")
    # The path of a socket may not be long.
    systemd = NotifySocket(f"/tmp/portraitd-{os.getpid()}-day.notify")
    with (
        closing(systemd),
        Daemon(home, NOTIFY_SOCKET=systemd.address, WATCHDOG_USEC="1500000") as daemon,
    ):
        wait_until(systemd.listen, "the daemon is ready")
        drop(photographs[0], home, "photo.png")
        drop_bad(home, two_people)

        def read_early() -> list[dict[str, Any]]:
            return [line for line in daemon.log if "caf" in line.get("path", "")]

        for number in drop_slowly(two_people, home, LATIN_CLIP):
            if number == 0:
                wait_until(read_early, "the service has seen it")
            # A writer that pauses, but for less than the quiet time.
            time.sleep(0.1)
        early = read_early()
        wait_until(lambda: systemd.listen() and daemon.has_settled(), "all is done")
        pings = systemd.listen().count("WATCHDOG=1")
        wait_until(lambda: systemd.listen().count("WATCHDOG=1") >= pings + 3, "three pings")
        status = daemon.status()
        refused = portraitd("run", "--home", home)
        maps = Path(f"/proc/{daemon.process.pid}/maps").read_text()
        # Its queue is short, and full by now if nobody listened meanwhile.
        systemd.listen()
        began_s = time.monotonic()
        exit_code = daemon.stop()
        stop_s = time.monotonic() - began_s
        return Day(
            home=home,
            found=dump(load(home)),
            heard=systemd.listen(),
            log=daemon.log,
            text=daemon.text,
            status=status,
            pid=daemon.process.pid,
            maps=maps,
            refused=refused,
            taken_early=early,
            stop_s=stop_s,
            exit_code=exit_code,
        )


def drop(source: Path, home: Path, name: str) -> None:
    """Whole at once: by rename."""
    beside = home / "beside"
    shutil.copyfile(source, beside)
    beside.rename(home / "inbox" / name)


def drop_slowly(source: Path, home: Path, name: str, pieces: int = 12) -> Iterator[int]:
    """As over a slow network; between two pieces the caller may look."""
    data = source.read_bytes()
    size = -(-len(data) // pieces)
    with (home / "inbox" / name).open("wb") as file:
        for number in range(pieces):
            file.write(data[number * size : (number + 1) * size])
            file.flush()
            yield number


def drop_bad(home: Path, clip: Path) -> None:
    inbox = home / "inbox"
    (inbox / "empty.mp4").write_bytes(b"")
    (inbox / "text.mp4").write_text("no video\n" * 100)
    (inbox / "truncated.mp4").write_bytes(clip.read_bytes()[:100_000])
    os.mkfifo(inbox / "pipe.mp4")
    (inbox / "link.mp4").symlink_to("photo.png")


def without_names(found: Dump) -> tuple[object, ...]:
    """What two runs must agree on that dropped the same under other names."""
    slices = {key: value[1:] for key, value in found.slices.items()}
    return found.videos, slices, found.faces, found.people, found.folders, found.unsorted


# --- A quiet day.


def test_there_is_a_folder_for_each_person(day: Day) -> None:
    """Both women of the clip, the first of whom is in the photo too."""
    assert 2 == len(person_folders(day.home / "people"))
    assert [5, 6] == sorted(map(len, day.found.people))
    assert_sound(load(day.home))


def test_a_file_is_not_touched_while_it_is_copied(day: Day) -> None:
    """Until the last byte it only waits."""
    assert ["file_waiting"] == [line["event"] for line in day.taken_early]
    assert "done" == day.found.files[os.fsencode(LATIN_CLIP)][0]


def test_bad_files_harm_nobody(day: Day) -> None:
    """Each has a reason of its own; they are in the log, and in ``status``."""
    failed = [line for line in day.log if line["event"] == "file_failed"]

    assert {"failed": BAD_FILES, "done": 2} == day.status["files"]
    assert BAD_FILES == len({one["reason"] for one in day.status["problems"]})
    assert BAD_FILES == len(failed)
    assert all(line["reason"] for line in failed)


def test_every_line_of_the_log_is_json(day: Day) -> None:
    """For the journal: each names its room, and no library's warning is among them."""
    assert len(day.text.splitlines()) == len(day.log)
    assert all({"event", "level", "timestamp", "stage"} <= line.keys() for line in day.log)
    assert {"info", "warning"} == {line["level"] for line in day.log}


def test_the_daemon_itself_loads_no_heavy_library(day: Day) -> None:
    """Decoding and detection live in the workers: their crashes and their memory too."""
    assert "libpython" in day.maps or "python" in day.maps
    assert not [
        name for name in ("cv2", "dlib", "scipy/", "sklearn", "onnxruntime") if name in day.maps
    ]


def test_a_second_daemon_is_refused(day: Day) -> None:
    """With one line that names the first, and a code that keeps systemd from trying again."""
    assert 75 == day.refused.returncode
    assert [day.pid] == pids_in(day.refused.stderr)
    assert 1 == len(day.refused.stderr.strip().splitlines())


def test_systemd_is_told(day: Day) -> None:
    """READY after a start that may take long, WATCHDOG while it turns, STOPPING at its end.

    In between, what it is doing.
    """
    statuses = [line for line in day.heard if line.startswith("STATUS=")]
    assert ["EXTEND_TIMEOUT_USEC=3600000000", "READY=1"] == day.heard[:2]
    assert 1 == day.heard.count("READY=1")
    assert 1 == day.heard.count("STOPPING=1")
    assert {"WATCHDOG=1", "STOPPING=1"} == {*day.heard[2:]} - {*statuses}
    assert {"STATUS=Finding faces", "STATUS=Idle: waiting for files"} <= {*statuses}


def test_an_idle_service_ends_at_once(day: Day) -> None:
    """With code 0: systemd takes it for a success."""
    assert 0 == day.exit_code
    assert 10.0 > day.stop_s


# --- Days that are not quiet.


@pytest.fixture
def home(tmp_path: Path, two_people: Path, photographs: list[Path]) -> Path:
    """The same clip, photo and bad files lie there already."""
    found = make_home(tmp_path / "home")
    drop(two_people, found, "clip.mp4")
    drop(photographs[0], found, "photo.png")
    drop_bad(found, two_people)
    return found


def finish(home: Path) -> None:
    """Start once more, and let it end by itself."""
    with Daemon(home, "--until-idle") as daemon:
        assert 0 == daemon.process.wait(120), daemon.text


def test_a_signal_parks_the_work(home: Path, day: Day) -> None:
    """In the middle of a video: within 20 s, with code 0; no attempt is counted for it."""
    with Daemon(home) as daemon:
        daemon.wait_for("slice_started", 2)
        family = children(daemon.process.pid)
        began_s = time.monotonic()
        exit_code = daemon.stop(signal.SIGINT)
        stop_s = time.monotonic() - began_s
        wait_until(lambda: not any(map(is_alive, family)), "its workers have ended")
    with closing(connect(load(home).state_dir)) as db:
        running = db.execute("select * from slices where state = 'running'").fetchall()
    finish(home)

    assert 0 == exit_code
    assert 20.0 > stop_s
    assert [] == running
    with closing(connect(load(home).state_dir)) as db:
        assert {1} == {row["attempts"] for row in db.execute("select * from slices")}
    assert without_names(day.found) == without_names(dump(load(home)))
    assert_sound(load(home))


@pytest.mark.slow
def test_killed_again_and_again_nothing_is_lost_or_doubled(home: Path, day: Day) -> None:
    """``kill -9`` after each kind of step; in the end it is as on a quiet day."""
    for event in ("file_encoding", "slice_started", "slice_encoded", "grouping_finished"):
        with Daemon(home) as daemon:
            daemon.wait_for(event)
            family = children(daemon.process.pid)
            daemon.process.kill()
            wait_until(lambda family=family: not any(map(is_alive, family)), "workers have ended")
    finish(home)

    assert without_names(day.found) == without_names(dump(load(home)))
    assert_sound(load(home))


def test_a_killed_worker_costs_a_retry(home: Path, day: Day) -> None:
    """The daemon goes on with another worker."""
    with Daemon(home, "--until-idle") as daemon:
        daemon.wait_for("slice_started", 2)
        for pid in children(daemon.process.pid):
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        assert 0 == daemon.process.wait(120)
        lost = [line for line in daemon.log if line["event"] == "slice_lost"]

    assert {"the worker was killed by SIGKILL"} == {line["reason"] for line in lost}
    assert without_names(day.found) == without_names(dump(load(home)))
    assert_sound(load(home))
