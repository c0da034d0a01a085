"""Find ports at which other machines can reach a process, from ``/proc`` (proc(5)).

A Dask worker runs what it is sent. So one that listens beyond this machine without certificates,
as a plain ``dask worker`` does, gets no job.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_LISTENS = "0A"
"""TCP_LISTEN, as /proc/net/tcp writes it."""


def list_open_ports(pids: Iterable[int]) -> list[tuple[str, int]]:
    """Return address and port of each TCP socket that other machines can connect to.

    Args:
        pids: Of processes of this user, in the network namespace of this process.
    """
    owned = {inode for pid in pids for inode in _list_sockets(pid)}
    found = set()
    for table in ("tcp", "tcp6"):
        for host, port, inode in _list_listening(Path("/proc/net") / table):
            if inode in owned and not ipaddress.ip_address(host).is_loopback:
                found.add((host, port))
    return sorted(found)


def _list_sockets(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            # Some are closed meanwhile.
            with suppress(OSError):
                target = str(link.readlink())
                if target.startswith("socket:["):
                    yield target[len("socket:[") : -1]


def _list_listening(table: Path) -> Iterator[tuple[str, int, str]]:
    with suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENS:
                host, _, port = fields[1].partition(":")
                yield _parse_host(host), int(port, 16), fields[9]


def _parse_host(text: str) -> str:
    """Return an address that is written as 32-bit words in the machine's byte order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    raw = b"".join(word.to_bytes(4, "little") for word in words)
    host = socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
    return host.removeprefix("::ffff:")
