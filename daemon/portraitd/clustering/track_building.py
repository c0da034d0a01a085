"""Link the faces of neighbouring sampled frames to tracks: one face followed through a shot.

A track is a free must-link between its faces, and two faces in one frame are a free cannot-link.
Both are useful only if they are never wrong, so a track ends in case of doubt: if a person turns
away and back, the result is two tracks, and grouping joins them.

Tracks are built from the faces of the whole video, so neither the cuts between slices nor the
order in which faces were stored makes a difference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from portraitd.model.face import box_iou
from portraitd.model.grouping_rules import EmbeddingRules, TrackRule
from portraitd.model.track import Floats, Indices, TrackSummaries, VideoFaces, l2_normalised

Flags = NDArray[np.bool_]
MIN_WEIGHT = 0.1
MAX_REPRESENTATIVES = 9
# Fraction of the quality of the track's best face.
MIN_QUALITY_SHARE = 0.5


def build_tracks(faces: VideoFaces, rules: EmbeddingRules) -> Indices:
    """Assign each face to a track.

    In each frame the nearest pair of face and track is linked first; each side is used once.

    Returns:
        Shape ``(n,)``; tracks are numbered from 0 in the order in which they start.
    """
    tracks = np.full(len(faces.times_s), -1, dtype=np.int64)
    faces = replace(faces, embeddings=l2_normalised(faces.embeddings, rules.vector_length))
    rule = rules.tracking
    order = np.lexsort((*faces.boxes.T, faces.times_s))
    times = faces.times_s[order]
    starts = np.flatnonzero(np.diff(times, prepend=-np.inf))
    open_tracks: list[_OpenTrack] = []
    count = 0
    for frame in np.split(order, starts[1:]) if len(order) else []:
        now_s = faces.times_s[frame[0]]
        shot = None if faces.shots is None else faces.shots[frame[0]]
        open_tracks = [
            track
            for track in open_tracks
            if now_s - track.last_s <= rule.max_gap_s and track.shot == shot
        ]
        continued = _continue_tracks(faces, frame, open_tracks, rule)
        for face in frame:
            track = continued.get(int(face))
            if track is None:
                track = _OpenTrack(count, shot, np.zeros(faces.embeddings.shape[1]))
                open_tracks.append(track)
                count += 1
            track.append(faces, int(face))
            tracks[face] = track.number
    return tracks


def split_tracks(faces: VideoFaces, tracks: Indices, labels: Indices, whole: Flags) -> Indices:
    """Split tracks whose faces have different corrections.

    Args:
        faces: Of one video.
        tracks: Shape ``(n,)``; from ``build_tracks``.
        labels: Shape ``(n,)``; a number for each distinct correction, 0 for none.
        whole: Shape ``(n,)``; whether the correction is of the whole track. Uncorrected faces
            of the track then follow the nearest such face in time.

    Returns:
        Shape ``(n,)``; numbered from 0 in the order in which they start.
    """
    if not labels.any():
        return tracks
    labels = labels.copy()
    for track in np.unique(tracks[labels > 0]):
        members = np.flatnonzero(tracks == track)
        leading = members[(labels[members] > 0) & whole[members]]
        uncorrected = members[labels[members] == 0]
        if len(leading):
            gaps = np.abs(faces.times_s[uncorrected][:, None] - faces.times_s[leading][None])
            labels[uncorrected] = labels[leading[gaps.argmin(axis=1)]]
    order = np.lexsort((*faces.boxes.T, faces.times_s))
    parts = tracks[order] * (int(labels.max()) + 1) + labels[order]
    _, first, at = np.unique(parts, return_index=True, return_inverse=True)
    numbers = np.empty_like(tracks)
    numbers[order] = np.argsort(np.argsort(first))[at]
    return numbers


def rank_representatives(faces: VideoFaces, tracks: Indices, rules: EmbeddingRules) -> Indices:
    """Choose the portraits that stand for each track: good ones that differ from each other.

    The best face comes first, then always the one farthest from those chosen before, among the
    faces that are not much worse than the best.

    Returns:
        Shape ``(n,)``; the place of each face in that order, -1 for those not chosen.
    """
    ranks = np.full(len(tracks), -1, dtype=np.int64)
    order = np.lexsort((*faces.boxes.T, faces.times_s, -faces.quality, tracks))
    starts = np.flatnonzero(np.diff(tracks[order], prepend=-1))
    vectors = l2_normalised(faces.embeddings, rules.vector_length).astype(np.float64)
    for members in np.split(order, starts[1:]) if len(order) else []:
        good = members[faces.quality[members] >= MIN_QUALITY_SHARE * faces.quality[members[0]]]
        chosen, nearest = 0, np.full(len(good), np.inf)
        for rank in range(min(MAX_REPRESENTATIVES, len(good))):
            ranks[good[chosen]] = rank
            gaps = np.linalg.norm(vectors[good] - vectors[good[chosen]], axis=1)
            nearest = np.minimum(nearest, gaps)
            chosen = int(np.argmax(nearest))
            if nearest[chosen] < rules.tracking.min_difference:
                break
    return ranks


def summarise_tracks(faces: VideoFaces, tracks: Indices, vector_length: float) -> TrackSummaries:
    """Summarise each track by its mean, its size and its best face."""
    count = int(tracks.max(initial=-1)) + 1
    # Summed in order of time, so that the order of storage changes nothing to the last bit.
    order = np.lexsort((*faces.boxes.T, faces.times_s))
    of, weights = tracks[order], _weigh(faces.quality[order])
    vectors = l2_normalised(faces.embeddings[order], vector_length).astype(np.float64)
    total = np.bincount(of, weights, minlength=count)
    means = np.zeros((count, vectors.shape[1]))
    np.add.at(means, of, vectors * weights[:, None])
    means /= total[:, None]
    deviations = np.square(vectors - means[of]).sum(axis=1)
    variances = np.bincount(of, weights * deviations, minlength=count) / total
    order = np.lexsort((*faces.boxes.T, faces.times_s, -faces.quality, tracks))
    _, first = np.unique(tracks[order], return_index=True)
    best = order[first]
    return TrackSummaries(
        embeddings=means.astype(np.float32),
        variances=variances,
        faces=np.bincount(tracks, minlength=count),
        quality=faces.quality[best],
        best=best,
    )


def find_cannot_links(faces: VideoFaces, tracks: Indices) -> Indices:
    """Return the tracks that were seen in one frame, which are different people.

    Returns:
        Shape ``(k, 2)``; pairs of track numbers, lower first, each once, sorted.
    """
    order = np.argsort(faces.times_s, kind="stable")
    starts = np.flatnonzero(np.diff(faces.times_s[order], prepend=-np.inf))
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for frame in np.split(order, starts[1:]) if len(order) else []:
        seen = np.unique(tracks[frame])
        pairs.append(seen[np.stack(np.triu_indices(len(seen), 1), axis=1)])
    return np.unique(np.concatenate(pairs), axis=0)


@dataclass(slots=True, eq=False)
class _OpenTrack:
    """A track that may still continue."""

    number: int
    shot: int | None
    total: Floats
    weight: float = 0.0
    last_s: float = 0.0
    last_face: int = -1

    def append(self, faces: VideoFaces, face: int) -> None:
        weight = float(_weigh(faces.quality[face]))
        self.total += faces.embeddings[face] * weight
        self.weight += weight
        self.last_s = float(faces.times_s[face])
        self.last_face = face


def _weigh(quality: Floats) -> Floats:
    return MIN_WEIGHT + (1.0 - MIN_WEIGHT) * quality


def _continue_tracks(
    faces: VideoFaces, frame: Indices, open_tracks: list[_OpenTrack], rule: TrackRule
) -> dict[int, _OpenTrack]:
    """Return the tracks that faces of this frame continue, by face."""
    if not open_tracks:
        return {}
    last = np.array([track.last_face for track in open_tracks])
    means = np.array([track.total / track.weight for track in open_tracks])
    distance = np.minimum(
        _measure_distances(faces.embeddings[frame], faces.embeddings[last]),
        _measure_distances(faces.embeddings[frame], means),
    )
    overlap = box_iou(faces.boxes[frame][:, None], faces.boxes[last][None])
    possible = (distance <= rule.max_distance) & (overlap >= rule.min_overlap)
    at, to = np.nonzero(possible)
    continued: dict[int, _OpenTrack] = {}
    taken: set[int] = set()
    for pair in np.lexsort((to, at, distance[at, to])):
        face, track = int(frame[at[pair]]), int(to[pair])
        if face not in continued and track not in taken:
            continued[face] = open_tracks[track]
            taken.add(track)
    return continued


def _measure_distances(left: NDArray[np.floating], right: NDArray[np.floating]) -> Floats:
    difference = left[:, None].astype(np.float64) - right[None]
    return np.asarray(np.sqrt(np.einsum("ijk,ijk->ij", difference, difference)))
