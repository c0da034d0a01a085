"""Compare a cluster on this machine with the local pool, in one run, on the same slices.

    python benchmarks/cluster.py CLIP… --rounds 4

Prints the ratio of their speeds, what a slice costs the coordinator, and how many bytes are sent.
It starts the scheduler and the workers on loopback, and ends them.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

from portraitd.config import SchedulerAddress
from portraitd.faces.interface import EncoderSpec
from portraitd.ingest import media_jobs
from portraitd.ingest.media_jobs import EncodeOptions
from portraitd.model.face import SliceFaces
from portraitd.model.media_file import FileState, MediaFacts, Slice, Source, Stamp
from portraitd.service.remote.agent import SharedFolderCheck
from portraitd.service.remote.dask_client import Cluster
from portraitd.service.remote.registry import Requirements
from portraitd.service.remote.remote_executor import DaskExecutor
from portraitd.store.database import Database
from portraitd.store.files import INBOX, Files
from portraitd.store.slices import ClaimedSlice, SliceQueue, cut
from portraitd.workers.job_results import schema_of
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import WorkerLimits

LIMITS = WorkerLimits(nice=0, memory_mb=0, time_limit_s=600.0)


def main() -> None:
    """Measure, and print one figure per line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--slice-s", type=float, default=10.0)
    parser.add_argument("--cores", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="portraitd-bench-") as folder:
        measure(given.clips, given.rounds, given.slice_s, given.cores, Path(folder))


def measure(clips: Sequence[Path], rounds: int, slice_s: float, cores: int, folder: Path) -> None:
    """Run both executors in turn, so that other load on the machine affects both."""
    clips_facts = [(source, media_jobs.probe(source)) for source in map(source_of, clips)]
    settings = EncodeOptions(1.0, False, True, EncoderSpec(folder / "models"), 400)
    pieces = [
        Slice(source, facts.kind, start_s, stop_s, facts.sha256)
        for source, facts in clips_facts
        for start_s, stop_s in cut(facts, slice_s)
    ]
    local = LocalExecutor(cores, LIMITS)
    for load in [local.submit(media_jobs.warm_up, settings.encoder) for _ in range(cores)]:
        load.result()
    programs = start_cluster(folder, cores)
    try:
        place = SchedulerAddress(scheduler_file=folder / "scheduler.json")
        identity = local.submit(media_jobs.encoder_identity, settings.encoder).result()
        proof = SharedFolderCheck(clips_facts[0][0], clips_facts[0][1].sha256)
        far = DaskExecutor(
            Cluster(place),
            Requirements(LIMITS, settings.encoder, identity, proof, 1, 10**10, 900.0),
            poll_s=0.2,
        )
        while sum(worker.state == "accepted" for worker in far.workers()) < cores:
            time.sleep(0.1)
        taken: dict[str, list[float]] = {"local": [], "cluster": []}
        answers: list[SliceFaces] = []
        for number in range(rounds):
            # Each is first as often as the other: a machine gets busier, or quieter.
            turns: list[tuple[str, Executor]] = [("local", local), ("cluster", far)]
            for name, executor in turns[:: -1 if number % 2 else 1]:
                seconds, answers = timed(executor, pieces, settings)
                taken[name].append(seconds)
                print(f"round {number + 1}: {name} {seconds:.1f} s", flush=True)
        ratios = [here / there for here, there in zip(*taken.values(), strict=True)]
        print(f"cluster's speed of local's: {sum(taken['local']) / sum(taken['cluster']):.2f}")
        print(f"round by round: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        report(far, local, settings.encoder, clips_facts, pieces, answers, folder)
        far.shutdown(cancel_futures=True)
    finally:
        for program in reversed(programs):
            program.send_signal(signal.SIGTERM)
            program.wait()
        local.shutdown(cancel_futures=True)


def report(
    far: Executor,
    local: Executor,
    encoder: EncoderSpec,
    clips: Sequence[tuple[Source, MediaFacts]],
    pieces: Sequence[Slice],
    answers: Sequence[SliceFaces],
    folder: Path,
) -> None:
    """Print what a slice costs the coordinator and the network."""
    work_s = sum(answer.seconds for answer in answers)
    footage_s = sum(facts.duration_s for _, facts in clips)
    faces_per_s = sum(len(answer.detections) for answer in answers) / footage_s
    print(f"a core: {footage_s / work_s:.2f} s of footage a second, {len(pieces)} slices")
    print(f"footage: {faces_per_s:.2f} faces a second of it")
    # One process of the coordinator does all of this; so processor time, not what others leave.
    far.submit(media_jobs.encoder_identity, encoder).result()
    count, began_s = 300, time.process_time()
    for future in [far.submit(media_jobs.encoder_identity, encoder) for _ in range(count)]:
        future.result()
    given_s = (time.process_time() - began_s) / count
    began_s = time.process_time()
    faces = record(clips, pieces, answers, folder)
    stored_s = (time.process_time() - began_s) / len(pieces)
    encode = schema_of(media_jobs.encode).encode
    bytes_back = statistics.mean(len(encode(1, answer)) for answer in answers)
    print(f"coordinator: {1000 * given_s:.1f} ms of CPU time to dispatch a job and take its result")
    print(f"coordinator: {1000 * stored_s:.1f} ms to claim, check and record, {faces} faces")
    a_face = bytes_back * len(pieces) / max(1, faces)
    print(f"wire: {bytes_back / 1000:.0f} kB back a slice, {a_face / 1000:.1f} kB a face")
    size = sum(source.stamp.size for source, _ in clips)
    print(f"wire: {size / footage_s / 1000:.0f} kB out a second of footage where files are sent")
    waits = []
    for executor in (local, far):
        began_s = time.monotonic()
        for _ in range(50):
            executor.submit(media_jobs.encoder_identity, encoder).result()
        waits.append((time.monotonic() - began_s) / 50)
    here_ms, there_ms = (1000 * wait_s for wait_s in waits)
    print(f"a job without work there and back: local {here_ms:.1f} ms, cluster {there_ms:.1f} ms")


def record(
    clips: Sequence[tuple[Source, MediaFacts]],
    pieces: Sequence[Slice],
    answers: Sequence[SliceFaces],
    folder: Path,
) -> int:
    """Record the results in a store, as the dispatcher does. Returns the number of faces."""
    state = folder / "state"
    state.mkdir()
    database = Database.open(state)
    files = Files(database, folder)
    slice_queue = SliceQueue(database, files)
    slices_of = Counter(piece.sha256 for piece in pieces)
    for number, (source, facts) in enumerate(clips):
        stamp = Stamp(number, 1, 1)
        file_id = files.note(INBOX, source.path, stamp, FileState.PROBING, 1.0)
        slice_queue.admit(
            files.get(file_id), facts, facts.duration_s / slices_of[facts.sha256], 1.0
        )
    by_place = {
        (piece.sha256, piece.start_s): answer for piece, answer in zip(pieces, answers, strict=True)
    }
    for _ in pieces:
        claimed = slice_queue.claim()
        assert isinstance(claimed, ClaimedSlice)
        piece = claimed.slice
        slice_queue.record(
            claimed,
            by_place[piece.sha256, piece.start_s],
            "bench",
            2.0,
        )
    database.close()
    return sum(len(answer.detections) for answer in answers)


def timed(
    executor: Executor, pieces: Sequence[Slice], settings: EncodeOptions
) -> tuple[float, list[SliceFaces]]:
    """Return the seconds for all slices, and their results."""
    began_s = time.monotonic()
    futures = [executor.submit(media_jobs.encode, piece, settings) for piece in pieces]
    answers = [future.result() for future in futures]
    return time.monotonic() - began_s, answers


def start_cluster(folder: Path, cores: int) -> list[subprocess.Popen[bytes]]:
    """Start a scheduler, and a worker for each core."""
    file = folder / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen(
        [
            *(sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1"),
            *("--port", "0", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", file),
        ],
        **quiet,
    )
    # The file exists before it has content.
    while not (file.exists() and file.read_text().endswith("}")):
        time.sleep(0.1)
    command = [sys.executable, "-m", "portraitd", "worker", "--scheduler-file", file]
    return [
        scheduler,
        *(
            subprocess.Popen([*command, "--processes", "1", "--folder", folder / "worker"], **quiet)
            for _ in range(cores)
        ),
    ]


def source_of(path: Path) -> Source:
    """Return a file with its current stamp."""
    return Source(path.absolute(), Stamp.of(path.stat()))


if __name__ == "__main__":
    main()
