"""What a sealed worker can reach: the files it was passed, and its pipe."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import platform
import re
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from portraitd.faces.interface import EncoderSpec
from portraitd.ingest import media_jobs
from portraitd.model.errors import FileChanged, WorkerDied
from portraitd.model.face import Embeddings
from portraitd.model.media_file import MediaKind, Slice, Source
from portraitd.model.reasons import ReasonCode
from portraitd.service.pools import (
    decoding_policy,
)
from portraitd.workers.file_broker import JobFile
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import SandboxPolicy, WorkerLimits
from portraitd.workers.sandbox import FileAccess, calls, landlock, namespaces
from portraitd.workers.sandbox.call_numbers import (
    ALWAYS,
    BY_ARGUMENTS,
    FIRST_SHARED,
    TO_GENERATE_CODE,
    TO_SAVE,
    TO_WRITE,
)
from portraitd.workers.sandbox.calls import CallRights
from portraitd.workers.sandbox.self_test import try_forbidden
from support import bad_jobs, sandbox_jobs
from support.media import source_of
from support.sealing import SEALED_LIMITS, needs_sandbox

ANSWER_S = 240.0

URETPROBE, UPROBE = 335, 336

pytestmark = needs_sandbox
needs_namespaces = pytest.mark.skipif(
    not namespaces.available(), reason="no new namespaces are allowed here"
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that workers may write to until they are sealed."""
    return tmp_path_factory.mktemp("confined") / "cache"


@pytest.fixture(scope="module")
def sealed(cache: Path) -> Iterator[LocalExecutor]:
    """One worker that wrote a file before it was sealed."""
    policy = SandboxPolicy(FileAccess((), (cache,)), (bad_jobs.touch, (cache / "built",)))
    executor = LocalExecutor(1, SEALED_LIMITS, policy)
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
    executor = LocalExecutor(1, SEALED_LIMITS)

    found = executor.submit(try_forbidden, other).result(ANSWER_S)

    executor.shutdown()
    assert dict.fromkeys(found, False) == found


def test_a_sealed_worker_starts_and_changes_nothing(sealed: LocalExecutor) -> None:
    """Each action is refused separately."""
    assert dict.fromkeys(
        ["fork", "run", "kill", "grow", "connect", "pair", "remove", "mode", "passwords"],
        "PermissionError",
    ) == sealed.submit(bad_jobs.starts).result(ANSWER_S)


def test_every_call_that_is_not_allowed_is_refused(sealed: LocalExecutor) -> None:
    """Also those that are newer than the headers of this machine, and than the kernel."""
    known = calls.list_allowed(platform.machine(), CallRights())
    if platform.machine() == "x86_64":
        # Not filtered by the kernel, which calls them itself; from elsewhere they end the process.
        known |= {URETPROBE, UPROBE}

    found = sealed.submit(sandbox_jobs.sweep, sorted(set(range(601)) - known)).result(ANSWER_S)

    assert {"EPERM", "ENOSYS"} == set(found.values())
    assert {"ENOSYS"} == {error for number, error in found.items() if int(number) >= FIRST_SHARED}
    assert 601 - len(known) == len(found) > 500


@pytest.mark.parametrize("number", [0x40000000, 0x40000000 + 41, 1 << 20, -1])
def test_numbers_of_other_interfaces_are_refused(sealed: LocalExecutor, number: int) -> None:
    """Such as those of programs with small pointers (x32), where the filter knows no number."""
    (error,) = sealed.submit(sandbox_jobs.sweep, [number]).result(ANSWER_S).values()

    assert "ENOSYS" == error


def test_a_sealed_worker_changes_nothing_outside(sealed: LocalExecutor, tmp_path: Path) -> None:
    """Every call is tried with arguments that would do something to a process and a file."""
    file, passed = tmp_path / "portraitd.sqlite3", tmp_path / "clip.mp4"
    file.write_bytes(b"faces")
    passed.write_bytes(bytes(8192))
    has_attributes = set_attribute(file)
    with subprocess.Popen(["sleep", "600"]) as victim:
        before = state_of(file, victim.pid)
        try:
            found = sealed.submit(
                sandbox_jobs.try_to_get_out, victim.pid, str(file), source_of(passed)
            ).result(ANSWER_S)
            after = state_of(file, victim.pid)
        finally:
            victim.kill()

    assert {"EPERM", "ENOSYS"} == set(found.values()), found
    assert before == after
    assert {file, passed} == set(tmp_path.iterdir())
    assert len(found) > 100
    assert has_attributes or os.listxattr(file) == []


def set_attribute(file: Path) -> bool:
    """Give a file an extended attribute. Returns False where the file system has none."""
    try:
        os.setxattr(file, "user.portraitd", b"before")
    except OSError:
        return False
    return True


def state_of(file: Path, pid: int) -> list[object]:
    """Return everything about a file and a process that the attempts would change."""
    facts = file.stat()
    attributes = {name: os.getxattr(file, name) for name in os.listxattr(file)}
    return [
        (facts.st_mode, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, attributes),
        file.read_bytes(),
        (os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid)),
        resource.prlimit(pid, resource.RLIMIT_NOFILE),
        os.getpgid(pid),
        (os.getpriority(os.PRIO_PROCESS, os.getpid()), fcntl.fcntl(2, fcntl.F_GETFL)),
    ]


@needs_namespaces
def test_a_sealed_worker_sees_no_other_process(sealed: LocalExecutor) -> None:
    """It has namespaces of its own, no rights of root, and only descriptors of its own."""
    found = sealed.submit(sandbox_jobs.describe_process).result(ANSWER_S)
    ours = {name: os.readlink(f"/proc/self/ns/{name}") for name in found["namespaces"]}

    assert (2, 0) == (found["pid"], found["parent"])
    assert {"net", "pid", "ipc", "uts"} <= {
        name for name, link in found["namespaces"].items() if link != ours[name]
    }
    allowed = 1 << 2 if os.geteuid() == 0 else 0
    assert all(int(rights, 16) & ~allowed == 0 for rights in found["capabilities"])
    assert ("2", "1") == (found["filters"], found["no new privileges"])
    opened = [one.partition(":")[0] for one in found["descriptors"] if not one.startswith("/")]
    # The pipe of its jobs, the broker, what tells that it ended, and the log.
    assert set(opened) <= {"socket", "pipe"}


@needs_namespaces
def test_a_worker_ends_with_the_process_that_waits_for_it(sealed: LocalExecutor) -> None:
    """And that process tells how it ended: by a signal, a fault, or an exit."""
    for job, reason in (
        (bad_jobs.segfault, "killed by SIGSEGV"),
        (functools.partial(bad_jobs.leave, 7), r"exit code 7"),
    ):
        fn, args = getattr(job, "func", job), getattr(job, "args", ())
        with pytest.raises(WorkerDied, match=reason):
            sealed.submit(fn, *args).result(ANSWER_S)
    assert 3 == sealed.submit(bad_jobs.add, 1, 2).result(ANSWER_S)


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


def test_no_folder_above_a_file_may_be_a_link(sealed: LocalExecutor, tmp_path: Path) -> None:
    """Also one that replaces a folder while the job waits; the inbox itself may be one."""
    inbox, outside = tmp_path / "inbox", tmp_path / "outside"
    for folder in (inbox / "a" / "b", outside / "b"):
        folder.mkdir(parents=True)
        (folder / "clip.mp4").write_bytes(b"a video")
    # The same file, so that neither size, time nor inode tell.
    (outside / "b" / "clip.mp4").unlink()
    (outside / "b" / "clip.mp4").hardlink_to(inbox / "a" / "b" / "clip.mp4")
    (tmp_path / "link to inbox").symlink_to(inbox)
    root = tmp_path / "link to inbox"
    found = source_of(root / "a" / "b" / "clip.mp4")
    source = Source(found.path, found.stamp, root)

    before = sealed.submit(media_jobs.hash_content, source).result(ANSWER_S)
    (inbox / "a").rename(tmp_path / "moved away")
    (inbox / "a").symlink_to(outside)
    with pytest.raises(FileChanged) as changed:
        sealed.submit(media_jobs.hash_content, source).result(ANSWER_S)

    assert hashlib.sha256(b"a video").hexdigest() == before[0]
    assert ReasonCode.CHANGED_WHILE_READ is changed.value.reason.code


def test_the_broker_opens_what_the_service_has_named(sealed: LocalExecutor, tmp_path: Path) -> None:
    """To read or to create it, as the service said, whatever a worker asks for."""
    read, new, other = (tmp_path / name for name in ("read", "new", "other"))
    read.write_bytes(b"of the job")
    other.write_bytes(b"of no job")
    job = sandbox_jobs.HasFiles([JobFile(read), JobFile(new, is_created=True)])
    asked = {
        b"r" + bytes(read): "done",
        b"c" + bytes(read): "EACCES",
        b"r" + bytes(new): "EACCES",
        b"c" + bytes(new): "done",
        b"r" + bytes(other): "EACCES",
        b"c" + bytes(tmp_path / "another"): "EACCES",
        b"r" + bytes(tmp_path / "x" / ".." / "read"): "EACCES",
        b"r" + bytes(read) + b"\0": "EACCES",
        b"w" + bytes(read): "EACCES",
        b"r": "EACCES",
        b"\xff" * 5000: "EACCES",
    }

    found = sealed.submit(sandbox_jobs.ask_the_broker, job, list(asked)).result(ANSWER_S)

    assert list(asked.values()) == found
    assert {read, new, other} == set(tmp_path.iterdir())
    again = sealed.submit(sandbox_jobs.ask_the_broker, job, [b"c" + bytes(new)]).result(ANSWER_S)
    assert ["EEXIST"] == again
    over = sealed.submit(
        sandbox_jobs.ask_the_broker, sandbox_jobs.HasFiles([]), [b"r" + bytes(read)]
    ).result(ANSWER_S)
    assert ["EACCES"] == over


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
        pytest.param("dlib", "cnn", "auto", marks=pytest.mark.exhaustive),
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


# --- Limits.


def test_a_sealed_worker_has_limits(sealed: LocalExecutor) -> None:
    """CPU time for this job alone, small files, few descriptors."""
    found = sealed.submit(bad_jobs.resource_limits).result(ANSWER_S)

    assert 1 << 20 == found["file"]
    assert 256 == found["open"]
    limit_s = SEALED_LIMITS.time_limit_s
    assert limit_s <= found["cpu"] - found["used"] <= limit_s + 10


def test_the_kernel_kills_a_worker_that_spins(sealed: LocalExecutor) -> None:
    """In case the daemon cannot."""
    with pytest.raises(WorkerDied, match="used more CPU time than its limit"):
        sealed.submit(bad_jobs.exceed_cpu).result(ANSWER_S)


# --- The numbers of system calls.


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_known_for_both_architectures(machine: str) -> None:
    """On arm64 the calls have other numbers, and some do not exist."""
    for rights in (CallRights(), CallRights(may_write=True), CallRights(generates_code=True)):
        program = calls.build_filter(machine, os.getpid(), rights)
        assert {8} == {len(step) for step in program}
        assert len(program) < 4096

    assert platform.machine() in ("x86_64", "aarch64")
    assert landlock.version() >= 1


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
    tables = (ALWAYS, BY_ARGUMENTS, TO_SAVE, TO_WRITE, TO_GENERATE_CODE)
    ours = {name: numbers[column] for table in tables for name, numbers in table.items()}

    wrong = {
        name: (number, wanted.get(name))
        for name, number in ours.items()
        # The headers may be older than a call.
        if wanted.get(name, number) != number
    }
    assert {} == wrong
    assert [] == [name for name, number in ours.items() if number is None and name in wanted]
