"""Sending files to remote workers, and validating their results."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from portraitd.config import Settings
from portraitd.ingest import media_jobs
from portraitd.ingest.dispatcher import encode_options
from portraitd.model.errors import FileChanged, NotMedia, WorkerDied
from portraitd.model.face import SliceFaces
from portraitd.model.media_file import MediaKind, Slice
from portraitd.model.reasons import ReasonCode
from portraitd.service.remote.agent import FileEvicted
from portraitd.service.remote.dask_client import _read_heartbeats
from portraitd.service.remote.registry import Heartbeat
from portraitd.service.remote.transfer import send_file
from support import bad_jobs
from support.fake_network import RemoteFixture
from support.media import source_of
from support.processes import wait_until
from support.store import slice_faces

ANSWER_S = 60.0

OPTIONS = encode_options(Settings())


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[RemoteFixture]:
    found = RemoteFixture(tmp_path)
    yield found
    found.executor.shutdown(cancel_futures=True)


@pytest.fixture
def piece(nobody: Path) -> Slice:
    """A slice of a clip, with the hash of its content."""
    sha256 = hashlib.sha256(nobody.read_bytes()).hexdigest()
    return Slice(source_of(nobody), MediaKind.VIDEO, 0.0, math.inf, sha256)


def test_a_slow_transfer_does_not_count_as_silence(remote: RemoteFixture, piece: Slice) -> None:
    """Each chunk that arrives shows that the worker is alive."""
    remote.connect("a", shares_folder=False)
    call = remote.network.call

    def slowly(address: str, fn: Callable[..., Any], *args: Any) -> Any:
        remote.now_s += 60.0
        remote.executor.poll()
        return call(address, fn, *args)

    remote.network.call = slowly  # type: ignore[method-assign]

    answer = remote.executor.submit(media_jobs.encode, piece, OPTIONS)
    wait_until(lambda: remote.network.submitted, "it was submitted")
    remote.network.answer(slice_faces(), at=0)

    assert 120.0 <= remote.now_s
    assert slice_faces().decoded == answer.result(ANSWER_S).decoded


def test_errors_of_a_job_arrive_as_they_are(remote: RemoteFixture) -> None:
    """By the name of their class; any other name becomes ``WorkerDied``."""
    remote.connect("a", 9)
    ours, theirs, broken = (remote.executor.submit(bad_jobs.add, number) for number in range(3))
    remote.network.fail(NotMedia("text"), at=0)
    remote.network.fail(SystemExit("odd"), at=1)
    remote.network.submitted[2][2].set_result("not an answer at all")

    assert (NotMedia, "text") == (type(ours.exception(0)), str(ours.exception(0)))
    assert (WorkerDied, "unexpected SystemExit: odd") == (
        type(theirs.exception(0)),
        str(theirs.exception(0)),
    )
    assert isinstance(broken.exception(0), WorkerDied)


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("Expected `float`", SliceFaces([], 1, 1, math.inf, 1.0)),
        ("outside of the slice", SliceFaces([], 1, 1, -1.0, 1.0)),
        ("Expected `int` >= 0", SliceFaces([], -1, 1, 1.0, 1.0)),
        ("not asked for", SliceFaces([], 1, 1, 1.0, 1.0, [(1.0, b"jpeg")])),
    ],
)
def test_an_impossible_result_fails_the_job(
    remote: RemoteFixture, piece: Slice, word: str, result: SliceFaces
) -> None:
    """It passes the same border as that of a worker of this machine."""
    remote.connect("a")
    answer = remote.executor.submit(media_jobs.encode, piece, OPTIONS)
    wait_until(lambda: remote.network.submitted, "it was submitted")

    remote.network.answer(result)

    with pytest.raises(WorkerDied, match=f"invalid result from worker: .*{word}"):
        answer.result(0)


@pytest.mark.parametrize("message", ["text", b"", b"\x93\xa5value\x00\x01", 7, None, [b"x"]])
def test_what_is_no_message_fails_the_job(remote: RemoteFixture, message: object) -> None:
    """Dask delivers any object; a message with another number answers another job."""
    remote.connect("a")
    remote.executor.submit(bad_jobs.add, 1)
    answer = remote.executor.submit(bad_jobs.add, 1)

    remote.network.submitted[-1][2].set_result(message)

    error = answer.exception(0)
    assert isinstance(error, WorkerDied)
    assert ReasonCode.INVALID_RESULT is error.reason.code


def test_a_worker_that_shares_the_folder_is_sent_no_file(
    remote: RemoteFixture, piece: Slice
) -> None:
    """It reads the files under the same path."""
    remote.connect("a", shares_folder=True)

    remote.executor.submit(media_jobs.encode, piece, OPTIONS)

    assert ("", piece) == (
        remote.network.submitted[0][1].sent_sha256,
        remote.network.submitted[0][1].args[0],
    )
    assert [] == remote.network.chunks


def test_a_file_is_sent_once_to_a_worker(remote: RemoteFixture, piece: Slice) -> None:
    """Whatever the number of slices, and to no more workers than needed."""
    remote.connect("a", 4, shares_folder=False)
    remote.connect("b", 4, shares_folder=False)

    answers = [remote.executor.submit(media_jobs.encode, piece, OPTIONS) for _ in range(4)]
    wait_until(lambda: len(remote.network.submitted) == 4, "all were submitted")

    size = piece.source.stamp.size
    assert {"a": size} == {
        address: sum(length for at, length in remote.network.chunks if at == address)
        for address in {at for at, _ in remote.network.chunks}
    }
    assert {piece.sha256} == {job.sent_sha256 for _, job, _ in remote.network.submitted}
    assert piece.source.path.read_bytes() == remote.network.cache.path(piece.sha256).read_bytes()
    for at in range(4):
        remote.network.answer(slice_faces(), at)
    assert 4 == len([answer.result(ANSWER_S) for answer in answers])


def test_an_evicted_file_is_sent_again(remote: RemoteFixture, piece: Slice) -> None:
    """The job reports that it is missing, and is assigned again."""
    remote.connect("a", shares_folder=False)
    answer = remote.executor.submit(media_jobs.encode, piece, OPTIONS)
    wait_until(lambda: remote.network.submitted, "it was submitted")

    remote.network.fail(FileEvicted("it is gone"), at=0)
    wait_until(lambda: len(remote.network.submitted) == 2, "it was submitted again")
    remote.network.answer(slice_faces(), at=1)

    assert slice_faces().decoded == answer.result(ANSWER_S).decoded


def test_a_changed_file_is_not_sent(remote: RemoteFixture, piece: Slice, tmp_path: Path) -> None:
    """With the same reason as where it is read directly."""
    copy = tmp_path / "clip.mp4"
    copy.write_bytes(piece.source.path.read_bytes())
    changed = replace(piece, source=source_of(copy))
    copy.write_bytes(b"another")
    remote.connect("a", shares_folder=False)

    answer = remote.executor.submit(media_jobs.encode, changed, OPTIONS)

    with pytest.raises(FileChanged, match="while it was being read"):
        answer.result(ANSWER_S)


def test_a_file_larger_than_the_cache_fails(tmp_path: Path, piece: Slice) -> None:
    """The message names the setting."""
    remote = RemoteFixture(tmp_path, cache_bytes=100)
    remote.connect("a", shares_folder=False)

    answer = remote.executor.submit(media_jobs.encode, piece, OPTIONS)

    with pytest.raises(WorkerDied, match=r"a: the file has .* workers\.cache_mb"):
        answer.result(ANSWER_S)
    remote.executor.shutdown(cancel_futures=True)


@pytest.mark.parametrize("arrived", [-1, 10**12, 1.0, True, "4", None])
def test_a_worker_that_counts_wrongly_is_sent_nothing(
    remote: RemoteFixture, piece: Slice, arrived: object
) -> None:
    """What it says decides what is read from the file next."""
    remote.connect("a", shares_folder=False)
    remote.network.call = lambda *_: arrived  # type: ignore[method-assign]

    error = remote.executor.submit(media_jobs.encode, piece, OPTIONS).exception(10)

    assert isinstance(error, WorkerDied)
    assert ReasonCode.INVALID_RESULT is error.reason.code


def test_a_file_that_is_lost_as_often_as_it_arrives_is_not_sent_for_ever(piece: Slice) -> None:
    """Each chunk that arrives would make up for one that was lost."""
    arrived = iter([0, *[5, 0] * 100])

    with pytest.raises(WorkerDied) as raised:
        send_file(piece.source, lambda size, offset, data: next(arrived))

    assert ReasonCode.FILE_REFUSED is raised.value.reason.code


def test_workers_that_cannot_be_any_are_left_out() -> None:
    """What the scheduler reports comes from the network, too."""
    known = {"nthreads": 2, "local_directory": "/tmp/x", "metrics": object()}

    found = _read_heartbeats(
        {
            "tcp://10.0.0.1:5000": known,
            "tcp://none:1": known | {"nthreads": 0},
            "tcp://many:1": known | {"nthreads": 10**9},
            "tcp://text:1": known | {"nthreads": "2"},
            "tcp://bare:1": {},
            "tcp://odd\udc80:1": known,
            "file:///etc": known,
            7: known,
        }
    )

    assert {"tcp://10.0.0.1:5000": Heartbeat(2, "/tmp/x")} == found
