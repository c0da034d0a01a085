"""People whom the model cannot tell apart are kept apart; people it can tell apart are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.grouping import GroupingState
from portraitd.clustering.tight_neighbourhoods import KeptApart
from support.embedding_rules import DLIB_RULES

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

RULE = DLIB_RULES.grouping
NO_RULE = replace(RULE, tightness=None)


def ball(seed: int, pictures: int, people: int, *, near: float = 0.48) -> tuple[Floats, Rows]:
    """Pictures of many people, of whom all pairs are about as far apart; and who is on each."""
    random = np.random.default_rng(seed)
    who = np.arange(pictures) % people
    # A stranger is hardly farther than another picture of the same person.
    means = random.normal(0, 1, (people, 128))
    own = random.normal(0, 1, (pictures, 128))
    vectors = 0.6 * means[who] + 0.8 * own
    return vectors * near / np.sqrt(2 * 128) + _direction(seed), who


def one_person(seed: int, pictures: int) -> Floats:
    """One person's pictures: some are near twins, and they differ in few directions."""
    random = np.random.default_rng(seed)
    directions = np.linalg.qr(random.normal(0, 1, (128, 3)))[0].T
    noise = random.normal(0, 0.005, (pictures, 128))
    return _direction(seed) + random.uniform(-0.2, 0.2, (pictures, 3)) @ directions + noise


def _direction(seed: int) -> Floats:
    direction = np.random.default_rng(seed + 1).normal(0, 1, 128)
    return 1.3 * direction / np.linalg.norm(direction)


def table(vectors: Floats, pinned: Rows | None = None) -> TrackTable:
    size = len(vectors)
    return TrackTable(
        vectors.astype(np.float32),
        np.zeros(size),
        np.zeros(size, np.int64) if pinned is None else pinned,
        np.empty((0, 2), np.int64),
    )


def group(
    vectors: Floats,
    *,
    kept: NDArray[np.bool_] | None = None,
    pinned: Rows | None = None,
    state: GroupingState | None = None,
    quality: Floats | None = None,
) -> tuple[Rows, KeptApart, GroupingState]:
    """Return the people before and after, and the state."""
    size = len(vectors)
    faces = np.ones(size, np.int64)
    tracks = table(vectors, pinned)
    excluded = np.zeros(size, np.bool_)
    quality = np.ones(size) if quality is None else quality
    state = state or GroupingState.empty(128)
    state = state.update(tracks, quality, faces, excluded, RULE)
    people = state.select_people(faces, RULE)
    return (
        people,
        state.keep_apart(people, tracks, faces, excluded if kept is None else kept, RULE),
        state,
    )


def mixes(groups: Rows, who: Rows) -> bool:
    return any(len(np.unique(who[groups == one])) > 1 for one in np.unique(groups[groups >= 0]))


@given(st.integers(0, 2**31), st.sampled_from([(16, 13), (30, 25), (8, 7)]))
def test_pictures_of_many_people_within_one_threshold_mix_nobody(
    seed: int, counts: tuple[int, int]
) -> None:
    """Without the rule every such set has mixed people."""
    vectors, who = ball(seed, *counts)
    people, apart, _ = group(vectors)
    assert mixes(people, who)
    assert not mixes(apart.groups, who)
    assert apart.indistinct[people >= 0].all()


@given(st.integers(0, 2**31), st.integers(8, 40))
def test_one_person_with_a_few_near_pictures_stays_whole(seed: int, pictures: int) -> None:
    """Some near twins among far pictures are what one person looks like."""
    people, apart, _ = group(one_person(seed, pictures))
    assert len(np.unique(people)) == 1
    assert apart.groups.tolist() == people.tolist()
    assert not apart.indistinct.any()


def test_near_twins_in_a_flat_neighbourhood_stay_together() -> None:
    """Only they keep a person."""
    vectors, _ = ball(3, 16, 13)
    twin = vectors[:1] + 0.002
    _, apart, _ = group(np.concatenate([vectors, twin]))
    assert apart.groups[0] == apart.groups[16] == 0
    assert np.unique(apart.groups).tolist() == [-1, 0]


def test_a_ball_beside_other_people_is_kept_apart_and_the_others_are_not() -> None:
    """The others stay as they were."""
    vectors, who = ball(5, 16, 13)
    others = np.concatenate([one_person(100 + one, 12) for one in range(4)])
    people, apart, _ = group(np.concatenate([vectors, others]))
    assert mixes(people[:16], who)
    assert not mixes(apart.groups[:16], who)
    assert apart.groups[16:].tolist() == people[16:].tolist()
    assert not apart.indistinct[16:].any()


def test_what_a_user_named_or_pinned_is_never_split() -> None:
    """Either is enough for the whole group."""
    vectors, _ = ball(7, 16, 13)
    people, apart, _ = group(vectors)
    largest = np.bincount(people[people >= 0]).argmax()
    row = np.flatnonzero(people == largest)[-1:]
    assert (apart.groups[people == largest] == -1).any()

    kept = np.isin(np.arange(16), row)
    _, named, _ = group(vectors, kept=kept)
    assert (named.groups[people == largest] == largest).all()
    assert not named.indistinct[people == largest].any()

    before, pinned, _ = group(vectors, pinned=np.where(kept, 9, 0))
    same = before == before[row]
    assert (pinned.groups[same] == before[row]).all()
    assert not pinned.indistinct[same].any()


def test_poor_pictures_of_a_split_group_get_no_person() -> None:
    """There is nobody left whom they belong to."""
    vectors, _ = ball(11, 16, 13)
    middle = vectors.mean(axis=0, keepdims=True)
    people, apart, _ = group(np.concatenate([vectors, middle]), quality=np.append(np.ones(16), 0.1))
    assert people[16] >= 0
    assert apart.groups[16] == -1
    assert apart.indistinct[16]


def test_a_model_without_the_rule_keeps_its_groups() -> None:
    """Only a model whose card has the rule splits any."""
    vectors, _ = ball(13, 16, 13)
    people, _, state = group(vectors)
    faces, nobody = np.ones(16, np.int64), np.zeros(16, np.bool_)
    kept = state.keep_apart(people, table(vectors), faces, nobody, NO_RULE)
    assert kept.groups.tolist() == people.tolist()
    assert not kept.indistinct.any()


@given(
    st.integers(0, 2**31),
    st.lists(st.sampled_from(["ball", "person"]), min_size=1, max_size=4),
    st.lists(st.integers(1, 70), max_size=4),
)
def test_many_groupings_keep_apart_whom_one_keeps_apart(
    seed: int, parts: list[str], sizes: list[int]
) -> None:
    """What was kept apart before has no effect."""
    vectors = np.concatenate(
        [
            ball(seed % 1000 + at, 16, 13)[0] if part == "ball" else one_person(seed + at, 14)
            for at, part in enumerate(parts)
        ]
    )
    vectors = vectors[np.random.default_rng(seed).permutation(len(vectors))]
    state: GroupingState | None = None
    for size in sorted({*(min(one, len(vectors)) for one in sizes), len(vectors)}):
        _, apart, state = group(vectors[:size], state=state)
    _, fresh, _ = group(vectors)
    assert apart.indistinct.tolist() == fresh.indistinct.tolist()
    pairs = [(one == one[:, None]).tolist() for one in (apart.groups, fresh.groups)]
    assert pairs[0] == pairs[1]
    assert (apart.groups >= 0).tolist() == (fresh.groups >= 0).tolist()
