"""Frames in, faces out: what every encoder promises, whatever engine is behind it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.encoder import EncoderSettings
from portraitd.encoder.build import build_encoder
from portraitd.encoder.engine import Encoder, reduced_size
from portraitd.encoder.quality import frontal_of_centres, frontal_of_corners, sharpness
from portraitd.errors import ConfigError
from portraitd.model import Image


def read(path: Path) -> Image:
    image = cv2.imread(str(path))
    assert image is not None, path
    return np.asarray(image, np.uint8)


def enlarged(image: Image, times: int) -> Image:
    size = (image.shape[1] * times, image.shape[0] * times)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture(scope="session")
def astronaut() -> Image:
    """A woman who looks at the camera, 512x512; her face is about 105 px."""
    import skimage

    return read(Path(skimage.__file__).parent / "data" / "astronaut.png")


@pytest.fixture(scope="session")
def admiral() -> Image:
    """A woman who looks at the camera, 512x606."""
    import matplotlib

    return read(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")


@pytest.fixture(scope="session")
def bricks() -> Image:
    """Nobody."""
    import skimage

    return read(Path(skimage.__file__).parent / "data" / "brick.png")


ENCODERS = ["dlib-hog", pytest.param("dlib-cnn", marks=pytest.mark.slow)]


@pytest.fixture(scope="session", params=ENCODERS)
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """Every pair of engine and detector."""
    kind, detector = request.param.split("-")
    models = tmp_path_factory.mktemp("models")
    return build_encoder(EncoderSettings(models_dir=models, kind=kind, detector=detector))


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """Without mirror averaging."""
    models = tmp_path_factory.mktemp("models")
    settings = EncoderSettings(models_dir=models, kind="dlib", detector="hog", mirror=False)
    return build_encoder(settings)


def test_the_faces_of_a_batch_come_back_frame_by_frame(
    encoder: Encoder, astronaut: Image, bricks: Image, admiral: Image
) -> None:
    """One face, none, one: in the order of the frames."""
    assert [1, 0, 1] == [len(faces) for faces in encoder.encode([astronaut, bricks, admiral])]


def test_no_frames_give_no_faces(encoder: Encoder) -> None:
    """An empty batch is a batch."""
    assert [] == encoder.encode([])


def test_a_face_is_where_it_is_seen(encoder: Encoder, astronaut: Image) -> None:
    """The box is in pixels of the full-size frame, and the points are inside it."""
    [[face]] = encoder.encode([astronaut])

    assert face.box.left < 225 < face.box.right and face.box.top < 120 < face.box.bottom
    assert 80 <= face.box.width <= 150
    assert face.landmarks is not None and len(face.landmarks) == 5
    assert all(face.box.left < x < face.box.right for x, _ in face.landmarks)
    assert face.embedding.shape == (128,) and face.embedding.dtype == np.float32
    assert 1.0 < np.linalg.norm(face.embedding) < 1.8


def test_a_large_frame_is_searched_small_and_cut_large(encoder: Encoder, astronaut: Image) -> None:
    """Three times the size: three times the box, the same person."""
    large = enlarged(astronaut, 3)

    [[small_face]], [[large_face]] = encoder.encode([astronaut]), encoder.encode([large])

    assert 2.4 < large_face.box.width / small_face.box.width < 3.7
    assert np.linalg.norm(small_face.embedding - large_face.embedding) < 0.3


def test_two_people_are_further_apart_than_one_is_from_herself(
    encoder: Encoder, astronaut: Image, admiral: Image
) -> None:
    """dlib's usual threshold is 0.6."""
    darker = np.asarray(astronaut // 4 * 3, np.uint8)

    [[first], [second], [again]] = encoder.encode([astronaut, admiral, darker])

    assert np.linalg.norm(first.embedding - second.embedding) > 0.6
    assert np.linalg.norm(first.embedding - again.embedding) < 0.3


def test_the_batch_makes_no_difference(encoder: Encoder, astronaut: Image, admiral: Image) -> None:
    """A frame gives the same faces alone and among others."""
    [[alone]], [_, [among]] = encoder.encode([astronaut]), encoder.encode([admiral, astronaut])

    assert alone.box == among.box
    assert np.allclose(alone.embedding, among.embedding, atol=1e-5)


def test_a_face_at_the_edge_is_no_error(encoder: Encoder, astronaut: Image) -> None:
    """A box may reach beyond the frame."""
    for part in (astronaut[:170, 170:290], astronaut[60:180, :290], astronaut[:40, :40]):
        for face in encoder.encode([np.ascontiguousarray(part)])[0]:
            assert np.isfinite(face.embedding).all()


def test_a_blurred_face_is_less_sharp(encoder: Encoder, astronaut: Image) -> None:
    """Sharpness falls with the detail that is there."""
    blurred = np.asarray(cv2.GaussianBlur(astronaut, (0, 0), 3), np.uint8)

    [[face], [soft]] = encoder.encode([astronaut, blurred])

    assert soft.quality.sharpness < face.quality.sharpness / 4


def test_a_face_that_looks_here_is_frontal(encoder: Encoder, astronaut: Image) -> None:
    """And its size is the shorter side of its box."""
    [[face]] = encoder.encode([astronaut])

    assert face.quality.frontal > 0.6
    assert face.quality.size_px == min(face.box.width, face.box.height)


def test_a_smallest_face_larger_than_the_face_hides_it(tmp_path: Path, astronaut: Image) -> None:
    """min_face_px is in pixels of the source."""
    settings = EncoderSettings(models_dir=tmp_path, kind="dlib", detector="hog", min_face_px=200)
    encoder = build_encoder(settings)
    large = enlarged(astronaut, 3)

    assert [0, 1] == [len(faces) for faces in encoder.encode([astronaut, large])]


def test_the_mirror_average_does_not_know_left_from_right(
    encoder: Encoder, plain: Encoder, astronaut: Image
) -> None:
    """A face and its mirror image are nearer with it than without."""

    def apart(of: Encoder) -> float:
        # dlib's HOG takes a patch of the mirrored background for a second, weaker face.
        [face], [mirrored, *_] = of.encode([astronaut, np.ascontiguousarray(astronaut[:, ::-1])])
        return float(np.linalg.norm(face.embedding - mirrored.embedding))

    assert apart(encoder) < apart(plain) / 2


def test_an_embedding_space_has_one_name(encoder: Encoder, plain: Encoder) -> None:
    """Whatever engine and detector; but averaged vectors are another space."""
    assert encoder.id == "dlib-resnet-v1+mirror"
    assert plain.id == "dlib-resnet-v1"


def test_the_reference_refuses_a_detector_it_has_not(tmp_path: Path) -> None:
    """And says what to write."""
    with pytest.raises(ConfigError, match='"hog" or "cnn"'):
        build_encoder(EncoderSettings(models_dir=tmp_path, kind="dlib", detector="yunet"))


sizes = st.integers(1, 8000)


@given(sizes, sizes, sizes, sizes)
def test_a_reduced_copy_fits_and_is_never_larger(
    width: int, height: int, max_width: int, max_height: int
) -> None:
    """Inside both limits, not above the frame, and touching a limit where reduced."""
    reduced = reduced_size(width, height, max_width, max_height)

    assert 1 <= reduced[0] <= min(width, max_width)
    assert 1 <= reduced[1] <= min(height, max_height)
    assert reduced == (width, height) or reduced[0] == max_width or reduced[1] == max_height


points = st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))


@given(st.tuples(points, points, points, points, points))
def test_frontal_is_a_fraction(five: tuple[tuple[float, float], ...]) -> None:
    """Whatever the points are, even all in one place."""
    assert 0.0 <= frontal_of_corners(five) <= 1.0
    assert 0.0 <= frontal_of_centres(five) <= 1.0


def test_a_profile_is_less_frontal() -> None:
    """The nose moves towards an eye, and past it."""
    looks_here = ((30.0, 50.0), (70.0, 50.0), (50.0, 70.0), (35.0, 90.0), (65.0, 90.0))
    turned = (*looks_here[:2], (62.0, 70.0), *looks_here[3:])
    profile = (*looks_here[:2], (75.0, 70.0), *looks_here[3:])

    assert 1.0 == frontal_of_centres(looks_here)
    assert 0.0 < frontal_of_centres(turned) < 0.5
    assert 0.0 == frontal_of_centres(profile)


def test_a_flat_chip_has_no_sharpness() -> None:
    """Nothing changes, so nothing is sharp."""
    assert sharpness(np.full((150, 150, 3), 127, np.uint8)) == 0.0
