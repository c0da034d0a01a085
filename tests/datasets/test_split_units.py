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
    assign_folds,
)
from portraitd.datasets.split_units import (
    Segment,
    SplitUnit,
    assign_splits,
    find_segments,
    make_shares,
)
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
            1.0, 9.0, 100.0, 1.0, 1.0, None, 100 * video + track, person, False,
        )
        for number, (person, track, t_s) in enumerate(faces)
    ]  # fmt: skip
    return SplitRecording(video, f"sha {video}", found, found)


def moments(person: int, track: int, start_s: int, stop_s: int) -> list[tuple[int, int, float]]:
    return [(person, track, float(t)) for t in range(start_s, stop_s)]


@given(units, units, st.floats(0.05, 0.5))
def test_a_split_never_changes(first: list[SplitUnit], more: list[SplitUnit], share: float) -> None:
    """Only new units are assigned."""
    before = assign_splits(first, {}, make_shares(share, 0))
    later = [SplitUnit(f"later {unit.key}", unit.faces) for unit in more]

    new = assign_splits([*first, *later], before, make_shares(share, 0))

    assert {unit.key for unit in later} == new.keys()


@given(units, st.floats(0.05, 0.5))
def test_the_order_of_arrival_does_not_matter(many: list[SplitUnit], share: float) -> None:
    """This holds for units that arrive together."""
    assert assign_splits(many, {}, make_shares(share, 0)) == assign_splits(
        many[::-1], {}, make_shares(share, 0)
    )


@given(units, st.floats(0.05, 0.5))
def test_every_person_is_in_train(many: list[SplitUnit], share: float) -> None:
    """A person in val only could not be learnt."""
    splits = assign_splits(many, {}, make_shares(share, 0))
    trained = {person for unit in many if splits[unit.key] == "train" for person in unit.faces}

    assert {person for unit in many for person in unit.faces} == trained


@given(st.lists(st.integers(1, 30), min_size=2, max_size=40), st.floats(0.1, 0.4))
def test_a_person_with_two_units_is_in_both_splits(counts: list[int], share: float) -> None:
    """Val has at most half of the faces, unless two units leave no choice."""
    many = [SplitUnit(f"unit {number}", {1: count}) for number, count in enumerate(counts)]
    splits = assign_splits(many, {}, make_shares(share, 0))
    held = Counter(splits.values())

    assert held["train"] >= 1
    assert held["val"] >= 1
    val = sum(unit.faces[1] for unit in many if splits[unit.key] == "val")
    assert val <= max(sum(counts) / 2, min(counts))


def test_val_has_the_configured_share() -> None:
    """This holds for many small recordings."""
    many = [SplitUnit(f"photo {number}", {number % 10: 1}) for number in range(1000)]

    assert 200 == Counter(assign_splits(many, {}, make_shares(0.2, 0)).values())["val"]


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


# --- Nearest to the wanted share of every person.


def count_faces(many: list[SplitUnit], splits: dict[str, str]) -> dict[int, Counter[str]]:
    """Return the faces of each person by split."""
    found: dict[int, Counter[str]] = {}
    for unit in many:
        for person, faces in unit.faces.items():
            found.setdefault(person, Counter())[splits[unit.key]] += faces
    return found


@given(units, st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_a_star_does_not_follow_a_cameo(cameos: list[SplitUnit], others: list[int]) -> None:
    """Most of the star's faces stay in train, whoever is beside the star in the film."""
    star = 7
    film = SplitUnit("film", {star: 110} | {person: 1 for unit in cameos for person in unit.faces})
    alone = [SplitUnit(f"other {number}", {star: faces}) for number, faces in enumerate(others)]
    many = [film, *alone, *cameos]
    splits = assign_splits(many, {}, make_shares(0.2, 0))

    held = count_faces(many, splits)[star]
    assert held["val"] <= held["train"]
    assert held["val"] > 0


small_people = st.dictionaries(st.integers(1, 6), st.integers(1, 4), min_size=1, max_size=3)


@given(st.lists(small_people, min_size=1, max_size=7), st.floats(0.05, 0.5))
def test_no_other_place_of_a_unit_is_better(homes: list[dict[int, int]], share: float) -> None:
    """In the other split, each unit would leave people missing, or farther from their share."""
    many = [SplitUnit(f"unit {number}", faces) for number, faces in enumerate(homes)]
    splits = assign_splits(many, {}, make_shares(share, 0))
    places = Counter(person for unit in many for person in unit.faces)

    def rate(splits: dict[str, str]) -> tuple[int, int, float]:
        counts = count_faces(many, splits)
        return (
            sum(not one["train"] for one in counts.values()),
            sum(not counts[one]["val"] for one, count in places.items() if count > 1),
            round(sum((one["val"] / one.total() - share) ** 2 for one in counts.values()), 6),
        )

    for unit in many:
        other = "val" if splits[unit.key] == "train" else "train"
        assert rate(splits) <= rate(splits | {unit.key: other})


def test_test_gets_its_share() -> None:
    """A person in three recordings or more is in all three splits."""
    many = [SplitUnit(f"photo {number}", {number % 10: 1}) for number in range(1000)]
    few = [SplitUnit(f"few {number}", {20: 5}) for number in range(3)]
    splits = assign_splits([*many, *few], {}, make_shares(0.2, 0.1))

    assert Counter(train=701, val=201, test=101) == Counter(splits.values())
    assert {"train", "val", "test"} == {splits[unit.key] for unit in few}


def test_a_moved_recording_is_in_its_split_as_a_whole() -> None:
    """Also one that was divided, and its tracks with it."""
    many = [(1, track, 10.0 * track + t) for track in range(8) for t in range(5)]
    divided = seen(1, *many)
    before = SplitAssignment([divided], {}, 0.25)
    now = SplitAssignment([divided], before.new, 0.25, moved={"video sha 1": "test"})

    assert {"test"} == {now.split_of(face) for face in divided.faces}
    assert {"test"} == {now.split_at(1, face.t_s) for face in divided.faces}
    assert not now.new


def test_people_of_divided_recordings_only_are_in_both_splits() -> None:
    """Each film has a person of its own, so each is divided; the star is in all of them."""
    films = [
        seen(
            film,
            *((10 + film, track, 10.0 * track) for track in range(6)),
            *((1, 20 + track, 100 + 10.0 * track) for track in range(10)),
        )
        for film in (1, 2)
    ]
    splits = SplitAssignment(films, {}, 0.2)
    star = [splits.split_of(face) for film in films for face in film.faces if face.person_id == 1]

    assert Counter(train=16, val=4) == Counter(star)


def test_a_recording_that_was_divided_by_time_is_not_assigned_again() -> None:
    """Its stored split would have two values."""
    shot = seen(1, *moments(1, 1, 0, 40))
    first = SplitAssignment([shot], {}, 0.25)
    more = SplitAssignment([shot, seen(2, *moments(1, 1, 0, 9))], first.new, 0.25)

    assert not more.new.keys() & first.new.keys()
    assert more.splits_by_time


# --- Folds.


def test_every_recording_is_in_one_fold() -> None:
    """Test is in none; a fold stays when more recordings come."""
    many = [seen(number, *moments(number % 3, 1, 0, 4)) for number in range(1, 16)]
    splits = SplitAssignment(many, {}, 0.2, moved={"video sha 15": "test"})
    first, new = assign_folds(many[:9], {}, splits, 3)
    folds, later = assign_folds(many, new, splits, 3)

    assert set(range(1, 15)) == folds.keys()
    assert first.items() <= folds.items()
    assert not new.keys() & later.keys()
    assert {1, 2, 3} == set(folds.values())
    assert [3, 3, 3] == list(Counter(first.values()).values())
    assert ({}, {}) == assign_folds(many, {}, splits, 0)
