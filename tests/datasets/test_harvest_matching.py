"""Whose the faces of a frame are, by the tracks that go on before and after it."""

from __future__ import annotations

import numpy as np
import pytest

from portraitd.datasets.harvest_matching import is_sampled, match_frame
from portraitd.faces.models.cards import DLIB
from portraitd.faces.models.model_registry import require_rules
from portraitd.model.face import Box, Face, Quality
from portraitd.model.track import TrackedFaces

ANN, BEA = 7, 8
RULES = require_rules(DLIB)
LEFT, RIGHT = Box(0, 0, 50, 50), Box(200, 0, 250, 50)


def vector(of: int) -> list[float]:
    """A vector for each person, far from all others."""
    return [0.6 if place == of else 0.0 for place in range(128)]


def face(box: Box, of: int) -> Face:
    embedding = np.array(vector(of), np.float32)
    return Face(box, 1.0, None, embedding, Quality(50.0, 40.0, 1.0))


def known(*rows: tuple[float, Box, int, int], hidden: tuple[int, ...] = ()) -> TrackedFaces:
    """Faces by time: time, box, person and track; ids from 1."""
    rows = tuple(sorted(rows))
    return TrackedFaces(
        ids=np.arange(1, len(rows) + 1),
        times_s=np.array([row[0] for row in rows], np.float64),
        boxes=np.array([row[1] for row in rows], np.float64).reshape(-1, 4),
        embeddings=np.array([vector(row[2]) for row in rows], np.float32),
        tracks=np.array([row[3] for row in rows], np.int64),
        persons=np.array([row[2] for row in rows], np.int64),
        hidden=np.array(hidden or [0] * len(rows), np.int64),
    )


TWO = known((1.0, LEFT, ANN, 1), (1.0, RIGHT, BEA, 2), (2.0, LEFT, ANN, 1), (2.0, RIGHT, BEA, 2))


def matched(faces: list[Face], tracks: TrackedFaces = TWO, t_s: float = 1.5) -> list[int] | None:
    """Return the person of each face; None if the frame does not count."""
    found = match_frame(t_s, faces, tracks, RULES)
    return None if found is None else [int(tracks.persons[one]) for one in found]


def test_each_face_continues_the_track_in_its_place() -> None:
    """In any order."""
    assert [BEA, ANN] == matched([face(RIGHT, BEA), face(LEFT, ANN)])
    assert [ANN] == matched([face(LEFT, ANN)])


@pytest.mark.parametrize(
    "stranger", [face(Box(90, 90, 140, 140), 9), face(LEFT, 9), face(Box(90, 90, 140, 140), ANN)]
)
def test_a_frame_with_a_stranger_does_not_count(stranger: Face) -> None:
    """Neither one in another place, nor one in the place of a person, nor a look-alike."""
    assert matched([face(RIGHT, BEA), stranger]) is None


def test_a_face_never_continues_the_track_of_another_person() -> None:
    """Also where the other one is not found, or stands in their place."""
    assert matched([face(RIGHT, ANN)]) is None
    assert matched([face(LEFT, BEA), face(RIGHT, ANN)]) is None


def test_two_faces_do_not_continue_one_track() -> None:
    """A mirror shows the same person twice."""
    assert matched([face(LEFT, ANN), face(Box(5, 0, 55, 50), ANN)]) is None


@pytest.mark.parametrize("t_s", [0.5, 2.5])
def test_a_track_goes_on_only_between_its_faces(t_s: float) -> None:
    """Before its first face and after its last one, another person may be there."""
    assert matched([face(LEFT, ANN)], t_s=t_s) is None


def test_a_long_gap_is_not_searched() -> None:
    """Longer than a track may be without a face."""
    gap = known((1.0, LEFT, ANN, 1), (4.0, LEFT, ANN, 1))

    assert matched([face(LEFT, ANN)], gap) is None


def test_a_track_whose_corrections_differ_does_not_count() -> None:
    """A reviewer took one of its faces away, and nothing says where the other person begins."""
    split = known((1.0, LEFT, ANN, 1), (2.0, LEFT, BEA, 1))
    excluded = known((1.0, LEFT, ANN, 1), (2.0, LEFT, ANN, 1), hidden=(0, 1))

    assert matched([face(LEFT, ANN)], split) is None
    assert matched([face(LEFT, ANN)], excluded) is None


def test_sampled_frames_are_known() -> None:
    """Times are rounded where they are stored."""
    assert is_sampled(TWO, 1.0005)
    assert not is_sampled(TWO, 1.5)
    assert match_frame(1.5, [], TWO, RULES) is None
