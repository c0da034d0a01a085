"""Real schedulers and workers: lost, restarted, silent, without our files, not to be trusted."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import socket
import subprocess
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
from support.tcp_proxy import Relay

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("given_up_calls")]

ANSWER_S = 90.0
LONG = WorkerLimits(nice=0, memory_mb=0, time_limit_s=200.0)


def wait_for_workers(executor: DaskExecutor, count: int) -> list[str]:
    wait_until(lambda: len(accepted(executor)) == count, f"{count} workers", 90.0)
    return accepted(executor)


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """What it had is done by the other one; each job is answered once."""
    news = tmp_path / "news"
    with TestCluster(tmp_path, **QUICK_LOSS) as cluster:
        cluster.add_worker()
        cluster.add_worker()
        executor = cluster.executor(limits=LONG)
        wait_for_workers(executor, 2)
        told: list[int] = []
        long = [executor.submit(bad_jobs.wait_for, news) for _ in range(2)]
        short = [executor.submit(bad_jobs.add, number) for number in range(8)]
        for future in short:
            future.add_done_callback(lambda done: told.append(done.result()))

        cluster.workers[0].kill()
        bad_jobs.tell(news, "go on")

        assert ["go on"] * 2 == [future.result(ANSWER_S) for future in long]
        assert list(range(8)) == [future.result(ANSWER_S) for future in short]
        assert list(range(8)) == sorted(told)
        executor.shutdown(cancel_futures=True)


@pytest.mark.slow
def test_a_scheduler_that_restarts_loses_nothing(tmp_path: Path) -> None:
    """The workers find the new one, and so do we; no attempt is charged."""
    news = tmp_path / "news"
    with TestCluster(tmp_path, **QUICK_LOSS) as cluster:
        cluster.add_worker()
        executor = cluster.executor(limits=LONG)
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
    """More often than workers may be lost; what was begun goes on, and is done once."""
    news, runs = tmp_path / "news", tmp_path / "runs"
    met: list[int] = []
    with TestCluster(tmp_path) as cluster, Relay(cluster.port) as line:
        cluster.add_worker(processes=2)
        place = SchedulerAddress(f"tcp://127.0.0.1:{line.port}")
        executor = DaskExecutor(
            Cluster(place), make_requirements(limits=LONG), lambda: met.append(1), poll_s=0.2
        )
        wait_for_workers(executor, 1)
        futures = [executor.submit(bad_jobs.count_when, news, runs) for _ in range(3)]

        for _ in range(MAX_MOVES + 2):
            before = len(met)
            assert 1 <= line.cut()
            wait_until(lambda: len(met) > before, "the worker was asked anew", ANSWER_S)  # noqa: B023
            wait_for_workers(executor, 1)
        bad_jobs.tell(news, "go on")

        assert [1, 2, 3] == sorted(future.result(ANSWER_S) for future in futures)
        executor.shutdown(cancel_futures=True)


def test_a_scheduler_that_never_answers_holds_no_stop_up() -> None:
    """It takes the call, as one does that was stopped; nobody but the clock can tell."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = SchedulerAddress(f"tcp://127.0.0.1:{silent.getsockname()[1]}")
        executor = DaskExecutor(Cluster(place), make_requirements(), poll_s=0.2)
        caller, _ = silent.accept()
        began_s = time.monotonic()

        executor.shutdown(cancel_futures=True)

        assert 15.0 > time.monotonic() - began_s
        caller.close()


@pytest.mark.slow
def test_a_worker_that_falls_silent_is_given_up_in_time(tmp_path: Path) -> None:
    """Its process is stopped, its connections stand: nobody but the clock can tell."""
    with TestCluster(tmp_path) as cluster:
        worker = cluster.add_worker()
        executor = cluster.executor(answer_limit_s=4.0)
        wait_for_workers(executor, 1)
        worker.signal(signal.SIGSTOP)
        silent = executor.submit(bad_jobs.add, 1)

        with pytest.raises(WorkerDied, match=r"no answer from tcp://.* within 4 s"):
            silent.result(ANSWER_S)

        assert [] == accepted(executor)
        later = executor.submit(bad_jobs.add, 2)
        worker.signal(signal.SIGCONT)
        assert 2 == later.result(ANSWER_S)
        executor.shutdown(cancel_futures=True)


@pytest.mark.slow
def test_a_plain_dask_worker_will_do(tmp_path: Path) -> None:
    """With the nanny it has by itself; a crash costs the job alone there too."""
    with TestCluster(tmp_path) as cluster:
        cluster.add_plain_worker()
        executor = cluster.executor()
        wait_for_workers(executor, 1)

        crashed = executor.submit(bad_jobs.segfault)

        assert "the worker was killed by SIGSEGV" == str(crashed.exception(ANSWER_S))
        assert 5 == executor.submit(bad_jobs.add, 2, 3).result(ANSWER_S)
        executor.shutdown(cancel_futures=True)


@pytest.mark.slow
def test_a_sent_file_gives_the_same_faces(tmp_path: Path, two_people: Path) -> None:
    """Byte for byte what a worker finds that reads the file itself."""
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
        executor = cluster.executor(
            limits=LONG,
            encoder=settings.encoder,
            identity=media_jobs.encoder_identity(settings.encoder),
        )
        wait_for_workers(executor, 1)
        (member,) = executor.workers()

        there = executor.submit(media_jobs.encode, piece, settings).result(ANSWER_S)

        executor.shutdown(cancel_futures=True)
    assert member.receives_files
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
    """Asked for before it gets a job, from the process that would encode."""
    asked = EncoderSpec(tmp_path / "models", kind="dlib", detector="hog", upsample=0)
    with TestCluster(tmp_path) as cluster:
        cluster.add_worker()
        executor = cluster.executor(
            limits=LONG,
            encoder=asked,
            identity=media_jobs.encoder_identity(replace(asked, mirror=False)),
        )
        wait_until(lambda: [m for m in executor.workers() if m.reason], "it was refused", 90.0)

        (member,) = executor.workers()

        executor.shutdown(cancel_futures=True)
    assert "refused" == member.state
    assert member.reason.startswith(
        "different encoder: 'dlib-resnet-v1+mirror by dlib, hog' on the worker"
    )


def faces(home: Path) -> list[str]:
    """``portraitd faces``, sorted, without what depends on the order of work."""
    rows = [json.loads(line) for line in portraitd("faces", "--home", home).stdout.splitlines()]
    kept = ("source", "sha256", "t", "box", "score")
    return sorted(json.dumps({key: row[key] for key in kept}) for row in rows)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_executors_find_the_same_faces(
    tmp_path: Path, two_people: Path, photographs: list[Path]
) -> None:
    """Inline, in processes of this machine, and on a cluster that shares no files."""
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
            *("--set", "workers.kind=dask", "--set", f"workers.address={cluster.place.address}"),
        )

    assert 0 == far.returncode, far.stderr
    assert expected
    assert expected == faces(local)
    assert expected == faces(dask)


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with a certificate that vouches for itself."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path / "keys"
    folder.mkdir()
    openssl(
        folder,
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=portraitd test"),
    )
    return folder


@pytest.mark.slow
def test_a_cluster_may_be_encrypted(tmp_path: Path, keys: Path) -> None:
    """Scheduler, worker and we show the same certificate; without it nobody is heard."""
    tls = ("--tls-ca-file", "cert.pem", "--tls-cert", "cert.pem", "--tls-key", "key.pem")
    tls = tuple(str(keys / part) if part.endswith(".pem") else part for part in tls)
    cert, key = keys / "cert.pem", keys / "key.pem"
    with TestCluster(tmp_path, scheduler_options=("--protocol", "tls", *tls)) as cluster:
        address = f"tls://127.0.0.1:{cluster.port}"
        shown = ("--tls-ca", str(cert), "--tls-cert", str(cert), "--tls-key", str(key))
        cluster.add_worker(*shown, address=address)
        place = SchedulerAddress(address, None, cert, cert, key)
        executor = DaskExecutor(Cluster(place), make_requirements(limits=LIMITS), poll_s=0.2)
        wait_for_workers(executor, 1)
        assert 5 == executor.submit(bad_jobs.add, 2, 3).result(ANSWER_S)
        executor.shutdown(cancel_futures=True)

        stranger = Cluster(SchedulerAddress(f"tcp://127.0.0.1:{cluster.port}"))
        assert stranger.workers() is None
        stranger.close()


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (SchedulerAddress("tcp://10.1.2.3:8786"), "not encrypted"),
        (SchedulerAddress("tcp://workers.example:8786"), "insecure_address = true"),
        (SchedulerAddress("tls://10.1.2.3:8786"), "needs workers.tls_ca"),
        (SchedulerAddress("http://10.1.2.3:8786"), "write tcp://"),
        (SchedulerAddress(""), "needs workers.address"),
        (SchedulerAddress(scheduler_file=Path("/nowhere.json")), "no scheduler address found"),
    ],
)
def test_a_place_that_may_not_be_used_is_refused(place: SchedulerAddress, reason: str) -> None:
    """Before anything is sent there; the line says what to write."""
    with pytest.raises(ConfigError, match=reason):
        resolve_address(place)


def test_a_plain_connection_may_be_allowed_by_name() -> None:
    """And needs no leave on this machine."""
    assert "tcp://10.1.2.3:1" == resolve_address(
        SchedulerAddress("tcp://10.1.2.3:1", insecure=True)
    )
    for host in ("127.0.0.1", "localhost", "[::1]", "127.9.9.9"):
        assert f"tcp://{host}:1" == resolve_address(SchedulerAddress(f"tcp://{host}:1"))


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    """A job that is asked for meanwhile is done when it comes."""
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
