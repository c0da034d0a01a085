"""Real schedulers and workers: lost, restarted, silent, without shared files, encrypted."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from portraitd.config import SchedulerAddress
from portraitd.faces.interface import EncoderSpec
from portraitd.ingest import media_jobs
from portraitd.ingest.media_jobs import EncodeOptions
from portraitd.model.errors import ConfigError, WorkerDied
from portraitd.model.media_file import MediaKind, Slice
from portraitd.service.remote.dask_client import Cluster, resolve_address
from portraitd.service.remote.remote_executor import MAX_MOVES, DaskExecutor
from portraitd.workers.process import WorkerLimits
from support import bad_jobs
from support.certificates import has_openssl, make_certificate
from support.dask_cluster import (
    LIMITS,
    QUICK_LOSS,
    TestCluster,
    accepted,
    free_port,
    make_requirements,
)
from support.home import Home
from support.media import source_of
from support.processes import make_home, portraitd, wait_until
from support.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("given_up_calls")]

ANSWER_S = 90.0
LONG = WorkerLimits(nice=0, memory_mb=0, time_limit_s=200.0)


def wait_for_workers(executor: DaskExecutor, count: int) -> list[str]:
    wait_until(lambda: len(accepted(executor)) == count, f"{count} workers", 90.0)
    return accepted(executor)


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """The other worker runs its jobs; each job gets one result."""
    news = tmp_path / "news"
    with TestCluster(tmp_path, **QUICK_LOSS) as cluster:
        cluster.add_worker()
        cluster.add_worker()
        executor = cluster.connect(limits=LONG)
        wait_for_workers(executor, 2)
        results: list[int] = []
        long = [executor.submit(bad_jobs.wait_for, news) for _ in range(2)]
        short = [executor.submit(bad_jobs.add, number) for number in range(8)]
        for future in short:
            future.add_done_callback(lambda done: results.append(done.result()))

        cluster.workers[0].kill()
        bad_jobs.tell(news, "go on")

        assert ["go on"] * 2 == [future.result(ANSWER_S) for future in long]
        assert list(range(8)) == [future.result(ANSWER_S) for future in short]
        assert list(range(8)) == sorted(results)
        executor.shutdown(cancel_futures=True)


@pytest.mark.slow
def test_a_scheduler_that_restarts_loses_nothing(tmp_path: Path) -> None:
    """The workers and the service find the new one; no attempt is counted."""
    news = tmp_path / "news"
    with TestCluster(tmp_path, **QUICK_LOSS) as cluster:
        cluster.add_worker()
        executor = cluster.connect(limits=LONG)
        wait_for_workers(executor, 1)
        futures = [executor.submit(bad_jobs.wait_for, news) for _ in range(3)]

        cluster.restart_scheduler()
        wait_until(
            lambda: not executor.workers() or not executor.is_connected, "it was noticed", 60.0
        )
        bad_jobs.tell(news, "go on")

        assert ["go on"] * 3 == [future.result(ANSWER_S) for future in futures]
        executor.shutdown(cancel_futures=True)


@pytest.mark.slow
def test_a_connection_that_breaks_again_and_again_loses_nothing(tmp_path: Path) -> None:
    """More often than a job may lose workers; a running job continues, and runs once."""
    news, runs = tmp_path / "news", tmp_path / "runs"
    wakes: list[int] = []
    with TestCluster(tmp_path) as cluster, TcpProxy(cluster.port) as proxy:
        cluster.add_worker(processes=2)
        scheduler = SchedulerAddress(f"tcp://127.0.0.1:{proxy.port}")
        executor = DaskExecutor(
            Cluster(scheduler), make_requirements(limits=LONG), lambda: wakes.append(1), poll_s=0.2
        )
        wait_for_workers(executor, 1)
        futures = [executor.submit(bad_jobs.count_when, news, runs) for _ in range(3)]

        for _ in range(MAX_MOVES + 2):
            before = len(wakes)
            assert 1 <= proxy.cut()
            wait_until(lambda: len(wakes) > before, "the handshake was repeated", ANSWER_S)  # noqa: B023
            wait_for_workers(executor, 1)
        bad_jobs.tell(news, "go on")

        assert [1, 2, 3] == sorted(future.result(ANSWER_S) for future in futures)
        executor.shutdown(cancel_futures=True)


@pytest.mark.slow
def test_a_lost_scheduler_is_not_asked_for_its_dashboard(tmp_path: Path) -> None:
    """The service reads the URL in its main loop, whatever the scheduler does meanwhile."""
    with TestCluster(tmp_path) as cluster:
        network = Cluster(cluster.scheduler_address)
        assert network.workers() is not None
        cluster.scheduler.kill()

        assert network.dashboard.startswith("http://127.0.0.1:")
        assert network.dashboard.endswith("/status")
        network.close()


def test_a_scheduler_that_never_answers_does_not_delay_a_stop() -> None:
    """It accepts the connection, as a stopped process does; only a timeout reveals it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        scheduler = SchedulerAddress(f"tcp://127.0.0.1:{silent.getsockname()[1]}")
        executor = DaskExecutor(Cluster(scheduler), make_requirements(), poll_s=0.2)
        caller, _ = silent.accept()
        began_s = time.monotonic()

        executor.shutdown(cancel_futures=True)

        assert 15.0 > time.monotonic() - began_s
        caller.close()


@pytest.mark.slow
def test_a_worker_that_falls_silent_loses_its_job_in_time(tmp_path: Path) -> None:
    """Its process is stopped, its connections remain: only a timeout reveals it."""
    with TestCluster(tmp_path) as cluster:
        worker = cluster.add_worker()
        executor = cluster.connect(answer_limit_s=8.0)
        wait_for_workers(executor, 1)
        worker.signal(signal.SIGSTOP)
        silent = executor.submit(bad_jobs.add, 1)

        with pytest.raises(WorkerDied, match=r"no answer from tcp://.* within 8 s"):
            silent.result(ANSWER_S)

        assert [] == accepted(executor)
        later = executor.submit(bad_jobs.add, 2)
        worker.signal(signal.SIGCONT)
        assert 2 == later.result(ANSWER_S)
        executor.shutdown(cancel_futures=True)


@pytest.mark.slow
def test_a_plain_dask_worker_works_too(tmp_path: Path) -> None:
    """With its nanny; a crash fails one job there too. Its ports are closed to other machines."""
    with TestCluster(tmp_path) as cluster:
        cluster.add_plain_worker(
            "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--no-dashboard"
        )
        executor = cluster.connect()
        wait_for_workers(executor, 1)

        crashed = executor.submit(bad_jobs.segfault)

        assert "the worker was killed by SIGSEGV" == str(crashed.exception(ANSWER_S))
        assert 5 == executor.submit(bad_jobs.add, 2, 3).result(ANSWER_S)
        executor.shutdown(cancel_futures=True)


@pytest.mark.slow
def test_a_sent_file_gives_the_same_faces(tmp_path: Path, two_people: Path) -> None:
    """Byte for byte what is found where the file is read directly."""
    settings = EncodeOptions(
        0.5,
        False,
        True,
        EncoderSpec(tmp_path / "models", kind="dlib", detector="hog", upsample=0),
        400,
    )
    sha256 = hashlib.sha256(two_people.read_bytes()).hexdigest()
    source = source_of(two_people)
    piece = Slice(source, MediaKind.VIDEO, 5.0, 15.0, sha256)
    here = media_jobs.encode(piece, settings)
    with TestCluster(tmp_path) as cluster:
        cluster.add_worker()
        executor = cluster.connect(
            limits=LONG,
            encoder=settings.encoder,
            identity=media_jobs.encoder_identity(settings.encoder),
        )
        wait_for_workers(executor, 1)
        (worker,) = executor.workers()

        there = executor.submit(media_jobs.encode, piece, settings).result(ANSWER_S)

        executor.shutdown(cancel_futures=True)
    assert worker.receives_files
    assert here.detections
    assert (here.sampled, here.decoded, here.ended_s) == (
        there.sampled,
        there.decoded,
        there.ended_s,
    )
    for mine, theirs in zip(here.detections, there.detections, strict=True):
        assert (mine.t_s, mine.portrait) == (theirs.t_s, theirs.portrait)
        assert (mine.face.box, mine.face.quality) == (theirs.face.box, theirs.face.quality)
        assert np.array_equal(mine.face.embedding, theirs.face.embedding)


@pytest.mark.slow
def test_a_worker_with_another_encoder_is_refused(tmp_path: Path) -> None:
    """Before it gets a job, by the identity from the process that would encode."""
    asked = EncoderSpec(tmp_path / "models", kind="dlib", detector="hog", upsample=0)
    with TestCluster(tmp_path) as cluster:
        cluster.add_worker()
        executor = cluster.connect(
            limits=LONG,
            encoder=asked,
            identity=media_jobs.encoder_identity(replace(asked, mirror=False)),
        )
        wait_until(
            lambda: [worker for worker in executor.workers() if worker.reason],
            "it was refused",
            90.0,
        )

        (worker,) = executor.workers()

        executor.shutdown(cancel_futures=True)
    assert "refused" == worker.state
    assert worker.reason.startswith(
        "different encoder: 'dlib-resnet-v1+mirror by dlib, hog' on the worker"
    )


def faces(home: Path) -> list[str]:
    """Return the lines of ``portraitd faces``, sorted, without what the order of work changes."""
    rows = [json.loads(line) for line in portraitd("faces", "--home", home).stdout.splitlines()]
    kept = ("source", "sha256", "t", "box", "score")
    return sorted(json.dumps({key: row[key] for key in kept}) for row in rows)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_executors_find_the_same_faces(
    tmp_path: Path, two_people: Path, photographs: list[Path]
) -> None:
    """Inline, in processes of this machine, and on a cluster without shared files."""
    inline = Home(tmp_path / "inline")
    files = [two_people, *photographs]
    for file in files:
        inline.drop(file, file.name)
    inline.run()
    expected = faces(tmp_path / "inline")
    local, dask = make_home(tmp_path / "local"), make_home(tmp_path / "dask")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file in files:
        shutil.copy(file, elsewhere)

    assert 0 == portraitd("process", elsewhere, "--home", local).returncode
    with TestCluster(tmp_path) as cluster:
        cluster.add_worker()
        cluster.add_worker()
        far = portraitd(
            *("process", elsewhere, "--home", dask),
            *(
                "--set",
                "workers.kind=dask",
                "--set",
                f"workers.address={cluster.scheduler_address.address}",
            ),
        )

    assert 0 == far.returncode, far.stderr
    assert expected
    assert expected == faces(local)
    assert expected == faces(dask)


@pytest.mark.slow
@pytest.mark.skipif(not has_openssl(), reason="openssl, which makes the certificate, is missing")
def test_a_cluster_may_be_encrypted(tmp_path: Path) -> None:
    """Scheduler, worker and service use the same certificate; without it there is no connection."""
    cert, key = shown = make_certificate(tmp_path / "keys")
    with TestCluster(tmp_path, scheduler_options=shown.scheduler_options) as cluster:
        address = f"tls://127.0.0.1:{cluster.port}"
        cluster.add_worker(*shown.worker_options, address=address)
        scheduler = SchedulerAddress(address, None, cert, cert, key)
        executor = DaskExecutor(Cluster(scheduler), make_requirements(limits=LIMITS), poll_s=0.2)
        wait_for_workers(executor, 1)
        assert 5 == executor.submit(bad_jobs.add, 2, 3).result(ANSWER_S)
        executor.shutdown(cancel_futures=True)

        stranger = Cluster(SchedulerAddress(f"tcp://127.0.0.1:{cluster.port}"))
        assert stranger.workers() is None
        stranger.close()


@pytest.mark.parametrize(
    ("scheduler", "reason"),
    [
        (SchedulerAddress("tcp://10.1.2.3:8786"), "not encrypted"),
        (SchedulerAddress("tcp://workers.example:8786"), "Use tls:// with certificates"),
        (SchedulerAddress("tls://10.1.2.3:8786"), "needs workers.tls_ca"),
        (SchedulerAddress("http://10.1.2.3:8786"), "write tcp://"),
        (SchedulerAddress(""), "needs workers.address"),
        (SchedulerAddress(scheduler_file=Path("/nowhere.json")), "no scheduler address found"),
    ],
)
def test_an_address_that_is_not_allowed_is_refused(
    scheduler: SchedulerAddress, reason: str
) -> None:
    """Before anything is sent; the message says what to write."""
    with pytest.raises(ConfigError, match=reason):
        resolve_address(scheduler)


def test_an_unencrypted_connection_stays_within_this_machine() -> None:
    """There it is allowed."""
    for host in ("127.0.0.1", "localhost", "[::1]", "127.9.9.9"):
        assert f"tcp://{host}:1" == resolve_address(SchedulerAddress(f"tcp://{host}:1"))


@pytest.mark.slow
def test_the_service_waits_for_a_missing_scheduler(tmp_path: Path) -> None:
    """A job that is submitted meanwhile runs when the scheduler has started."""
    port = free_port()
    executor = DaskExecutor(
        Cluster(SchedulerAddress(f"tcp://127.0.0.1:{port}")), make_requirements(), poll_s=0.2
    )
    answer = executor.submit(bad_jobs.add, 1)
    assert (False, 0) == (executor.is_connected, executor.slots)

    with TestCluster(tmp_path, port=port) as cluster:
        cluster.add_worker()
        assert 1 == answer.result(ANSWER_S)
        assert executor.dashboard.endswith("/status")
        executor.shutdown(cancel_futures=True)
