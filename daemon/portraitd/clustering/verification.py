"""``portraitd check --grouping``: the grouping proved on the live store, and measured on it.

The proof: scikit-learn's DBSCAN from scratch finds the same cores in the same clusters as the
density that was kept up to date, and every border point lies in a cluster it may lie in. The
measure needs no labels: two faces in one frame are surely two people, and neighbours in a track
surely one, so their distances say where a threshold may stand for this very footage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.dbscan import IncrementalDbscan
from portraitd.clustering.grouping_methods import PeopleMethod, arrays_by_row
from portraitd.clustering.grouping_snapshot import load_snapshot
from portraitd.clustering.ledger_constraints import read_track_constraints
from portraitd.config import Settings
from portraitd.model.face import EMBEDDING_SIZE
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database
from portraitd.store.faces import Faces
from portraitd.store.people import People
from portraitd.store.tracks import TrackStore
from portraitd.workers.pool import InlineExecutor

PERCENTILES = (0.1, 1, 5, 25, 50, 75, 95, 99, 99.9)


@dataclass(frozen=True, slots=True, eq=False)
class PairDistances:
    """Distances of pairs that are known to be one person, or two, without a label.

    Attributes:
        same: Neighbouring faces of a track.
        different: Mean embeddings of tracks that were seen in one frame.
    """

    same: NDArray[np.float64]
    different: NDArray[np.float64]


def verify_grouping(settings: Settings) -> list[str]:
    """What differs between the density in force and scikit-learn's; empty if nothing.

    Raises:
        StoreError: There is no store yet.
    """
    from sklearn.cluster import DBSCAN

    database = Database.open_to_read(settings.state_dir)
    try:
        tracks, people = TrackStore(database), People(database)
        last = people.last_grouping_run()
        if last is None or not last.snapshot:
            return []
        method = PeopleMethod(
            settings.grouping,
            Faces(database),
            tracks,
            people,
            ledger := Ledger(database),
            InlineExecutor(),
            settings.state_dir,
        )
        rows = tracks.rows()
        size = tracks.last_id()
        vectors = np.zeros((size, EMBEDDING_SIZE), np.float32)
        for ids, embeddings in tracks.embeddings(0):
            vectors[ids - 1] = embeddings
        density = load_snapshot(settings.state_dir, last.snapshot).density
        if len(density.counts) > size:
            return ["the memory of the grouping knows tracks that the store does not"]
        table = arrays_by_row(
            rows, tracks.cannot_link(), size, read_track_constraints(ledger, size).told
        )
    finally:
        database.close()
    good = method.rule.good(table["quality"], table["faces"]) | (table["pinned"] > 0)
    good &= ~table["gone"]
    good[len(density.counts) :] = False
    inside = np.flatnonzero(good)
    if not len(inside):
        return []
    rule = method.rule.density
    fresh = DBSCAN(eps=rule.eps, min_samples=rule.min_samples, algorithm="brute").fit(
        vectors[inside].astype(np.float64)
    )
    cores = np.zeros(len(inside), np.bool_)
    cores[fresh.core_sample_indices_] = True
    return _differences(density, inside, cores, fresh.labels_)


def measure_pair_distances(settings: Settings) -> PairDistances:
    """Measure the distances of pairs that the videos themselves label.

    Raises:
        StoreError: There is no store yet.
    """
    database = Database.open_to_read(settings.state_dir)
    try:
        store, faces = TrackStore(database), Faces(database)
        size = store.last_id()
        vectors = np.zeros((size, EMBEDDING_SIZE), np.float64)
        for ids, embeddings in store.embeddings(0):
            vectors[ids - 1] = embeddings
        cannot_link = store.cannot_link() - 1
        same = faces.neighbour_distances()
    finally:
        database.close()
    gaps = vectors[cannot_link[:, 0]] - vectors[cannot_link[:, 1]]
    return PairDistances(same, np.linalg.norm(gaps, axis=1))


def describe_distances(measured: PairDistances, settings: Settings) -> list[str]:
    """Both curves and where the thresholds stand on them, in lines for people."""
    lines = [
        f"{'':14}{'pairs':>8}" + "".join(f"{f'{p:g} %':>8}" for p in PERCENTILES),
        _row("one person", measured.same),
        _row("two people", measured.different),
    ]
    eps, _ = settings.grouping.density
    for name, value in (("eps", eps), ("linkage", settings.grouping.linkage)):
        if len(measured.same) and len(measured.different):
            within = np.mean(measured.same <= value)
            wrong = np.mean(measured.different <= value)
            lines.append(
                f"grouping.{name} = {value:g}: {within:.1%} of pairs of one person within it, "
                f"{wrong:.2%} of pairs of two"
            )
    return lines


def _row(name: str, distances: NDArray[np.float64]) -> str:
    if not len(distances):
        return f"{name:14}{0:>8}  none in this store yet"
    found = "".join(f"{value:8.3f}" for value in np.percentile(distances, PERCENTILES))
    return f"{name:14}{len(distances):>8}{found}"


def _differences(
    density: IncrementalDbscan,
    inside: NDArray[np.int64],
    cores: NDArray[np.bool_],
    labels: NDArray[np.int64],
) -> list[str]:
    problems = []
    kept_cores = density.components[inside] >= 0
    if (kept_cores != cores).any():
        problems.append(f"{int((kept_cores != cores).sum())} tracks are core in one and not both")
    both = kept_cores & cores
    pairs = np.unique(np.stack([density.components[inside][both], labels[both]]), axis=1)
    if len(np.unique(pairs[0])) != pairs.shape[1] or len(np.unique(pairs[1])) != pairs.shape[1]:
        problems.append("cores are parted into other clusters")
    borders = ~cores & ~kept_cores
    if ((density.labels[inside] >= 0) != (labels >= 0))[borders].any():
        problems.append("a border point is in a cluster in one and noise in the other")
    return problems
