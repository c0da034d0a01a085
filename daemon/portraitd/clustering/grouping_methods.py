"""The two grouping methods: incremental grouping of tracks, and plain DBSCAN over faces.

Each finds out what is new since the last grouping, submits a grouping to a worker, and turns the
result into the person of each face. The results are recorded elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from portraitd.clustering import grouping_jobs
from portraitd.clustering.grouping_jobs import ClusteringRequest, GroupingConstraints
from portraitd.clustering.grouping_snapshot import (
    delete_other_snapshots,
    finish_snapshot,
    make_snapshot_path,
)
from portraitd.clustering.identity import carry_over
from portraitd.clustering.ledger_constraints import (
    LedgerConstraints,
    read_face_constraints,
    read_track_constraints,
)
from portraitd.clustering.merge_candidates import MergeCandidates
from portraitd.clustering.near_misses import NearMisses
from portraitd.config import GroupingSettings
from portraitd.faces.models.cards import EmbedderCard
from portraitd.faces.models.model_registry import require_rules
from portraitd.model.errors import StoreError
from portraitd.model.grouping_rules import DbscanRule, EmbeddingRules, GroupingRule
from portraitd.model.suggestion import Suggestion
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.erasure.derived_files import private
from portraitd.store.faces import Faces
from portraitd.store.people import Arrivals, GroupingRun, People, PersonAssignment
from portraitd.store.track_matrix import TrackMatrix
from portraitd.store.tracks import TrackRows, TrackStore

log = structlog.get_logger(stage="grouping")


def dbscan_rule(settings: GroupingSettings, rules: EmbeddingRules) -> DbscanRule:
    """Return the rule of DBSCAN: the numbers of the model, unless the settings give others."""
    own = rules.plain_dbscan if settings.method == "dbscan" else rules.grouping.dbscan
    return DbscanRule(settings.eps or own.eps, settings.min_samples or own.min_samples)


def grouping_rule(settings: GroupingSettings, rules: EmbeddingRules) -> GroupingRule:
    """Return the rule of grouping: the numbers of the model, unless the settings give others."""
    own = rules.grouping
    linkage = settings.linkage or own.agglomeration.max_distance
    return replace(
        own,
        dbscan=dbscan_rule(settings, rules),
        agglomeration=replace(own.agglomeration, max_distance=linkage),
    )


class GroupingMethod(Protocol):
    """How faces are grouped into people."""

    def arrivals(self) -> Arrivals:
        """Return what is new since the last recorded grouping."""

    def is_superseded(self) -> bool:
        """Return whether users made edits since the last ``begin``, so that its result is void."""

    def begin(self, last: GroupingRun | None) -> Future[Any]:
        """Submit a grouping to a worker.

        Args:
            last: The grouping to continue from; None to group from scratch.

        Raises:
            StoreError: The faces come from several models, or their embeddings cannot be
                written to a file for the worker.
        """

    def finish(self, answer: Any) -> PersonAssignment:
        """Turn the result of a worker into the person of each face or track."""

    def clean_up(self, snapshot: str) -> None:
        """Remove the files written for a grouping.

        Args:
            snapshot: Name of the file that the next grouping continues from; it is kept.
        """


def make_method(
    settings: GroupingSettings,
    card: EmbedderCard,
    faces: Faces,
    tracks: TrackStore,
    people: People,
    ledger: Ledger,
    executor: Executor,
    state_dir: Path,
) -> GroupingMethod:
    """Return the method that the settings name, for the vectors of one embedding model."""
    if settings.method == "dbscan":
        return DbscanMethod(settings, card, faces, people, ledger, executor, state_dir)
    return PeopleMethod(settings, card, faces, tracks, people, ledger, executor, state_dir)


class DbscanMethod:
    """DBSCAN over all faces, from scratch each time: what portraitd did originally."""

    def __init__(
        self,
        settings: GroupingSettings,
        card: EmbedderCard,
        faces: Faces,
        people: People,
        ledger: Ledger,
        executor: Executor,
        state_dir: Path,
    ) -> None:
        self._card = card
        self._rule = dbscan_rule(settings, require_rules(card))
        self._parameters = json.dumps(["dbscan", self._rule.eps, self._rule.min_samples])
        self._faces = faces
        self._people = people
        self._ledger = ledger
        self._executor = executor
        self._matrix = state_dir / "faces.f32"
        self._ids = np.empty(0, np.int64)
        self._constraints = LedgerConstraints.empty()

    def arrivals(self) -> Arrivals:
        """See ``GroupingMethod``."""
        return self._people.arrivals(self._parameters, "faces")

    def is_superseded(self) -> bool:
        """See ``GroupingMethod``."""
        return self._ledger.last_id() != self._constraints.ledger_id

    def begin(self, last: GroupingRun | None) -> Future[NDArray[np.int64]]:
        """See ``GroupingMethod``."""
        require_one_space(self._faces, self._card)
        self._ids = self._faces.ids()
        self._constraints = read_face_constraints(self._ledger, self._ids, self._faces.tracks())
        try:
            with open(self._matrix, "wb", opener=private) as file:
                for block in self._faces.embeddings():
                    file.write(block.tobytes())
        except OSError as error:
            raise StoreError(f"{self._matrix}: {error.strerror}") from error
        request = ClusteringRequest(
            self._matrix, self._card.embedding_size, self._rule, self._constraints.by_row
        )
        return self._executor.submit(grouping_jobs.cluster, request)

    def finish(self, answer: NDArray[np.int64]) -> PersonAssignment:
        """See ``GroupingMethod``."""
        before = dict(zip(self._faces.ids().tolist(), self._faces.persons().tolist(), strict=True))
        previous = np.array([before.get(face, 0) for face in self._ids.tolist()], np.int64)
        carried = carry_over(
            answer,
            previous,
            np.ones(len(self._ids), np.int64),
            self._people.next_id(),
            kept=self._people.kept(),
            pinned=self._constraints.by_row.pinned,
            unsorted=self._constraints.by_row.unsorted,
        )
        return PersonAssignment(
            "faces",
            self._ids,
            carried,
            self._parameters,
            ledger_id=self._constraints.ledger_id,
            is_pinned=self._constraints.by_row.pinned > 0,
        )

    def clean_up(self, snapshot: str) -> None:
        """See ``GroupingMethod``."""
        self._matrix.unlink(missing_ok=True)


class PeopleMethod:
    """Incremental DBSCAN and linkage over tracks, at a cost that depends on what is new."""

    def __init__(
        self,
        settings: GroupingSettings,
        card: EmbedderCard,
        faces: Faces,
        tracks: TrackStore,
        people: People,
        ledger: Ledger,
        executor: Executor,
        state_dir: Path,
    ) -> None:
        rules = require_rules(card)
        self.rule = grouping_rule(settings, rules)
        self._suggestions = rules.suggestions
        self._card = card
        # The whole rule: a snapshot made with one rule cannot be used with another.
        self._parameters = json.dumps(["people", asdict(self.rule)])
        self._faces = faces
        self._tracks = tracks
        self._people = people
        self._ledger = ledger
        self._executor = executor
        self._folder = state_dir
        self._matrix = TrackMatrix(state_dir / "tracks.f32", tracks, card.embedding_size)
        self._rows = tracks.rows()
        self._absent = np.empty(0, np.bool_)
        self._removed = self._absent
        self._snapshot = ""
        self._new_snapshot = make_snapshot_path(state_dir)
        self._constraints = LedgerConstraints.empty()

    def arrivals(self) -> Arrivals:
        """See ``GroupingMethod``."""
        return self._people.arrivals(self._parameters, "tracks")

    def is_superseded(self) -> bool:
        """See ``GroupingMethod``."""
        return self._ledger.last_id() != self._constraints.ledger_id

    def begin(self, last: GroupingRun | None) -> Future[grouping_jobs.GroupingResult]:
        """See ``GroupingMethod``."""
        require_one_space(self._faces, self._card)
        self._rows = self._tracks.rows()
        try:
            size = self._matrix.catch_up()
        except OSError as error:
            raise StoreError(f"{self._matrix.path}: {error.strerror}") from error
        self._constraints = read_track_constraints(self._ledger, size)
        # Without excluded tracks: a user may want them back.
        self._absent = np.ones(size, np.bool_)
        self._absent[self._tracks.ids() - 1] = False
        tracks = arrays_by_row(
            self._rows,
            self._tracks.cannot_link(),
            size,
            self._constraints.by_row,
            self._people.kept(),
        )
        continues = last is not None and last.snapshot and last.parameters == self._parameters
        self._new_snapshot = make_snapshot_path(self._folder)
        request = grouping_jobs.GroupingRequest(
            matrix=self._matrix.path,
            embedding_size=self._card.embedding_size,
            tracks=tracks,
            last_snapshot=self._folder / last.snapshot if last and continues else None,
            new_snapshot=self._new_snapshot,
            rule=self.rule,
            suggestions=self._suggestions,
        )
        return self._executor.submit(grouping_jobs.group, request)

    def finish(self, answer: grouping_jobs.GroupingResult) -> PersonAssignment:
        """See ``GroupingMethod``."""
        now = self._tracks.rows()
        person_of = dict(zip(now.ids.tolist(), now.persons.tolist(), strict=True))
        previous = np.array([person_of.get(one, 0) for one in self._rows.ids.tolist()], np.int64)
        at, constraints = self._rows.ids - 1, self._constraints.by_row
        carried = carry_over(
            answer.groups[at],
            previous,
            self._rows.faces,
            self._people.next_id(),
            kept=self._people.kept(),
            pinned=np.where(constraints.excluded[at], 0, constraints.pinned[at]),
            unsorted=constraints.unsorted[at],
        )
        try:
            # Without it, which only a faulty worker causes, the next grouping starts from scratch.
            self._snapshot = self._new_snapshot.name if finish_snapshot(self._new_snapshot) else ""
        except OSError as error:
            raise StoreError(f"{self._new_snapshot}: {error.strerror}") from error
        self._removed = self._absent
        person_of = dict(zip(answer.groups[at].tolist(), carried.people.tolist(), strict=True))
        return PersonAssignment(
            "tracks",
            self._rows.ids,
            carried,
            self._parameters,
            self._snapshot,
            _to_suggestions(answer.candidates, person_of),
            self._constraints.ledger_id,
            constraints.pinned[at] > 0,
            sorted({*carried.people[answer.indistinct[at]].tolist()} - {0}),
            int(self._rows.faces[answer.indistinct[at]].sum()),
            _to_near_misses(answer.near_misses, at[carried.people == 0], person_of),
            _to_newcomers(answer.newcomers, at[carried.people == 0]),
        )

    def clean_up(self, snapshot: str) -> None:
        """See ``GroupingMethod``."""
        delete_other_snapshots(self._folder, snapshot)
        if snapshot and snapshot == self._snapshot:
            # No later grouping reads the rows that this one removed.
            try:
                self._matrix.erase(self._removed)
            except OSError as error:
                # The grouping is recorded; the next one tries again.
                log.warning("rows_not_erased", path=str(self._matrix.path), reason=error.strerror)


def _to_suggestions(candidates: MergeCandidates, person_of: Mapping[int, int]) -> list[Suggestion]:
    """Turn pairs of groups into pairs of people, each with its highest probability."""
    found: dict[tuple[int, int], Suggestion] = {}
    pairs = zip(
        candidates.groups.tolist(),
        candidates.distances.tolist(),
        candidates.probabilities.tolist(),
        strict=True,
    )
    for (one, other), distance, probability in pairs:
        lower, higher = sorted((person_of.get(one, 0), person_of.get(other, 0)))
        if lower and lower != higher:
            suggestion = Suggestion(lower, higher, distance, probability)
            found.setdefault((lower, higher), suggestion)
    return list(found.values())


def _to_newcomers(groups: NDArray[np.int64], without: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return track and group of each track of a newcomer that still has no person.

    Args:
        groups: Shape ``(rows,)``; from ``find_newcomers``.
        without: The rows without a person.
    """
    found = without[groups[without] >= 0]
    return [
        (row + 1, group + 1)
        for row, group in zip(found.tolist(), groups[found].tolist(), strict=True)
    ]


def _to_near_misses(
    found: NearMisses, without: NDArray[np.int64], person_of: Mapping[int, int]
) -> list[tuple[int, int, float]]:
    """Return track, person and probability of each near miss whose track still has no person.

    Args:
        found: The near misses.
        without: The rows without a person.
        person_of: The person, or 0, of each group.
    """
    still_without = set(without.tolist())
    pairs = zip(
        found.rows.tolist(), found.people.tolist(), found.probabilities.tolist(), strict=True
    )
    return [
        (row + 1, person_of[group], probability)
        for row, group, probability in pairs
        if row in still_without and person_of.get(group)
    ]


def arrays_by_row(
    rows: TrackRows,
    cannot_link: NDArray[np.int64],
    size: int,
    constraints: GroupingConstraints,
    kept: Sequence[int] = (),
) -> dict[str, Any]:
    """Return the arrays of a ``GroupingRequest``; rows of deleted tracks are excluded.

    Args:
        rows: The tracks there are.
        cannot_link: Shape ``(m, 2)``; pairs of tracks.
        size: Number of rows.
        constraints: Of the user.
        kept: People whom a user named, locked or ignored.
    """
    at = rows.ids - 1
    arrays: dict[str, Any] = {
        "variances": np.zeros(size),
        "quality": np.zeros(size),
        "faces": np.zeros(size, np.int64),
        "kept": np.zeros(size, np.bool_),
        "videos": np.zeros(size, np.int64),
        "pinned": constraints.pinned,
        "seeds": constraints.seeds,
        "excluded": np.ones(size, np.bool_),
        "cannot_link": np.concatenate([cannot_link - 1, constraints.cannot_link]),
    }
    arrays["variances"][at] = rows.variances
    arrays["quality"][at] = rows.quality
    arrays["faces"][at] = rows.faces
    arrays["videos"][at] = rows.videos
    arrays["kept"][at] = np.isin(rows.persons, list(kept))
    arrays["excluded"][at] = constraints.excluded[at]
    return arrays


def require_one_space(faces: Faces, card: EmbedderCard) -> None:
    """Check that all embeddings can be compared, by the distances of one model.

    Raises:
        StoreError: Some faces still have vectors of another model. They are being changed over.
    """
    spaces = faces.spaces()
    if len(spaces) > 1 or any(space.partition("+")[0] != card.space for space in spaces):
        raise StoreError(
            f"the store has faces from several models ({', '.join(spaces)}), whose embeddings "
            f"cannot be compared; grouping waits until all have changed over to {card.name}"
        )
