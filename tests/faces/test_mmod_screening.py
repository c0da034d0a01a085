"""MMOD in int8 looks first; what it reports is what float32 alone would report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from portraitd.faces import graph_cache
from portraitd.faces.detector_comparison import compare_detectors, draw_crowds
from portraitd.faces.detectors.mmod import MmodDetector
from portraitd.faces.detectors.mmod_screening import MIN_SCORE, ScreenedSession
from portraitd.faces.detectors.pyramid import count_cells
from portraitd.faces.dlib_comparison import draw_face
from portraitd.faces.runtime import OnnxRuntimeSession, Session, Tensor
from support.pictures import admiral, astronaut, resized


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both graphs are built once for all tests here."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def exact(models_dir: Path) -> Session:
    """MMOD in float32."""
    return OnnxRuntimeSession(graph_cache.ensure_mmod(models_dir))


@pytest.fixture(scope="module")
def int8(models_dir: Path) -> Session:
    """MMOD in int8."""
    return OnnxRuntimeSession(graph_cache.ensure_mmod_int8(models_dir))


class Recorder:
    """Runs a network, and remembers the shapes of the pictures."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.shapes: list[tuple[int, ...]] = []

    def run(self, pictures: Tensor) -> NDArray[np.float32]:
        self.shapes.append(pictures.shape)
        return self._session.run(pictures)


class Suspicion:
    """Suspects given cells, (row, column), of being a face."""

    def __init__(self, cells: Sequence[tuple[int, int]]) -> None:
        self._cells = cells

    def run(self, pictures: Tensor) -> NDArray[np.float32]:
        rows, columns = count_cells(pictures.shape[1]), count_cells(pictures.shape[2])
        scores = np.full((len(pictures), 1, rows, columns), -1.0, np.float32)
        for row, column in self._cells:
            scores[:, 0, row % rows, column % columns] = 0.1
        return scores


def test_photos_give_the_boxes_and_scores_of_float32(exact: Session, int8: Session) -> None:
    """To the last bit, and with fewer pixels in float32."""
    photos = [astronaut(), admiral()[:512], resized(astronaut(), 0.4), astronaut()[:, ::-1] // 3]
    counted = Recorder(exact)
    whole, screened = Recorder(exact), ScreenedSession(int8, counted)
    found = 0

    for photo in photos:
        [expected] = MmodDetector(whole, 0).detect([photo], 0.0)
        assert [expected] == MmodDetector(screened, 0).detect([photo], 0.0)
        found += len(expected)

    assert found >= 3
    again, all_px = (sum(h * w for _, h, w, _ in one.shapes) for one in (counted, whole))
    assert again < 0.4 * all_px


def test_a_screened_batch_is_its_frames_one_by_one(exact: Session, int8: Session) -> None:
    """What one frame shows changes nothing for another."""
    detector = MmodDetector(ScreenedSession(int8, exact), upsample=0)
    frames = [resized(astronaut(), 0.5), resized(admiral()[:512, :512], 0.5)]
    alone = [faces for frame in frames for faces in detector.detect([frame], 0.0)]

    assert alone == detector.detect(frames, 0.0)


def test_drawn_faces_of_all_qualities_are_those_of_float32(exact: Session, int8: Session) -> None:
    """This is what a machine is asked before int8 is used on it."""
    agreement = compare_detectors(
        MmodDetector(exact, 0), MmodDetector(ScreenedSession(int8, exact), 0), draw_crowds(3)
    )

    assert agreement.faces >= 6
    assert agreement.is_close


cell = st.tuples(st.integers(0, 99), st.integers(0, 99))


@settings(max_examples=12)
@given(st.lists(cell, min_size=1, max_size=4), st.sampled_from([(250, 312), (197, 240)]))
def test_suspected_cells_get_the_score_of_the_whole_picture(
    exact: Session, cells: list[tuple[int, int]], size: tuple[int, int]
) -> None:
    """Wherever they are, also at an edge, where the network pads."""
    pictures = np.random.default_rng(1).integers(0, 256, (1, *size, 3), np.uint8)
    rows, columns = count_cells(size[0]), count_cells(size[1])
    expected = exact.run(pictures)[0, 0]

    scores = ScreenedSession(Suspicion(cells), exact).run(pictures)[0, 0]

    for row, column in ((row % rows, column % columns) for row, column in cells):
        assert scores[row, column] == pytest.approx(expected[row, column], abs=1e-5)


def test_a_picture_without_suspects_is_not_looked_at_again(exact: Session) -> None:
    """That is what makes it fast."""
    counted = Recorder(exact)

    ScreenedSession(Suspicion([]), counted).run(np.zeros((2, 400, 640, 3), np.uint8))

    assert [] == counted.shapes


def test_a_picture_full_of_suspects_is_computed_again_at_once(exact: Session) -> None:
    """Each part alone would be more work, because its surroundings are needed, too."""
    counted = Recorder(exact)
    everywhere = [(row, column) for row in range(0, 40, 4) for column in range(0, 70, 4)]

    ScreenedSession(Suspicion(everywhere), counted).run(np.zeros((1, 400, 640, 3), np.uint8))

    assert [(1, 400, 640, 3)] == counted.shapes


@pytest.mark.parametrize("size", [(512, 512), (200, 208), (93, 64)])
def test_scores_in_int8_are_close_enough_to_look_by(
    exact: Session, int8: Session, size: tuple[int, int]
) -> None:
    """A cell with a face in float32 is looked at again, with a wide margin."""
    face = np.zeros((1, *size, 3), np.uint8)
    photo = resized(astronaut(), size[0] / 512)[:, : size[1]]
    face[0, : photo.shape[0], : photo.shape[1]] = photo
    expected, found = exact.run(face)[0, 0], int8.run(face)[0, 0]
    rows, columns = count_cells(size[0]), count_cells(size[1])
    expected, found = expected[:rows, :columns], found[:rows, :columns]

    assert expected.shape == found.shape
    near = (expected > 2 * MIN_SCORE) & (expected < 0.9)
    difference = np.abs(expected - found)[near]
    assert difference.max(initial=0) < -MIN_SCORE * 0.75
    assert found[expected > 0].min(initial=1) > MIN_SCORE / 2
    assert abs(found.max() - np.clip(expected.max(), -1, 1)) < 0.1


def test_the_drawn_face_is_seen_in_int8(int8: Session) -> None:
    """Without a photograph, too."""
    picture = np.full((1, 240, 240, 3), 127, np.uint8)
    picture[0, 20:220, 20:220] = draw_face(200)

    assert int8.run(picture).max() > 0.3
