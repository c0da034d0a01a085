"""What a grouping costs: take 500 new tracks into a store of 10^4, 10^5 and 10^6.

    python benchmarks/grouping.py                          # prints one JSON line for each size
    python benchmarks/grouping.py --plot /tmp/grouping.png
    python benchmarks/grouping.py --embeddings faces.npy   # real ones, shape (n, 128)

The people are synthetic, with the spread of dlib's embeddings as measured on 904 labelled
photographs of 40 people, l2_normalised to a length of 1.4: between people a total variance of 0.23
in about 23 directions, within a person 0.09 in about 54 (total variance squared over the sum
of squared eigenvalues, corrected for the number of people). How often somebody is seen goes
down with their rank (Zipf), a hundred tracks to a person on average.

Each line has medians of rounds, each in processes of its own, with one look at the files before
(so that the disk is not what is measured): ``density_s``, the density step alone; ``census_s``,
all steps; ``job_s``, the job that a worker is given, which also reads and writes the memory of
the grouping and looks for people who lie close; ``job_cpu_s``, its processor time over all threads,
which a busy machine changes least; ``peak_mb``, the most memory that job ever used.
And how long scikit-learn's DBSCAN takes for all tracks from scratch, where that fits; the ratios
to it; and the load of the machine. The store itself is prepared person by person: a pair of
tracks of two people within eps is not counted in it, which changes no cost.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering import grouping_jobs
from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.dbscan import IncrementalDbscan
from portraitd.clustering.grouping import GroupingRule, GroupingState
from portraitd.clustering.grouping_methods import CANDIDATE_MARGIN
from portraitd.clustering.grouping_snapshot import load_snapshot, save_snapshot
from portraitd.model.track import VECTOR_LENGTH, l2_normalised

WIDTH = 128
NEW = 500
MATRIX = "tracks.f32"
TRACKS_A_PERSON = 100
BETWEEN, BETWEEN_DECAY = 0.23, 0.917
WITHIN, WITHIN_DECAY = 0.09, 0.9636
RULE = GroupingRule()

Figures = dict[str, float]
Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]


def synthetic(size: int, seed: int = 0) -> tuple[Vectors, NDArray[np.int64]]:
    """Tracks of people, shape ``(size, 128)``, and whose they are."""
    random = np.random.default_rng(seed)
    people = max(size // TRACKS_A_PERSON, 1)
    middle = random.standard_normal(WIDTH)
    middle *= VECTOR_LENGTH * 0.93 / np.linalg.norm(middle)
    centres = middle + spread(random, people, BETWEEN, BETWEEN_DECAY)
    share = 1 / np.arange(1, people + 1)
    who = random.choice(people, size, p=share / share.sum())
    vectors = np.empty((size, WIDTH), dtype=np.float32)
    directions = np.random.default_rng(seed + 1)
    turned = np.linalg.qr(directions.standard_normal((WIDTH, WIDTH)))[0]
    for start in range(0, size, 50_000):
        some = who[start : start + 50_000]
        noise = random.standard_normal((len(some), WIDTH)) * deviations(WITHIN, WITHIN_DECAY)
        vectors[start : start + 50_000] = l2_normalised(
            (centres[some] + noise @ turned).astype(np.float32)
        )
    return vectors, who


def spread(random: np.random.Generator, size: int, total: float, decay: float) -> Floats:
    """Points around zero with this total variance, in directions of falling variance."""
    turned = np.linalg.qr(random.standard_normal((WIDTH, WIDTH)))[0]
    return np.asarray((random.standard_normal((size, WIDTH)) * deviations(total, decay)) @ turned)


def deviations(total: float, decay: float) -> Floats:
    """Standard deviation in each direction."""
    variances = decay ** np.arange(WIDTH)
    return np.asarray(np.sqrt(variances / variances.sum() * total))


def table(vectors: Vectors) -> TrackTable:
    """Tracks that nobody placed and nothing keeps apart."""
    size = len(vectors)
    none = np.empty((0, 2), dtype=np.int64)
    return TrackTable(vectors, np.zeros(size), np.zeros(size, dtype=np.int64), none)


def prepare(folder: Path, vectors: Vectors, who: NDArray[np.int64]) -> str:
    """Save the vectors, and the memory of a store that holds all but the last 500: its name."""
    stored = len(vectors) - NEW
    counts = np.zeros(stored, dtype=np.int32)
    components, nearest_cores = np.full(stored, -1), np.full(stored, -1)
    order = np.argsort(who[:stored], kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(who[order])) + 1):
        part = IncrementalDbscan.empty().insert(vectors[rows], np.arange(len(rows)), RULE.dbscan)
        counts[rows] = part.counts
        components[rows] = np.where(part.components >= 0, rows[part.components], -1)
        nearest_cores[rows] = np.where(part.nearest_cores >= 0, rows[part.nearest_cores], -1)
    dbscan = IncrementalDbscan(counts, components, nearest_cores)
    empty = GroupingState.empty()
    tracks = table(vectors[:stored])
    agglomeration = empty.agglomeration.update(dbscan, tracks, RULE.dbscan, RULE.agglomeration)
    low_quality = np.zeros(stored, dtype=np.bool_)
    assignment = empty.assignment.update(
        low_quality, ~low_quality, agglomeration, tracks, RULE.assignment
    )
    vectors.tofile(folder / MATRIX)
    return save_snapshot(folder, GroupingState(dbscan, agglomeration, assignment))


def look_at(folder: Path, snapshot: str, size: int) -> tuple[GroupingState, Vectors]:
    """The memory and all vectors, read once, so that the disk is not what is measured."""
    vectors = np.memmap(folder / MATRIX, dtype=np.float32, mode="r", shape=(size + NEW, WIDTH))
    for start in range(0, len(vectors), 65_536):
        vectors[start : start + 65_536].max()
    return load_snapshot(folder, snapshot), vectors


def take_steps(folder: Path, snapshot: str, size: int) -> Figures:
    """The density step alone and all steps of a grouping, in a process that did nothing else."""
    grouping, vectors = look_at(folder, snapshot, size)
    new = np.arange(size, size + NEW)
    started = time.perf_counter()
    grouping.dbscan.insert(vectors, new, RULE.dbscan)
    density_s = time.perf_counter() - started
    ones, excluded = np.ones(size + NEW), np.zeros(size + NEW, dtype=np.bool_)
    started = time.perf_counter()
    after = grouping.update(table(vectors), ones, ones.astype(np.int64), excluded, RULE)
    seconds = time.perf_counter() - started
    return {
        "density_s": density_s,
        "census_s": seconds,
        "clumps": len(after.agglomeration.linkage.names),
        "groups": len(np.unique(after.agglomeration.leaders)),
        "rebuilt": len(np.unique(after.agglomeration.groups[after.agglomeration.rebuilt])),
    }


def take_job(folder: Path, snapshot: str, size: int) -> Figures:
    """The job that a worker is given: as well reading and writing the memory, and close pairs."""
    for path in (folder / MATRIX, folder / snapshot):
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass
    ones = np.ones(size + NEW)
    tracks = {
        "variances": np.zeros(size + NEW),
        "quality": ones,
        "faces": ones.astype(np.int64),
        "placed": np.zeros(size + NEW, np.int64),
        "gone": np.zeros(size + NEW, np.bool_),
        "cannot_link": np.empty((0, 2), np.int64),
        "seeds": np.empty(0, np.int64),
    }
    reach = RULE.agglomeration.max_distance + CANDIDATE_MARGIN
    request = grouping_jobs.GroupingRequest(folder, folder / MATRIX, tracks, snapshot, RULE, reach)
    started, began = time.perf_counter(), time.process_time()
    answer = grouping_jobs.group(request)
    seconds, busy = time.perf_counter() - started, time.process_time() - began
    (folder / answer.snapshot).unlink()
    return {"job_s": seconds, "job_cpu_s": busy, "peak_mb": peak_mb()}


def peak_mb() -> int:
    """The most memory that this process had since it was started, shared files included.

    Not ``ru_maxrss``: that begins with what the process that started it had.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) // 1024


def from_scratch(vectors: Vectors) -> float:
    """Seconds of scikit-learn's DBSCAN."""
    from sklearn.cluster import DBSCAN

    started = time.perf_counter()
    DBSCAN(eps=RULE.dbscan.eps, min_samples=RULE.dbscan.min_samples).fit(vectors)
    return time.perf_counter() - started


def measure(vectors: Vectors, who: NDArray[np.int64], largest: int, rounds: int) -> Figures:
    """Everything about one size: medians, each round in new processes."""
    size = len(vectors) - NEW
    # As in a worker: what searches has threads of its own.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    context = multiprocessing.get_context("spawn")
    taken: list[Figures] = []
    with tempfile.TemporaryDirectory() as folder:
        snapshot = prepare(Path(folder), vectors, who)
        for _ in range(rounds):
            figures: Figures = {}
            for take in (take_steps, take_job):
                with ProcessPoolExecutor(1, mp_context=context) as worker:
                    figures |= worker.submit(take, Path(folder), snapshot, size).result()
            taken.append(figures)
    found: Figures = {"stored": size, "new": NEW, "rounds": rounds}
    found |= {key: round(median(one[key] for one in taken), 3) for key in taken[0]}
    if size <= largest:
        scratch_s = from_scratch(vectors)
        found["sklearn_s"] = round(scratch_s, 3)
        for step in ("density", "grouping", "job"):
            found[f"ratio_{step}"] = round(scratch_s / found[f"{step}_s"], 1)
    found["load"] = round(os.getloadavg()[0], 1)
    return found


def plot(lines: Sequence[Figures], path: Path) -> None:
    """Cost against stored tracks, both on logarithmic scales."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    for key, label in (
        ("sklearn_s", "scikit-learn from scratch"),
        ("job_s", "grouping job"),
        ("census_s", "all steps of a grouping"),
        ("density_s", "density step alone"),
    ):
        known = [line for line in lines if key in line]
        axes.loglog(
            [line["stored"] for line in known], [line[key] for line in known], "o-", label=label
        )
    axes.set(xlabel="stored tracks", ylabel=f"seconds for {NEW} new tracks")
    axes.legend()
    figure.savefig(path)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stored", type=float, nargs="+", default=[1e4, 1e5, 1e6])
    parser.add_argument("--largest", type=float, default=1e5, help="for scikit-learn to do")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--embeddings", type=Path, help="real ones, as a .npy of shape (n, 128)")
    parser.add_argument("--plot", type=Path, help="where to put a PNG")
    arguments = parser.parse_args()
    lines = []
    if arguments.embeddings:
        real = l2_normalised(np.load(arguments.embeddings))
        everybody = np.zeros(len(real), dtype=np.int64)
        print(
            json.dumps(measure(real, everybody, len(real), arguments.rounds) | {"people": "real"}),
            flush=True,
        )
    for stored in arguments.stored:
        vectors, who = synthetic(int(stored) + NEW)
        lines.append(measure(vectors, who, int(arguments.largest), arguments.rounds))
        print(json.dumps(lines[-1]), flush=True)
    if arguments.plot:
        plot(lines, arguments.plot)


if __name__ == "__main__":
    main()
