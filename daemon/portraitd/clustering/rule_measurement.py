"""The numbers of an embedding model that was never measured, from what videos tell for free.

Two faces in one frame are two people, and neighbouring faces of a track are one person. The cosines
of strangers are spread like a bell around a middle value. How far above it a cosine is unlikely to
be a stranger's is taken from MobileFaceNet, which was measured: ``STRANGER_DEVIATIONS``. All other
distances are in proportion to that one, as they are on its card.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from portraitd.faces.models.cards import DLIB, MOBILEFACENET
from portraitd.faces.models.model_registry import require_rules
from portraitd.model.errors import ConfigError
from portraitd.model.face import Embeddings
from portraitd.model.grouping_rules import DbscanRule, EmbeddingRules, RecordingRule
from portraitd.model.track import l2_normalised

Distances = NDArray[np.float64]

STRANGER_DEVIATIONS = 3.0
"""The cosine that belongs to ``grouping.linkage`` is this many standard deviations above the median
of strangers. For the distance on MobileFaceNet's card it is 2.8, on labelled clips at two frames a
second; 3.0 gives 1.12 instead of 1.14, on the strict side of its flat range from 1.10 to 1.17."""

MIN_DIFFERENT = 50
"""Pairs of tracks in one frame. Of 50 random ones of 83, nine in ten give a distance within 6 % of
that of all."""

MIN_SAME = 100
"""Pairs of neighbouring faces of a track."""

MIN_RECOGNISED = 0.8
"""Share of neighbouring faces of a track that must be within the distance that was found."""

_BY_HAND = "or set grouping.linkage by hand, in distances of vectors of length 1"


class SurePairs(NamedTuple):
    """Distances between vectors of length 1, of faces that are surely one person or two.

    Attributes:
        same: Between neighbouring faces of a track.
        different: Between tracks seen in one frame: root mean square over pairs of their faces.
    """

    same: Distances
    different: Distances


def find_sure_pairs(
    embeddings: Embeddings, tracks: NDArray[np.int64], cannot_link: NDArray[np.int64]
) -> SurePairs:
    """Return the distances of sure pairs.

    Args:
        embeddings: Shape ``(n, d)``; the faces, by rising time within each track.
        tracks: Shape ``(n,)``; the track of each face.
        cannot_link: Shape ``(m, 2)``; pairs of tracks that were seen in one frame. Those with a
            track that has no face here are left out.
    """
    vectors = l2_normalised(embeddings).astype(np.float64)
    order = np.argsort(tracks, kind="stable")
    vectors, tracks = vectors[order], tracks[order]
    neighbours = tracks[1:] == tracks[:-1]
    same = np.linalg.norm(vectors[1:] - vectors[:-1], axis=1)[neighbours]
    known, starts, counts = np.unique(tracks, return_index=True, return_counts=True)
    if not len(known):
        return SurePairs(same, np.empty(0))
    means = np.add.reduceat(vectors, starts) / counts[:, None]
    pairs = cannot_link[np.isin(cannot_link, known).all(axis=1)]
    lower, higher = (np.searchsorted(known, pairs[:, side]) for side in (0, 1))
    # The mean cosine of two tracks is the product of their means.
    cosines = (means[lower] * means[higher]).sum(axis=1)
    return SurePairs(same, _distance_of(cosines))


def measure_rules(pairs: SurePairs) -> EmbeddingRules:
    """Return the numbers of a model, for vectors of length 1.

    Raises:
        ConfigError: There are too few sure pairs, or the model does not tell people apart. The
            message says what is missing.
    """
    if len(pairs.different) < MIN_DIFFERENT or len(pairs.same) < MIN_SAME:
        raise ConfigError(
            "there are too few faces that are surely one person or two to measure the distances of "
            f"this model: {len(pairs.different)} of {MIN_DIFFERENT} pairs of tracks in one frame, "
            f"{len(pairs.same)} of {MIN_SAME} pairs of neighbouring faces of a track; process "
            f"videos in which several people are seen together, {_BY_HAND}"
        )
    cosines = 1 - pairs.different**2 / 2
    low, middle, high = np.percentile(cosines, (25, 50, 75))
    # Robust against a mirror or a screen that shows a person twice in one frame.
    deviation = (high - low) / 1.349
    linkage = float(_distance_of(np.array(middle + STRANGER_DEVIATIONS * deviation)))
    recognised = float(np.mean(pairs.same <= linkage))
    if recognised < MIN_RECOGNISED:
        raise ConfigError(
            "this model does not tell people apart on your videos: within the distance that "
            f"strangers rarely have are only {recognised:.0%} of the neighbouring faces of tracks; "
            "check --bgr, --mean and --scale of `portraitd models add`, "
            f"{_BY_HAND}"
        )
    return derive_rules(linkage)


def derive_rules(linkage: float, eps: float | None = None) -> EmbeddingRules:
    """Return the numbers of a model in proportion to those of MobileFaceNet.

    Args:
        linkage: The distance up to which two groups are one person, for vectors of length 1.
        eps: The distance of DBSCAN, if it was set by hand.
    """
    card = require_rules(MOBILEFACENET)
    own = card.grouping
    times = linkage / own.agglomeration.max_distance
    centre, recording = own.assignment.centre_distance, own.recording

    def scaled_dbscan(rule: DbscanRule) -> DbscanRule:
        return replace(rule, eps=eps or rule.eps * times)

    return EmbeddingRules(
        vector_length=1.0,
        # Whether the length of a vector tells anything is not known of another model.
        quality=require_rules(DLIB).quality,
        tracking=replace(
            card.tracking,
            max_distance=card.tracking.max_distance * times,
            min_difference=card.tracking.min_difference * times,
        ),
        grouping=replace(
            own,
            # Where its people are too near each other cannot be known without labels.
            tightness=None,
            dbscan=scaled_dbscan(own.dbscan),
            agglomeration=replace(
                own.agglomeration,
                max_distance=linkage,
                thin_distance=own.agglomeration.thin_distance * times,
            ),
            assignment=replace(
                own.assignment,
                max_distance=own.assignment.max_distance * times,
                thin_distance=own.assignment.thin_distance * times,
                centre_distance=centre and centre * times,
            ),
            recording=recording
            and RecordingRule(recording.max_distance * times, recording.min_gap * times),
        ),
        plain_dbscan=scaled_dbscan(card.plain_dbscan),
        outliers=replace(card.outliers, min_distance=card.outliers.min_distance * times),
        suggestions=card.suggestions.scaled(times),
        near_duplicate=card.near_duplicate * times,
    )


def _distance_of(cosines: Distances) -> Distances:
    return np.sqrt(np.maximum(2 - 2 * cosines, 0.0))
