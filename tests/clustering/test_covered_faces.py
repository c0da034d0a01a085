"""Masks and sunglasses, drawn on labelled photos: a covered face joins, and founds no person."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.grouping import GroupingState
from portraitd.faces.encoder import Encoder
from portraitd.faces.factory import build_encoder
from portraitd.faces.interface import EncoderSpec
from portraitd.faces.models import model_registry
from portraitd.faces.models.cards import EMBEDDERS, MOBILEFACENET, YUNET
from portraitd.model.face import Face, Image
from portraitd.model.track import l2_normalised
from support.pictures import MOBILEFACENET_FILE, SHARED, YUNET_FILE, read

pytestmark = [
    pytest.mark.media,
    pytest.mark.skipif(not YUNET_FILE.exists(), reason="the models are not here"),
]

PHOTOS = SHARED / "media" / "stills" / "lfw"
PEOPLE = 12
CLEAN, COVERED = 3, 2
WHITE, BLACK = (250, 250, 250), (15, 15, 15)

Points = NDArray[np.float64]


class Seen(NamedTuple):
    """A face, and who it is."""

    face: Face
    who: str
    is_covered: bool


def draw_mask(image: Image, points: Points) -> Image:
    """Cover nose, mouth and chin."""
    left, right, _, mouth_left, mouth_right = points
    width = np.linalg.norm(right - left)
    across = (right - left) / width
    down = np.array([-across[1], across[0]])
    eyes, mouth = (left + right) / 2, (mouth_left + mouth_right) / 2
    height = float((mouth - eyes) @ down)
    upper = [(0.0, 0.42), (0.55, 0.5), (0.85, 0.55), (0.75, 1.15)]
    side = [eyes + across * x * width + down * y * height for x, y in upper]
    side.append(mouth + across * 0.35 * width + down * 0.62 * height)
    other = [point - 2 * across * float((point - eyes) @ across) for point in side[:0:-1]]
    covered = image.copy()
    cv2.fillPoly(covered, [np.round([*side, *other]).astype(np.int32)], WHITE, cv2.LINE_AA)
    return covered


def draw_sunglasses(image: Image, points: Points) -> Image:
    """Cover both eyes with dark ellipses."""
    left, right = points[:2]
    width = float(np.linalg.norm(right - left))
    angle = float(np.degrees(np.arctan2(*(right - left)[::-1])))
    covered = image.copy()
    size = (round(0.36 * width), round(0.27 * width))
    for x, y in (left, right):
        cv2.ellipse(covered, (int(x), int(y)), size, angle, 0, 360, BLACK, -1, cv2.LINE_AA)
    one, two = ((int(x), int(y)) for x, y in (left, right))
    cv2.line(covered, one, two, BLACK, max(2, int(0.06 * width)), cv2.LINE_AA)
    return covered


def find_largest(encoder: Encoder, image: Image) -> Face | None:
    [faces] = encoder.encode([image], are_photos=True)
    return max(faces, key=lambda face: face.box.width * face.box.height, default=None)


def see_people(encoder: Encoder) -> list[Seen]:
    """Return three faces of each person, two others with a mask, and one of those in sunglasses."""
    seen: list[Seen] = []
    for folder in sorted(PHOTOS.iterdir())[:PEOPLE]:
        for place, path in enumerate(sorted(folder.iterdir())[: CLEAN + COVERED]):
            picture = read(path)
            face = find_largest(encoder, picture)
            assert face is not None
            assert face.landmarks is not None
            if place < CLEAN:
                seen.append(Seen(face, folder.name, False))
                continue
            points = np.asarray(face.landmarks, np.float64)
            for draw in (draw_mask, draw_sunglasses)[: 2 if place == CLEAN else 1]:
                face = find_largest(encoder, draw(picture, points))
                if face is not None:
                    seen.append(Seen(face, folder.name, True))
    return seen


def group(seen: list[Seen], embedder: str) -> list[int]:
    """Return the person of each face, -1 for none; each is a photo of its own."""
    rules = model_registry.require_rules(EMBEDDERS[embedder])
    vectors = np.array([one.face.embedding for one in seen], np.float32)
    measures = [one.face.quality for one in seen]
    quality = rules.quality.measure(
        np.array([one.size_px for one in measures]),
        np.array([one.sharpness for one in measures]),
        np.array([one.frontal for one in measures]),
        np.array([one.confidence for one in measures]),
        vectors,
    )
    size = len(seen)
    tracks = TrackTable(
        l2_normalised(vectors, rules.vector_length),
        np.zeros(size),
        np.zeros(size, np.int64),
        np.empty((0, 2), np.int64),
    )
    faces, none = np.ones(size, np.int64), np.zeros(size, np.bool_)
    state = GroupingState.empty(vectors.shape[1]).update(
        tracks, quality, faces, none, rules.grouping
    )
    people = state.select_people(faces, rules.grouping)
    kept = state.keep_apart(people, tracks, faces, none, rules.grouping)
    return [int(one) for one in kept.groups]


@pytest.mark.parametrize("embedder", ["dlib", "mobilefacenet"])
def test_a_covered_face_joins_and_founds_no_person(embedder: str, tmp_path: Path) -> None:
    """No person is mixed, none consists of covered faces, and some covered faces are recognised."""
    model_registry.add_model(YUNET, tmp_path, from_file=YUNET_FILE)
    model_registry.add_model(MOBILEFACENET, tmp_path, from_file=MOBILEFACENET_FILE)
    encoder = build_encoder(EncoderSpec(tmp_path, embedder=embedder, detector="yunet"))
    seen = see_people(encoder)
    people = group(seen, embedder)

    members = {name: [one for one, at in zip(seen, people, strict=True) if at == name]
               for name in set(people) - {-1}}  # fmt: skip
    mixed = [Counter(one.who for one in some) for some in members.values()]
    assert [] == [some for some in mixed if len(some) > 1]
    assert [] == [some for some in members.values() if all(one.is_covered for one in some)]
    covered = [at >= 0 for one, at in zip(seen, people, strict=True) if one.is_covered]
    assert len(covered) > 2.5 * PEOPLE
    assert any(covered)
