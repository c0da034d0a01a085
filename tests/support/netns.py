"""Other hosts, simulated with network namespaces on a bridge.

The bridge is not connected to any other network.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from types import TracebackType
from typing import Self


def _take_network() -> tuple[int, socket.socket]:
    """Take a network that no other process of this machine uses, until this one ends.

    The name of the socket is the lock: the kernel gives it to one process, and frees it with that.
    """
    for number in range(256):
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lock.bind(f"\0portraitd-test-network-{number}")
        except OSError:
            lock.close()
        else:
            return number, lock
    raise AssertionError("256 processes have a network of their own")


_NUMBER, _LOCK = _take_network()

NETWORK = f"10.213.{_NUMBER}"

BRIDGE_ADDRESS = f"{NETWORK}.1"

# At most 15 bytes with what follows.
_MARK = f"pdtest{_NUMBER}"


def reason_unsupported() -> str:
    """Return why network namespaces cannot be used here; empty if they can."""
    if os.geteuid() != 0:
        return "only root can create network namespaces"
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "ip or tc (package iproute2) is not installed"
    name = f"{_MARK}x"
    # Of a run that was killed.
    _run("ip", "netns", "del", name)
    if _run("ip", "netns", "add", name) != 0:
        return "network namespaces are not permitted here"
    code = _run("ip", "-n", name, "link", "add", "probe", "type", "veth", "peer", "name", "other")
    _run("ip", "netns", "del", name)
    return "" if code == 0 else "virtual interfaces are not permitted here"


def _run(*command: str) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode


def _must(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=True)


@dataclass(frozen=True, slots=True)
class Host:
    """A network namespace with one address."""

    name: str
    address: str
    link: str

    def command(self, *command: str) -> tuple[str, ...]:
        """Return the command that runs ``command`` on this host."""
        return ("ip", "netns", "exec", self.name, *command)

    def cut_off(self) -> None:
        """Unplug the cable: no packet passes, and no connection is closed."""
        _must("ip", "link", "set", self.link, "nomaster")

    def slow_down(self, rate: str) -> None:
        """Limit the bandwidth in both directions, such as to ``8mbit``."""
        shape = ("root", "tbf", "rate", rate, "burst", "64kbit", "latency", "400ms")
        _must("tc", "qdisc", "add", "dev", self.link, *shape)
        _must(*self.command("tc", "qdisc", "add", "dev", "eth0", *shape))


class Hosts:
    """Some hosts on a bridge, which this process reaches as ``BRIDGE_ADDRESS``; one at a time."""

    def __init__(self, *names: str) -> None:
        self._bridge = f"{_MARK}br"
        self.hosts = [
            Host(f"{_MARK}{name}", f"{NETWORK}.{10 + number}", f"{_MARK}v{number}")
            for number, name in enumerate(names)
        ]

    def __enter__(self) -> Self:
        # What a run left that was killed has the same names.
        self._remove()
        try:
            _must("ip", "link", "add", self._bridge, "type", "bridge")
            _must("ip", "addr", "add", f"{BRIDGE_ADDRESS}/24", "dev", self._bridge)
            _must("ip", "link", "set", self._bridge, "up")
            for host in self.hosts:
                self._add(host)
        except BaseException:
            self._remove()
            raise
        return self

    def _add(self, host: Host) -> None:
        inside = ("ip", "-n", host.name)
        _must("ip", "netns", "add", host.name)
        _must(
            *("ip", "link", "add", host.link, "type", "veth"),
            *("peer", "name", "eth0", "netns", host.name),
        )
        _must("ip", "link", "set", host.link, "master", self._bridge, "up")
        _must(*inside, "addr", "add", f"{host.address}/24", "dev", "eth0")
        _must(*inside, "link", "set", "eth0", "up")
        _must(*inside, "link", "set", "lo", "up")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        for host in self.hosts:
            _run("ip", "link", "del", host.link)
            _run("ip", "netns", "del", host.name)
        _run("ip", "link", "del", self._bridge)
