"""Small faces in large pictures: found once each, wherever the edges of the tiles are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.faces import graph_cache
from portraitd.faces.detectors.mmod import MmodDetector
from portraitd.faces.detectors.tiled_search import (
    OVERLAP_PX,
    list_tiles,
    merge_detections,
    search_scales,
)
from portraitd.faces.detectors.yunet import YunetDetector
from portraitd.faces.factory import build_encoder
from portraitd.faces.interface import Detector, EncoderSpec
from portraitd.faces.models import model_registry
from portraitd.faces.runtime import OnnxRuntimeSession
from portraitd.faces.search_scales import list_scales
from portraitd.model.face import Box, Detection, Image
from support.pictures import YUNET_FILE, admiral, astronaut

Picture = tuple[Image, list[Box]]


def with_faces(width: int, height: int, faces_px: Sequence[int]) -> Picture:
    """Return a picture with faces of these widths, row by row, and their boxes."""
    picture = np.full((height, width, 3), 90, np.uint8)
    boxes: list[Box] = []
    x = y = row_px = 0
    for number, side in enumerate(faces_px):
        # The photograph around the face, and the square that the detectors report in it.
        photograph, (left, top, of) = (
            (astronaut()[20:250, 110:340], (67, 57, 95))
            if number % 2 == 0
            else (admiral()[50:390, 90:430], (84, 76, 160))
        )
        times = side / of
        size = (round(photograph.shape[1] * times), round(photograph.shape[0] * times))
        part = cv2.resize(photograph, size, interpolation=cv2.INTER_AREA)
        if x + size[0] > width:
            x, y, row_px = 0, y + row_px, 0
        picture[y : y + size[1], x : x + size[0]] = part
        boxes.append(
            Box(
                round(x + left * times),
                round(y + top * times),
                round(x + (left + of) * times),
                round(y + (top + of) * times),
            )
        )
        x, row_px = x + size[0] + 11, max(row_px, size[1])
    return picture, boxes


def assert_found_once(expected: Sequence[Box], found: Sequence[Detection]) -> None:
    """Each box by one detection, and nothing else."""
    hits = [sum(one.box.iou(box) > 0.4 for one in found) for box in expected]
    assert [1] * len(expected) == hits
    assert len(expected) == len(found)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both networks, built once for all tests here."""
    folder = tmp_path_factory.mktemp("models")
    if YUNET_FILE.exists():
        model_registry.add_model(model_registry.YUNET, folder, from_file=YUNET_FILE)
    return folder


@pytest.fixture(scope="module")
def mmod(models: Path) -> Detector:
    """MMOD, which doubles its pictures."""
    return MmodDetector(OnnxRuntimeSession(graph_cache.ensure_mmod(models)), 1)


@pytest.fixture(scope="module")
def yunet(models: Path) -> Detector:
    """YuNet, where its model is."""
    if not YUNET_FILE.exists():
        pytest.skip("the model is not here")
    return YunetDetector(OnnxRuntimeSession(graph_cache.ensure_yunet(models)))


@pytest.mark.media
def test_yunet_finds_faces_of_24_px_in_a_photo_of_12_megapixels(yunet: Detector) -> None:
    """And large ones in the same picture; its reduced copy alone shows only those."""
    picture, boxes = with_faces(4000, 3000, [24, 24, 32, 32, 48, 64, 160, 240, 420, 700])
    settings = EncoderSpec(Path())
    scales = list_scales(4000, 3000, settings, yunet.limits, is_photo=True)

    found = search_scales(yunet, picture, scales, 24, yunet.limits.tile_px)
    reduced = search_scales(yunet, picture, scales[-1:], 24, yunet.limits.tile_px)

    assert_found_once(boxes, found)
    assert len(reduced) < len(found)


@pytest.mark.media
def test_yunet_finds_faces_of_24_px_in_4k_video(yunet: Detector) -> None:
    """In a copy that grows with the frame."""
    picture, boxes = with_faces(3840, 2160, [24, 26, 30, 36, 80, 120, 200, 400])
    scales = list_scales(3840, 2160, EncoderSpec(Path()), yunet.limits, is_photo=False)

    assert_found_once(boxes, search_scales(yunet, picture, scales, 24, yunet.limits.tile_px))


def test_mmod_finds_faces_of_40_px_in_a_photo(mmod: Detector) -> None:
    """With every size above that, whatever tile they are in."""
    picture, boxes = with_faces(1600, 1000, [42, 44, 60, 80, 130, 180, 250])
    scales = list_scales(1600, 1000, EncoderSpec(Path()), mmod.limits, is_photo=True)

    assert_found_once(boxes, search_scales(mmod, picture, scales, 24, mmod.limits.tile_px))


@pytest.mark.parametrize("offset", (0, 30, 60, 96))
def test_a_face_between_two_tiles_is_found_once(mmod: Detector, offset: int) -> None:
    """Not cut, and not twice."""
    face = astronaut()[30:230, 130:330]
    picture = np.full((260, 700, 3), 90, np.uint8)
    # Tiles of 400 px: the second begins at 300, the first ends at 400.
    picture[20:220, 200 + offset : 400 + offset] = face
    left = 200 + offset + 47

    found = search_scales(mmod, picture, [1.0], 40, 400)

    assert_found_once([Box(left, 67, left + 95, 162)], found)


def test_photos_and_frames_are_searched_as_their_kind_asks(models: Path) -> None:
    """A frame of a video is searched in a smaller copy than a photo of the same size."""
    encoder = build_encoder(EncoderSpec(models, detector="mmod", runtime="onnxruntime"))
    picture, _ = with_faces(1600, 1200, [48, 48])

    [of_photo], [of_video] = encoder.encode([picture], are_photos=True), encoder.encode([picture])

    assert (2, 0) == (len(of_photo), len(of_video))


sides = st.integers(1, 9000)


@given(sides, sides, st.sampled_from([512, 1024, 2048]))
def test_tiles_cover_a_picture_and_overlap(width: int, height: int, tile_px: int) -> None:
    """All have one size, so that a network sees few shapes."""
    tiles = list_tiles(width, height, tile_px)

    assert 1 == len({(tile.width, tile.height) for tile in tiles})
    for place, length, total in ((0, 2, width), (1, 3, height)):
        spans = sorted({(tile[place], tile[place] + tile[length]) for tile in tiles})
        assert (0, total) == (spans[0][0], spans[-1][1])
        assert all(stop - start <= tile_px for start, stop in spans)
        assert all(
            before[1] - after[0] >= OVERLAP_PX - 1 for before, after in itertools.pairwise(spans)
        )


boxes = st.builds(
    lambda left, top, side: Box(left, top, left + side, top + side),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(1, 200),
)
detections = st.lists(
    st.builds(lambda score, box: Detection(box, score, None), st.floats(0.1, 2.0), boxes),
    max_size=12,
    unique_by=lambda one: one.score,
)


@given(detections, st.data())
def test_of_several_boxes_of_a_face_the_best_is_kept(
    found: list[Detection], data: st.DataObject
) -> None:
    """Whatever copy or tile they come from."""
    kept = merge_detections(found)

    assert kept == merge_detections(data.draw(st.permutations(found)))
    assert kept == merge_detections(kept)
    assert {one.score for one in kept[:1]} == {max((one.score for one in found), default=0.0)} - {0}
