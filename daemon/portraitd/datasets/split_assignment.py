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
from portraitd.datasets.split_units import Stretch, Unit, assigned, chance, stretches
from portraitd.store.dataset_store import SeenFace

CUT = "cut"
"""The side of a recording whose stretches have sides of their own."""

CUT_AT = "cut at "
"""The side of a recording that is cut at a moment: train before it, val from it on."""

GAP_S = 2.0
"""Before such a moment so much is left out."""


class SplitRecording(NamedTuple):
    """A recording: its content and its faces of people who are in the set, by time.

    Attributes:
        faces: All of them; what no track crosses is found from these.
        kept: Those that no other is nearly the same as.
    """

    video_id: int
    sha256: str
    faces: Sequence[SeenFace]
    kept: Sequence[SeenFace]


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
        self.cut_in_time = False
        self._sha256 = {one.video_id: one.sha256 for one in seen}
        self._stretches = {one.video_id: stretches(_spans(one.faces)) for one in seen}
        homes: defaultdict[int, set[int]] = defaultdict(set)
        for one in seen:
            for face in one.kept:
                homes[_person(face)].add(one.video_id)
        self._only_in = {person: next(iter(at)) for person, at in homes.items() if len(at) == 1}
        # A person's first face in a track names the track, in every home.
        self._track_keys: dict[int, str] = {}
        for one in seen:
            for face in one.faces:
                if face.track_id is not None:
                    key = f"track {face_stem(one.sha256, face)}"
                    self._track_keys.setdefault(face.track_id, key)
        self._decide(seen)

    def of_moment(self, video_id: int, t_s: float) -> Split | None:
        """The side of a frame; None if it lies between the sides."""
        sha256 = self._sha256[video_id]
        side = self._known.get(_video_key(sha256))
        if side == CUT:
            stretch = _nearest(self._stretches[video_id], t_s)
            side = self._known.get(_stretch_key(sha256, stretch))
        elif side is not None and side.startswith(CUT_AT):
            cut_s = int(side.removeprefix(CUT_AT)) / 1000
            side = "val" if t_s >= cut_s else "train" if t_s < cut_s - GAP_S else None
        return "train" if side == "train" else "val" if side == "val" else None

    def of_face(self, face: SeenFace) -> Split | None:
        """The side of a face in the folders of faces; None if it would leak."""
        side = self.of_moment(face.video_id, face.t_s)
        own = self._known.get(self._track_keys.get(face.track_id or 0, ""))
        if self._only_in.get(_person(face)) == face.video_id:
            return side if own is None else "train" if own == "train" else "val"
        whole = self._known.get(_video_key(self._sha256[face.video_id]), "")
        if (own is not None and own != side) or (whole.startswith(CUT) and side == "val"):
            return None
        return side

    def _decide(self, seen: Sequence[SplitRecording]) -> None:
        held: dict[Split, Counter[int]] = {"train": Counter(), "val": Counter()}
        only = set(self._only_in.values())
        pieces: list[Unit] = []
        wholes: list[Unit] = []
        cut: list[SplitRecording] = []
        for one in seen:
            key = _video_key(one.sha256)
            parts = self._stretches[one.video_id]
            if key not in self._known and one.video_id in only and self._share > 0:
                held_in = {_nearest(parts, face.t_s) for face in one.kept}
                if len(held_in) > 1:
                    self._remember({key: CUT})
            if self._known.get(key) == CUT:
                pieces += self._pieces(one)
                cut.append(one)
            else:
                wholes.append(Unit(key, Counter(map(_person, one.kept))))
        self._remember(assigned(pieces, self._known, self._share))
        for one in cut:
            for face in one.kept:
                side = self.of_moment(one.video_id, face.t_s)
                if side == "train" and _person(face) not in self._only_in:
                    held["train"][_person(face)] += 1
        new = assigned(wholes, self._known, self._share, held)
        self._remember(new)
        if wholes and not pieces and self._share > 0:
            self._cut_if_nothing_is_held_back(seen, new)
        self._part_tracks(seen)

    def _pieces(self, one: SplitRecording) -> list[Unit]:
        """The stretches of a recording, with the people who are seen nowhere else."""
        faces: defaultdict[Stretch, Counter[int]] = defaultdict(Counter)
        for face in one.kept:
            if self._only_in.get(_person(face)) == one.video_id:
                faces[_nearest(self._stretches[one.video_id], face.t_s)][_person(face)] += 1
        parts = self._stretches[one.video_id]
        return [Unit(_stretch_key(one.sha256, part), faces[part]) for part in parts]

    def _cut_if_nothing_is_held_back(
        self, seen: Sequence[SplitRecording], new: Mapping[str, Split]
    ) -> None:
        """Without a val no detector trains: cut the new recordings in time then."""
        sides = {self._known.get(_video_key(one.sha256), "") for one in seen}
        if any(side != "train" for side in sides):
            self.cut_in_time = any(side.startswith(CUT_AT) for side in sides)
            return
        for one in seen:
            key = _video_key(one.sha256)
            times = sorted(face.t_s for face in one.kept)
            cut_s = times[round((1 - self._share) * (len(times) - 1))] if times else 0.0
            if key in new and times and times[0] < cut_s - GAP_S:
                self._known[key] = self.new[key] = f"{CUT_AT}{round(cut_s * 1000)}"
                self.cut_in_time = True

    def _part_tracks(self, seen: Sequence[SplitRecording]) -> None:
        """Part the tracks of somebody whose only recording lies on one side."""
        for one in seen:
            faces: defaultdict[int, dict[str, int]] = defaultdict(Counter)
            for face in one.kept:
                if self._only_in.get(_person(face)) == one.video_id and face.track_id is not None:
                    faces[_person(face)][self._track_keys[face.track_id]] += 1
            for person, tracks in faces.items():
                sides = {
                    self.of_moment(one.video_id, face.t_s)
                    for face in one.kept
                    if _person(face) == person
                }
                known = [self._known.get(key) for key in tracks]
                if len(tracks) > 1 and (len(sides) == 1 or any(known)):
                    units = [Unit(key, {person: count}) for key, count in tracks.items()]
                    self._remember(assigned(units, self._known, self._share))

    def _remember(self, sides: Mapping[str, str]) -> None:
        self._known.update(sides)
        self.new.update(sides)


def background_side(sha256: str, known: Mapping[str, str], share: float) -> Split:
    """The side of a recording's frames without a face, if it has no face that is in the set."""
    side = known.get(_video_key(sha256))
    if side in ("train", "val"):
        return "train" if side == "train" else "val"
    return "val" if side is None and chance(_video_key(sha256)) < share else "train"


def _person(face: SeenFace) -> int:
    return face.person_id or 0


def _spans(faces: Iterable[SeenFace]) -> list[tuple[float, float]]:
    """The first and last moment of each track; a face without one is a track of its own."""
    spans: dict[tuple[str, int], tuple[float, float]] = {}
    for face in faces:
        key = ("face", face.id) if face.track_id is None else ("track", face.track_id)
        start_s, stop_s = spans.get(key, (face.t_s, face.t_s))
        spans[key] = (min(start_s, face.t_s), max(stop_s, face.t_s))
    return list(spans.values())


def _nearest(parts: Sequence[Stretch], t_s: float) -> Stretch:
    return min(parts, key=lambda part: max(part.start_s - t_s, t_s - part.stop_s, 0.0))


def _video_key(sha256: str) -> str:
    return f"video {sha256}"


def _stretch_key(sha256: str, stretch: Stretch) -> str:
    return f"stretch {sha256} {round(stretch.start_s * 1000)}"
