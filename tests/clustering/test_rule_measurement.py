"""The numbers of a model that was never measured, from faces that are surely one person or two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from portraitd.clustering.rule_measurement import (
    MIN_DIFFERENT,
    MIN_SAME,
    SurePairs,
    derive_rules,
    find_sure_pairs,
    measure_rules,
)
from portraitd.faces import EncoderSpec
from portraitd.faces.factory import build_encoder
from portraitd.faces.models import model_registry
from portraitd.faces.models.cards import MOBILEFACENET, YUNET
from portraitd.model.errors import ConfigError
from portraitd.model.face import Embeddings
from support.pictures import MOBILEFACENET_FILE, YUNET_FILE

CARD = model_registry.require_rules(MOBILEFACENET)


def some_pairs(same: int = 200, different: int = 200) -> SurePairs:
    """Pairs as an angular model gives them: strangers at right angles, give or take."""
    random = np.random.default_rng(1)
    strangers = random.normal(0.05, 0.1, different)
    return SurePairs(np.sqrt(2 - 2 * random.uniform(0.6, 1.0, same)), np.sqrt(2 - 2 * strangers))


def test_pairs_are_neighbours_of_a_track_and_tracks_of_one_frame() -> None:
    """Whatever the lengths of the vectors; a track without faces has no distance."""
    embeddings = np.array([[2, 0], [0, 3], [0, 1], [5, 0], [0, -1]], np.float32)
    tracks = np.array([7, 9, 7, 9, 8])

    pairs = find_sure_pairs(embeddings, tracks, np.array([[7, 8], [7, 9], [8, 12]]))

    assert np.allclose([2**0.5, 2**0.5], pairs.same)
    # Of the pairs of faces of 7 and 8, one is at a right angle and one is opposite.
    assert np.allclose([3**0.5, 1.0], pairs.different)


def test_no_faces_give_no_pairs() -> None:
    """As in a new home."""
    nothing = np.empty(0, np.int64)
    pairs = find_sure_pairs(np.empty((0, 128), np.float32), nothing, nothing.reshape(0, 2))

    assert (0, 0) == (len(pairs.same), len(pairs.different))
    with pytest.raises(ConfigError, match=r"0 of 50 pairs of tracks in one frame, 0 of 100 pairs"):
        measure_rules(pairs)


def test_strangers_decide_the_distance() -> None:
    """Three deviations above their middle."""
    linkage = measure_rules(some_pairs(different=20_000)).grouping.agglomeration.max_distance

    assert abs((2 - 2 * 0.35) ** 0.5 - linkage) < 0.01


def test_a_mirror_in_the_picture_changes_little() -> None:
    """One person in fifty is twice in a frame."""
    pairs = some_pairs(different=1000)
    doubled = pairs.different.copy()
    doubled[::50] = 0.1

    plain, mirrored = (
        measure_rules(one).grouping.agglomeration.max_distance
        for one in (pairs, pairs._replace(different=doubled))
    )

    assert abs(plain - mirrored) < 0.03


@pytest.mark.parametrize(
    ("same", "different", "missing"),
    [
        (MIN_SAME - 1, MIN_DIFFERENT, r"50 of 50 .* 99 of 100 "),
        (MIN_SAME, MIN_DIFFERENT - 1, r"49 of 50 .* 100 of 100 "),
    ],
)
def test_too_few_pairs_are_refused_with_what_is_missing(
    same: int, different: int, missing: str
) -> None:
    """In one line that says what helps."""
    with pytest.raises(ConfigError, match=missing) as refused:
        measure_rules(some_pairs(same, different))

    assert "set grouping.linkage by hand" in str(refused.value)
    assert "\n" not in str(refused.value)
    measure_rules(some_pairs(MIN_SAME, MIN_DIFFERENT))


def test_a_model_that_does_not_tell_people_apart_is_refused() -> None:
    """Neighbours of a track are as far apart as strangers."""
    pairs = some_pairs()

    with pytest.raises(ConfigError, match="does not tell people apart"):
        measure_rules(pairs._replace(same=pairs.different))


def test_rules_follow_the_linkage_in_proportion() -> None:
    """For the linkage of the card they are those of the card, except for the quality."""
    own = CARD.grouping.agglomeration.max_distance
    same, half = derive_rules(own), derive_rules(own / 2)

    assert replace(same, quality=CARD.quality) == CARD
    for one, other in (
        (half.tracking.max_distance, CARD.tracking.max_distance),
        (half.grouping.dbscan.eps, CARD.grouping.dbscan.eps),
        (half.grouping.assignment.thin_distance, CARD.grouping.assignment.thin_distance),
        (half.near_duplicate, CARD.near_duplicate),
    ):
        assert abs(other / 2 - one) < 1e-9
    assert CARD.grouping.dbscan.min_samples == half.grouping.dbscan.min_samples
    assert 0.3 == derive_rules(own, eps=0.3).grouping.dbscan.eps


def embed_photos(media_dir: Path, models: Path) -> tuple[Embeddings, list[int]]:
    """Embed five photos of each person; return the vectors, and the person of each."""
    for card, file in ((YUNET, YUNET_FILE), (MOBILEFACENET, MOBILEFACENET_FILE)):
        model_registry.add_model(card, models, from_file=file)
    encoder = build_encoder(
        EncoderSpec(models, embedder="mobilefacenet", runtime="onnxruntime", small_faces="off")
    )
    vectors, people = [], []
    for person, folder in enumerate(sorted((media_dir / "stills" / "lfw").iterdir())):
        for path in sorted(folder.iterdir())[:5]:
            [faces] = encoder.encode([np.asarray(cv2.imread(str(path)), np.uint8)])
            if len(faces) == 1:
                vectors.append(faces[0].embedding)
                people.append(person)
    return np.stack(vectors), people


@pytest.mark.media
@pytest.mark.skipif(not MOBILEFACENET_FILE.exists(), reason="the models are not here")
def test_an_unknown_model_gets_about_the_numbers_that_were_measured(
    media_dir: Path, tmp_path: Path
) -> None:
    """MobileFaceNet, as if it had no card: photos of two people stand for a frame of both."""
    vectors, people = embed_photos(media_dir, tmp_path)
    tracks = np.array(people, np.int64)
    photos = np.arange(len(people))
    known = np.triu_indices(len(people), 1)
    strangers = np.stack(known, axis=1)[tracks[known[0]] != tracks[known[1]]]

    same, _ = find_sure_pairs(vectors, tracks, np.empty((0, 2), np.int64))
    _, different = find_sure_pairs(vectors, photos, strangers)
    found = measure_rules(SurePairs(same, different))

    assert len(same) > MIN_SAME and len(different) > 10_000
    linkage = found.grouping.agglomeration.max_distance
    assert abs(linkage / CARD.grouping.agglomeration.max_distance - 1) < 0.06
