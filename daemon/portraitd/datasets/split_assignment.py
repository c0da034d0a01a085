"""On which side every face and every frame of a set lies.

A recording lies on one side. One in which somebody is seen who is seen nowhere else is cut
where no track crosses, and its stretches lie on either side; the faces of people who are seen
elsewhere too then count on its train side alone. Where not even that leaves anything for val,
recordings are cut in time, and the report says so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from portraitd.datasets.annotations import Split, face_stem
from portraitd.datasets.split_units import (
    Segment,
    SplitUnit,
    assign_splits,
    find_segments,
    hash_fraction,
)
from portraitd.store.dataset_store import DatasetFace

SPLIT_BY_SEGMENT = "cut"
"""The side of a recording whose stretches have sides of their own."""

SPLIT_AT_TIME = "cut at "
"""The side of a recording that is cut at a moment: train before it, val from it on."""

SPLIT_GAP_S = 2.0
"""Before such a moment so much is left out."""


class SplitRecording(NamedTuple):
    """A recording: its content and its faces of people who are in the set, by time.

    Attributes:
        faces: All of them; what no track crosses is found from these.
        kept: Those that no other is nearly the same as.
    """

    video_id: int
    sha256: str
    faces: Sequence[DatasetFace]
    distinct: Sequence[DatasetFace]


class SplitAssignment:
    """Where everything lies, made of what was remembered and what is new.

    Args:
        seen: Every recording with a face of somebody who is in the set.
        known: The sides that were remembered, by key.
        share: Of the faces that val should hold.
    """

    def __init__(
        self, seen: Sequence[SplitRecording], known: Mapping[str, str], share: float
    ) -> None:
        self._known = dict(known)
        self._share = share
        self.new: dict[str, str] = {}
        """What has to be remembered."""
        self.splits_by_time = False
        self._sha256 = {one.video_id: one.sha256 for one in seen}
        self._segments = {one.video_id: find_segments(_spans(one.faces)) for one in seen}
        homes: defaultdict[int, set[int]] = defaultdict(set)
        for one in seen:
            for face in one.distinct:
                homes[_person_id(face)].add(one.video_id)
        self._only_in = {person: next(iter(at)) for person, at in homes.items() if len(at) == 1}
        # A person's first face in a track names the track, in every home.
        self._track_keys: dict[int, str] = {}
        for one in seen:
            for face in one.faces:
                if face.track_id is not None:
                    key = f"track {face_stem(one.sha256, face)}"
                    self._track_keys.setdefault(face.track_id, key)
        self._decide(seen)

    def split_at(self, video_id: int, t_s: float) -> Split | None:
        """The side of a frame; None if it lies between the sides."""
        sha256 = self._sha256[video_id]
        split = self._known.get(_video_key(sha256))
        if split == SPLIT_BY_SEGMENT:
            segment = _nearest_segment(self._segments[video_id], t_s)
            split = self._known.get(_segment_key(sha256, segment))
        elif split is not None and split.startswith(SPLIT_AT_TIME):
            cut_s = int(split.removeprefix(SPLIT_AT_TIME)) / 1000
            split = "val" if t_s >= cut_s else "train" if t_s < cut_s - SPLIT_GAP_S else None
        return "train" if split == "train" else "val" if split == "val" else None

    def split_of(self, face: DatasetFace) -> Split | None:
        """The side of a face in the folders of faces; None if it would leak."""
        split = self.split_at(face.video_id, face.t_s)
        own = self._known.get(self._track_keys.get(face.track_id or 0, ""))
        if self._only_in.get(_person_id(face)) == face.video_id:
            return split if own is None else "train" if own == "train" else "val"
        whole = self._known.get(_video_key(self._sha256[face.video_id]), "")
        if (own is not None and own != split) or (
            whole.startswith(SPLIT_BY_SEGMENT) and split == "val"
        ):
            return None
        return split

    def _decide(self, seen: Sequence[SplitRecording]) -> None:
        counts: dict[Split, Counter[int]] = {"train": Counter(), "val": Counter()}
        only = set(self._only_in.values())
        units: list[SplitUnit] = []
        whole_units: list[SplitUnit] = []
        cut: list[SplitRecording] = []
        for one in seen:
            key = _video_key(one.sha256)
            parts = self._segments[one.video_id]
            if key not in self._known and one.video_id in only and self._share > 0:
                held_in = {_nearest_segment(parts, face.t_s) for face in one.distinct}
                if len(held_in) > 1:
                    self._remember({key: SPLIT_BY_SEGMENT})
            if self._known.get(key) == SPLIT_BY_SEGMENT:
                units += self._segment_units(one)
                cut.append(one)
            else:
                whole_units.append(SplitUnit(key, Counter(map(_person_id, one.distinct))))
        self._remember(assign_splits(units, self._known, self._share))
        for one in cut:
            for face in one.distinct:
                split = self.split_at(one.video_id, face.t_s)
                if split == "train" and _person_id(face) not in self._only_in:
                    counts["train"][_person_id(face)] += 1
        new = assign_splits(whole_units, self._known, self._share, counts)
        self._remember(new)
        if whole_units and not units and self._share > 0:
            self._split_by_time_without_val(seen, new)
        self._split_tracks(seen)

    def _segment_units(self, one: SplitRecording) -> list[SplitUnit]:
        """The stretches of a recording, with the people who are seen nowhere else."""
        faces: defaultdict[Segment, Counter[int]] = defaultdict(Counter)
        for face in one.distinct:
            if self._only_in.get(_person_id(face)) == one.video_id:
                faces[_nearest_segment(self._segments[one.video_id], face.t_s)][
                    _person_id(face)
                ] += 1
        parts = self._segments[one.video_id]
        return [SplitUnit(_segment_key(one.sha256, part), faces[part]) for part in parts]

    def _split_by_time_without_val(
        self, seen: Sequence[SplitRecording], new: Mapping[str, Split]
    ) -> None:
        """Without a val no detector trains: cut the new recordings in time then."""
        splits = {self._known.get(_video_key(one.sha256), "") for one in seen}
        if any(split != "train" for split in splits):
            self.splits_by_time = any(split.startswith(SPLIT_AT_TIME) for split in splits)
            return
        for one in seen:
            key = _video_key(one.sha256)
            times = sorted(face.t_s for face in one.distinct)
            cut_s = times[round((1 - self._share) * (len(times) - 1))] if times else 0.0
            if key in new and times and times[0] < cut_s - SPLIT_GAP_S:
                self._known[key] = self.new[key] = f"{SPLIT_AT_TIME}{round(cut_s * 1000)}"
                self.splits_by_time = True

    def _split_tracks(self, seen: Sequence[SplitRecording]) -> None:
        """Part the tracks of somebody whose only recording lies on one side."""
        for one in seen:
            faces: defaultdict[int, dict[str, int]] = defaultdict(Counter)
            for face in one.distinct:
                if (
                    self._only_in.get(_person_id(face)) == one.video_id
                    and face.track_id is not None
                ):
                    faces[_person_id(face)][self._track_keys[face.track_id]] += 1
            for person, tracks in faces.items():
                splits = {
                    self.split_at(one.video_id, face.t_s)
                    for face in one.distinct
                    if _person_id(face) == person
                }
                known = [self._known.get(key) for key in tracks]
                if len(tracks) > 1 and (len(splits) == 1 or any(known)):
                    units = [SplitUnit(key, {person: count}) for key, count in tracks.items()]
                    self._remember(assign_splits(units, self._known, self._share))

    def _remember(self, splits: Mapping[str, str]) -> None:
        self._known.update(splits)
        self.new.update(splits)


def background_split(sha256: str, known: Mapping[str, str], share: float) -> Split:
    """The side of a recording's frames without a face, if it has no face that is in the set."""
    split = known.get(_video_key(sha256))
    if split in ("train", "val"):
        return "train" if split == "train" else "val"
    return "val" if split is None and hash_fraction(_video_key(sha256)) < share else "train"


def _person_id(face: DatasetFace) -> int:
    return face.person_id or 0


def _spans(faces: Iterable[DatasetFace]) -> list[tuple[float, float]]:
    """The first and last moment of each track; a face without one is a track of its own."""
    spans: dict[tuple[str, int], tuple[float, float]] = {}
    for face in faces:
        key = ("face", face.id) if face.track_id is None else ("track", face.track_id)
        start_s, stop_s = spans.get(key, (face.t_s, face.t_s))
        spans[key] = (min(start_s, face.t_s), max(stop_s, face.t_s))
    return list(spans.values())


def _nearest_segment(parts: Sequence[Segment], t_s: float) -> Segment:
    return min(parts, key=lambda part: max(part.start_s - t_s, t_s - part.stop_s, 0.0))


def _video_key(sha256: str) -> str:
    return f"video {sha256}"


def _segment_key(sha256: str, segment: Segment) -> str:
    return f"stretch {sha256} {round(segment.start_s * 1000)}"
