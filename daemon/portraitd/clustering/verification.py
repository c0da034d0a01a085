"""``portraitd check --grouping``: verify the clusters of this store, and measure its distances.

Verification: scikit-learn's DBSCAN from scratch must find the same cores in the same clusters as
the incremental DBSCAN, and every border point must be in a cluster that it may belong to. The
measurement needs no labels: two faces in one frame are certainly two people, and neighbouring
faces of a track certainly one, so their distances show which thresholds suit this footage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.dbscan import IncrementalDbscan
from portraitd.clustering.grouping_methods import (
    PeopleMethod,
    arrays_by_row,
    grouping_rule,
)
from portraitd.clustering.grouping_snapshot import load_snapshot
from portraitd.clustering.ledger_constraints import read_track_constraints
from portraitd.config import Settings
from portraitd.faces.models.cards import DLIB
from portraitd.faces.models.model_registry import require_rules
from portraitd.model.grouping_rules import GroupingRule
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database
from portraitd.store.embedding_space import stored_embedder
from portraitd.store.faces import Faces
from portraitd.store.people import People
from portraitd.store.tracks import TrackStore
from portraitd.workers.pool import InlineExecutor

PERCENTILES = (0.1, 1, 5, 25, 50, 75, 95, 99, 99.9)


@dataclass(frozen=True, slots=True, eq=False)
class PairDistances:
    """Distances of pairs that are one person, or two people, without any labels.

    Attributes:
        same: Between neighbouring faces of a track.
        different: Between the means of tracks seen in one frame.
        rule: The thresholds in use.
    """

    same: NDArray[np.float64]
    different: NDArray[np.float64]
    rule: GroupingRule


def verify_grouping(settings: Settings) -> list[str]:
    """Return the differences between the current clusters and scikit-learn's, if any.

    Raises:
        StoreError: There is no database yet.
    """
    from sklearn.cluster import DBSCAN

    with Database.open_to_read(settings.state_dir) as database:
        tracks, people = TrackStore(database), People(database)
        last = people.last_grouping_run()
        if last is None or not last.snapshot:
            return []
        method = PeopleMethod(
            settings.grouping,
            card := stored_embedder(database) or DLIB,
            Faces(database),
            tracks,
            people,
            ledger := Ledger(database),
            InlineExecutor(),
            settings.state_dir,
        )
        rows = tracks.rows()
        size = tracks.last_id()
        vectors = np.zeros((size, card.embedding_size), np.float32)
        for ids, embeddings in tracks.embeddings(0, card.embedding_size):
            vectors[ids - 1] = embeddings
        dbscan = load_snapshot(settings.state_dir / last.snapshot, card.embedding_size).dbscan
        if len(dbscan.counts) > size:
            return ["the snapshot of the grouping has tracks that are not in the database"]
        table = arrays_by_row(
            rows, tracks.cannot_link(), size, read_track_constraints(ledger, size).by_row
        )
    good = method.rule.find_good(table["quality"], table["faces"]) | (table["pinned"] > 0)
    good &= ~table["excluded"]
    good[len(dbscan.counts) :] = False
    inside = np.flatnonzero(good)
    if not len(inside):
        return []
    rule = method.rule.dbscan
    fresh = DBSCAN(eps=rule.eps, min_samples=rule.min_samples, algorithm="brute").fit(
        vectors[inside].astype(np.float64)
    )
    cores = np.zeros(len(inside), np.bool_)
    cores[fresh.core_sample_indices_] = True
    return _find_differences(dbscan, inside, cores, fresh.labels_)


def measure_pair_distances(settings: Settings) -> PairDistances:
    """Measure the distances between faces of one person, and between people, without labels.

    Raises:
        StoreError: There is no database yet.
    """
    with Database.open_to_read(settings.state_dir) as database:
        store, faces = TrackStore(database), Faces(database)
        size = store.last_id()
        card = stored_embedder(database) or DLIB
        rules = require_rules(card)
        vectors = np.zeros((size, card.embedding_size), np.float64)
        for ids, embeddings in store.embeddings(0, card.embedding_size):
            vectors[ids - 1] = embeddings
        cannot_link = store.cannot_link() - 1
        same = faces.neighbour_distances(rules.vector_length)
    gaps = vectors[cannot_link[:, 0]] - vectors[cannot_link[:, 1]]
    return PairDistances(
        same, np.linalg.norm(gaps, axis=1), grouping_rule(settings.grouping, rules)
    )


def describe_distances(measured: PairDistances) -> list[str]:
    """Return lines of text: percentiles of both kinds of distances, and what the thresholds do."""
    lines = [
        f"{'':14}{'pairs':>8}" + "".join(f"{f'{p:g} %':>8}" for p in PERCENTILES),
        _format_row("one person", measured.same),
        _format_row("two people", measured.different),
    ]
    linkage = measured.rule.agglomeration.max_distance
    for name, value in (("eps", measured.rule.dbscan.eps), ("linkage", linkage)):
        if len(measured.same) and len(measured.different):
            within = np.mean(measured.same <= value)
            wrong = np.mean(measured.different <= value)
            lines.append(
                f"grouping.{name} = {value:g}: within it are {within:.1%} of the pairs of one "
                f"person, {wrong:.2%} of the pairs of two people"
            )
    return lines


def _format_row(name: str, distances: NDArray[np.float64]) -> str:
    if not len(distances):
        return f"{name:14}{0:>8}  none in this database yet"
    found = "".join(f"{value:8.3f}" for value in np.percentile(distances, PERCENTILES))
    return f"{name:14}{len(distances):>8}{found}"


def _find_differences(
    dbscan: IncrementalDbscan,
    inside: NDArray[np.int64],
    cores: NDArray[np.bool_],
    labels: NDArray[np.int64],
) -> list[str]:
    problems = []
    kept_cores = dbscan.components[inside] >= 0
    if (kept_cores != cores).any():
        problems.append(
            f"{int((kept_cores != cores).sum())} tracks are cores in only one of the two"
        )
    both = kept_cores & cores
    pairs = np.unique(np.stack([dbscan.components[inside][both], labels[both]]), axis=1)
    if len(np.unique(pairs[0])) != pairs.shape[1] or len(np.unique(pairs[1])) != pairs.shape[1]:
        problems.append("cores are in different clusters")
    borders = ~cores & ~kept_cores
    if ((dbscan.labels[inside] >= 0) != (labels >= 0))[borders].any():
        problems.append("a border point is in a cluster in one of the two, and noise in the other")
    return problems
