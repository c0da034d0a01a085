"""Assigns every face and frame of a set to a split, without leaking a shot into two of them.

A recording is assigned as a whole. A recording with a person who appears in no other recording
is divided into segments that no track crosses, and each segment is assigned; the faces of people
who have two undivided recordings or more then count only in its train segments. If that leaves
nothing for val, recordings are divided at a point in time, and the report warns about it. A
recording that the user moved to a split is there as a whole.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from portraitd.datasets.annotations import SPLITS, Split, make_face_stem
from portraitd.datasets.split_units import (
    Segment,
    SplitUnit,
    assign_splits,
    choose_by_hash,
    find_segments,
    make_shares,
)
from portraitd.model.fingerprints import make_video_key
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
        val_share: Share of the faces for val.
        test_share: Share of the faces for test.
        moved: The splits that the user chose for recordings, by key.
    """

    def __init__(
        self,
        seen: Sequence[SplitRecording],
        known: Mapping[str, str],
        val_share: float,
        test_share: float = 0.0,
        moved: Mapping[str, str] | None = None,
    ) -> None:
        self._moved = moved or {}
        self._known = {**known, **self._moved}
        self._shares = make_shares(val_share, test_share)
        self.new: dict[str, str] = {}
        """The new splits, to be stored."""
        self.splits_by_time = False
        self._sha256 = {recording.video_id: recording.sha256 for recording in seen}
        self._segments = {
            recording.video_id: find_segments(_spans(recording.faces)) for recording in seen
        }
        self._recordings_of: defaultdict[int, set[int]] = defaultdict(set)
        for recording in seen:
            for face in recording.distinct:
                self._recordings_of[_person_id(face)].add(recording.video_id)
        self._only_in = {
            person: next(iter(at)) for person, at in self._recordings_of.items() if len(at) == 1
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
        split = self._known.get(make_video_key(sha256))
        if split == SPLIT_BY_SEGMENT:
            segment = _nearest_segment(self._segments[video_id], t_s)
            split = self._known.get(_segment_key(sha256, segment))
        elif split is not None and split.startswith(SPLIT_AT_TIME):
            boundary_s = int(split.removeprefix(SPLIT_AT_TIME)) / 1000
            split = (
                "val" if t_s >= boundary_s else "train" if t_s < boundary_s - SPLIT_GAP_S else None
            )
        return _as_split(split)

    def split_of(self, face: DatasetFace) -> Split | None:
        """Return the split of a face in the face folders; None if it would leak."""
        split = self.split_at(face.video_id, face.t_s)
        key = make_video_key(self._sha256[face.video_id])
        if key in self._moved:
            return split
        own = _as_split(self._known.get(self._track_keys.get(face.track_id or 0, "")))
        person = _person_id(face)
        if self._only_in.get(person) == face.video_id:
            return split if own is None else own
        if own is not None and own != split:
            return None
        # Outside the train part of a divided recording, people who do not need it would leak.
        stored = self._known.get(key, "")
        is_divided = stored == SPLIT_BY_SEGMENT or stored.startswith(SPLIT_AT_TIME)
        return None if is_divided and split != "train" and not self._is_native(person) else split

    def split_of_background(self, sha256: str) -> Split:
        """Return the split of the background frames of a recording without faces of the set."""
        stored = self.stored_split(sha256)
        return _as_split(stored or choose_by_hash(make_video_key(sha256), self._shares)) or "train"

    def stored_split(self, sha256: str) -> str:
        """Return the split of a recording as it is stored; empty if it has none yet."""
        return self._known.get(make_video_key(sha256), "")

    def _is_native(self, person: int) -> bool:
        """Return whether a person has too few undivided recordings to be in two splits by them."""
        undivided = [
            video_id
            for video_id in self._recordings_of[person]
            if self.stored_split(self._sha256[video_id]) != SPLIT_BY_SEGMENT
        ]
        return len(undivided) < 2

    def _decide(self, seen: Sequence[SplitRecording]) -> None:
        divisible = set(self._only_in.values())
        is_undivided = self._shares["train"] >= 1
        already: dict[str, Counter[int]] = {split: Counter() for split in SPLITS}
        divided: list[SplitRecording] = []
        units: list[SplitUnit] = []
        for recording in seen:
            key = make_video_key(recording.sha256)
            segments = self._segments[recording.video_id]
            if key not in self._known and recording.video_id in divisible and not is_undivided:
                used_segments = {
                    _nearest_segment(segments, face.t_s) for face in recording.distinct
                }
                if len(used_segments) > 1:
                    self._add({key: SPLIT_BY_SEGMENT})
            stored = self.stored_split(recording.sha256)
            if stored == SPLIT_BY_SEGMENT:
                divided.append(recording)
            elif stored.startswith(SPLIT_AT_TIME):
                for face in recording.distinct:
                    if split := self.split_of(face):
                        already[split][_person_id(face)] += 1
            else:
                units.append(SplitUnit(key, Counter(map(_person_id, recording.distinct))))
        units += [unit for recording in divided for unit in self._segment_units(recording)]
        new = assign_splits(units, self._known, self._shares, already)
        if not is_undivided and not self._has_val(units, new):
            # Better a val split that costs guests many faces than none.
            alone = [SplitUnit(unit.key, unit.faces) for unit in units]
            new = assign_splits(alone, self._known, self._shares, already)
        self._add(new)
        if not divided and not is_undivided:
            self._split_by_time_without_val(seen, new)
        self._split_tracks(seen)

    def _has_val(self, units: Sequence[SplitUnit], new: Mapping[str, str]) -> bool:
        splits = {**self._known, **new}
        return any(unit.faces and splits[unit.key] == "val" for unit in units)

    def _segment_units(self, recording: SplitRecording) -> list[SplitUnit]:
        """Return the segments of a recording; people who do not need them are guests."""
        faces: defaultdict[Segment, Counter[int]] = defaultdict(Counter)
        segments = self._segments[recording.video_id]
        for face in recording.distinct:
            faces[_nearest_segment(segments, face.t_s)][_person_id(face)] += 1
        return [
            SplitUnit(
                _segment_key(recording.sha256, segment),
                {one: count for one, count in faces[segment].items() if self._is_native(one)},
                {one: count for one, count in faces[segment].items() if not self._is_native(one)},
            )
            for segment in segments
        ]

    def _split_by_time_without_val(
        self, seen: Sequence[SplitRecording], new: Mapping[str, str]
    ) -> None:
        """Divide the new recordings by time if val is empty: no detector trains without it."""
        splits = {self.stored_split(recording.sha256) for recording in seen}
        if any(split not in ("train", "test") for split in splits):
            self.splits_by_time = any(split.startswith(SPLIT_AT_TIME) for split in splits)
            return
        share = self._shares["val"]
        for recording in seen:
            key = make_video_key(recording.sha256)
            times = sorted(face.t_s for face in recording.distinct)
            boundary_s = times[round((1 - share) * (len(times) - 1))] if times else 0.0
            if key in new and times and times[0] < boundary_s - SPLIT_GAP_S:
                self._known[key] = self.new[key] = f"{SPLIT_AT_TIME}{round(boundary_s * 1000)}"
                self.splits_by_time = True

    def _split_tracks(self, seen: Sequence[SplitRecording]) -> None:
        """Assign the tracks of people separately if their only recording is in one split."""
        for recording in seen:
            if make_video_key(recording.sha256) in self._moved:
                continue
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
                    self._add(assign_splits(units, self._known, self._shares))

    def _add(self, splits: Mapping[str, str]) -> None:
        self._known.update(splits)
        self.new.update(splits)


def assign_folds(
    seen: Sequence[SplitRecording],
    known: Mapping[str, str],
    splits: SplitAssignment,
    folds: int,
) -> tuple[dict[int, int], dict[str, str]]:
    """Divide all recordings outside test into folds for cross-validation, each of equal shares.

    Args:
        seen: Every recording with a face of a person in the set.
        known: The stored splits, by key.
        splits: The splits of these recordings.
        folds: Number of folds; below 2 for none.

    Returns:
        The fold of each recording, from 1, and the new folds, to be stored by key.
    """
    if folds < 2:
        return {}, {}
    shares = {str(number): 1 / folds for number in range(1, folds + 1)}
    keys = {
        recording.video_id: f"fold of {folds} {make_video_key(recording.sha256)}"
        for recording in seen
        if splits.stored_split(recording.sha256) != "test"
    }
    units = [
        SplitUnit(keys[recording.video_id], Counter(map(_person_id, recording.distinct)))
        for recording in seen
        if recording.video_id in keys
    ]
    new: dict[str, str] = dict(assign_splits(units, known, shares))
    return {video_id: int(known.get(key) or new[key]) for video_id, key in keys.items()}, new


def _as_split(stored: str | None) -> Split | None:
    return next((split for split in SPLITS if split == stored), None)


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


def _segment_key(sha256: str, segment: Segment) -> str:
    return f"stretch {sha256} {round(segment.start_s * 1000)}"
