"""What another machine reaches of a scheduler and workers that run as docs/scaling.md says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from portraitd.service.remote.open_ports import list_open_ports
from support import netns
from support.certificates import has_openssl, make_certificate
from support.dask_cluster import Process, TestCluster, accepted
from support.netns import BRIDGE_ADDRESS, Host, Hosts
from support.processes import descendants, wait_until

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("given_up_calls")]

TRY_PORTS = """
import socket, sys

for host, port in (one.rsplit(":", 1) for one in sys.argv[1:]):
    try:
        socket.create_connection((host, int(port)), timeout=30).close()
        print(port)
    except OSError:
        pass
"""
"""Prints the ports that accept a connection."""

TALK = """
import socket, ssl, sys

host, port, *files = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
if files:
    context.load_cert_chain(*files)
with socket.create_connection((host, int(port)), timeout=60) as plain:
    try:
        # A Dask worker speaks first.
        with context.wrap_socket(plain) as encrypted:
            print("answered" if encrypted.recv(1) else "closed")
    except ssl.SSLError as error:
        print(error.reason)
"""
"""Prints what an encrypted connection gives, with these certificates."""


@pytest.fixture
def stranger() -> Iterable[Host]:
    """Another machine, which sees this one as ``BRIDGE_ADDRESS``."""
    if reason := netns.reason_unsupported():
        pytest.skip(reason)
    with Hosts("stranger") as network:
        yield network.hosts[0]


def run_on(host: Host, program: str, *arguments: object) -> list[str]:
    """Run a Python program on another machine, and return its lines."""
    command = host.command(sys.executable, "-c", program, *map(str, arguments))
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return answer.stdout.split("\n")[:-1]


def family(*processes: Process) -> set[int]:
    """Return the processes, and all that they started."""
    pids = [process.pid for process in processes]
    return {*pids, *descendants(*pids)}


def listening_ports(pids: Iterable[int]) -> set[int]:
    """Return every TCP port at which these processes listen, on any interface."""
    sockets = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                sockets.add(os.readlink(link))
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


@pytest.mark.slow
def test_a_worker_of_this_machine_is_reached_from_no_other(tmp_path: Path, stranger: Host) -> None:
    """Neither its own port nor a web page of it, nor those of the scheduler."""
    before = listening_ports({os.getpid()})
    with socket.create_server(("0.0.0.0", 0)) as open_port, TestCluster(tmp_path) as cluster:
        worker = cluster.add_worker()
        executor = cluster.connect()
        wait_until(lambda: accepted(executor), "the worker is accepted", 90.0)
        ours = family(worker, cluster.scheduler)
        ports = listening_ports(ours | {os.getpid()}) - before

        reached = run_on(stranger, TRY_PORTS, *(f"{BRIDGE_ADDRESS}:{port}" for port in ports))

        assert [str(open_port.getsockname()[1])] == reached
        assert len(ports) >= 4
        assert [] == list_open_ports(ours)
        executor.shutdown(cancel_futures=True)


@pytest.mark.slow
@pytest.mark.skipif(not has_openssl(), reason="openssl, which makes the certificate, is missing")
def test_a_worker_of_another_machine_asks_for_a_certificate(tmp_path: Path, stranger: Host) -> None:
    """It listens on the interface of its scheduler only, and gives no answer without one."""
    ours, theirs = (make_certificate(tmp_path / name) for name in ("ours", "theirs"))
    options = ("--host", BRIDGE_ADDRESS, *ours.scheduler_options)
    with TestCluster(tmp_path, scheduler_options=options) as cluster:
        worker = cluster.add_worker(
            *ours.worker_options, address=f"tls://{BRIDGE_ADDRESS}:{cluster.port}"
        )
        wait_until(lambda: "worker_ready" in worker.log.read_text(), "the worker is ready", 90.0)

        ((host, port),) = list_open_ports(family(worker))

        assert BRIDGE_ADDRESS == host
        refused = {"TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLSV1_ALERT_UNKNOWN_CA"}
        assert set(run_on(stranger, TALK, host, port)) <= refused
        assert set(run_on(stranger, TALK, host, port, theirs.cert, theirs.key)) <= refused
        assert ["answered"] == run_on(stranger, TALK, host, port, ours.cert, ours.key)


@pytest.mark.slow
def test_a_worker_that_is_open_to_the_network_gets_no_jobs(tmp_path: Path) -> None:
    """A plain one listens everywhere, and so does its nanny."""
    with TestCluster(tmp_path) as cluster:
        cluster.add_plain_worker()
        executor = cluster.connect()
        wait_until(
            lambda: [one for one in executor.workers() if one.reason], "it was refused", 90.0
        )

        (worker,) = executor.workers()

        assert "refused" == worker.state
        assert worker.reason.startswith("it listens at 0.0.0.0:")
        assert "start `portraitd worker` instead" in worker.reason
        executor.shutdown(cancel_futures=True)


def test_ports_beyond_loopback_are_found() -> None:
    """In both families; a closed one is not."""
    with (
        socket.create_server(("127.0.0.1", 0)),
        socket.create_server(("0.0.0.0", 0)) as open_port,
        socket.create_server(("::1", 0), family=socket.AF_INET6),
        socket.create_server(("::", 0), family=socket.AF_INET6) as open_too,
    ):
        expected = [("0.0.0.0", open_port.getsockname()[1]), ("::", open_too.getsockname()[1])]

        found = list_open_ports([os.getpid()])

        assert expected == [one for one in found if one in expected]
        assert {"0.0.0.0", "::"} == {host for host, _ in found}
    assert [] == [one for one in list_open_ports([os.getpid()]) if one in expected]
