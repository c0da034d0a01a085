"""A real Samba server for one folder, and its client."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SMBD = shutil.which("smbd", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
SMBCLIENT = shutil.which("smbclient")

MISSING = None if SMBD and SMBCLIENT else "Debian's samba and smbclient are not installed"

_SETTINGS = """\
[global]
    server role = standalone server
    interfaces = lo
    bind interfaces only = yes
    smb ports = {port}
    disable netbios = yes
    server min protocol = SMB2
    map to guest = Bad User
    guest account = {user}
    load printers = no
    printcap name = /dev/null
    disable spoolss = yes
    lock directory = {own}/lock
    state directory = {own}/state
    cache directory = {own}/cache
    pid directory = {own}/pid
    private dir = {own}/private
    ncalrpc dir = {own}/ncalrpc
    log file = {own}/log
    max log size = 0
[people]
    path = {folder}
    guest ok = yes
    guest only = yes
    force user = {user}
    read only = no
    case sensitive = auto
"""


class Share:
    """A folder as it is seen through SMB."""

    def __init__(self, port: int, settings: Path) -> None:
        self._port = port
        self._settings = settings

    def do(self, *commands: str) -> str:
        """Run commands of smbclient in one session; returns what it said.

        Raises:
            AssertionError: If one of them failed.
        """
        answer = self._run("; ".join(commands))
        assert "NT_STATUS" not in answer.stdout, answer.stdout
        return answer.stdout

    def is_up(self) -> bool:
        return self._run("ls").returncode == 0

    def session(self) -> subprocess.Popen[str]:
        """A client that takes commands line by line, so that it can hold a file or be slow."""
        return subprocess.Popen(
            ["stdbuf", "--output=L", *self._command()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _command(self) -> list[str]:
        assert SMBCLIENT
        return [
            SMBCLIENT, "//127.0.0.1/people", "-N", "-p", str(self._port),
            "-s", str(self._settings), "-m", "SMB3",
        ]  # fmt: skip

    def _run(self, commands: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._command(), "-c", commands],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )


@contextmanager
def shared(folder: Path, own: Path, port: int = 0) -> Iterator[Share]:
    """Serve a folder on a port of the loopback, by default a free one, as long as it is needed.

    Args:
        folder: What is served.
        own: An empty folder for all that the server writes.
        port: The port.
    """
    assert SMBD
    for name in ("lock", "state", "cache", "pid", "private", "ncalrpc"):
        (own / name).mkdir(mode=0o755)
    # Bound as long as the server runs, so that the system gives the port to no other program.
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", port))
    port = reserved.getsockname()[1]
    settings = own / "smb.conf"
    settings.write_text(_SETTINGS.format(port=port, user=getpass.getuser(), own=own, folder=folder))
    server = subprocess.Popen(
        [SMBD, "--foreground", f"--configfile={settings}", f"--port={port}", "--debuglevel=1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        share = Share(port, settings)
        _wait_for(share, server, own)
        yield share
    finally:
        server.terminate()
        server.wait(timeout=60)
        reserved.close()


def _wait_for(share: Share, server: subprocess.Popen[bytes], own: Path) -> None:
    """Until the server answers: each attempt is a whole client, so this does not spin."""
    end_s = time.monotonic() + 60
    while not share.is_up():
        logs = "\n".join(path.read_text() for path in own.glob("log*"))
        assert server.poll() is None, f"smbd ended: {logs[-2000:]}"
        assert time.monotonic() < end_s, f"smbd does not answer: {logs[-2000:]}"
