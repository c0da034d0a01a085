"""Assigns every face and frame of a set to train or val, without leaking a shot into both.

A recording is assigned as a whole. A recording with a person who appears in no other recording
is divided into segments that no track crosses, and each segment is assigned; the faces of people
who also appear elsewhere then count only in its train segments. If even that leaves nothing for
val, recordings are divided at a point in time, and the report warns about it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from portraitd.datasets.annotations import Split, make_face_stem
from portraitd.datasets.split_units import (
    Segment,
    SplitUnit,
    assign_splits,
    find_segments,
    hash_to_fraction,
)
from portraitd.store.dataset_store import DatasetFace

SPLIT_BY_SEGMENT = "cut"
"""Stored split of a recording whose segments are assigned separately."""

SPLIT_AT_TIME = "cut at "
"""Stored split of a recording that is divided at a time: train before it, val from there on."""

SPLIT_GAP_S = 2.0
"""Length of the segment before that time that is left out."""


class SplitRecording(NamedTuple):
    """A recording, and its faces of people in the set, by time.

    Attributes:
        faces: All of these faces, to find where no track crosses.
        distinct: The faces that are no near-duplicates.
    """

    video_id: int
    sha256: str
    faces: Sequence[DatasetFace]
    distinct: Sequence[DatasetFace]


class SplitAssignment:
    """The splits of all faces and frames: stored ones, and new ones for what is new.

    Args:
        seen: Every recording with a face of a person in the set.
        known: The stored splits, by key.
        share: Share of the faces for val.
    """

    def __init__(
        self, seen: Sequence[SplitRecording], known: Mapping[str, str], share: float
    ) -> None:
        self._known = dict(known)
        self._share = share
        self.new: dict[str, str] = {}
        """The new splits, to be stored."""
        self.splits_by_time = False
        self._sha256 = {recording.video_id: recording.sha256 for recording in seen}
        self._segments = {
            recording.video_id: find_segments(_spans(recording.faces)) for recording in seen
        }
        recordings_of: defaultdict[int, set[int]] = defaultdict(set)
        for recording in seen:
            for face in recording.distinct:
                recordings_of[_person_id(face)].add(recording.video_id)
        self._only_in = {
            person: next(iter(at)) for person, at in recordings_of.items() if len(at) == 1
        }
        # The first face of a person in a track identifies the track in every home.
        self._track_keys: dict[int, str] = {}
        for recording in seen:
            for face in recording.faces:
                if face.track_id is not None:
                    key = f"track {make_face_stem(recording.sha256, face)}"
                    self._track_keys.setdefault(face.track_id, key)
        self._decide(seen)

    def split_at(self, video_id: int, t_s: float) -> Split | None:
        """Return the split of a frame; None if it is in the gap between the splits."""
        sha256 = self._sha256[video_id]
        split = self._known.get(_video_key(sha256))
        if split == SPLIT_BY_SEGMENT:
            segment = _nearest_segment(self._segments[video_id], t_s)
            split = self._known.get(_segment_key(sha256, segment))
        elif split is not None and split.startswith(SPLIT_AT_TIME):
            boundary_s = int(split.removeprefix(SPLIT_AT_TIME)) / 1000
            split = (
                "val" if t_s >= boundary_s else "train" if t_s < boundary_s - SPLIT_GAP_S else None
            )
        return "train" if split == "train" else "val" if split == "val" else None

    def split_of(self, face: DatasetFace) -> Split | None:
        """Return the split of a face in the face folders; None if it would leak."""
        split = self.split_at(face.video_id, face.t_s)
        own = self._known.get(self._track_keys.get(face.track_id or 0, ""))
        if self._only_in.get(_person_id(face)) == face.video_id:
            return split if own is None else "train" if own == "train" else "val"
        if own is not None and own != split:
            return None
        # In the val part of a divided recording, people who also appear elsewhere would leak.
        stored = self._known.get(_video_key(self._sha256[face.video_id]), "")
        is_divided = stored == SPLIT_BY_SEGMENT or stored.startswith(SPLIT_AT_TIME)
        return None if is_divided and split == "val" else split

    def _decide(self, seen: Sequence[SplitRecording]) -> None:
        counts: dict[Split, Counter[int]] = {"train": Counter(), "val": Counter()}
        divisible = set(self._only_in.values())
        segment_units: list[SplitUnit] = []
        whole_units: list[SplitUnit] = []
        divided: list[SplitRecording] = []
        for recording in seen:
            key = _video_key(recording.sha256)
            segments = self._segments[recording.video_id]
            if key not in self._known and recording.video_id in divisible and self._share > 0:
                used_segments = {
                    _nearest_segment(segments, face.t_s) for face in recording.distinct
                }
                if len(used_segments) > 1:
                    self._add({key: SPLIT_BY_SEGMENT})
            if self._known.get(key) == SPLIT_BY_SEGMENT:
                segment_units += self._segment_units(recording)
                divided.append(recording)
            else:
                whole_units.append(SplitUnit(key, Counter(map(_person_id, recording.distinct))))
        self._add(assign_splits(segment_units, self._known, self._share))
        for recording in divided:
            for face in recording.distinct:
                split = self.split_at(recording.video_id, face.t_s)
                if split == "train" and _person_id(face) not in self._only_in:
                    counts["train"][_person_id(face)] += 1
        new = assign_splits(whole_units, self._known, self._share, counts)
        self._add(new)
        if whole_units and not segment_units and self._share > 0:
            self._split_by_time_without_val(seen, new)
        self._split_tracks(seen)

    def _segment_units(self, recording: SplitRecording) -> list[SplitUnit]:
        """Return the segments of a recording, with the people who appear in no other."""
        faces: defaultdict[Segment, Counter[int]] = defaultdict(Counter)
        for face in recording.distinct:
            if self._only_in.get(_person_id(face)) == recording.video_id:
                faces[_nearest_segment(self._segments[recording.video_id], face.t_s)][
                    _person_id(face)
                ] += 1
        segments = self._segments[recording.video_id]
        return [
            SplitUnit(_segment_key(recording.sha256, segment), faces[segment])
            for segment in segments
        ]

    def _split_by_time_without_val(
        self, seen: Sequence[SplitRecording], new: Mapping[str, Split]
    ) -> None:
        """Divide the new recordings by time if val is empty: no detector trains without it."""
        splits = {self._known.get(_video_key(recording.sha256), "") for recording in seen}
        if any(split != "train" for split in splits):
            self.splits_by_time = any(split.startswith(SPLIT_AT_TIME) for split in splits)
            return
        for recording in seen:
            key = _video_key(recording.sha256)
            times = sorted(face.t_s for face in recording.distinct)
            boundary_s = times[round((1 - self._share) * (len(times) - 1))] if times else 0.0
            if key in new and times and times[0] < boundary_s - SPLIT_GAP_S:
                self._known[key] = self.new[key] = f"{SPLIT_AT_TIME}{round(boundary_s * 1000)}"
                self.splits_by_time = True

    def _split_tracks(self, seen: Sequence[SplitRecording]) -> None:
        """Assign the tracks of people separately if their only recording is in one split."""
        for recording in seen:
            faces: defaultdict[int, dict[str, int]] = defaultdict(Counter)
            for face in recording.distinct:
                if (
                    self._only_in.get(_person_id(face)) == recording.video_id
                    and face.track_id is not None
                ):
                    faces[_person_id(face)][self._track_keys[face.track_id]] += 1
            for person, tracks in faces.items():
                splits = {
                    self.split_at(recording.video_id, face.t_s)
                    for face in recording.distinct
                    if _person_id(face) == person
                }
                known = [self._known.get(key) for key in tracks]
                if len(tracks) > 1 and (len(splits) == 1 or any(known)):
                    units = [SplitUnit(key, {person: count}) for key, count in tracks.items()]
                    self._add(assign_splits(units, self._known, self._share))

    def _add(self, splits: Mapping[str, str]) -> None:
        self._known.update(splits)
        self.new.update(splits)


def assign_background(sha256: str, known: Mapping[str, str], share: float) -> Split:
    """Return the split of the background frames of a recording without faces of the set."""
    split = known.get(_video_key(sha256))
    if split in ("train", "val"):
        return "train" if split == "train" else "val"
    return "val" if split is None and hash_to_fraction(_video_key(sha256)) < share else "train"


def _person_id(face: DatasetFace) -> int:
    return face.person_id or 0


def _spans(faces: Iterable[DatasetFace]) -> list[tuple[float, float]]:
    """Return the first and last time of each track; a face without a track is one by itself."""
    spans: dict[tuple[str, int], tuple[float, float]] = {}
    for face in faces:
        key = ("face", face.id) if face.track_id is None else ("track", face.track_id)
        start_s, stop_s = spans.get(key, (face.t_s, face.t_s))
        spans[key] = (min(start_s, face.t_s), max(stop_s, face.t_s))
    return list(spans.values())


def _nearest_segment(segments: Sequence[Segment], t_s: float) -> Segment:
    return min(segments, key=lambda segment: max(segment.start_s - t_s, t_s - segment.stop_s, 0.0))


def _video_key(sha256: str) -> str:
    return f"video {sha256}"


def _segment_key(sha256: str, segment: Segment) -> str:
    return f"stretch {sha256} {round(segment.start_s * 1000)}"
