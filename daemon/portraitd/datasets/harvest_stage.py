"""Fill the coverage cards of people: search the frames between the sampled ones of their tracks.

A track has a face about every second, and there may be others between them: the moment in which a
person turns, or steps into the light. Such a frame is taken if it has a face that the card of the
person lacks, and if every face in it continues a track. Its faces get the tracks and the people of
those beside them, so the grouping does not change, and splits hold: they are of whole recordings,
or of tracks.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from itertools import groupby
from math import ceil
from typing import ParamSpec, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from portraitd.datasets.annotations import DatasetRule
from portraitd.datasets.build import DatasetPaths
from portraitd.datasets.consents import select_consenting
from portraitd.datasets.coverage import CoverageCell, MeasuredFace, find_lacking, locate_face
from portraitd.datasets.harvest_jobs import search_frames, survey_person
from portraitd.datasets.harvest_matching import match_frame
from portraitd.datasets.harvest_requests import SearchRequest, SearchResult, Survey, SurveyRequest
from portraitd.ingest.media_jobs import EncodeOptions
from portraitd.ingest.scanner import is_unchanged
from portraitd.model.errors import ConfigError, VideoError, code_of, is_of_machine
from portraitd.model.grouping_rules import EmbeddingRules
from portraitd.model.media_file import MediaKind, Slice
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.model.track import TrackedFaces
from portraitd.model.wording import counted
from portraitd.people.names import folded, folder_name
from portraitd.store.dataset_store import DatasetStore
from portraitd.store.files import Files
from portraitd.store.frame_cache import FrameCache
from portraitd.store.harvests import HarvestedFrame, HarvestSlice, HarvestStore

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger(stage="harvest")

BACK_OFF_S = 60.0


@dataclass(slots=True)
class _Harvest:
    """The harvest of one person.

    Attributes:
        lacking: How many faces each cell of the card still lacks.
        vectors: The embeddings of the faces that the set has, and of those that were found.
        waiting: Slices to search, with the largest number of faces of one cell.
        more: Slices that may have more than that.
        found: What will be recorded at the end.
        frames: Time and JPEG of found frames, by hash of the recording.
    """

    person_id: int
    lacking: dict[CoverageCell, int]
    vectors: list[NDArray[np.float32]]
    waiting: deque[tuple[HarvestSlice, int]]
    more: list[HarvestSlice] = field(default_factory=list)
    found: list[HarvestedFrame] = field(default_factory=list)
    frames: defaultdict[str, list[tuple[float, bytes]]] = field(
        default_factory=lambda: defaultdict(list)
    )


class HarvestStage(Stage):
    """Searches the videos of a person for faces that a set lacks, on request.

    A harvest is recorded as a whole after its last slice. After a crash it begins again.

    Args:
        store: The people, and what is recorded.
        datasets: What sets are made from.
        files: The files of the videos.
        paths: The folders of the home.
        rule: Returns what a set contains.
        fps: How many frames per second are searched.
        options: How faces are found.
        rules: Of the embedding model.
        executor: Runs the jobs of ``harvest_jobs``.
        is_working: Returns whether faces or people are about to change; a harvest waits then.
        on_recorded: Called when faces were recorded.
        wake: Called, from any thread, when a job has finished.
        attempts: How often a failing job is tried.
    """

    phase = "faces"

    def __init__(
        self,
        store: HarvestStore,
        datasets: DatasetStore,
        files: Files,
        paths: DatasetPaths,
        rule: Callable[[], DatasetRule],
        fps: float,
        options: EncodeOptions,
        rules: EmbeddingRules,
        executor: Executor,
        is_working: Callable[[], bool],
        on_recorded: Callable[[], None],
        wake: Callable[[], None],
        attempts: int,
    ) -> None:
        self._store = store
        self._datasets = datasets
        self._files = files
        self._paths = paths
        self._current_rule = rule
        self._fps = fps
        self._options = options
        self._rules = rules
        self._executor = executor
        self._is_working = is_working
        self._on_recorded = on_recorded
        self._wake = wake
        self._attempts = attempts
        self._survey: Future[Survey] | None = None
        self._harvest: _Harvest | None = None
        self._search: Future[SearchResult] | None = None
        self._failures = 0
        self._back_off = BackOff(BACK_OFF_S)

    @property
    def pending(self) -> bool:
        """Return whether a harvest was asked for and is not finished."""
        return self._store.next_person() is not None

    def begin(self, word: str, now_s: float) -> str:
        """Have the videos of a person searched.

        Args:
            word: The name or the number of the person.
            now_s: Seconds since 1970.

        Returns:
            A sentence about it.

        Raises:
            ConfigError: No person in the set has this name.
        """
        person_id, name = find_person(self._datasets, self._rule, word)
        slices = self._store.slices_with(person_id, self._rules.tracking.max_gap_s)
        if not slices:
            return f"{name} is in no video for longer than a moment, so there is nothing to search."
        self._store.ask_for(person_id, now_s)
        return f"{describe_search(name, slices)} The next build of the set includes what is found."

    def tick(self, now: Now) -> None:
        """Record what a worker found, and submit the next slice."""
        person_id = self._store.next_person()
        if person_id is None or not self._back_off.ready(now):
            return
        self._has_failed = True
        if self._harvest is None or self._harvest.person_id != person_id:
            self._start(person_id, now)
        elif self._search is not None and self._search.done():
            self._collect(self._harvest, self._search, now)
        if self._harvest is not None and self._search is None and self._back_off.ready(now):
            self._search_next(self._harvest, now)
        self._has_failed = False

    def release(self) -> None:
        """Drop the jobs that are out; the next start begins the harvest again."""
        self._survey = self._search = self._harvest = None

    def _start(self, person_id: int, now: Now) -> None:
        """Find out what the person lacks."""
        self._harvest = self._search = None
        if self._survey is None:
            if not self._is_working():
                request = SurveyRequest(
                    self._paths.state_dir, self._paths.inbox_dir, self._rule, person_id
                )
                self._survey = self._submit(survey_person, request)
            return
        if not self._survey.done():
            return
        done, self._survey = self._survey, None
        try:
            survey = done.result()
        except ConfigError as error:
            # Not in the set any more: ignored, merged or erased meanwhile.
            self._store.drop(person_id)
            log.info("harvest_dropped", person=person_id, reason_code=code_of(error))
        except Exception as error:
            self._fail(error, now)
            if self._failures >= self._attempts:
                self._store.drop(person_id)
                self._failures = 0
        else:
            slices = self._store.slices_with(person_id, self._rules.tracking.max_gap_s)
            lacking = find_lacking(survey.counts, self._rule.min_cell_faces)
            # All videos take part: no slice gives all of the faces if others can.
            limit = ceil(max(lacking.values(), default=0) / max(len(slices), 1))
            self._harvest = _Harvest(
                person_id,
                lacking,
                [*self._datasets.embeddings_of(survey.face_ids)],
                deque((one, limit) for one in slices if limit),
            )

    def _search_next(self, harvest: _Harvest, now: Now) -> None:
        """Submit the next slice whose file is there; after the last one, record everything."""
        if not any(harvest.lacking.values()):
            harvest.waiting.clear()
            harvest.more.clear()
        if not harvest.waiting:
            limit = max(harvest.lacking.values(), default=0)
            harvest.waiting.extend((one, limit) for one in harvest.more)
            harvest.more.clear()
        while harvest.waiting:
            piece, limit = harvest.waiting[0]
            video_slice = self._find_slice(piece)
            if video_slice is not None:
                known = self._known_faces(piece)
                request = SearchRequest(
                    harvest.person_id,
                    piece.stretches,
                    self._fps,
                    known,
                    {cell: min(limit, left) for cell, left in harvest.lacking.items() if left},
                    self._datasets.recording(piece.video_id).year,
                    self._rule,
                    self._near_duplicate,
                    self._rules,
                )
                self._search = self._submit(search_frames, video_slice, self._options, request)
                return
            harvest.waiting.popleft()
        self._record(harvest, now)

    def _find_slice(self, piece: HarvestSlice) -> Slice | None:
        """Return a slice with a file that is still there as it was read."""
        for known in self._files.of_video(piece.video_id):
            if is_unchanged(self._files.place(known), known.stamp):
                source = self._files.source(known)
                return Slice(source, MediaKind.VIDEO, piece.start_s, piece.stop_s, piece.sha256)
        return None

    def _known_faces(self, piece: HarvestSlice) -> TrackedFaces:
        gap_s = self._rules.tracking.max_gap_s
        start_s, stop_s = piece.stretches[0][0] - gap_s, piece.stretches[-1][1] + gap_s
        return self._store.tracked_faces(piece.video_id, start_s, stop_s)

    @property
    def _rule(self) -> DatasetRule:
        return self._current_rule()

    @property
    def _near_duplicate(self) -> float:
        chosen = self._rule.near_duplicate
        return self._rules.near_duplicate if chosen is None else chosen

    def _collect(self, harvest: _Harvest, search: Future[SearchResult], now: Now) -> None:
        self._search = None
        try:
            result = search.result()
        except VideoError as error:
            harvest.waiting.popleft()
            log.info("harvest_slice_failed", reason_code=code_of(error))
        except Exception as error:
            self._fail(error, now)
            if self._failures >= self._attempts:
                harvest.waiting.popleft()
                self._failures = 0
        else:
            piece, limit = harvest.waiting.popleft()
            self._choose(harvest, piece, limit, result)
            self._failures = 0

    def _choose(
        self, harvest: _Harvest, piece: HarvestSlice, limit: int, result: SearchResult
    ) -> None:
        """Take the frames that the card still lacks after what other slices gave."""
        # Corrections may have changed since the slice was submitted.
        known = self._known_faces(piece)
        year = self._datasets.recording(piece.video_id).year
        given: dict[CoverageCell, int] = {}
        jpegs = dict(result.faces.kept)
        for t_s, group in groupby(result.faces.detections, key=lambda one: one.t_s):
            detections = list(group)
            faces = [one.face for one in detections]
            matched = match_frame(t_s, faces, known, self._rules)
            if matched is None or self._store.is_erased_near(piece.video_id, t_s):
                continue
            own = [
                face
                for face, beside in zip(faces, matched, strict=True)
                if known.persons[beside] == harvest.person_id and known.hidden[beside] == 0
            ]
            if len(own) != 1:
                continue
            cells = locate_face(MeasuredFace.of(own[0], result.lights.get(t_s), year))
            for cell in cells & harvest.lacking.keys():
                given[cell] = given.get(cell, 0) + 1
            if not any(harvest.lacking.get(cell) for cell in cells):
                continue
            vectors = np.array(harvest.vectors)
            if np.linalg.norm(vectors - own[0].embedding, axis=1).min() <= self._near_duplicate:
                continue
            harvest.vectors.append(own[0].embedding)
            for cell in cells & harvest.lacking.keys():
                harvest.lacking[cell] = max(harvest.lacking[cell] - 1, 0)
            neighbours = [int(one) for one in known.ids[matched]]
            harvest.found.append(
                HarvestedFrame(piece.video_id, piece.slice_id, detections, neighbours)
            )
            if t_s in jpegs:
                harvest.frames[piece.sha256].append((t_s, jpegs[t_s]))
        if any(count >= limit and harvest.lacking[cell] for cell, count in given.items()):
            harvest.more.append(piece)

    def _record(self, harvest: _Harvest, now: Now) -> None:
        space = self._options.encoder.embedding_space
        stored = self._store.record(harvest.person_id, harvest.found, space, now.wall_s)
        cache = FrameCache(self._paths.state_dir)
        for sha256, frames in harvest.frames.items():
            cache.keep(sha256, frames)
        self._harvest = None
        if stored:
            self._on_recorded()
        log.info("harvest_finished", person=harvest.person_id, frames=stored)

    def _fail(self, error: Exception, now: Now) -> None:
        """Try again later.

        Raises:
            Exception: The machine is at fault.
        """
        if is_of_machine(error):
            raise error
        self._failures += 1
        self._back_off.start(now)
        reason = f"{type(error).__name__}: {error}"
        log.error("harvest_failed", reason=reason, reason_code=code_of(error))

    def _submit(self, job: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> Future[T]:
        future = self._executor.submit(job, *arguments, **named)
        future.add_done_callback(lambda _: self._wake())
        return future


def find_person(datasets: DatasetStore, rule: DatasetRule, word: str) -> tuple[int, str]:
    """Return number and name of a person in sets.

    Args:
        datasets: The people.
        rule: Who is in a set.
        word: The name, in any case, or the number.

    Raises:
        ConfigError: No person, or more than one, has this name.
    """
    persons = datasets.persons(named_only=rule.people == "named")
    allowed, _ = select_consenting(persons, datasets, rule)
    people = [(one.id, folder_name(one.id, one.name)) for one in allowed]
    for is_meant in (
        lambda one: one[1] == word,
        lambda one: folded(one[1]) == folded(word),
        lambda one: str(one[0]) == word,
    ):
        found = [one for one in people if is_meant(one)]
        if len(found) == 1:
            return found[0]
        if found:
            numbers = ", ".join(str(number) for number, _ in found)
            raise ConfigError(f"{word!r} matches several people; give a number: {numbers}")
    raise ConfigError(
        f"there is no person {word!r} in the training set; `portraitd dataset split` lists them"
    )


def describe_search(name: str, slices: Sequence[HarvestSlice]) -> str:
    """Return a sentence about what is searched for a person."""
    videos = counted(len({one.video_id for one in slices}), "video")
    seconds = sum(one.length_s for one in slices)
    return f"Searching {seconds:.0f} s of {videos} for faces of {name} that the set lacks."
