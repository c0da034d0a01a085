"""Disks that are full, shares that are away, read-only or hang: said, survived, and gone again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from portraitd.model.errors import StoreError
from portraitd.model.stage import Now
from portraitd.service.daemon import open_service
from portraitd.service.health import FILE_NAME as HEALTH
from portraitd.service.health import Health, write_heartbeat
from portraitd.service.home import open_home
from portraitd.service.pipeline import Service
from portraitd.service.share_probe import ShareProbe
from portraitd.service.wakeup import Doorbell
from portraitd.store.database import Database
from support.home import Home, assert_sound, connect, person_folders
from support.mounts import Mount, mounting
from support.processes import make_home, portraitd, wait_until


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts something on a folder; taken away again afterwards."""
    with mounting(tmp_path) as carry_out:
        yield carry_out


@pytest.fixture
def fuse(tmp_path: Path) -> Iterator[Callable[[Path], subprocess.Popen[bytes]]]:
    """Shows a folder through a file system that another process serves, as a share is."""
    if shutil.which("bindfs") is None or not os.access("/dev/fuse", os.W_OK):
        pytest.skip("needs bindfs, and FUSE")
    served: list[tuple[subprocess.Popen[bytes], Path]] = []

    def serve(folder: Path) -> subprocess.Popen[bytes]:
        backing = folder.rename(folder.with_name(f"{folder.name} on the server"))
        folder.mkdir()
        server = subprocess.Popen(["bindfs", "-f", str(backing), str(folder)])
        served.append((server, folder))
        wait_until(lambda: os.path.ismount(folder), "the share is mounted")
        return server

    yield serve
    for server, folder in served:
        server.send_signal(signal.SIGCONT)
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)
        server.kill()
        server.wait()


def fill(folder: Path) -> Path:
    """Leave no room at all."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue
    return filler


def turns(home: Home, service: Service, count: int) -> None:
    for _ in range(count):
        home.tick(service)


def blocked_turns(home: Home, service: Service, count: int) -> list[str]:
    """Tick; return why the service was blocked at each tick from the first one on.

    Nothing wakes it, so most ticks try nothing.
    """
    reasons: list[str] = []
    home.tick(service)
    for _ in range(count):
        home.steady_s += 1.0
        service.tick(home.now, woken=False)
        if reasons or service.blocked:
            reasons.append(service.blocked.text)
    return reasons


def failed(home: Home) -> list[str]:
    return [path for path, state in home.states().items() if state == "failed"]


def test_a_full_state_disk_blocks_until_there_is_room(
    tmp_path: Path, mount: Mount, two_people: Path, photographs: list[Path]
) -> None:
    """Nothing is marked failed; the reason is said, also in a file on that disk."""
    state = mount("state", "-t", "tmpfs", "-o", "size=12m", "tmpfs")
    home = Home(tmp_path / "home", paths={"state": state}, inbox={"quiet_s": 0.0})
    home.drop(photographs[0], "photo.jpg")
    with home.opened() as service:
        home.run_until_idle(service)
        write_heartbeat(state, Health(1, 1.0))
        filler = fill(state)
        home.drop(two_people, "clip.mp4")
        reasons = blocked_turns(home, service, 40)
        blocked, idle = service.blocked.text, service.idle
        write_heartbeat(state, Health(1, 2.0, blocked, 1.0))
        said = (state / HEALTH).read_text()
        filler.unlink()
        home.run_until_idle(service)

    assert 25 < len(reasons)
    assert all(reasons)
    assert "full" in blocked
    assert not idle
    assert blocked in said
    assert [] == failed(home)
    assert not service.blocked
    assert 2 == len(person_folders(home.people))
    assert_sound(home.settings)


@pytest.mark.parametrize("free_kb", [10, 350])
def test_a_full_disk_with_small_blocks_is_an_error(
    tmp_path: Path, mount: Mount, free_kb: int
) -> None:
    """SQLite's shared memory has holes there: writing to them would end the process (SIGBUS)."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(12 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-b", "1024", "-O", "^has_journal", image], check=True)
    state = mount("state", "-o", "loop", str(image))
    with Database.open(state) as database:
        database.execute("insert into people (name, created_at) values ('Ann', 1.0)")
    filler = fill(state)
    os.truncate(filler, (filler.stat().st_size & ~1023) - (free_kb << 10))
    code = (
        "import pathlib, sys\n"
        "from portraitd.model.errors import StoreError\n"
        "from portraitd.store.database import Database\n"
        "for door in (Database.open_to_read, Database.open):\n"
        "    try:\n"
        "        database = door(pathlib.Path(sys.argv[1]))\n"
        "        while door == Database.open:\n"
        "            with database.transaction():\n"
        "                database.execute('update people set name = name || name')\n"
        "    except StoreError as error:\n"
        "        print(error)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, state], capture_output=True, text=True, check=False
    )

    assert 0 == ended.returncode, ended.stderr
    assert "No space left on device" in ended.stdout or "full" in ended.stdout
    filler.unlink()
    with Database.open(state) as database:
        assert [] == database.problems()


def test_a_full_people_disk_blocks_the_tree_alone(
    tmp_path: Path, mount: Mount, two_people: Path
) -> None:
    """Faces are found and grouped; the tree follows when there is room."""
    people = mount("people", "-t", "tmpfs", "-o", "size=1m", "tmpfs")
    home = Home(tmp_path / "home", paths={"people": people}, inbox={"quiet_s": 0.0})
    home.drop(two_people, "clip.mp4")
    with home.opened() as service:
        filler = fill(people)
        reasons = blocked_turns(home, service, 60)
        blocked, grouping_runs = service.blocked.text, len(home.rows("grouping_runs"))
        filler.unlink()
        mount("people", "-o", "remount,size=64m")
        home.run_until_idle(service)

    assert 25 < len(reasons)
    assert all(reasons)
    assert "No space left" in blocked
    assert 1 == grouping_runs
    assert [] == failed(home)
    assert 2 == len(person_folders(people))
    assert_sound(home.settings)


@pytest.mark.exhaustive
def test_process_gives_up_on_a_full_disk_and_status_says_so(
    tmp_path: Path, mount: Mount, photographs: list[Path]
) -> None:
    """Within some tries, with a code and one line; the next one carries on.

    It waits for a minute; in ``tests/service/test_daemon.py`` the time is passed in.
    """
    home = make_home(tmp_path / "home")
    people = mount("home/people", "-t", "tmpfs", "-o", "size=200k", "tmpfs")
    filler = fill(people)
    arguments = ("--home", home)
    ended = portraitd("process", *arguments, photographs[0])
    status = portraitd("status", *arguments)
    facts = json.loads(portraitd("status", "--json", *arguments).stdout)
    filler.unlink()
    again = portraitd("process", *arguments, photographs[0])

    assert 74 == ended.returncode, ended.stderr
    assert "portraitd: gave up after 60 s: " in ended.stderr
    assert "No space left" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert 1 == status.returncode
    assert "not running, BLOCKED since" in status.stdout
    assert ("publishing_failed", False) == (facts["service"]["blocked_code"], facts["healthy"])
    assert 0 == again.returncode, again.stderr
    assert 0 == portraitd("status", *arguments).returncode


def test_a_tree_that_is_read_only_is_written_when_it_is_not(
    tmp_path: Path, mount: Mount, two_people: Path
) -> None:
    """As after an error of the disk, or a share mounted by mistake."""
    people = mount("people", "-t", "tmpfs", "tmpfs")
    home = Home(tmp_path / "home", paths={"people": people}, inbox={"quiet_s": 0.0})
    with home.opened() as service:
        mount("people", "-o", "remount,ro")
        home.drop(two_people, "clip.mp4")
        turns(home, service, 30)
        blocked = service.blocked.text
        mount("people", "-o", "remount,rw")
        home.run_until_idle(service)

    assert "Read-only" in blocked
    assert 2 == len(person_folders(people))
    assert_sound(home.settings)


def test_a_share_that_is_away_gets_nothing_written_in_its_place(
    tmp_path: Path, mount: Mount, two_people: Path, photographs: list[Path]
) -> None:
    """Neither while the service runs, nor when it is started meanwhile."""
    server = tmp_path / "server"
    server.mkdir()
    people = mount("people", "--bind", str(server))
    home = Home(tmp_path / "home", paths={"people": people}, inbox={"quiet_s": 0.0})
    home.drop(photographs[0], "photo.jpg")
    with home.opened() as service:
        home.run_until_idle(service)
        subprocess.run(["umount", "-l", str(people)], check=True)
        home.drop(two_people, "clip.mp4")
        turns(home, service, 30)
        running = service.blocked.text
    with home.opened() as service:
        turns(home, service, 30)
        started = service.blocked.text
        in_its_place = os.listdir(people)
    people.rmdir()
    open_home(home.settings)
    with home.opened() as service:
        turns(home, service, 30)
        without_folder = service.blocked.text
        is_created = people.exists()
        mount("people", "--bind", str(server))
        home.run_until_idle(service)

    assert "the share may not be mounted" in running
    assert "the share may not be mounted" in started
    assert [] == in_its_place
    assert "people: No such file" in without_folder
    assert not is_created
    assert 2 == len(person_folders(people))
    assert_sound(home.settings)


def answers(share: ShareProbe) -> bool:
    """Probe a share."""
    share.tick(Now.read())
    return not share.blocked


def test_a_share_that_hangs_stops_nothing_else(
    tmp_path: Path,
    fuse: Callable[[Path], subprocess.Popen[bytes]],
    two_people: Path,
) -> None:
    """The loop turns, faces are found; the tree follows when the share answers again."""
    home = Home(tmp_path / "home", inbox={"quiet_s": 0.0})
    server = fuse(home.people)
    with home.opened() as service:
        service.people_share.timeout_s = 0.3
        home.tick(service)
        server.send_signal(signal.SIGSTOP)
        home.drop(two_people, "clip.mp4")
        turns(home, service, 30)
        blocked, grouping_runs = service.blocked.text, len(home.rows("grouping_runs"))
        server.send_signal(signal.SIGCONT)
        wait_until(lambda: answers(service.people_share), "the share answers")
        home.run_until_idle(service)

    assert "does not respond" in blocked
    assert 1 == grouping_runs
    assert 2 == len(person_folders(home.people))
    assert_sound(home.settings)


def test_an_inbox_that_hangs_lets_the_rest_go_on(
    tmp_path: Path, fuse: Callable[[Path], subprocess.Popen[bytes]], photographs: list[Path]
) -> None:
    """What lies in it is taken when it answers again."""
    home = Home(tmp_path / "home", inbox={"quiet_s": 0.0})
    server = fuse(home.inbox)
    with home.opened() as service:
        service.inbox_share.timeout_s = 0.3
        home.tick(service)
        home.drop(photographs[0], "photo.jpg")
        server.send_signal(signal.SIGSTOP)
        turns(home, service, 12)
        blocked = service.blocked.text
        server.send_signal(signal.SIGCONT)
        wait_until(lambda: answers(service.inbox_share), "the share answers")
        home.run_until_idle(service)

    assert "does not respond" in blocked
    assert {"photo.jpg": "done"} == home.states()


def test_a_share_whose_server_died_is_away(
    tmp_path: Path,
    fuse: Callable[[Path], subprocess.Popen[bytes]],
    two_people: Path,
) -> None:
    """Every call fails at once (ENOTCONN): blocked, and nothing is taken for removed."""
    home = Home(tmp_path / "home", inbox={"quiet_s": 0.0})
    server = fuse(home.people)
    with home.opened() as service:
        home.tick(service)
        server.kill()
        server.wait()
        home.drop(two_people, "clip.mp4")
        turns(home, service, 30)
        blocked = service.blocked.text
        subprocess.run(["umount", "-l", str(home.people)], check=True)
        home.people.rmdir()
        home.people.with_name("people on the server").rename(home.people)
        home.run_until_idle(service)

    assert "not connected" in blocked
    assert 2 == len(person_folders(home.people))
    assert_sound(home.settings)


def test_a_service_does_not_start_on_a_share_that_hangs(
    tmp_path: Path, fuse: Callable[[Path], subprocess.Popen[bytes]]
) -> None:
    """It ends with a line that says why, and systemd tries again."""
    home = Home(tmp_path / "home")
    server = fuse(home.people)
    server.send_signal(signal.SIGSTOP)

    with (
        pytest.raises(StoreError, match="does not respond"),
        open_service(home.settings, Doorbell()),
    ):
        pass


def test_a_grouping_run_that_cannot_write_says_so(
    tmp_path: Path, mount: Mount, photographs: list[Path]
) -> None:
    """The reason stands in the status until a grouping succeeds; the old people stay."""
    state = mount("state", "-t", "tmpfs", "-o", "size=12m", "tmpfs")
    home = Home(
        tmp_path / "home",
        paths={"state": state},
        inbox={"quiet_s": 0.0},
        grouping={"settle_s": 90.0},
    )
    home.drop(photographs[0], "photo.jpg")
    with home.opened() as service:
        turns(home, service, 20)
        filler = fill(state)
        turns(home, service, 120)
        blocked = service.blocked.text
        filler.unlink()
        turns(home, service, 120)
        after = service.blocked.text

    with closing(connect(state)) as db:
        grouping_runs = db.execute("select count(*) from grouping_runs").fetchone()[0]
    assert blocked
    assert "" == after
    assert 1 == grouping_runs
