"""Tell which faces of a frame are whose, by the tracks that go on before and after the frame.

Between two faces of one track there is one person: that is what a track says. So a face there
continues the track if it is in its place and looks like it, by the rule that made the track.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from portraitd.model.face import Face, box_iou
from portraitd.model.grouping_rules import EmbeddingRules
from portraitd.model.track import Indices, TrackedFaces, l2_normalised

SAME_FRAME_S = 0.002
"""Frames that are nearer to each other in time are one frame."""


def is_sampled(known: TrackedFaces, t_s: float) -> bool:
    """Return whether faces of this frame are known already."""
    return bool(np.any(np.abs(known.times_s - t_s) < SAME_FRAME_S))


def match_frame(
    t_s: float, found: Sequence[Face], known: TrackedFaces, rules: EmbeddingRules
) -> Indices | None:
    """Return for each face of a frame the known face before it in its track.

    A frame counts only if all of its faces are known in this way: others could be people who must
    not be recognisable.

    Args:
        t_s: Time of the frame.
        found: All of its faces.
        known: The faces of the same video around this time.
        rules: Of the model that made all embeddings.

    Returns:
        Shape ``(n,)``; indices of ``known``. None if a face continues no track, or one whose
        corrections differ before and after.
    """
    if not found or not len(known.ids):
        return None
    before, after = _find_pairs(known, t_s, rules.tracking.max_gap_s)
    if len(before) < len(found):
        return None
    length = rules.vector_length
    own = l2_normalised(np.array([face.embedding for face in found]), length)
    boxes = np.array([face.box for face in found], np.float64)
    distances, overlaps = [], []
    for beside in (before, after):
        vectors = l2_normalised(known.embeddings[beside], length)
        distances.append(np.linalg.norm(own[:, None] - vectors[None], axis=2))
        overlaps.append(box_iou(boxes[:, None], known.boxes[beside][None]))
    distance, overlap = np.minimum(*distances), np.maximum(*overlaps)
    rule = rules.tracking
    distance[(distance > rule.max_distance) | (overlap < rule.min_overlap)] = np.inf
    matched = np.full(len(found), -1, np.int64)
    # As tracks are built: the nearest pair first, and each side once.
    for place in np.argsort(distance, axis=None, kind="stable"):
        face, track = np.unravel_index(int(place), distance.shape)
        if not np.isfinite(distance[face, track]):
            break
        if matched[face] < 0 and before[track] not in matched:
            matched[face] = before[track]
    return None if (matched < 0).any() else matched


def _find_pairs(known: TrackedFaces, t_s: float, max_gap_s: float) -> tuple[Indices, Indices]:
    """Return, for each track that continues at a time, its faces before and after that time."""
    before: list[int] = []
    after: list[int] = []
    for track in np.unique(known.tracks[known.tracks > 0]):
        members = np.flatnonzero(known.tracks == track)
        at = int(np.searchsorted(known.times_s[members], t_s))
        if not 0 < at < len(members):
            continue
        one, other = int(members[at - 1]), int(members[at])
        is_same = (
            known.persons[one] == known.persons[other] and known.hidden[one] == known.hidden[other]
        )
        if is_same and known.times_s[other] - known.times_s[one] <= max_gap_s:
            before.append(one)
            after.append(other)
    return np.array(before, np.int64), np.array(after, np.int64)
