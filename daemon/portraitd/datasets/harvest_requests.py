"""What the jobs of a harvest are given, and what they return."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from portraitd.datasets.annotations import DatasetRule
from portraitd.datasets.coverage import CoverageCell
from portraitd.model.face import SliceFaces
from portraitd.model.grouping_rules import EmbeddingRules
from portraitd.model.track import TrackedFaces


class SurveyRequest(NamedTuple):
    """The person whose card is asked for."""

    state_dir: Path
    inbox_dir: Path
    rule: DatasetRule
    person_id: int


class Survey(NamedTuple):
    """What the next set has of a person.

    Attributes:
        counts: The coverage card.
        face_ids: The faces that are no near-duplicates.
    """

    counts: dict[CoverageCell, int]
    face_ids: tuple[int, ...]


class SearchRequest(NamedTuple):
    """Which faces are wanted of a slice.

    Attributes:
        person_id: Whose faces.
        stretches: Where a track of the person runs between two sampled frames.
        fps: How many frames per second are searched.
        known: The faces of the video in and around the slice.
        limits: How many faces are wanted at most of each cell.
        year: The year of the recording; None if unknown.
        rule: What makes a face too poor.
        near_duplicate: Largest distance of faces that are alike.
        rules: Of the embedding model.
    """

    person_id: int
    stretches: tuple[tuple[float, float], ...]
    fps: float
    known: TrackedFaces
    limits: Mapping[CoverageCell, int]
    year: int | None
    rule: DatasetRule
    near_duplicate: float
    rules: EmbeddingRules


class SearchResult(NamedTuple):
    """What was found in a slice.

    Attributes:
        faces: All faces of the frames with a wanted face.
        lights: How bright the wanted face is, by the time of its frame.
    """

    faces: SliceFaces
    lights: Mapping[float, float]
