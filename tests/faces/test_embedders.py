"""What every embedder promises, whatever network is behind it.

SFace cannot be downloaded for tests: a small network with its card stands for it, and another one
for the files of 512 numbers that users bring.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from portraitd.faces import EncoderSpec
from portraitd.faces.alignment import Aligner, ArcfaceAligner
from portraitd.faces.embedders.onnx_embedder import OnnxEmbedder, to_planes
from portraitd.faces.encoder import Encoder
from portraitd.faces.factory import build_encoder
from portraitd.faces.interface import ARCFACE_CHIP_PX, DLIB_CHIP_PX, AlignedChips
from portraitd.faces.models import model_registry
from portraitd.faces.models.cards import DLIB, MOBILEFACENET, SFACE, EmbedderCard
from portraitd.faces.models.model_registry import find_embedder
from portraitd.faces.models.user_models import make_user_card, write_user_card
from portraitd.faces.models.weights import FIVE_POINTS, find_weights
from portraitd.faces.runtime import OnnxRuntimeSession
from portraitd.model.errors import ModelError
from portraitd.model.face import Detection
from support.onnx_models import write_embedder
from support.pictures import MOBILEFACENET_FILE, admiral, astronaut, mirrored


class Subject(NamedTuple):
    """An embedder in an encoder with and without mirror images."""

    card: EmbedderCard
    encoder: Encoder
    plain: Encoder


def built(models: Path, card: EmbedderCard, kind: str = "onnx") -> Subject:
    """Build encoders as the service does."""

    def make(mirror: bool) -> Encoder:
        settings = EncoderSpec(
            models,
            kind="dlib" if kind == "dlib" else "onnx",
            embedder=card.name,
            detector="hog",
            runtime="onnxruntime",
            mirror=mirror,
        )
        return build_encoder(settings)

    return Subject(card, make(True), make(False))


def make_dlib(models: Path) -> Subject:
    return built(models, DLIB)


def make_reference(models: Path) -> Subject:
    return built(models, DLIB, "dlib")


def make_mobilefacenet(models: Path) -> Subject:
    model_registry.add_model(MOBILEFACENET, models, from_file=MOBILEFACENET_FILE)
    return built(models, MOBILEFACENET)


def make_sface(models: Path) -> Subject:
    """Assemble encoders by hand: no other file may be called SFace's."""
    network = write_embedder(models / "stand-in.onnx", SFACE.embedding_size, batch=1)
    embedder = OnnxEmbedder(OnnxRuntimeSession(network), SFACE)
    aligner = ArcfaceAligner(Aligner.load(find_weights(FIVE_POINTS)))
    spec = EncoderSpec(models, embedder="sface", detector="hog")
    detector = built(models, DLIB).encoder._detector
    return Subject(
        SFACE,
        Encoder(spec, detector, aligner, embedder),
        Encoder(replace(spec, mirror=False), detector, aligner, embedder),
    )


def make_arcface(models: Path) -> Subject:
    network = write_embedder(models / "arcface.onnx", 512)
    write_user_card(user_card(network, 512), models)
    return built(models, find_embedder("arcface", models))


def user_card(network: Path, size: int) -> EmbedderCard:
    """The card of a network that a user brought."""
    content = network.read_bytes()
    return make_user_card(hashlib.sha256(content).hexdigest(), len(content), size)


SUBJECTS = [
    pytest.param(make_dlib, id="dlib-onnx"),
    pytest.param(make_reference, id="dlib-reference"),
    pytest.param(
        make_mobilefacenet,
        id="mobilefacenet",
        marks=[
            pytest.mark.media,
            pytest.mark.skipif(not MOBILEFACENET_FILE.exists(), reason="the models are not here"),
        ],
    ),
    pytest.param(make_sface, id="sface-stand-in"),
    pytest.param(make_arcface, id="arcface-512"),
]


@pytest.fixture(scope="module", params=SUBJECTS)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """Every embedder."""
    made: Subject = request.param(tmp_path_factory.mktemp("models"))
    return made


@pytest.fixture(scope="module")
def chips(subject: Subject) -> AlignedChips:
    """The faces of two people, one of them also in a mirror."""
    found = []
    for image in (astronaut(), admiral(), mirrored(astronaut())):
        [[face, *_]] = subject.encoder.encode([image])
        found.append(subject.encoder.align(image, Detection(face.box, 1.0, None)).chip)
    return np.stack(found)


def test_vectors_have_the_shape_of_the_card(subject: Subject, chips: AlignedChips) -> None:
    """Float32, finite, not all the same."""
    vectors = subject.encoder.embed(list(chips))

    assert (3, subject.card.embedding_size) == vectors.shape
    assert np.float32 == vectors.dtype
    assert np.isfinite(vectors).all()
    assert (vectors.std(axis=1) > 0).all()
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_a_batch_gives_what_its_faces_give_one_by_one(
    subject: Subject, chips: AlignedChips
) -> None:
    """In their order."""
    faces = list(chips)
    together = subject.encoder.embed(faces)
    alone = np.concatenate([subject.encoder.embed([face]) for face in faces])

    assert np.abs(together - alone).max() <= 1e-5 * np.abs(alone).max()
    assert np.array_equal(together[::-1], subject.encoder.embed(faces[::-1]))


def test_no_faces_give_no_vectors(subject: Subject) -> None:
    """An array without rows has columns all the same."""
    for encoder in (subject.encoder, subject.plain):
        assert (0, subject.card.embedding_size) == encoder.embed([]).shape


def test_with_mirror_a_vector_is_the_mean_of_both_sides(
    subject: Subject, chips: AlignedChips
) -> None:
    """So a face and its mirror image have the same vector."""
    chip = chips[0]
    flipped = np.ascontiguousarray(chip[:, ::-1])

    both = subject.plain.embed([chip, flipped])

    scale = np.abs(both).max()
    assert np.abs(both.mean(axis=0) - subject.encoder.embed([chip])[0]).max() <= 1e-5 * scale
    assert np.abs(np.subtract(*subject.encoder.embed([chip, flipped]))).max() <= 1e-5 * scale
    assert np.abs(np.subtract(*both)).max() > 1e-3 * scale


def test_a_face_is_aligned_as_the_card_says(subject: Subject) -> None:
    """The vector of a face in a frame is that of its chip."""
    [[face, *_]] = subject.encoder.encode([astronaut()])
    aligned = subject.encoder.align(astronaut(), Detection(face.box, face.score, None))

    side_px = {"dlib": DLIB_CHIP_PX, "arcface": ARCFACE_CHIP_PX}[subject.card.alignment]
    assert (side_px, side_px, 3) == aligned.chip.shape
    assert np.allclose(face.embedding, subject.encoder.embed([aligned.chip])[0], atol=1e-5)


def test_a_face_is_nearer_to_itself_than_to_another_person(
    subject: Subject, chips: AlignedChips
) -> None:
    """In a mirror."""
    vectors = subject.encoder.embed(list(chips)).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[1]


def test_the_space_of_the_vectors_is_named_by_the_card(subject: Subject) -> None:
    """With and without mirror images they are not the same."""
    assert f"{subject.card.space}+mirror" == subject.encoder.id
    assert subject.card.space == subject.plain.id


def test_colours_are_in_the_order_of_the_card(tmp_path: Path) -> None:
    """A network that wants blue first gets blue first."""
    network = write_embedder(tmp_path / "network.onnx", 128)
    rgb = user_card(network, 128)
    session = OnnxRuntimeSession(network)
    chips = np.random.default_rng(1).integers(0, 255, (2, 112, 112, 3), np.uint8)
    as_rgb = OnnxEmbedder(session, rgb)
    as_bgr = OnnxEmbedder(session, replace(rgb, channels="bgr"))

    assert np.array_equal(as_rgb.embed(chips[..., ::-1]), as_bgr.embed(chips))
    assert np.abs(as_rgb.embed(chips) - as_bgr.embed(chips)).max() > 1e-3


def test_pixels_are_scaled_as_the_card_says() -> None:
    """Each colour by its own mean and scale; SFace takes them as they are."""
    chips = np.zeros((1, 112, 112, 3), np.uint8)
    chips[..., 0], chips[..., 2] = 255, 100

    rgb, bgr = to_planes(chips, MOBILEFACENET), to_planes(chips, SFACE)

    assert (1, 3, 112, 112) == rgb.shape == bgr.shape
    assert np.float32 == rgb.dtype == bgr.dtype
    assert [100.0, 0.0, 255.0] == bgr[0, :, 5, 7].tolist()
    expected = (np.array([1.0, 0.0, 100 / 255]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.allclose(expected, rgb[0, :, 5, 7], atol=1e-5)


@pytest.mark.parametrize(
    ("size", "gain"), [(64, 1.0), (129, 1.0), (128, float("nan"))], ids=["short", "long", "nan"]
)
def test_a_network_that_does_not_keep_its_card_is_an_error(
    tmp_path: Path, size: int, gain: float
) -> None:
    """Named; no vector of another length is ever stored."""
    network = write_embedder(tmp_path / "network.onnx", size, gain=gain)
    embedder = OnnxEmbedder(OnnxRuntimeSession(network), user_card(network, 128))

    with pytest.raises(ModelError, match="arcface does not give 128 numbers"):
        embedder.embed(np.full((1, 112, 112, 3), 7, np.uint8))


@pytest.mark.parametrize("card", [MOBILEFACENET, SFACE], ids=lambda card: card.name)
def test_a_damaged_model_is_refused(tmp_path: Path, card: EmbedderCard) -> None:
    """Before it is loaded; and a missing one."""
    spec = EncoderSpec(tmp_path, embedder=card.name, detector="hog", runtime="onnxruntime")
    with pytest.raises(ModelError, match=f"was not added; run: portraitd models add {card.name}"):
        build_encoder(spec)

    write_embedder(tmp_path / card.file.name, card.embedding_size)
    with pytest.raises(ModelError, match=f"is damaged .*run: portraitd models add {card.name}"):
        build_encoder(spec)


def test_a_brought_model_is_refused_once_its_file_changed(tmp_path: Path) -> None:
    """Its card remembers the hash."""
    make_arcface(tmp_path)
    write_embedder(tmp_path / "arcface.onnx", 512, seed=2)

    with pytest.raises(ModelError, match="models add arcface --from FILE"):
        build_encoder(EncoderSpec(tmp_path, embedder="arcface", detector="hog"))
