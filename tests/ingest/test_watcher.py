"""The doorbell and the real events that ring it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portraitd.ingest.scanner import scan_folder
from portraitd.ingest.watcher import RETRY_S, Watch
from portraitd.service.wakeup import Doorbell

LONG_S = 60.0
SHORT_S = 0.5


def test_a_ring_before_the_wait_is_not_lost() -> None:
    """Whoever comes late hears it at once; then it is silent."""
    doorbell = Doorbell()
    for _ in range(3):
        doorbell.wake("again")

    assert doorbell.wait(LONG_S)
    assert not doorbell.wait(0.0)
    assert not doorbell.wait(-1.0)


def test_another_thread_ends_the_wait() -> None:
    """The wait ends when rung, not when its time is up."""
    doorbell = Doorbell()
    thread = threading.Thread(target=doorbell.wake, args=("thread",))
    thread.start()

    assert doorbell.wait(LONG_S)
    thread.join()


def test_a_signal_handler_may_ring() -> None:
    """A signal that interrupts the wait rings without blocking on itself."""
    doorbell = Doorbell()
    before = signal.signal(signal.SIGALRM, lambda *_: doorbell.wake("signal"))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        assert doorbell.wait(LONG_S)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def doorbell() -> Doorbell:
    return Doorbell()


@pytest.fixture
def watch(inbox: Path, doorbell: Doorbell) -> Iterator[Watch]:
    """A running watch whose first ring has been taken."""
    watching = Watch([inbox], doorbell, mode="events")
    watching.start()
    assert doorbell.wait(LONG_S)
    yield watching
    watching.stop()


def write(path: Path) -> None:
    path.write_bytes(b"x")


def rename_in(path: Path) -> None:
    outside = path.parent.parent / "outside.mp4"
    outside.write_bytes(b"x")
    outside.rename(path)


@pytest.mark.parametrize("arrive", [write, rename_in, Path.mkdir])
def test_an_arrival_rings(
    watch: Watch, doorbell: Doorbell, inbox: Path, arrive: Callable[[Path], None]
) -> None:
    """Whatever way something comes in, it is heard."""
    arrive(inbox / "clip.mp4")

    assert doorbell.wait(LONG_S)


def test_a_file_in_a_new_subfolder_rings(watch: Watch, doorbell: Doorbell, inbox: Path) -> None:
    """Folders made later are watched too."""
    (inbox / "new").mkdir()
    assert doorbell.wait(LONG_S)
    while doorbell.wait(SHORT_S):
        pass

    write(inbox / "new" / "clip.mp4")

    assert doorbell.wait(LONG_S)


def test_our_own_looking_does_not_ring(watch: Watch, doorbell: Doorbell, inbox: Path) -> None:
    """Reading a file or listing a folder must not wake us again, or we never rest."""
    write(inbox / "clip.mp4")
    while doorbell.wait(SHORT_S):
        pass

    list(scan_folder(inbox))
    (inbox / "clip.mp4").read_bytes()

    assert not doorbell.wait(SHORT_S)


def test_a_sound_watch_is_left_as_it_is(watch: Watch, doorbell: Doorbell) -> None:
    """Making sure costs nothing while all is well."""
    assert watch.alive()
    assert [] == watch.ensure()
    assert not doorbell.wait(0.0)


def replace_by_rename(inbox: Path) -> None:
    inbox.rename(inbox.with_name("old"))
    inbox.mkdir()


def delete_and_make(inbox: Path) -> None:
    inbox.rmdir()
    # Something else takes the inode that just became free.
    inbox.with_name("other").mkdir()
    inbox.mkdir()


def delete_and_make_at_once(inbox: Path) -> None:
    # Here the new folder may well get the inode of the old one.
    inbox.rmdir()
    inbox.mkdir()


@pytest.mark.parametrize("replace", [replace_by_rename, delete_and_make, delete_and_make_at_once])
def test_a_replaced_folder_is_watched_again(
    watch: Watch, doorbell: Doorbell, inbox: Path, replace: Callable[[Path], None]
) -> None:
    """A watch on the old folder is noticed, renewed, and the new folder is heard."""
    replace(inbox)
    for _ in range(100):
        if not watch.alive():
            break
        doorbell.wait(0.1)

    assert [inbox] == watch.ensure()

    assert watch.alive()
    while doorbell.wait(SHORT_S):
        pass
    write(inbox / "clip.mp4")
    assert doorbell.wait(LONG_S)


def test_a_folder_that_comes_later_is_watched(tmp_path: Path, doorbell: Doorbell) -> None:
    """A missing folder is no error, only not yet watched."""
    inbox = tmp_path / "later"
    watch = Watch([inbox], doorbell, mode="events")
    watch.start()
    assert not watch.alive()
    assert not doorbell.wait(0.0)
    inbox.mkdir()

    assert [inbox] == watch.ensure()

    assert watch.alive()
    watch.stop()


def test_polling_starts_no_thread(inbox: Path, doorbell: Doorbell) -> None:
    """With the periodic scan alone, nothing wakes the service and no thread can die."""
    before = set(threading.enumerate())
    watch = Watch([inbox], doorbell, mode="poll")
    watch.start()

    write(inbox / "clip.mp4")

    assert set(threading.enumerate()) <= before
    assert [] == list(watch.event_roots)
    assert watch.alive()
    assert not doorbell.wait(0.0)


def test_auto_asks_for_events_on_a_local_disk_only(inbox: Path, doorbell: Doorbell) -> None:
    """The mode follows the file system of each folder."""
    watch = Watch([inbox], doorbell)
    watch.start()

    assert [inbox] == list(watch.event_roots)
    watch.stop()
    assert [] == list(watch.event_roots)


def test_a_name_that_is_not_utf8_rings(watch: Watch, doorbell: Doorbell, inbox: Path) -> None:
    """One oddly named file neither is missed nor ends the watch."""
    with open(os.fsencode(inbox) + b"/caf\xe9.mp4", "wb") as file:
        file.write(b"x")

    assert doorbell.wait(LONG_S)
    assert watch.alive()


def test_folders_deeper_than_can_be_watched_are_only_scanned(
    inbox: Path, doorbell: Doorbell
) -> None:
    """The service goes on without events there, and tries again after a minute."""
    fd = os.open(inbox, os.O_RDONLY)
    for _ in range(sys.getrecursionlimit() + 100):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    now_s = [0.0]
    watch = Watch([inbox], doorbell, "events", clock=lambda: now_s[0])
    watch.start()
    assert not watch.alive()
    subprocess.run(["rm", "-rf", inbox / "d"], check=True)
    assert [] == watch.ensure()

    now_s[0] = RETRY_S

    assert [inbox] == watch.ensure()
    assert watch.alive()
    watch.stop()
