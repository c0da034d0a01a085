"""What the sandbox costs: the same slices in a sealed worker and in an open one, in one run.

    python benchmarks/sandbox.py FILE… [--model yunet=FILE] [--rounds 4]

Prints one line of JSON: the processor time of each, user and system, of all processes of the
worker, and their ratio, in total and for each round. The two alternate, so that other load on the
machine affects both. The start of a worker is printed apart.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from portraitd.faces.interface import EncoderSpec
from portraitd.faces.models import model_registry
from portraitd.ingest import media_jobs
from portraitd.ingest.media_jobs import EncodeOptions
from portraitd.model.media_file import Slice, Source, Stamp
from portraitd.service.pools import decoding_policy
from portraitd.store.slices import cut
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import WorkerLimits

LIMITS = WorkerLimits(nice=0, memory_mb=3000, time_limit_s=900.0)
SLICE_S = 10.0
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--model", action="append", default=[], help="yunet=FILE")
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="portraitd-bench-") as folder:
        print(json.dumps(measure(given.files, given.model, given.rounds, Path(folder))))


def measure(files: list[Path], models: list[str], rounds: int, folder: Path) -> dict[str, object]:
    """Run all slices of the files in both workers, as often as there are rounds."""
    names = []
    for model in models:
        name, _, file = model.partition("=")
        model_registry.add_model(model_registry.find_model(name), folder, Path(file))
        names.append(name)
    encoder = EncoderSpec(folder, detector=names[0] if names else "mmod", embedder="dlib")
    options = EncodeOptions(1.0, False, True, encoder, 400)
    workers = {
        "open": LocalExecutor(1, LIMITS),
        "sealed": LocalExecutor(1, LIMITS, decoding_policy(encoder)),
    }
    pieces = []
    starts: dict[str, float] = {}
    for name, worker in workers.items():
        before = processor_s()
        worker.submit(media_jobs.warm_up, encoder).result()
        starts[name] = processor_s() - before
    for path in files:
        source = Source(path, Stamp.of(path.stat()))
        facts = workers["sealed"].submit(media_jobs.probe, source).result()
        pieces += [
            Slice(source, facts.kind, start_s, stop_s, facts.sha256)
            for start_s, stop_s in cut(facts, SLICE_S)
        ]
    spent: dict[str, list[float]] = {name: [] for name in workers}
    # The first round, which loads libraries in the open worker, is not counted.
    for number in range(rounds + 1):
        order = list(workers) if number % 2 else list(workers)[::-1]
        for name in order:
            before = processor_s()
            for piece in pieces:
                workers[name].submit(media_jobs.encode, piece, options).result()
            if number:
                spent[name].append(processor_s() - before)
    for worker in workers.values():
        worker.shutdown()
    each = [sealed / opened for sealed, opened in zip(spent["sealed"], spent["open"], strict=True)]
    return {
        "slices": len(pieces),
        "start_s": {name: round(seconds, 2) for name, seconds in starts.items()},
        "open_s": round(sum(spent["open"]), 2),
        "sealed_s": round(sum(spent["sealed"]), 2),
        "ratio": round(sum(spent["sealed"]) / sum(spent["open"]), 4),
        "median": round(statistics.median(each), 4),
        "rounds": [round(one, 3) for one in each],
    }


def processor_s() -> float:
    """Return the processor time of all processes below this one."""
    processes = list(_processes())
    parents = {pid: parent for pid, parent, _ in processes}
    return sum(used for pid, _, used in processes if _is_below(pid, parents))


def _is_below(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == os.getpid():
            return True
    return False


def _processes() -> Iterator[tuple[int, int, float]]:
    """Yield id, parent and processor time of each process."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield int(entry.name), int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
