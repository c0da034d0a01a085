"""What systemd is told: real datagrams on a real socket."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from portraitd.service.systemd import Notifier


class Systemd:
    """The other end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        said = []
        while True:
            try:
                said.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return said

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest) -> Iterator[Systemd]:
    # Not below tmp_path: the path of a socket may not be long.
    path = f"/tmp/portraitd-{os.getpid()}.notify"
    found = Systemd(path if request.param == "path" else f"@portraitd-{os.getpid()}")
    yield found
    found.close()
    Path(path).unlink(missing_ok=True)


def test_states_are_told(systemd: Systemd) -> None:
    """Each is one datagram; an address that begins with @ has no file."""
    notifier = Notifier(systemd.address, "")

    notifier.ready()
    notifier.stopping()

    assert ["READY=1", "STOPPING=1"] == systemd.heard()


def test_the_status_is_told_when_it_changes(systemd: Systemd) -> None:
    """On one line: a line end would begin another field."""
    notifier = Notifier(systemd.address, "")

    for text in ("Finding faces", "Finding faces", "Blocked: a\nREADY=1", "Idle"):
        notifier.status(text)

    assert [
        "STATUS=Finding faces",
        "STATUS=Blocked: a READY=1",
        "STATUS=Idle",
    ] == systemd.heard()


def test_the_watchdog_is_pinged_three_times_within_its_patience(systemd: Systemd) -> None:
    """Not at every turn of a busy loop."""
    notifier = Notifier(systemd.address, "30000000")

    for now_s in (100.0, 105.0, 109.9, 110.0, 111.0, 125.0):
        notifier.alive(now_s)

    assert 10.0 == notifier.interval_s
    assert ["WATCHDOG=1"] * 3 == systemd.heard()


def test_without_a_watchdog_nothing_is_pinged(systemd: Systemd) -> None:
    """Nobody asked."""
    notifier = Notifier(systemd.address, "")

    notifier.alive(100.0)

    assert 0.0 == notifier.interval_s
    assert [] == systemd.heard()


def test_the_address_comes_from_the_environment(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As systemd sets it."""
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    notifier = Notifier()

    notifier.ready()

    assert 1.0 == notifier.interval_s
    assert ["READY=1"] == systemd.heard()


def test_where_nobody_reads_nothing_waits(systemd: Systemd) -> None:
    """A systemd that hangs does not hang the service."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filling:
        filling.setblocking(False)
        address = systemd.address
        filling.connect("\0" + address[1:] if address.startswith("@") else address)
        with contextlib.suppress(BlockingIOError):
            while True:
                filling.send(b"full")
    notifier = Notifier(systemd.address, "")
    began_s = time.monotonic()

    notifier.stopping()

    assert 10.0 > time.monotonic() - began_s
    assert "STOPPING=1" not in systemd.heard()


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
def test_where_nobody_listens_nothing_happens(address: str) -> None:
    """Started by hand, or systemd is restarting: the service works on."""
    notifier = Notifier(address, "1000000")

    notifier.ready()
    notifier.alive(1.0)
    notifier.stopping()
