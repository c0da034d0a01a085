"""Measure a grouping: add 500 new tracks to a store of 10^4, 10^5 and 10^6 tracks.

    python benchmarks/grouping.py                          # print one JSON line for each size
    python benchmarks/grouping.py --plot /tmp/grouping.png
    python benchmarks/grouping.py --embeddings faces.npy   # real ones, shape (n, width)
    python benchmarks/grouping.py --model mobilefacenet --width 512 --stored 1e6 --rounds 1

The people are synthetic, with the variances of a model's embeddings as measured on 904 labelled
photographs of 40 people. For dlib, normalised to a length of 1.4: between people a total variance
of 0.23 in about 23 directions, within a person 0.09 in about 54 (total variance squared over the
sum of squared eigenvalues, corrected for the number of people). For MobileFaceNet, of length 1:
0.62 in about 84, and 0.38 in about 89. ``--width`` makes the vectors longer, with the same
variances: models of one's own give up to 1,024 numbers, and are grouped with MobileFaceNet's
rules in proportion. How often a person is seen follows Zipf's law, with a hundred tracks per
person on average. One track in ten is of low quality, with MobileFaceNet, and a hundred are of
one recording.

Each line has medians over the rounds. Each round runs in new processes, which read the files once
before they measure, so that the disk does not count. ``dbscan_s`` is the time of the DBSCAN step
alone; ``grouping_s`` of all steps; ``job_s`` of the worker's job, which also reads and writes the
snapshot and finds merge candidates; ``job_cpu_s`` is its processor time over all threads, which
depends least on other load; ``peak_mb`` its peak memory. ``sklearn_s`` is the time of
scikit-learn's DBSCAN over all tracks from scratch, if that fits in memory, followed by the ratios
to it and the load of the machine. The store itself is prepared person by person: pairs of tracks
of two people within eps are not counted in it, which does not affect the times. With
MobileFaceNet, the tracks of the few people with more than 5,000 count as one cluster without a
look: finding their pairs takes most of an hour at 10^6.
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
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering import grouping_jobs
from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.dbscan import IncrementalDbscan
from portraitd.clustering.grouping import GroupingState
from portraitd.clustering.grouping_snapshot import (
    finish_snapshot,
    load_snapshot,
    make_snapshot_path,
    save_snapshot,
)
from portraitd.clustering.merge_candidates import find_best_quality, find_near_pairs
from portraitd.faces.models.cards import DLIB, MOBILEFACENET
from portraitd.faces.models.model_registry import require_rules
from portraitd.model.grouping_rules import EmbeddingRules
from portraitd.model.track import l2_normalised

NEW = 500
MATRIX = "tracks.f32"
TRACKS_A_PERSON = 100
TRACKS_A_RECORDING = 100
LARGEST_MEASURED = 5_000


class Geometry(NamedTuple):
    """How the vectors of a model are spread.

    Attributes:
        rules: The numbers of the model.
        middle: Length of the mean of all people.
        between: Total variance between people, and the ratio of the variances in one direction
            and the next.
        within: The same within a person.
        low_quality: Share of the tracks that found no person.
    """

    rules: EmbeddingRules
    middle: float
    between: tuple[float, float]
    within: tuple[float, float]
    low_quality: float


MODELS = {
    "dlib": Geometry(require_rules(DLIB), 1.3, (0.23, 0.917), (0.09, 0.9636), 0.0),
    "mobilefacenet": Geometry(
        require_rules(MOBILEFACENET), 0.18, (0.62, 0.9765), (0.38, 0.9778), 0.1
    ),
}

Figures = dict[str, float]
Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]


def synthetic(
    model: Geometry, size: int, width: int, seed: int = 0
) -> tuple[Vectors, NDArray[np.int64]]:
    """Return tracks, shape ``(size, width)``, and the person of each, shape ``(size,)``."""
    random = np.random.default_rng(seed)
    people = max(size // TRACKS_A_PERSON, 1)
    middle = random.standard_normal(width)
    middle *= model.middle / np.linalg.norm(middle)
    centres = middle + scatter(random, people, width, *model.between)
    share = 1 / np.arange(1, people + 1)
    who = random.choice(people, size, p=share / share.sum())
    vectors = np.empty((size, width), dtype=np.float32)
    directions = np.random.default_rng(seed + 1)
    spread = deviations(width, *model.within)
    turned = np.linalg.qr(directions.standard_normal((width, width)))[0]
    for start in range(0, size, 50_000):
        some = who[start : start + 50_000]
        noise = random.standard_normal((len(some), width)) * spread
        vectors[start : start + 50_000] = l2_normalised(
            (centres[some] + noise @ turned).astype(np.float32), model.rules.vector_length
        )
    return vectors, who


def scatter(
    random: np.random.Generator, size: int, width: int, total: float, decay: float
) -> Floats:
    """Return points around zero with this total variance, in directions of falling variance."""
    turned = np.linalg.qr(random.standard_normal((width, width)))[0]
    spread = deviations(width, total, decay)
    return np.asarray((random.standard_normal((size, width)) * spread) @ turned)


def deviations(width: int, total: float, decay: float) -> Floats:
    """Return the standard deviation in each direction."""
    variances = decay ** np.arange(width)
    return np.asarray(np.sqrt(variances / variances.sum() * total))


def make_table(vectors: Vectors) -> TrackTable:
    """Return tracks without constraints."""
    size = len(vectors)
    none = np.empty((0, 2), dtype=np.int64)
    return TrackTable(vectors, np.zeros(size), np.zeros(size, dtype=np.int64), none)


def poor_tracks(model: Geometry, size: int) -> NDArray[np.bool_]:
    """Return which tracks are of low quality."""
    found: NDArray[np.bool_] = np.random.default_rng(2).random(size) < model.low_quality
    return found


def prepare(folder: Path, model: Geometry, vectors: Vectors, who: NDArray[np.int64]) -> str:
    """Save the vectors and a snapshot with all but the last 500; return the snapshot's name."""
    stored, rule = len(vectors) - NEW, model.rules.grouping
    poor = poor_tracks(model, stored)
    counts = np.zeros(stored, dtype=np.int32)
    components, nearest_cores = np.full(stored, -1), np.full(stored, -1)
    order = np.argsort(who[:stored], kind="stable")
    for person in np.split(order, np.flatnonzero(np.diff(who[order])) + 1):
        rows = person[~poor[person]]
        if model.low_quality and len(rows) > LARGEST_MEASURED:
            counts[rows], components[rows], nearest_cores[rows] = len(rows), rows[0], rows
            continue
        part = IncrementalDbscan.empty().insert(vectors[rows], np.arange(len(rows)), rule.dbscan)
        counts[rows] = part.counts
        components[rows] = np.where(part.components >= 0, rows[part.components], -1)
        nearest_cores[rows] = np.where(part.nearest_cores >= 0, rows[part.nearest_cores], -1)
    dbscan = IncrementalDbscan(counts, components, nearest_cores)
    empty = GroupingState.empty(vectors.shape[1])
    tracks = make_table(vectors[:stored])
    agglomeration = empty.agglomeration.update(dbscan, tracks, rule.dbscan, rule.agglomeration)
    facts = track_facts(model, stored)
    state = replace(empty, dbscan=dbscan, agglomeration=agglomeration).update(tracks, *facts, rule)
    people = state.join_in_recordings(
        state.select_people(facts[1], rule),
        tracks,
        facts[1],
        np.arange(stored) // TRACKS_A_RECORDING,
        facts[2],
        rule,
    )
    near_pairs = find_near_pairs(
        state.near_pairs,
        state.agglomeration,
        model.rules.suggestions,
        rule.agglomeration.max_distance,
        find_best_quality(people, facts[0]),
    )
    state = replace(state, near_pairs=near_pairs)
    vectors.tofile(folder / MATRIX)
    snapshot = make_snapshot_path(folder)
    save_snapshot(snapshot, state)
    finish_snapshot(snapshot)
    return snapshot.name


def track_facts(model: Geometry, size: int) -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
    """Return quality, faces and exclusion of each track."""
    quality = np.where(poor_tracks(model, size), 0.1, 1.0)
    return quality, np.full(size, 4), np.zeros(size, dtype=np.bool_)


def read_inputs(
    folder: Path, snapshot: str, size: int, width: int
) -> tuple[GroupingState, Vectors]:
    """Return the snapshot and all vectors, read once so that the disk is not measured."""
    vectors = np.memmap(folder / MATRIX, dtype=np.float32, mode="r", shape=(size + NEW, width))
    for start in range(0, len(vectors), 65_536):
        vectors[start : start + 65_536].max()
    return load_snapshot(folder / snapshot, width), vectors


def time_steps(folder: Path, name: str, snapshot: str, size: int, width: int) -> Figures:
    """Time the DBSCAN step and all steps of a grouping, in a process that did nothing else."""
    grouping, vectors = read_inputs(folder, snapshot, size, width)
    model = MODELS[name]
    rule = model.rules.grouping
    facts = track_facts(model, size + NEW)
    new = size + np.flatnonzero(facts[0][size:] == 1.0)
    started = time.perf_counter()
    grouping.dbscan.insert(vectors, new, rule.dbscan)
    dbscan_s = time.perf_counter() - started
    started = time.perf_counter()
    after = grouping.update(make_table(vectors), *facts, rule)
    seconds = time.perf_counter() - started
    return {
        "dbscan_s": dbscan_s,
        "grouping_s": seconds,
        "must_link_groups": len(after.agglomeration.linkage.names),
        "groups": len(np.unique(after.agglomeration.leaders)),
        "rebuilt": len(np.unique(after.agglomeration.groups[after.agglomeration.rebuilt])),
    }


def time_job(folder: Path, name: str, snapshot: str, size: int, width: int) -> Figures:
    """Time the job of a worker, which also reads and writes snapshots and finds candidates."""
    for path in (folder / MATRIX, folder / snapshot):
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass
    model = MODELS[name]
    quality, faces, excluded = track_facts(model, size + NEW)
    tracks = {
        "variances": np.zeros(size + NEW),
        "quality": quality,
        "faces": faces,
        "videos": np.arange(size + NEW) // TRACKS_A_RECORDING,
        "pinned": np.zeros(size + NEW, np.int64),
        "excluded": excluded,
        "kept": np.zeros(size + NEW, np.bool_),
        "cannot_link": np.empty((0, 2), np.int64),
        "seeds": np.empty(0, np.int64),
    }
    new_snapshot = make_snapshot_path(folder)
    request = grouping_jobs.GroupingRequest(
        folder / MATRIX,
        width,
        tracks,
        folder / snapshot,
        new_snapshot,
        model.rules.grouping,
        model.rules.suggestions,
    )
    started, began = time.perf_counter(), time.process_time()
    grouping_jobs.group(request)
    finish_snapshot(new_snapshot)
    seconds, busy = time.perf_counter() - started, time.process_time() - began
    new_snapshot.unlink()
    return {"job_s": seconds, "job_cpu_s": busy, "peak_mb": peak_mb()}


def peak_mb() -> int:
    """Return the peak memory of this process, including shared files.

    Not ``ru_maxrss``, which starts with the peak of the parent process.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) // 1024


def time_scikit_learn(model: Geometry, vectors: Vectors) -> float:
    """Return the seconds of scikit-learn's DBSCAN."""
    from sklearn.cluster import DBSCAN

    started = time.perf_counter()
    rule = model.rules.grouping.dbscan
    DBSCAN(eps=rule.eps, min_samples=rule.min_samples).fit(vectors)
    return time.perf_counter() - started


def measure(
    name: str, vectors: Vectors, who: NDArray[np.int64], largest: int, rounds: int
) -> Figures:
    """Measure one size: medians, each round in new processes."""
    size, width = len(vectors) - NEW, vectors.shape[1]
    # As in a worker: the neighbour search has threads of its own.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    context = multiprocessing.get_context("spawn")
    taken: list[Figures] = []
    with tempfile.TemporaryDirectory() as folder:
        snapshot = prepare(Path(folder), MODELS[name], vectors, who)
        for _ in range(rounds):
            figures: Figures = {}
            for take in (time_steps, time_job):
                with ProcessPoolExecutor(1, mp_context=context) as worker:
                    figures |= worker.submit(
                        take, Path(folder), name, snapshot, size, width
                    ).result()
            taken.append(figures)
    found: Figures = {"stored": size, "new": NEW, "width": width, "rounds": rounds}
    found |= {key: round(median(one[key] for one in taken), 3) for key in taken[0]}
    if size <= largest:
        scratch_s = time_scikit_learn(MODELS[name], vectors)
        found["sklearn_s"] = round(scratch_s, 3)
        for step in ("dbscan", "grouping", "job"):
            found[f"ratio_{step}"] = round(scratch_s / found[f"{step}_s"], 1)
    found["load"] = round(os.getloadavg()[0], 1)
    return found


def plot(lines: Sequence[Figures], path: Path) -> None:
    """Plot seconds against stored tracks, both on logarithmic scales."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    for key, label in (
        ("sklearn_s", "scikit-learn from scratch"),
        ("job_s", "grouping job"),
        ("grouping_s", "all steps of a grouping"),
        ("dbscan_s", "DBSCAN step alone"),
    ):
        known = [line for line in lines if key in line]
        axes.loglog(
            [line["stored"] for line in known], [line[key] for line in known], "o-", label=label
        )
    axes.set(xlabel="stored tracks", ylabel=f"seconds for {NEW} new tracks")
    axes.legend()
    figure.savefig(path)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stored", type=float, nargs="+", default=[1e4, 1e5, 1e6])
    parser.add_argument("--largest", type=float, default=1e5, help="largest size for scikit-learn")
    parser.add_argument("--model", choices=sorted(MODELS), default="dlib")
    parser.add_argument("--width", type=int, default=128, help="numbers of a vector")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--embeddings", type=Path, help="real embeddings, a .npy file of shape (n, width)"
    )
    parser.add_argument("--plot", type=Path, help="write a PNG to this file")
    arguments = parser.parse_args()
    lines = []
    if arguments.embeddings:
        length = MODELS[arguments.model].rules.vector_length
        real = l2_normalised(np.load(arguments.embeddings), length)
        one_person = np.zeros(len(real), dtype=np.int64)
        print(
            json.dumps(
                measure(arguments.model, real, one_person, len(real), arguments.rounds)
                | {"people": "real"}
            ),
            flush=True,
        )
    for stored in arguments.stored:
        vectors, who = synthetic(MODELS[arguments.model], int(stored) + NEW, arguments.width)
        lines.append(
            measure(arguments.model, vectors, who, int(arguments.largest), arguments.rounds)
        )
        print(json.dumps(lines[-1]), flush=True)
    if arguments.plot:
        plot(lines, arguments.plot)


if __name__ == "__main__":
    main()
