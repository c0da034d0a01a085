"""Frames in, faces out: what every encoder promises, whatever engine is behind it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.faces import EncoderSpec
from portraitd.faces.alignment import Aligner
from portraitd.faces.detectors.tiled_search import shrink_image
from portraitd.faces.dlib_reference import CnnDetector, HogDetector
from portraitd.faces.encoder import Encoder
from portraitd.faces.factory import build_encoder, resolve_detector
from portraitd.faces.models import model_registry
from portraitd.faces.models.cards import YUNET
from portraitd.faces.models.weights import FIVE_POINTS, MMOD, find_weights
from portraitd.faces.quality import (
    MMOD_CONFIDENCE_RAMP,
    YUNET_CONFIDENCE_RAMP,
    confidence_of,
    frontality_from_centres,
    frontality_from_corners,
    measure_sharpness,
)
from portraitd.faces.search_scales import fit_size
from portraitd.model.errors import ConfigError, ModelError
from portraitd.model.face import Box, Image
from support.pictures import YUNET_FILE, admiral, astronaut, bricks, mirrored, resized

needs_yunet = [
    pytest.mark.media,
    pytest.mark.skipif(not YUNET_FILE.exists(), reason="the model of YuNet is not here"),
]

DLIB_CNN = ("dlib", "cnn")

ENCODERS = [
    pytest.param(("onnx", "mmod"), id="onnx-mmod"),
    pytest.param(("onnx", "yunet"), id="onnx-yunet", marks=needs_yunet),
    pytest.param(("onnx", "hog"), id="onnx-hog"),
    pytest.param(("dlib", "hog"), id="dlib-hog"),
    # It takes more than a second for a picture.
    pytest.param(DLIB_CNN, id="dlib-cnn", marks=pytest.mark.exhaustive),
]


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graphs are built once for all tests here."""
    models = tmp_path_factory.mktemp("models")
    if YUNET_FILE.exists():
        model_registry.add_model(YUNET, models, from_file=YUNET_FILE)
    return models


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request: pytest.FixtureRequest, models_dir: Path) -> Encoder:
    """Every engine with every detector."""
    return make_encoder(models_dir, *request.param)


def make_encoder(models_dir: Path, kind: Any, detector: Any) -> Encoder:
    # The networks take their time for large pictures; HOG sees ghosts in this small one.
    width = {"hog": 700, "cnn": 400}.get(detector, 320)
    settings = EncoderSpec(
        models_dir,
        kind=kind,
        detector=detector,
        max_width=width,
        # dlib itself takes four times as long for a doubled picture.
        upsample=0 if detector == "cnn" else 1,
        runtime="onnxruntime",
    )
    return build_encoder(settings)


@pytest.fixture(scope="module")
def plain(models_dir: Path) -> Encoder:
    """Without mirror averaging."""
    return build_encoder(
        EncoderSpec(models_dir, detector="hog", mirror=False, runtime="onnxruntime")
    )


def distance(of: Encoder, first: Image, second: Image) -> float:
    """Between the best faces of two pictures."""
    [[one, *_], [other, *_]] = of.encode([first, second])
    return float(np.linalg.norm(one.embedding - other.embedding))


def test_the_faces_of_a_batch_come_back_frame_by_frame(encoder: Encoder) -> None:
    """One face, none, one: in the order of the frames, whatever their sizes."""
    assert [1, 0, 1] == [len(faces) for faces in encoder.encode([astronaut(), bricks(), admiral()])]


def test_dlibs_own_network_finds_the_faces_of_a_batch(models_dir: Path) -> None:
    """One face, none, one. What else is true of it is tested in the exhaustive run."""
    encoder = make_encoder(models_dir, *DLIB_CNN)

    assert [1, 0, 1] == [len(faces) for faces in encoder.encode([astronaut(), bricks(), admiral()])]


def test_no_frames_give_no_faces(encoder: Encoder) -> None:
    """An empty batch is a batch."""
    assert [] == encoder.encode([])


def test_a_face_is_where_it_is_seen(encoder: Encoder) -> None:
    """The box is in pixels of the full-size frame, and the points are inside it."""
    [[face]] = encoder.encode([astronaut()])

    assert face.box.left < 225 < face.box.right and face.box.top < 120 < face.box.bottom
    assert 80 <= face.box.width <= 150
    assert face.landmarks is not None and len(face.landmarks) == 5
    assert all(face.box.left < x < face.box.right for x, _ in face.landmarks)
    assert face.embedding.shape == (128,) and face.embedding.dtype == np.float32
    assert 1.0 < np.linalg.norm(face.embedding) < 1.8


def test_a_large_frame_is_searched_small_and_cut_large(encoder: Encoder) -> None:
    """Three times the size: three times the box, the same person."""
    large = resized(astronaut(), 3)

    [[small_face], [large_face]] = encoder.encode([astronaut(), large])

    assert 2.4 < large_face.box.width / small_face.box.width < 3.7
    assert np.linalg.norm(small_face.embedding - large_face.embedding) < 0.3


def test_two_people_are_further_apart_than_one_is_from_herself(encoder: Encoder) -> None:
    """dlib's usual threshold is 0.6."""
    darker = np.asarray(astronaut() // 4 * 3, np.uint8)

    assert distance(encoder, astronaut(), admiral()) > 0.6
    assert distance(encoder, astronaut(), darker) < 0.3


def test_the_batch_makes_no_difference(encoder: Encoder) -> None:
    """A frame gives the same faces alone and among others, to the last bit."""
    [[alone]] = encoder.encode([astronaut()])
    _, [among], _, [again] = encoder.encode([admiral(), astronaut(), bricks(), astronaut()])

    assert alone.box == among.box == again.box
    assert alone.score == among.score == again.score
    assert np.array_equal(alone.embedding, among.embedding)
    assert np.array_equal(alone.embedding, again.embedding)


def test_a_face_at_the_edge_is_no_error(encoder: Encoder) -> None:
    """A box may reach beyond the frame, and a frame may be smaller than any face."""
    parts = [astronaut()[:170, 170:290], astronaut()[60:180, :250], astronaut()[:9, :7]]
    found = encoder.encode([np.ascontiguousarray(part) for part in parts])

    assert all(np.isfinite(face.embedding).all() for faces in found for face in faces)


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (3, 60), (60, 3), (23, 400)])
def test_a_tiny_picture_has_no_face(size: tuple[int, int]) -> None:
    """dlib's own network fails on pictures that are smaller than its layers."""
    picture = np.zeros((*size, 3), np.uint8)
    for detector in (CnnDetector.load(find_weights(MMOD), 0), HogDetector.load(0)):
        assert [[]] == detector.detect([picture], 0.0)


def test_a_blurred_face_is_less_sharp(encoder: Encoder) -> None:
    """Sharpness falls with the detail that is there."""
    blurred = np.asarray(cv2.GaussianBlur(astronaut(), (0, 0), 3), np.uint8)

    [[face], [soft, *_]] = encoder.encode([astronaut(), blurred])

    assert soft.quality.sharpness < face.quality.sharpness / 4


def test_a_face_that_looks_here_is_frontal(encoder: Encoder) -> None:
    """And its size is the shorter side of its box."""
    [[face]] = encoder.encode([astronaut()])

    assert face.quality.frontal > 0.6
    assert face.quality.size_px == min(face.box.width, face.box.height)


def test_the_mirror_average_does_not_know_left_from_right(encoder: Encoder, plain: Encoder) -> None:
    """A face and its mirror image are nearer with it than without."""
    picture = admiral()

    averaged = distance(encoder, picture, mirrored(picture))

    assert averaged < distance(plain, picture, mirrored(picture)) * 0.75


def test_an_embedding_space_has_one_name(encoder: Encoder, plain: Encoder) -> None:
    """Whatever engine and detector; but averaged vectors are another space."""
    assert encoder.id == "dlib-resnet-v1+mirror"
    assert plain.id == "dlib-resnet-v1"


def test_both_engines_give_one_embedding(models_dir: Path) -> None:
    """The same detector, and vectors that agree to five digits."""
    pictures = [astronaut(), admiral()]
    fast = build_encoder(EncoderSpec(models_dir, detector="hog", runtime="onnxruntime"))
    reference = build_encoder(EncoderSpec(models_dir, kind="dlib", detector="hog"))

    for [mine], [dlibs] in zip(fast.encode(pictures), reference.encode(pictures), strict=True):
        assert mine.box == dlibs.box
        assert np.abs(mine.embedding - dlibs.embedding).max() < 1e-5


@pytest.mark.parametrize("detector", ["mmod", "hog"])
def test_faces_below_the_smallest_size_are_left_out(models_dir: Path, detector: str) -> None:
    """min_face_px is in pixels of the source, whatever the reduced copy has."""
    settings = EncoderSpec(models_dir, detector=detector, min_face_px=200)  # type: ignore[arg-type]
    encoder = build_encoder(settings)

    assert [0, 1] == [
        len(faces) for faces in encoder.encode([astronaut(), resized(astronaut(), 3)])
    ]


def test_yunet_is_taken_where_it_was_added(tmp_path: Path) -> None:
    """And nothing is fetched where it was not."""
    assert "mmod" == resolve_detector(EncoderSpec(tmp_path))
    assert "cnn" == resolve_detector(EncoderSpec(tmp_path, kind="dlib"))
    (tmp_path / YUNET.file.name).write_bytes(b"")
    assert "yunet" == resolve_detector(EncoderSpec(tmp_path))
    assert "hog" == resolve_detector(EncoderSpec(tmp_path, detector="hog"))


def test_a_detector_that_was_not_added_says_how(tmp_path: Path) -> None:
    """The command is in the message."""
    with pytest.raises(ModelError, match="portraitd models add yunet"):
        build_encoder(EncoderSpec(tmp_path, detector="yunet"))


def test_the_reference_refuses_a_detector_it_has_not(tmp_path: Path) -> None:
    """And says what to write."""
    with pytest.raises(ConfigError, match='"hog" or "cnn"'):
        build_encoder(EncoderSpec(tmp_path, kind="dlib", detector="yunet"))


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("from portraitd.faces import EncoderSpec", "cv2 dlib onnxruntime openvino"),
        ("from portraitd.faces.models import model_registry", "cv2 dlib onnxruntime openvino"),
        (
            "from portraitd.faces import EncoderSpec; "
            "from portraitd.faces.factory import build_encoder; from pathlib import Path; "
            "build_encoder(EncoderSpec(Path(MODELS), runtime='onnxruntime'))",
            "face_recognition face_recognition_models pkg_resources onnx openvino sklearn",
        ),
    ],
)
def test_nothing_is_loaded_that_is_not_used(
    models_dir: Path, statement: str, unwanted: str
) -> None:
    """The daemon process loads no engine, and a worker no reference."""
    build_encoder(EncoderSpec(models_dir, runtime="onnxruntime"))
    program = (
        f"MODELS = {str(models_dir)!r}\n{statement}\n"
        f"import sys; print([name for name in {unwanted.split()!r} if name in sys.modules])"
    )

    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert (told.stderr, told.stdout) == ("", "[]\n")


sizes = st.integers(1, 8000)


@given(sizes, sizes, sizes, sizes)
def test_a_reduced_copy_fits_and_is_never_larger(
    width: int, height: int, max_width: int, max_height: int
) -> None:
    """Inside both limits, not above the frame, and touching a limit where reduced."""
    reduced = fit_size(width, height, max_width, max_height)

    assert 1 <= reduced[0] <= min(width, max_width)
    assert 1 <= reduced[1] <= min(height, max_height)
    assert reduced == (width, height) or reduced[0] == max_width or reduced[1] == max_height


@given(st.integers(30, 90), st.integers(30, 90), st.integers(1, 30), st.integers(1, 30))
def test_reducing_keeps_what_is_where(width: int, height: int, across: int, down: int) -> None:
    """A gradient stays the same gradient."""
    columns = np.broadcast_to(np.linspace(0, 250, width)[None, :, None], (height, width, 3))
    picture = columns.astype(np.uint8)
    expected = np.interp(
        (np.arange(across) + 0.5) / across, (np.arange(width) + 0.5) / width, picture[0, :, 0]
    )

    reduced = shrink_image(picture, (across, down))

    assert reduced.shape == (down, across, 3)
    assert np.abs(reduced[:, :, 0] - expected).max() < 2 * 250 / across + 2


def test_a_chip_is_the_one_dlib_cuts_from_the_whole_frame() -> None:
    """Though only the surroundings of the face are looked at."""
    frame, box = admiral(), Box(178, 90, 332, 244)
    rgb = np.ascontiguousarray(frame[:, :, ::-1])
    predict = dlib.shape_predictor(str(find_weights(FIVE_POINTS)))
    shape = predict(rgb, dlib.rectangle(178, 90, 331, 243))

    chip, points = Aligner(predict).align(frame, box)

    assert [(point.x, point.y) for point in shape.parts()] == list(points)
    assert np.array_equal(dlib.get_face_chip(rgb, shape, 150, 0.25), chip)


points = st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))


@given(st.tuples(points, points, points, points, points))
def test_frontal_is_a_fraction(five: tuple[tuple[float, float], ...]) -> None:
    """Whatever the points are, even all in one place."""
    assert 0.0 <= frontality_from_corners(five) <= 1.0
    assert 0.0 <= frontality_from_centres(five) <= 1.0


def test_a_detector_that_is_unsure_says_so() -> None:
    """Half a face at the edge scores low, with either of the two that score alike."""
    assert 0.0 == confidence_of(0.65, MMOD_CONFIDENCE_RAMP)
    assert 0.0 < confidence_of(0.8, MMOD_CONFIDENCE_RAMP) < 1.0
    assert 1.0 == confidence_of(1.05, MMOD_CONFIDENCE_RAMP)
    assert 0.0 == confidence_of(0.8, YUNET_CONFIDENCE_RAMP)
    assert 0.0 < confidence_of(0.9, YUNET_CONFIDENCE_RAMP) < 1.0


def test_a_profile_is_less_frontal() -> None:
    """The nose moves towards an eye, and past it."""
    looks_here = ((30.0, 50.0), (70.0, 50.0), (50.0, 70.0), (35.0, 90.0), (65.0, 90.0))
    turned = (*looks_here[:2], (62.0, 70.0), *looks_here[3:])
    profile = (*looks_here[:2], (75.0, 70.0), *looks_here[3:])

    assert 1.0 == frontality_from_centres(looks_here)
    assert 0.0 < frontality_from_centres(turned) < 0.5
    assert 0.0 == frontality_from_centres(profile)


def test_a_flat_chip_has_no_sharpness() -> None:
    """Nothing changes, so nothing is sharp."""
    assert measure_sharpness(np.full((150, 150, 3), 127, np.uint8)) == 0.0
