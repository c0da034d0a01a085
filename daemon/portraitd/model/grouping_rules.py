"""The numbers that grouping needs, and that belong to one embedding model.

Distances are Euclidean, between vectors scaled to ``EmbeddingRules.vector_length``. Every model
has its own: its card holds them (``portraitd.faces.models.cards``), and no code holds another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from portraitd.model.face_quality import QualityRule
from portraitd.model.track import Floats, Indices

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TrackRule:
    """When a face continues a track, and which faces stand for one.

    Attributes:
        max_distance: Largest distance between the face and the track's last face or mean,
            whichever is nearer. It detects a cut to another person in the same place.
        min_difference: Two faces that stand for a track are at least this far apart: about the
            distance between two samples of a moving face.
        max_gap_s: Longest time without a face of the track; 2.1 bridges one missed face at
            one sample a second.
        min_overlap: Smallest intersection over union with the track's last box. It only has to
            tell the same place from another: the boxes of a walking person overlap little.
    """

    max_distance: float
    min_difference: float
    max_gap_s: float = 2.1
    min_overlap: float = 0.1


@dataclass(frozen=True, slots=True)
class DbscanRule:
    """When a point is a core: if it has ``min_samples`` points within ``eps``, itself included.

    Attributes:
        eps: A distance; a neighbour at exactly this distance counts.
        min_samples: Number of points, including the point itself.
    """

    eps: float
    min_samples: int

    def __post_init__(self) -> None:
        if self.eps <= 0 or self.min_samples < 1:
            raise ValueError("eps must be positive and min_samples at least 1")


@dataclass(frozen=True, slots=True)
class AgglomerationRule:
    """When two groups are one person.

    Attributes:
        max_distance: Root of the largest mean squared distance between the faces of two
            groups that are merged.
        thin_distance: Replaces ``max_distance`` for groups of fewer than ``thin_tracks``.
        thin_tracks: Groups of fewer tracks than this rest on thin evidence: one distance
            between two pictures, or a few that are hardly independent.
        large_group: People of more must-link groups than this change at the edges only.
    """

    max_distance: float
    thin_distance: float
    thin_tracks: int = 3
    large_group: int = 100

    @property
    def limit(self) -> float:
        """The largest distance, squared."""
        return self.max_distance**2


@dataclass(frozen=True, slots=True)
class AssignmentRule:
    """How near a person must be for a low-quality track to be assigned to them.

    Attributes:
        max_distance: Root of the largest mean squared distance to the faces of a group.
        thin_distance: Replaces ``max_distance`` for groups of fewer than ``thin_tracks``.
        thin_tracks: Groups of fewer tracks than this rest on thin evidence.
        centre_distance: Largest distance between the scaled mean of a track and that of a person
            of at least ``centre_faces`` faces. By it, a person of a single track may join another
            one as well; None if the model's means do not tell people apart better than its faces.
        centre_faces: The mean of fewer faces says little.
    """

    max_distance: float
    thin_distance: float
    thin_tracks: int = 6
    centre_distance: float | None = None
    centre_faces: int = 8

    def within(self, distance: float) -> AssignmentRule:
        """Return this rule with no distance above the given one."""
        nearer = min(self.max_distance, distance)
        return replace(self, max_distance=nearer, thin_distance=min(self.thin_distance, nearer))


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """How near a person of the same recording must be for what is left over to be assigned.

    Attributes:
        max_distance: Largest distance between the scaled mean of a track and that of a person
            whom others may join by the distance of centres.
        min_gap: The next person of the recording is at least this much farther away.
    """

    max_distance: float
    min_gap: float


@dataclass(frozen=True, slots=True)
class TightnessRule:
    """When the model cannot tell the people of a neighbourhood apart.

    The flatness of a neighbourhood is the tenth percentile of its distances over their mean.

    Attributes:
        min_flatness: From this on, a neighbourhood is flat.
        reach: Tracks outside a group within this mean distance of it belong to its neighbourhood.
        max_ratio: Only if the nearest tracks outside are nearer than this many times the mean
            distance inside.
        rival_distance: Groups beyond this root mean squared distance are not looked at.
        split_distance: In a flat neighbourhood, only tracks within this distance stay together;
        split_share: and only within this share of the mean distance in their group.
        store_distance: Root of the largest mean squared distance between all good tracks of a
            store, for them to be one neighbourhood.
        store_tracks, store_flatness: From which flatness on a store of so many tracks, and no
            others beside them, is flat; between the numbers the limit is interpolated. Smaller
            stores are not judged.
        min_own_flatness: A group of lower flatness is not in a flat neighbourhood.
        min_tracks: A smaller neighbourhood is not judged.
        min_tracks_alone: A smaller group without tracks around it is not judged.
        max_tracks: Larger groups are not judged.
        max_store_tracks: Larger stores are not judged as a whole.
    """

    min_flatness: float
    reach: float
    max_ratio: float
    rival_distance: float
    split_distance: float
    split_share: float
    store_distance: float
    store_tracks: tuple[int, ...]
    store_flatness: tuple[float, ...]
    min_own_flatness: float
    min_tracks: int = 10
    min_tracks_alone: int = 12
    max_tracks: int = 100
    max_store_tracks: int = 200


@dataclass(frozen=True, slots=True)
class GroupingRule:
    """How tracks become people. A state made with one rule cannot be used with another.

    Attributes:
        dbscan: Which tracks are certainly one person.
        agglomeration: Which clusters and single tracks are one person.
        assignment: Which people low-quality tracks are assigned to.
        recording: Which people of the same recording what is left over is assigned to; None for
            a model whose centres do not tell people apart.
        tightness: Where people are kept apart; None if the model needs no such rule.
        min_quality: Tracks below this can be assigned to a person but cannot found one.
        min_quality_short: The same for tracks of fewer than ``short_track_faces`` faces: chance
            similarities of poor faces average out over many faces, but not over few.
        short_track_faces: From this many faces on, ``min_quality`` is enough.
        min_faces: A group of fewer faces, without those of low-quality tracks, is not a person.
    """

    dbscan: DbscanRule
    agglomeration: AgglomerationRule
    assignment: AssignmentRule
    recording: RecordingRule | None = None
    tightness: TightnessRule | None = None
    min_quality: float = 0.2
    min_quality_short: float = 0.4
    short_track_faces: int = 4
    min_faces: int = 2

    def find_good(self, quality: Floats, faces: Indices) -> NDArray[np.bool_]:
        """Return which tracks can found a person.

        Args:
            quality: Shape ``(n,)``; as in ``TrackSummaries``.
            faces: Shape ``(n,)``; how many faces each track has.
        """
        poor_and_short = (faces < self.short_track_faces) & (quality < self.min_quality_short)
        good: NDArray[np.bool_] = (quality >= self.min_quality) & ~poor_and_short
        return good


@dataclass(frozen=True, slots=True)
class OutlierRule:
    """When a track probably does not belong to its person.

    Attributes:
        min_distance: A track whose mean distance to the nearest tracks of its person is less is
            never an outlier.
    """

    min_distance: float


@dataclass(frozen=True, slots=True)
class NearMissRule:
    """How likely a track without a person shows the nearest one.

    Attributes:
        intercept: Logarithm of the odds, if all else is zero.
        distance: What the distance of the track and the person's centre adds, both scaled to one
            length.
        gap: What it adds how much farther the next person is.
        max_gap: A larger gap counts as this.
        quality: What the quality of the track adds.
        enough_quality: A higher quality counts as this.
        log_tracks: What the logarithm of the person's number of tracks adds.
    """

    intercept: float = 0.0
    distance: float = 0.0
    gap: float = 0.0
    max_gap: float = 0.25
    quality: float = 0.0
    enough_quality: float = 0.5
    log_tracks: float = 0.0

    def scaled(self, times: float) -> NearMissRule:
        """Return this rule for a model whose distances are this many times as large."""
        return replace(
            self,
            distance=self.distance / times,
            gap=self.gap / times,
            max_gap=self.max_gap * times,
        )

    def estimate_probability(
        self, distances: Floats, gaps: Floats, quality: Floats, tracks: Indices
    ) -> Floats:
        """Return how likely each track shows the person, shape ``(k,)`` as the arguments."""
        import numpy as np

        log_odds = self.intercept + self.distance * distances
        log_odds += self.gap * np.clip(gaps, 0.0, self.max_gap)
        log_odds += self.quality * np.clip(quality, 0.0, self.enough_quality)
        log_odds += self.log_tracks * np.log(np.maximum(tracks, 1))
        return np.asarray(1 / (1 + np.exp(-log_odds)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class SuggestionRule:
    """How likely two people of a grouping are one person: a logistic regression.

    The people are those that the grouping kept separate, so the distance alone says less than it
    does of two faces.

    Attributes:
        margin: People farther from each other than the distance of agglomeration by more than
            this are never suggested.
        intercept: Logarithm of the odds, if all else is zero.
        distance: What the distance of the two people, root mean squared, adds.
        gap: What the gap adds: how much farther the next other person is, from the one of the
            two for whom that is less.
        gap_range: The gap counts within these limits.
        quality: What the quality of the best track adds, for the one of the two for whom that is
            less. With some models poor faces are far from their own person, with others they
            are near to every other.
        enough_quality: A higher quality counts as this.
        log_ratio: What the logarithm of the ratio of their numbers of tracks adds, the larger
            one to the smaller: few faces near a person of many are rather one of theirs than
            two well-filled people are one.
        near_miss: The rule for faces without a person.
        identification: The rule for a face of any picture, which was not grouped. Its distance is
            root mean squared, to the faces of the person.
    """

    margin: float
    intercept: float
    distance: float
    gap: float = 0.0
    gap_range: tuple[float, float] = (0.0, 0.0)
    quality: float = 0.0
    enough_quality: float = 1.0
    log_ratio: float = 0.0
    near_miss: NearMissRule = NearMissRule()
    identification: NearMissRule = NearMissRule()

    def scaled(self, times: float) -> SuggestionRule:
        """Return this rule for a model whose distances are this many times as large."""
        low, high = self.gap_range
        return replace(
            self,
            margin=self.margin * times,
            distance=self.distance / times,
            gap=self.gap / times,
            gap_range=(low * times, high * times),
            near_miss=self.near_miss.scaled(times),
            identification=self.identification.scaled(times),
        )

    def estimate_probability(
        self, distances: Floats, gaps: Floats, quality: Floats, tracks: Indices
    ) -> Floats:
        """Return how likely each pair is one person.

        Args:
            distances: Shape ``(k,)``.
            gaps: Shape ``(k,)``.
            quality: Shape ``(k, 2)``; of the best track of each of the two.
            tracks: Shape ``(k, 2)``; how many each of the two has.
        """
        import numpy as np

        log_odds = self.intercept + self.distance * distances
        log_odds += self.gap * np.clip(gaps, *self.gap_range)
        log_odds += self.quality * np.minimum(quality.min(axis=1), self.enough_quality)
        log_odds += self.log_ratio * np.log(tracks.max(axis=1) / tracks.min(axis=1))
        return np.asarray(1 / (1 + np.exp(-log_odds)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class EmbeddingRules:
    """All numbers that belong to one embedding model.

    Attributes:
        vector_length: The length that vectors are scaled to before they are compared.
        quality: How well a face identifies its person.
        tracking: How faces become tracks.
        grouping: How tracks become people, with ``grouping.method = "people"``.
        plain_dbscan: How faces become people, with ``grouping.method = "dbscan"``.
        outliers: Which tracks of a person are reported as doubtful.
        suggestions: How likely two people are one person.
        near_duplicate: Largest distance between two faces of which a training set takes one.
    """

    vector_length: float
    quality: QualityRule
    tracking: TrackRule
    grouping: GroupingRule
    plain_dbscan: DbscanRule
    outliers: OutlierRule
    suggestions: SuggestionRule
    near_duplicate: float
