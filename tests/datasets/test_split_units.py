"""Train and val: no leaks, stable assignments, and every person in both splits if possible."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from portraitd.datasets.split_assignment import (
    SPLIT_BY_SEGMENT,
    SPLIT_GAP_S,
    SplitAssignment,
    SplitRecording,
)
from portraitd.datasets.split_units import Segment, SplitUnit, assign_splits, find_segments
from portraitd.model.face import Box
from portraitd.store.dataset_store import DatasetFace

people = st.dictionaries(st.integers(1, 6), st.integers(1, 20), min_size=1, max_size=3)
units = st.lists(people, min_size=1, max_size=30).map(
    lambda many: [SplitUnit(f"unit {number}", faces) for number, faces in enumerate(many)]
)


def seen(video: int, *faces: tuple[int, int, float]) -> SplitRecording:
    """Return a recording with faces of (person, track, time)."""
    found = [
        DatasetFace(
            1000 * video + number, video, t_s, Box(10 * person, 0, 10 * person + 9, 9),
            1.0, 9.0, None, 100 * video + track, person, False,
        )
        for number, (person, track, t_s) in enumerate(faces)
    ]  # fmt: skip
    return SplitRecording(video, f"sha {video}", found, found)


def moments(person: int, track: int, start_s: int, stop_s: int) -> list[tuple[int, int, float]]:
    return [(person, track, float(t)) for t in range(start_s, stop_s)]


@given(units, units, st.floats(0.05, 0.5))
def test_a_split_never_changes(first: list[SplitUnit], more: list[SplitUnit], share: float) -> None:
    """Only new units are assigned."""
    before = assign_splits(first, {}, share)
    later = [SplitUnit(f"later {unit.key}", unit.faces) for unit in more]

    new = assign_splits([*first, *later], before, share)

    assert {unit.key for unit in later} == new.keys()


@given(units, st.floats(0.05, 0.5))
def test_the_order_of_arrival_does_not_matter(many: list[SplitUnit], share: float) -> None:
    """This holds for units that arrive together."""
    assert assign_splits(many, {}, share) == assign_splits(many[::-1], {}, share)


@given(units, st.floats(0.05, 0.5))
def test_every_person_is_in_train(many: list[SplitUnit], share: float) -> None:
    """A person in val only could not be learnt."""
    splits = assign_splits(many, {}, share)
    trained = {person for unit in many if splits[unit.key] == "train" for person in unit.faces}

    assert {person for unit in many for person in unit.faces} == trained


@given(st.lists(st.integers(1, 30), min_size=2, max_size=40), st.floats(0.1, 0.4))
def test_a_person_with_two_units_is_in_both_splits(counts: list[int], share: float) -> None:
    """Val has at most half of the faces, unless two units leave no choice."""
    many = [SplitUnit(f"unit {number}", {1: count}) for number, count in enumerate(counts)]
    splits = assign_splits(many, {}, share)
    held = Counter(splits.values())

    assert held["train"] >= 1
    assert held["val"] >= 1
    val = sum(unit.faces[1] for unit in many if splits[unit.key] == "val")
    assert val <= max(sum(counts) / 2, min(counts))


def test_val_has_the_configured_share() -> None:
    """This holds for many small recordings."""
    many = [SplitUnit(f"photo {number}", {number % 10: 1}) for number in range(1000)]

    assert 200 == Counter(assign_splits(many, {}, 0.2).values())["val"]


def test_segments_end_where_no_track_crosses() -> None:
    """Overlapping tracks stay together."""
    assert [Segment(0, 5), Segment(6, 9)] == find_segments([(6, 9), (0, 3), (2, 5)])


def test_a_recording_of_people_seen_elsewhere_is_not_divided() -> None:
    """All its times have the same split."""
    both = [seen(video, *moments(1, 1, 0, 5), *moments(2, 2, 8, 12)) for video in range(6)]
    splits = SplitAssignment(both, {}, 0.2)

    for video in range(6):
        assert 1 == len({splits.split_at(video, float(t)) for t in range(12)})
    assert {"train", "val"} == {splits.split_at(video, 0.0) for video in range(6)}
    assert not splits.splits_by_time


def test_a_person_in_one_recording_is_divided_by_tracks() -> None:
    """No track is in both splits."""
    many = [(1, track, 10.0 * track + t) for track in range(8) for t in range(5)]
    splits = SplitAssignment([seen(1, *many)], {}, 0.25)
    faces = seen(1, *many).faces
    by_track = {face.track_id: splits.split_of(face) for face in faces}

    assert SPLIT_BY_SEGMENT == splits.new["video sha 1"]
    assert Counter(train=6, val=2) == Counter(by_track.values())
    assert all(by_track[face.track_id] == splits.split_of(face) for face in faces)
    assert all(splits.split_at(1, face.t_s) == splits.split_of(face) for face in faces)


def test_a_divided_recording_does_not_leak_other_people() -> None:
    """A person who also appears elsewhere has no face in its val segments."""
    alone = [(1, track, 10.0 * track) for track in range(8)]
    guest = [(2, 50 + track, 10.0 * track) for track in range(8)]
    cut, other = seen(1, *alone, *guest), [seen(n, *moments(2, 1, 0, 4)) for n in (2, 3, 4)]
    splits = SplitAssignment([cut, *other], {}, 0.25)
    guest_sides = {splits.split_of(face) for face in cut.faces if face.person_id == 2}

    assert {None, "train"} == guest_sides
    assert "val" in {splits.split_at(number, 0.0) for number in (2, 3, 4)}


def test_stored_splits_stay_when_more_arrives() -> None:
    """This includes a person who now also appears elsewhere."""
    many = [(1, track, 10.0 * track + t) for track in range(8) for t in range(5)]
    first = seen(1, *many)
    before = SplitAssignment([first], {}, 0.25)
    remembered = dict(before.new)
    now = SplitAssignment(
        [first, *(seen(n, *moments(1, 1, 0, 9)) for n in (2, 3, 4))], remembered, 0.25
    )

    for face in first.faces:
        assert now.split_at(1, face.t_s) == before.split_at(1, face.t_s)
        assert now.split_of(face) in (before.split_of(face), None)
    assert not now.new.keys() & remembered.keys()


def test_a_single_shot_is_divided_by_time() -> None:
    """A set without val does not load; the report warns about the leak."""
    shot = seen(1, *moments(1, 1, 0, 40))
    splits = SplitAssignment([shot], {}, 0.25)
    at = [splits.split_at(1, float(t)) for t in range(40)]

    assert splits.splits_by_time
    assert ["train", None, "val"] == list(dict.fromkeys(at))
    assert SPLIT_GAP_S == at.count(None)
    assert SplitAssignment([shot], splits.new, 0.25).splits_by_time
