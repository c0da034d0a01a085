"""What a sealed worker can reach: the files it was passed, and its pipe."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from portraitd.faces.interface import EncoderSpec
from portraitd.ingest import media_jobs
from portraitd.model.errors import WorkerDied
from portraitd.model.face import Embeddings
from portraitd.model.media_file import MediaKind, Slice, Source
from portraitd.service.pools import decoding_policy
from portraitd.workers import sandbox
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import SandboxPolicy, WorkerLimits
from portraitd.workers.sandbox import FileAccess, calls, landlock
from portraitd.workers.sandbox.self_test import try_forbidden
from support import bad_jobs
from support.media import source_of

ANSWER_S = 240.0
LIMITS = WorkerLimits(nice=0, memory_mb=4000, time_limit_s=120.0)

pytestmark = pytest.mark.skipif(
    bool(list(sandbox.missing_features())),
    reason=f"not supported here: {list(sandbox.missing_features())}",
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that workers may write to until they are sealed."""
    return tmp_path_factory.mktemp("confined") / "cache"


@pytest.fixture(scope="module")
def sealed(cache: Path) -> Iterator[LocalExecutor]:
    """One worker that wrote a file before it was sealed."""
    policy = SandboxPolicy(FileAccess((), (cache,)), (bad_jobs.touch, (cache / "built",)))
    executor = LocalExecutor(1, LIMITS, policy)
    yield executor
    executor.shutdown(cancel_futures=True)


def test_a_sealed_worker_reaches_nothing(sealed: LocalExecutor, tmp_path: Path) -> None:
    """Neither the network nor other files, programs or processes."""
    secret = tmp_path / "portraitd.sqlite3"
    secret.write_text("faces")

    found = sealed.submit(try_forbidden, secret).result(ANSWER_S)

    assert dict.fromkeys(found, True) == found
    assert 5 == len(found)


def test_an_open_worker_can_do_the_same_things(tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    other = tmp_path / "other"
    other.write_text("")
    executor = LocalExecutor(1, LIMITS)

    found = executor.submit(try_forbidden, other).result(ANSWER_S)

    executor.shutdown()
    assert dict.fromkeys(found, False) == found


def test_a_sealed_worker_starts_and_changes_nothing(sealed: LocalExecutor) -> None:
    """Each action is refused separately."""
    assert dict.fromkeys(
        ["fork", "run", "kill", "grow", "connect", "pair", "remove", "mode", "passwords"],
        "PermissionError",
    ) == sealed.submit(bad_jobs.starts).result(ANSWER_S)


def test_a_sealed_worker_may_start_threads(sealed: LocalExecutor) -> None:
    """Libraries do."""
    assert "started" == sealed.submit(bad_jobs.thread_says).result(ANSWER_S)


def test_files_are_written_before_the_worker_is_sealed(sealed: LocalExecutor, cache: Path) -> None:
    """The first worker builds a network; afterwards the folder is read-only."""
    with pytest.raises(WorkerDied, match="PermissionError"):
        sealed.submit(bad_jobs.touch, cache / "later").result(ANSWER_S)

    assert "made before" == (cache / "built").read_text()


def test_a_worker_gets_the_file_of_its_job(sealed: LocalExecutor, tmp_path: Path) -> None:
    """As a descriptor; every other file is refused, also in the same folder."""
    clip, other = tmp_path / "clip.mp4", tmp_path / "other.mp4"
    clip.write_bytes(b"of the job")
    other.write_bytes(b"of no job")

    assert b"of the job" == sealed.submit(bad_jobs.open_source, source_of(clip)).result(ANSWER_S)
    with pytest.raises(WorkerDied, match="Permission denied"):
        sealed.submit(bad_jobs.open_other, source_of(clip), other).result(ANSWER_S)
    assert b"of no job" == sealed.submit(bad_jobs.open_source, source_of(other)).result(ANSWER_S)


def test_a_link_is_not_opened(sealed: LocalExecutor, tmp_path: Path) -> None:
    """People who can write to the inbox must not choose what is read."""
    target, link = tmp_path / "target", tmp_path / "link.mp4"
    target.write_text("secret")
    link.symlink_to(target)

    with pytest.raises(WorkerDied, match="symbolic links"):
        sealed.submit(bad_jobs.open_source, Source(link, source_of(target).stamp)).result(ANSWER_S)


# --- Hostile results.


def test_a_result_that_calls_a_function_is_refused(sealed: LocalExecutor, tmp_path: Path) -> None:
    """Its job fails, the next one does not."""
    with pytest.raises(WorkerDied, match="a Hostile is not plain data"):
        sealed.submit(bad_jobs.answer_hostilely, tmp_path / "pwned").result(ANSWER_S)

    assert not (tmp_path / "pwned").exists()
    assert 3 == sealed.submit(bad_jobs.add, 1, 2).result(ANSWER_S)


def test_a_message_that_calls_a_function_is_refused(sealed: LocalExecutor, tmp_path: Path) -> None:
    """Also one that bypasses the job; later messages of that worker are not read."""
    with pytest.raises(WorkerDied, match="invalid result from worker"):
        sealed.submit(bad_jobs.send_hostilely, tmp_path / "pwned").result(ANSWER_S)

    assert not (tmp_path / "pwned").exists()
    assert 3 == sealed.submit(bad_jobs.add, 1, 2).result(ANSWER_S)


# --- Jobs still work.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "detector", "runtime"),
    [
        ("dlib", "hog", "auto"),
        ("dlib", "cnn", "auto"),
        ("onnx", "mmod", "onnxruntime"),
        ("onnx", "hog", "onnxruntime"),
        ("onnx", "mmod", "openvino"),
        ("onnx", "mmod", "auto"),
    ],
)
@pytest.mark.timeout(600)
def test_a_sealed_worker_finds_the_same_faces(
    tmp_path: Path, two_people: Path, kind: str, detector: str, runtime: str
) -> None:
    """Decoding, detecting and embedding need no other files; networks are built before."""
    if runtime == "openvino":
        pytest.importorskip("openvino", reason="the extra openvino is not installed")
    settings = EncoderSpec(
        models_dir=tmp_path / "models",
        kind=kind,
        detector=detector,
        max_width=700,
        max_height=500,
        upsample=0,
        mirror=False,
        min_face_px=24,
        runtime=runtime,
    )
    limits = WorkerLimits(nice=0, memory_mb=3000, time_limit_s=400.0)
    executor = LocalExecutor(1, limits, decoding_policy(settings))
    source = source_of(two_people)
    encoding = media_jobs.EncodeOptions(0.5, False, True, settings, 100)
    piece = Slice(source, MediaKind.VIDEO, 0.0, 6.0)

    facts = executor.submit(media_jobs.probe, source).result(600)
    confined = executor.submit(media_jobs.encode, piece, encoding).result(600)

    executor.shutdown()
    free = media_jobs.encode(piece, encoding)
    assert MediaKind.VIDEO is facts.kind
    assert len(confined.detections) > 0
    assert _embeddings(free) == _embeddings(confined)


def _embeddings(found: media_jobs.SliceFaces) -> list[list[float]]:
    rows: list[Embeddings] = [detection.face.embedding for detection in found.detections]
    return [[round(float(value), 3) for value in row] for row in rows]


def test_the_filter_is_known_for_both_architectures() -> None:
    """On arm64 the calls have other numbers, and some do not exist."""
    for machine in ("x86_64", "aarch64"):
        strict = calls._program(machine, os.getpid(), may_write=False)
        assert {8} == {len(step) for step in strict}
        assert len(strict) < 4096

    assert platform.machine() in ("x86_64", "aarch64")
    assert landlock.version() >= 1


# --- Limits, and kernels that support less.


def test_a_sealed_worker_has_limits(sealed: LocalExecutor) -> None:
    """CPU time for this job alone, small files, few descriptors."""
    found = sealed.submit(bad_jobs.resource_limits).result(ANSWER_S)

    assert 1 << 20 == found["file"]
    assert 256 == found["open"]
    assert LIMITS.time_limit_s <= found["cpu"] - found["used"] <= LIMITS.time_limit_s + 10


def test_the_kernel_kills_a_worker_that_spins(sealed: LocalExecutor) -> None:
    """In case the daemon cannot."""
    with pytest.raises(WorkerDied, match="used more CPU time than its limit"):
        sealed.submit(bad_jobs.exceed_cpu).result(ANSWER_S)


LESS = """
import pathlib, sys
from support import bad_jobs
from portraitd.workers import sandbox
from portraitd.workers.sandbox import FileAccess
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import SandboxPolicy, WorkerLimits

if __name__ == "__main__":
    print(*sandbox.missing_features(), sep="\\n")
    policy = SandboxPolicy(FileAccess((), (pathlib.Path(sys.argv[1]),)))
    executor = LocalExecutor(1, WorkerLimits(0, 0, 60.0), policy)
    print(executor.submit(bad_jobs.add, 2, 3).result())
    executor.shutdown()
"""


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_jobs_run_without_support_of_the_kernel(tmp_path: Path) -> None:
    """As in a container that forbids it; the missing features are reported."""
    script = tmp_path / "less.py"
    script.write_text(LESS)
    answer = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=landlock_create_ruleset,seccomp",
         "-e", "inject=landlock_create_ruleset:error=EPERM", "-e", "inject=seccomp:error=EPERM",
         sys.executable, script, tmp_path / "cache"],
        capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip

    assert "no Landlock: workers can read every file" in answer.stdout
    assert "no system call filter" in answer.stdout
    assert answer.stdout.endswith("\n5\n")


@pytest.mark.parametrize(
    ("header", "column"),
    [("x86_64-linux-gnu/asm/unistd_64.h", 0), ("asm-generic/unistd.h", 1)],
    ids=["x86-64", "arm64"],
)
def test_the_numbers_are_those_of_the_kernel(header: str, column: int) -> None:
    """A wrong number would let one call through and break another."""
    place = Path("/usr/include") / header
    if not place.is_file():
        pytest.skip(f"no {place}")
    defined = re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", place.read_text())
    wanted = {name: int(number) for name, number in defined}
    single = {
        "clone": calls._CLONE, "clone3": calls._CLONE3, "open": calls._OPEN,
        "openat": calls._OPENAT, "openat2": calls._OPENAT2, "kill": calls._KILL_CALL,
        "tgkill": calls._TGKILL, "prlimit64": calls._PRLIMIT, "ioctl": calls._IOCTL,
        "fcntl": calls._FCNTL,
    }  # fmt: skip
    ours = {name: numbers[column] for name, numbers in (*calls._TO_OTHERS.items(),
            *calls._ON_FILES.items(), *single.items())}  # fmt: skip

    wrong = {
        name: (number, wanted.get(name))
        for name, number in ours.items()
        # The headers may be older than a call.
        if wanted.get(name, number) != number
    }
    assert {} == wrong
    assert [] == [name for name, number in ours.items() if number is None and name in wanted]
