"""Other hosts, as the kernel makes them: network namespaces joined by a bridge of ours.

Nothing here reaches another network: the bridge has no way out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from types import TracebackType
from typing import Self

BRIDGE_ADDRESS = "10.213.77.1"


def why_not() -> str:
    """Why there can be no other hosts here; empty if there can."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "there is no ip or no tc (package iproute2)"
    name = f"pd{os.getpid()}x"
    if _run("ip", "netns", "add", name) != 0:
        return "network namespaces are not permitted here"
    able = _run("ip", "-n", name, "link", "add", "probe", "type", "veth", "peer", "name", "other")
    _run("ip", "netns", "del", name)
    return "" if able == 0 else "there are no pairs of virtual interfaces here"


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
        """A command as it is run on this host."""
        return ("ip", "netns", "exec", self.name, *command)

    def cut_off(self) -> None:
        """Pull the cable: nothing goes out or comes in, and nobody is told."""
        _must("ip", "link", "set", self.link, "nomaster")

    def slow_down(self, rate: str) -> None:
        """Let no more through than this, such as ``8mbit``, in either direction."""
        shape = ("root", "tbf", "rate", rate, "burst", "64kbit", "latency", "400ms")
        _must("tc", "qdisc", "add", "dev", self.link, *shape)
        _must(*self.command("tc", "qdisc", "add", "dev", "eth0", *shape))


class Hosts:
    """Some hosts on one bridge; this process is on it too, as ``BRIDGE_ADDRESS``."""

    def __init__(self, *names: str) -> None:
        mark = f"pd{os.getpid()}"
        self._bridge = f"{mark}br"
        self.hosts = [
            Host(f"{mark}{name}", f"10.213.77.{10 + number}", f"{mark}v{number}")
            for number, name in enumerate(names)
        ]

    def __enter__(self) -> Self:
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
