"""The two ways from faces to people: tracks, density and assembly, or DBSCAN alone.

Each says what is new since the last census, hands the grouping to a worker, and turns its
answer into who everybody is. Nothing is put in force here.
"""

from __future__ import annotations

import json
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from portraitd import jobs
from portraitd.config import GroupingSettings
from portraitd.errors import StoreError
from portraitd.grouping.assembly import AssemblyRule
from portraitd.grouping.density import DensityRule
from portraitd.grouping.identity import carry_over
from portraitd.grouping.memory import forget_all_but
from portraitd.grouping.steps import GroupingRule
from portraitd.store import Census, Faces, People, TrackStore
from portraitd.store.caches import private
from portraitd.store.matrix import Matrix
from portraitd.store.people import Arrivals, Grouped
from portraitd.store.tracks import TrackRows

REACH = 0.08
"""How far beyond the limit two people are still reported as close."""


class Method(Protocol):
    """A way from faces to people."""

    def arrivals(self) -> Arrivals:
        """What has come since the census in force."""

    def begin(self, last: Census | None) -> Future[Any]:
        """Hand the grouping to a worker.

        Raises:
            StoreError: The faces cannot be grouped together, or not be handed over.
        """

    def finish(self, answer: Any) -> Grouped:
        """Turn a worker's answer into who everybody is."""

    def tidy(self, memory: str) -> None:
        """Remove what was written for a census, but not what the next one goes on from."""


def make_method(
    settings: GroupingSettings,
    faces: Faces,
    tracks: TrackStore,
    people: People,
    executor: Executor,
    state_dir: Path,
) -> Method:
    """The method that the settings name."""
    if settings.method == "dbscan":
        return DbscanMethod(settings, faces, people, executor, state_dir)
    return PeopleMethod(settings, faces, tracks, people, executor, state_dir)


class DbscanMethod:
    """DBSCAN over all faces, from the beginning each time: the pipeline portraitd descends from."""

    def __init__(
        self,
        settings: GroupingSettings,
        faces: Faces,
        people: People,
        executor: Executor,
        state_dir: Path,
    ) -> None:
        self._eps, self._min_samples = settings.density
        self._parameters = json.dumps(["dbscan", self._eps, self._min_samples])
        self._faces = faces
        self._people = people
        self._executor = executor
        self._matrix = state_dir / "census.f32"
        self._ids = np.empty(0, np.int64)

    def arrivals(self) -> Arrivals:
        """See ``Method``."""
        return self._people.arrivals(self._parameters, "faces")

    def begin(self, last: Census | None) -> Future[NDArray[np.int32]]:
        """See ``Method``."""
        require_one_encoder(self._faces)
        self._ids = self._faces.ids()
        try:
            with open(self._matrix, "wb", opener=private) as file:
                for block in self._faces.embeddings():
                    file.write(block.tobytes())
        except OSError as error:
            raise StoreError(f"{self._matrix}: {error.strerror}") from error
        return self._executor.submit(jobs.cluster, self._matrix, self._eps, self._min_samples)

    def finish(self, answer: NDArray[np.int32]) -> Grouped:
        """See ``Method``."""
        before = dict(zip(self._faces.ids().tolist(), self._faces.persons().tolist(), strict=True))
        previous = np.array([before.get(face, 0) for face in self._ids.tolist()], np.int64)
        carried = carry_over(
            answer.astype(np.int64),
            previous,
            np.ones(len(self._ids), np.int64),
            self._people.next_id(),
            kept=self._people.kept(),
        )
        return Grouped("faces", self._ids, carried, self._parameters)

    def tidy(self, memory: str) -> None:
        """See ``Method``."""
        self._matrix.unlink(missing_ok=True)


class PeopleMethod:
    """Density and assembly over tracks; costs what is new."""

    def __init__(
        self,
        settings: GroupingSettings,
        faces: Faces,
        tracks: TrackStore,
        people: People,
        executor: Executor,
        state_dir: Path,
    ) -> None:
        eps, min_samples = settings.density
        self.rule = GroupingRule(
            DensityRule(eps, min_samples), AssemblyRule(max_distance=settings.linkage)
        )
        self._parameters = json.dumps(["people", eps, min_samples, settings.linkage])
        self._faces = faces
        self._tracks = tracks
        self._people = people
        self._executor = executor
        self._folder = state_dir
        self._matrix = Matrix(state_dir / "tracks.f32", tracks)
        self._rows = tracks.rows()

    def arrivals(self) -> Arrivals:
        """See ``Method``."""
        return self._people.arrivals(self._parameters, "tracks")

    def begin(self, last: Census | None) -> Future[jobs.GroupAnswer]:
        """See ``Method``."""
        require_one_encoder(self._faces)
        self._rows = self._tracks.rows()
        try:
            size = self._matrix.catch_up()
        except OSError as error:
            raise StoreError(f"{self._matrix.path}: {error.strerror}") from error
        same_rule = last is not None and last.parameters == self._parameters
        request = jobs.GroupRequest(
            folder=self._folder,
            matrix=self._matrix.path,
            tracks=arrays_by_row(self._rows, self._tracks.apart(), size),
            memory=last.memory if last and same_rule else "",
            rule=self.rule,
            reach=self.rule.assembly.max_distance + REACH,
        )
        return self._executor.submit(jobs.group, request)

    def finish(self, answer: jobs.GroupAnswer) -> Grouped:
        """See ``Method``."""
        now = self._tracks.rows()
        person_of = dict(zip(now.ids.tolist(), now.persons.tolist(), strict=True))
        previous = np.array([person_of.get(one, 0) for one in self._rows.ids.tolist()], np.int64)
        carried = carry_over(
            answer.groups[self._rows.ids - 1],
            previous,
            self._rows.faces,
            self._people.next_id(),
            kept=self._people.kept(),
        )
        close = _close(answer, self._rows.ids - 1, carried.people)
        return Grouped("tracks", self._rows.ids, carried, self._parameters, answer.memory, close)

    def tidy(self, memory: str) -> None:
        """See ``Method``."""
        forget_all_but(self._folder, memory)


def _close(
    answer: jobs.GroupAnswer, rows: NDArray[np.int64], people: NDArray[np.int64]
) -> list[tuple[int, int, float]]:
    """Pairs of groups that lie close, as pairs of people; the nearest distance of each."""
    person_of = dict(zip(answer.groups[rows].tolist(), people.tolist(), strict=True))
    found: dict[tuple[int, int], float] = {}
    pairs = zip(answer.tight.groups.tolist(), answer.tight.distances.tolist(), strict=True)
    for (one, other), distance in pairs:
        lower, higher = sorted((person_of.get(one, 0), person_of.get(other, 0)))
        if lower and lower != higher:
            found.setdefault((lower, higher), distance)
    return [(lower, higher, distance) for (lower, higher), distance in found.items()]


def arrays_by_row(rows: TrackRows, apart: NDArray[np.int64], size: int) -> dict[str, Any]:
    """Spread what is known of the tracks over the rows of the matrix; a gap is a track gone."""
    at = rows.ids - 1
    arrays: dict[str, Any] = {
        "spreads": np.zeros(size),
        "goodness": np.zeros(size),
        "faces": np.zeros(size, np.int64),
        "placed": np.zeros(size, np.int64),
        "gone": np.ones(size, np.bool_),
        "apart": apart - 1,
    }
    arrays["spreads"][at] = rows.spreads
    arrays["goodness"][at] = rows.goodness
    arrays["faces"][at] = rows.faces
    arrays["gone"][at] = False
    return arrays


def require_one_encoder(faces: Faces) -> None:
    """Embeddings of different encoders cannot be compared.

    Raises:
        StoreError: There are faces of several.
    """
    encoders = faces.encoders()
    if len(encoders) > 1:
        raise StoreError(
            f"faces of several encoders in one store ({', '.join(encoders)}): their "
            "embeddings cannot be compared; process the videos into a new home"
        )
