"""Other hosts, simulated with network namespaces on a bridge.

The bridge is not connected to any other network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from types import TracebackType
from typing import Self

# Several processes run tests at a time, and each needs addresses of its own.
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))

NETWORK = f"10.213.{77 + _PROCESS}"

BRIDGE_ADDRESS = f"{NETWORK}.1"


def reason_unsupported() -> str:
    """Return why network namespaces cannot be used here; empty if they can."""
    if os.geteuid() != 0:
        return "only root can create network namespaces"
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "ip or tc (package iproute2) is not installed"
    name = f"pd{os.getpid()}x"
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
    """Some hosts on a bridge, which this process reaches as ``BRIDGE_ADDRESS``."""

    def __init__(self, *names: str) -> None:
        mark = f"pd{os.getpid()}"
        self._bridge = f"{mark}br"
        self.hosts = [
            Host(f"{mark}{name}", f"{NETWORK}.{10 + number}", f"{mark}v{number}")
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
