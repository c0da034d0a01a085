"""A realistic network: two worker hosts, one of them cut off during the work, one slow."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from portraitd.config import SchedulerAddress, load
from support import netns
from support.certificates import Certificate, has_openssl, make_certificate
from support.dask_cluster import QUICK_LOSS, Process, TestCluster
from support.home import Home, dump
from support.netns import BRIDGE_ADDRESS, Host, Hosts
from support.processes import Daemon, make_home, portraitd, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("given_up_calls"),
]

SLOW = "16mbit"


@pytest.fixture(autouse=True)
def namespaces() -> None:
    if reason := netns.reason_unsupported():
        pytest.skip(reason)
    if not has_openssl():
        pytest.skip("openssl, which makes the certificate, is missing")


class Bridged(TestCluster):
    """A scheduler that listens on the bridge, and workers on other hosts."""

    __test__ = False
    host_address = BRIDGE_ADDRESS

    def __init__(self, folder: Path, certificate: Certificate) -> None:
        self._certificate = certificate
        super().__init__(folder, scheduler_options=certificate.scheduler_options, **QUICK_LOSS)

    @property
    def scheduler_address(self) -> SchedulerAddress:
        cert, key = self._certificate
        return SchedulerAddress(f"tls://{self.host_address}:{self.port}", None, cert, cert, key)

    def add_host(self, host: Host, hidden: Path) -> Process:
        """Start ``portraitd worker`` on a host, where the folder ``hidden`` is empty."""
        worker = Process(
            self.folder / f"{host.name}.log",
            host.command(
                *("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"'),
                str(hidden),
                *(sys.executable, "-m", "portraitd", "worker"),
                *(self.scheduler_address.address, "--processes", "1"),
                *self._certificate.worker_options,
                *("--folder", str(self.folder / host.name), "--name", host.name),
            ),
            **QUICK_LOSS,
        )
        self.workers.append(worker)
        return worker


def test_a_host_cut_off_and_a_slow_one_lose_and_double_nothing(
    tmp_path: Path, two_people: Path, photographs: list[Path], nobody: Path
) -> None:
    """The faces equal those of an undisturbed run; a slow line only takes longer.

    Neither host sees the inbox: the files are sent to both.
    """
    files = [two_people, *photographs, nobody]
    undisturbed = Home(tmp_path / "undisturbed", encoder={"kind": "dlib"})
    for file in files:
        undisturbed.drop(file, file.name)
    undisturbed.run()
    home = make_home(tmp_path / "home", is_slow=True)
    certificate = make_certificate(tmp_path / "keys")
    with Hosts("fast", "slow") as network, Bridged(tmp_path, certificate) as cluster:
        cut, slow = network.hosts
        slow.slow_down(SLOW)
        cluster.add_host(cut, home / "inbox")
        cluster.add_host(slow, home / "inbox")
        settings = (
            *("--set", "workers.kind=dask"),
            *("--set", f"workers.address={cluster.scheduler_address.address}"),
            *certificate.service_options,
        )
        with Daemon(home, *settings, **QUICK_LOSS) as daemon:
            daemon.wait_for("worker_accepted", 2)
            for file in files:
                shutil.copy(file, home / "inbox" / f".{file.name}")
                (home / "inbox" / f".{file.name}").rename(home / "inbox" / file.name)
            daemon.wait_for("slice_encoded", 1)
            wait_until(lambda: slices_at(home, cut) > 0, "the host that is cut off has a slice")

            cut.cut_off()

            daemon.wait_for("worker_disconnected", seconds=180)
            wait_until(daemon.has_settled, "everything has settled", 240)
            events = daemon.events()
            assert 0 == daemon.stop()

    got, expected = dump(load(home)), dump(undisturbed.settings)
    assert expected.faces == got.faces
    assert expected.slices == got.slices
    assert expected.videos == got.videos
    assert len(got.slices) == events.count("slice_encoded")
    assert 0 == events.count("slice_lost")
    assert 2 <= events.count("file_sent")


def slices_at(home: Path, host: Host) -> int:
    """Return the number of slices at a host, from ``status``."""
    status = json.loads(portraitd("status", "--json", "--home", home).stdout)
    return sum(
        worker["slices_out"] for worker in status["workers"] if host.address in worker["address"]
    )
