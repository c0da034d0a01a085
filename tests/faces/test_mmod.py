"""MMOD in a modern runtime: dlib's boxes, without dlib's time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from portraitd.faces import dlib_comparison, graph_cache
from portraitd.faces.detectors import pyramid
from portraitd.faces.detectors.mmod import WINDOW, MmodDetector, select_best_windows
from portraitd.faces.detectors.tiled_search import shrink_image
from portraitd.faces.dlib_reference import CnnDetector
from portraitd.faces.models.weights import MMOD, find_weights
from portraitd.faces.runtime import OnnxRuntimeSession, Session, Tensor
from portraitd.faces.search_scales import fit_size
from portraitd.model.face import Box, Image
from support.pictures import SHARED, admiral, astronaut, resized


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """The network, built once for all tests here."""
    return OnnxRuntimeSession(graph_cache.ensure_mmod(tmp_path_factory.mktemp("models")))


class Counting:
    """A network that finds nothing and remembers what it was shown."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, pictures: Tensor) -> NDArray[np.float32]:
        self.shapes.append(pictures.shape)
        return np.zeros((len(pictures), 1, pictures.shape[1], pictures.shape[2]), np.float32)


def test_a_photo_gives_dlibs_box(session: Session) -> None:
    """The same pixels of the same levels are looked at."""
    picture = resized(astronaut(), 0.6)

    [[mine]] = MmodDetector(session, upsample=1).detect([picture], 0.0)
    [[dlibs]] = CnnDetector.load(find_weights(MMOD), upsample=1).detect([picture], 0.0)

    assert dlibs.box.iou(mine.box) > 0.97
    assert abs(dlibs.score - mine.score) < 0.02


@pytest.mark.parametrize("size_px", [120, 200, 260])
def test_a_drawn_face_gives_dlibs_box(session: Session, size_px: int) -> None:
    """At several scales, without upsampling."""
    picture = dlib_comparison.draw_face(size_px)

    [mine] = MmodDetector(session, upsample=0).detect([picture], 0.0)
    [dlibs] = CnnDetector.load(find_weights(MMOD), upsample=0).detect([picture], 0.0)

    assert [one.box for one in dlibs] == [one.box for one in mine]


def test_a_batch_is_its_frames_one_by_one(session: Session) -> None:
    """To the last bit."""
    detector = MmodDetector(session, upsample=0)
    frames = [astronaut(), admiral()[:512], astronaut()[::-1], astronaut() // 2]
    alone = [faces for frame in frames for faces in detector.detect([frame], 0.0)]

    assert alone == detector.detect(frames, 0.0)
    assert [] == detector.detect([], 0.0)


def test_levels_for_small_faces_are_not_searched() -> None:
    """A larger smallest face, less work; and each level that is left can find a face of it."""
    frame = np.zeros((394, 700, 3), np.uint8)
    searched = {}
    for smallest in (0, 40, 41, 100, 10_000):
        counting = Counting()
        MmodDetector(counting, upsample=1).detect([frame], smallest)
        searched[smallest] = [shape[2] for shape in counting.shapes]

    assert searched[0] == searched[40]
    assert searched[0][1:] == searched[41]
    assert len(searched[100]) == len(searched[0]) - 6
    assert [] == searched[10_000]


def test_large_levels_run_alone_and_small_ones_together() -> None:
    """What is in memory at once has a limit."""
    counting = Counting()
    MmodDetector(counting, upsample=1).detect([np.zeros((394, 700, 3), np.uint8)] * 3, 0.0)

    assert [1, 1, 1] == [shape[0] for shape in counting.shapes[:3]]
    assert 3 == counting.shapes[-1][0]


sizes = st.integers(1, 1500)


@given(sizes, sizes)
def test_levels_shrink_and_keep_dlibs_grid(width: int, height: int) -> None:
    """From the picture itself down to half a window, with room for the first cell."""
    levels = pyramid.list_levels(width, height)

    assert (min(width, height) >= 40) == bool(levels)
    for depth, level in enumerate(levels):
        columns, rows = level.cells
        assert depth == level.depth
        assert min(level.width, level.height) >= 40
        assert 8 <= level.left <= 15 and 8 <= level.top <= 15
        # The last cells are centred inside the level, near its end.
        assert -11 <= 8 * (columns - 1) + 14 - level.left - level.width < 29
        assert -11 <= 8 * (rows - 1) + 14 - level.top - level.height < 0
        # All pixels of the level that the last cell looks at, and a width that int8 can have.
        assert level.padded_size[0] % 8 == 0
        assert 8 * (columns - 1) + 29 <= level.padded_size[0]


@given(sizes, sizes)
def test_tiles_do_not_touch(width: int, height: int) -> None:
    """dlib leaves ten pixels between two levels, and eleven around all."""
    tiles = [
        Box(left, top, left + width_, top + height_)
        for (width_, height_), (left, top) in pyramid.lay_out_tiles(width, height)
    ]

    assert (11, 11, 11 + width, 11 + height) == tiles[0]
    for index, tile in enumerate(tiles):
        assert tile.left >= 11 and tile.right <= 11 + width and tile.top >= 11
        assert not any(tile.iou(other) for other in tiles[:index])
        if index and tile.left == 11 and tiles[index - 1].left == 11:
            assert 10 == tile.top - tiles[index - 1].bottom


boxes = st.builds(
    lambda left, top, side: Box(left, top, left + side, top + side),
    st.integers(-50, 300),
    st.integers(-50, 300),
    st.integers(1, 200),
)
windows = st.lists(
    st.tuples(st.floats(0.001, 2.0), boxes), max_size=12, unique_by=lambda window: window[0]
)


@given(windows, st.data())
def test_of_overlapping_windows_the_best_is_kept(
    found: list[tuple[float, Box]], data: st.DataObject
) -> None:
    """Whatever their order, and doing it twice changes nothing."""
    kept = select_best_windows(found)

    assert kept == select_best_windows(data.draw(st.permutations(found)))
    assert kept == select_best_windows(kept)
    assert all(
        window in kept
        or any(
            better[0] > window[0] and better[1].iou(window[1]) > WINDOW.max_iou for better in kept
        )
        for window in found
    )


def labelled_frames(clips: int | None) -> Iterator[Image]:
    """The first labelled frame of each clip, reduced further than for a search: dlib takes long."""
    # As OpenCV comes: a worker may read nothing but descriptors.
    os.environ.pop("OPENCV_FFMPEG_CAPTURE_OPTIONS", None)
    for truth in sorted((SHARED / "media" / "clips").glob("*.truth.json"))[:clips]:
        time_s = json.loads(truth.read_text())["faces"][0]["t"]
        video = cv2.VideoCapture(str(truth.with_name(truth.name.replace(".truth.json", ".mp4"))))
        video.set(cv2.CAP_PROP_POS_MSEC, time_s * 1000)
        frame = np.asarray(video.read()[1], np.uint8)
        yield shrink_image(frame, fit_size(frame.shape[1], frame.shape[0], 450, 320))


@pytest.mark.slow
@pytest.mark.media
@pytest.mark.skipif(not SHARED.exists(), reason="the labelled media are not here")
@pytest.mark.parametrize(
    ("clips", "faces"), [(2, 4), pytest.param(None, 10, marks=pytest.mark.exhaustive)]
)
def test_on_the_media_every_face_of_dlib_is_found(
    session: Session, clips: int | None, faces: int
) -> None:
    """Those that dlib scores above 0.2; half of the boxes are the very same."""
    reference, detector = CnnDetector.load(find_weights(MMOD), upsample=1), MmodDetector(session, 1)
    overlaps = []
    for frame in labelled_frames(clips):
        [mine], [dlibs] = detector.detect([frame], 0.0), reference.detect([frame], 0.0)
        overlaps += [
            max((face.box.iou(other.box) for other in mine), default=0.0)
            for face in dlibs
            if face.score > 0.2
        ]

    assert len(overlaps) > faces, overlaps
    assert min(overlaps) >= 0.5
    assert np.median(overlaps) == 1.0
