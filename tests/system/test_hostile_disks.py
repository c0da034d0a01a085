"""Disks that change under the service: read-only, out of inodes, one page at a time, elsewhere."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from portraitd.cli import options
from portraitd.ingest.mounts import read_token
from portraitd.model.stage import Now
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.service.pipeline import Service
from portraitd.store.database import Database
from support.home import START_S, Home, assert_sound, contents, person_folders
from support.mounts import Mount, mounting
from support.processes import Daemon, make_home, portraitd
from support.tree import picture_of

YEAR_S = 365.0 * 86_400.0


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts something on a folder; taken away again afterwards."""
    with mounting(tmp_path) as carry_out:
        yield carry_out


def turns(home: Home, service: Service, count: int, seconds: float = 1.0) -> None:
    for _ in range(count):
        home.steady_s += seconds - 1.0
        home.tick(service)


@pytest.mark.slow
def test_a_state_that_is_read_only_is_used_when_it_is_not(
    tmp_path: Path, mount: Mount, photographs: list[Path]
) -> None:
    """The kernel refuses that under an open database; so it is found at a start."""
    home = make_home(tmp_path / "home")
    mount("home/state", "-t", "tmpfs", "-o", "mode=700", "tmpfs")
    assert 0 == portraitd("process", "--home", home, photographs[0]).returncode
    mount("home/state", "-o", "remount,ro")
    refused = portraitd("process", "--home", home, photographs[1])
    mount("home/state", "-o", "remount,rw")
    done = portraitd("process", "--home", home, photographs[1])

    assert options.EXIT_UNAVAILABLE == refused.returncode
    assert refused.stderr.splitlines()[-1].endswith("state/lock: Read-only file system")
    assert 0 == done.returncode, done.stderr


def test_an_inbox_that_becomes_read_only_keeps_its_files(
    tmp_path: Path, mount: Mount, photographs: list[Path]
) -> None:
    """Done files cannot be moved then; they are when they can."""
    mount("home/inbox", "-t", "tmpfs", "tmpfs")
    home = Home(tmp_path / "home", inbox={"quiet_s": 0.0, "after": "move"})
    home.drop(photographs[0], "a.jpg")
    with home.opened() as service:
        home.tick(service)
        mount("home/inbox", "-o", "remount,ro")
        turns(home, service, 30)
        states = home.states()
        mount("home/inbox", "-o", "remount,rw")
        turns(home, service, 5)

    assert {"a.jpg": "done"} == states
    assert {"processed/a.jpg": "done"} == home.states()
    assert (home.inbox / "processed" / "a.jpg").is_file()


@pytest.mark.parametrize("place", ["people", "state"])
def test_without_a_free_inode_it_waits(
    tmp_path: Path, mount: Mount, photographs: list[Path], place: str
) -> None:
    """There is space, and no file can be made."""
    folder = mount(place, "-t", "tmpfs", "-o", "size=64m,nr_inodes=200", "tmpfs")
    home = Home(tmp_path / "home", paths={place: folder}, inbox={"quiet_s": 0.0})
    home.drop(photographs[0], "a.jpg")
    with home.opened() as service:
        home.tick(service)
        used = folder / "used"
        used.mkdir()
        with pytest.raises(OSError, match="No space left"):
            for number in range(200):
                (used / f"{number}").touch()
        turns(home, service, 40)
        blocked = service.blocked.text
        shutil.rmtree(used)
        home.run_until_idle(service)

    if place == "people":
        assert "No space left" in blocked
    assert {"a.jpg": "done"} == home.states()
    assert_sound(home.settings)


def test_a_publication_that_fails_at_each_write_is_completed(
    tmp_path: Path, mount: Mount, two_found: Home
) -> None:
    """The disk grows by one page after each failure: whatever was half written is not shown."""
    people = mount("people", "-t", "tmpfs", "-o", "size=64k", "tmpfs")
    home = Home(tmp_path / "home", paths={"people": people}, grouping={"method": "people"})
    shutil.copytree(two_found.settings.state_dir, home.settings.state_dir, dirs_exist_ok=True)
    with Database.open(home.settings.state_dir) as database:
        # Nothing was published there before.
        database.execute("delete from publications")
        PeopleTree(people, store=database.name).create()
    failures, size_kb = 0, 64
    with home.opened() as service:
        while size_kb < 2048:
            turns(home, service, 2, 20.0)
            if service.idle:
                break
            failures += bool(service.blocked)
            size_kb += 12
            mount("people", "-o", f"remount,size={size_kb}k")

    assert failures > 10
    assert 2 == len(person_folders(people))
    assert {contents(one) for one in person_folders(two_found.people)} == {
        contents(one) for one in person_folders(people)
    }
    assert_sound(home.settings)


def test_files_that_vanish_and_come_back_are_done_once(
    tmp_path: Path, photographs: list[Path]
) -> None:
    """As on a share that is mounted and unmounted, at any moment of their way."""
    home = Home(tmp_path / "home", inbox={"quiet_s": 1.0})
    away = tmp_path / "away"
    away.mkdir()
    for number, photograph in enumerate(photographs):
        home.drop(photograph, f"{number}.jpg")
    with home.opened() as service:
        for turn in range(24):
            source, target = (home.inbox, away) if turn % 2 else (away, home.inbox)
            if turn % 3:
                for path in source.glob("*.jpg"):
                    path.rename(target / path.name)
            home.tick(service)
        for path in away.glob("*.jpg"):
            path.rename(home.inbox / path.name)
        home.run_until_idle(service)

    assert {"0.jpg": "done", "1.jpg": "done"} == home.states()
    assert {1} == {row["attempts"] for row in home.rows("slices")}
    assert_sound(home.settings)


def test_a_clock_that_goes_back_by_years_stops_nothing(
    tmp_path: Path, photographs: list[Path]
) -> None:
    """And forward again, in the middle of the work."""
    home = Home(tmp_path / "home", grouping={"method": "dbscan", "min_samples": 1})
    with home.opened() as service:
        for number, photograph in enumerate(photographs):
            home.drop(photograph, f"{number}.jpg")
            for turn in range(30):
                home.steady_s += 1.0
                off_s = (-10.0 * YEAR_S, 0.0, -0.5 * YEAR_S)[turn // 2 % 3]
                service.tick(Now(START_S + home.steady_s + off_s, home.steady_s))
        home.run_until_idle(service)

    assert {"0.jpg": "done", "1.jpg": "done"} == home.states()
    assert 2 == len(person_folders(home.people))
    assert_sound(home.settings)


@pytest.mark.slow
def test_a_home_that_is_mounted_twice_has_one_service(tmp_path: Path, mount: Mount) -> None:
    """And so has a tree that another home sees through a mount."""
    home = make_home(tmp_path / "home")
    twin = mount("twin", "--bind", str(home))
    with Daemon(home) as daemon:
        daemon.wait_for("service_started")
        refused = portraitd("run", "--home", twin)
        shutil.copytree(home / "state", tmp_path / "copy" / "state")
        copy = make_home(tmp_path / "copy")
        mount("copy/people", "--bind", str(home / "people"))
        locked_out = portraitd("run", "--home", copy)
        assert daemon.process.poll() is None

    assert options.EXIT_LOCKED == refused.returncode, refused.stderr
    assert options.EXIT_UNAVAILABLE == locked_out.returncode, locked_out.stderr
    assert f"home {home}" in locked_out.stderr


NAMES = (
    b"caf\xe9.jpg", b"\xff\xfe.jpg", b"a\x1b[31m\x07\n.jpg", b"\xe2\x80\xaegpj.exe\xe2\x80\xac.jpg",
    b"x" * 251 + b".jpg", "😀".encode() * 62 + b"yyy.jpg", b"-rf.jpg", b" .jpg", b"%s{}$(id).jpg",
)  # fmt: skip


def test_whatever_a_file_is_called_it_is_done_and_moved(tmp_path: Path) -> None:
    """Twice, with another content: the second one gets another name, however long the first is."""
    home = Home(tmp_path / "home", inbox={"quiet_s": 0.0, "after": "move"})
    names = [os.fsdecode(name) for name in NAMES]
    with home.opened() as service:
        for turn in range(2):
            for number, name in enumerate(names):
                home.drop(picture_of(100 * turn + number), name)
            home.run_until_idle(service)
            turns(home, service, 4)
    moved = {path.name for path in (home.inbox / "processed").iterdir()}

    assert {"done": 2 * len(names)} == Counter(row["state"] for row in home.rows("files"))
    assert [".portraitd-inbox", "processed"] == sorted(path.name for path in home.inbox.iterdir())
    assert 2 * len(names) == len(moved)
    assert {*names} <= moved


@contextmanager
def renamed_again_and_again(folder: Path, seed: int) -> Iterator[Counter[str]]:
    """Move a folder away and back in a loop, sometimes with another one in its place meanwhile."""
    choice, stop, done = random.Random(seed), threading.Event(), Counter[str]()
    away, other = (folder.with_name(f"{folder.name} {part}") for part in ("away", "other"))

    def rename() -> None:
        while not stop.wait(choice.uniform(0.0, 0.02)):
            folder.rename(away)
            done["swaps"] += 1
            if choice.random() < 0.3:
                folder.mkdir()
                stop.wait(choice.uniform(0.0, 0.01))
                done["filled"] += bool(os.listdir(folder))
                shutil.rmtree(folder)
            stop.wait(choice.uniform(0.0, 0.01))
            with suppress(OSError):
                # The service may have made one.
                folder.rename(other)
                done["made"] += 1
                shutil.rmtree(other)
            away.rename(folder)

    thread = threading.Thread(target=rename)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("place", ["people", "state", "people/gallery", "inbox"])
def test_a_folder_that_is_moved_away_and_back_loses_nothing(
    memory_path: Path, photographs: list[Path], place: str
) -> None:
    """At any moment, also in the middle of a publication; no tree begins in its place."""
    home = Home(memory_path / "home", inbox={"quiet_s": 0.0}, grouping={"min_samples": 1})
    folder = home.settings.home_dir / place
    with home.opened() as service:
        home.drop(photographs[0], "a.jpg")
        home.run_until_idle(service)
        token = read_token(home.inbox)
        with renamed_again_and_again(folder, 1) as done:
            for turn in range(60):
                if turn == 20 and place != "inbox":
                    home.drop(photographs[1], "b.jpg")
                turns(home, service, 1, 20.0)
        home.drop(photographs[1], "b.jpg")
        turns(home, service, 4, 20.0)
        home.run_until_idle(service)

    assert done["swaps"] > 10
    if place == "people":
        assert not done["filled"]
    assert token == read_token(home.inbox)
    assert {"a.jpg": "done", "b.jpg": "done"} == home.states()
    assert (home.people / "index.html").is_file()
    assert_sound(home.settings)
