"""dlib's weights: read exactly, refused when damaged, and the same networks afterwards."""

from __future__ import annotations

import pickle
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.faces import EncoderSpec, dlib_comparison, graph_cache
from portraitd.faces.dlib_reference import DlibEmbedder
from portraitd.faces.embedders.resnet import ResnetEmbedder
from portraitd.faces.factory import compare_with_dlib as parity_of
from portraitd.faces.interface import AlignedChips
from portraitd.faces.models import dlib_dat, onnx_export
from portraitd.faces.models.dlib_dat import Affine, Convolution, DlibNetwork
from portraitd.faces.models.weights import (
    FIVE_POINTS,
    MMOD,
    RESNET,
    ModelFile,
    find_weights,
    read_verified,
)
from portraitd.faces.runtime import OnnxRuntimeSession
from portraitd.model.errors import ModelError
from portraitd.model.face import Embeddings


@cache
def content(model: ModelFile) -> bytes:
    return find_weights(model).read_bytes()


@cache
def network(model: ModelFile) -> DlibNetwork:
    return dlib_dat.parse_network(content(model), model.name)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graphs are built once for all tests here."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def embedder(models_dir: Path) -> ResnetEmbedder:
    """The fast embedding."""
    return ResnetEmbedder(OnnxRuntimeSession(graph_cache.ensure_resnet(models_dir)))


def test_every_byte_of_the_detector_is_understood() -> None:
    """Seven convolutions, from 3 colours to one score."""
    convolutions = [one for one in network(MMOD).layers if isinstance(one, Convolution)]

    assert [(3, 16), (16, 32), (32, 32), (32, 45), (45, 45), (45, 45), (45, 1)] == [
        (one.filters.shape[1], one.filters.shape[0]) for one in convolutions
    ]
    assert [2, 2, 2, 1, 1, 1, 1] == [one.stride for one in convolutions]
    assert pytest.approx((122.782, 117.001, 104.298), abs=1e-4) == network(MMOD).means


def test_every_byte_of_the_embedding_is_understood() -> None:
    """29 layers with weights, the last a matrix from 256 numbers to 128."""
    layers = network(RESNET).layers
    convolutions = [one for one in layers if isinstance(one, Convolution)]
    last = layers[-1]

    assert 29 == len(convolutions)
    assert 29 == sum(isinstance(one, Affine) for one in layers)
    assert isinstance(last, dlib_dat.Dense) and (256, 128) == last.matrix.shape


@given(st.integers(0, len(content(MMOD)) - 1))
def test_a_file_that_ends_early_is_refused(length: int) -> None:
    """Wherever it ends."""
    with pytest.raises(ModelError, match="ends too early"):
        dlib_dat.parse_network(content(MMOD)[:length], "short.dat")


@given(st.binary(min_size=1, max_size=20))
def test_a_file_that_goes_on_is_refused(more: bytes) -> None:
    """Whatever comes after the end."""
    with pytest.raises(ModelError, match="the file is too long"):
        dlib_dat.parse_network(content(MMOD) + more, "long.dat")


@given(st.integers(0, len(content(MMOD)) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_changes_a_number(byte: int, bit: int) -> None:
    """The reader never fails in another way; the hash finds them all."""
    damaged = bytearray(content(MMOD))
    damaged[byte] ^= 1 << bit
    try:
        read = dlib_dat.parse_network(bytes(damaged), "flipped.dat")
    except ModelError as error:
        assert "flipped.dat" in str(error)
    else:
        assert len(read.layers) == len(network(MMOD).layers)


@given(st.binary(max_size=400))
def test_no_bytes_are_taken_for_a_network(noise: bytes) -> None:
    """And the file is named."""
    with pytest.raises(ModelError, match=r"noise\.dat"):
        dlib_dat.parse_network(noise, "noise.dat")


def test_another_model_of_dlib_is_refused() -> None:
    """A shape predictor is no network."""
    with pytest.raises(ModelError, match="install portraitd again"):
        dlib_dat.parse_network(content(FIVE_POINTS), FIVE_POINTS.name)


def test_a_damaged_file_is_known_by_its_hash(tmp_path: Path) -> None:
    """One bit in a weight is enough."""
    damaged = bytearray(content(MMOD))
    damaged[300_000] ^= 1
    path = tmp_path / MMOD.name
    path.write_bytes(damaged)

    with pytest.raises(ModelError, match=r"mmod_human_face_detector\.dat.*install portraitd again"):
        read_verified(MMOD, path)
    assert content(MMOD) == read_verified(MMOD, find_weights(MMOD))


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    """Unknown to the package, or gone."""
    with pytest.raises(ModelError, match="is not installed; install portraitd again"):
        find_weights(ModelFile("unknown.dat", ""))
    with pytest.raises(ModelError, match="No such file"):
        read_verified(MMOD, tmp_path / "gone.dat")


def test_the_error_crosses_a_process_border() -> None:
    """It carries one message and nothing else."""
    error = ModelError("told")

    assert "told" == str(pickle.loads(pickle.dumps(error)))


def test_one_network_is_not_taken_for_the_other() -> None:
    """Their layers are checked before they are built."""
    with pytest.raises(ModelError, match="not the network"):
        onnx_export.build_mmod_graph(network(RESNET))
    with pytest.raises(ModelError, match="not the network"):
        onnx_export.build_resnet_graph(network(MMOD))
    with pytest.raises(ModelError, match="YuNet's file"):
        onnx_export.build_yunet_graph(b"nothing")
    with pytest.raises(ModelError, match="not the network"):
        onnx_export.build_yunet_graph(onnx_export.build_mmod_graph(network(MMOD)))


def test_a_graph_is_built_once(models_dir: Path) -> None:
    """Its name carries the hash of its source."""
    first = graph_cache.ensure_mmod(models_dir)
    written_ns = first.stat().st_mtime_ns

    assert first == graph_cache.ensure_mmod(models_dir)
    assert written_ns == first.stat().st_mtime_ns
    assert MMOD.sha256[:16] in first.name
    assert [first] == [path for path in first.parent.iterdir() if "mmod" in path.name]


def test_a_folder_that_cannot_be_written_is_an_error_to_act_on(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "built").write_text("")

    with pytest.raises(ModelError, match="cannot be written"):
        graph_cache.ensure_mmod(tmp_path)


def test_a_graph_that_is_no_graph_is_an_error_to_act_on(tmp_path: Path) -> None:
    """Disks lose things."""
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"broken")

    with pytest.raises(ModelError, match=r"broken\.onnx cannot be loaded"):
        OnnxRuntimeSession(path)


def noise(seed: int) -> AlignedChips:
    """Three chips: of noise, of few colours, of one colour."""
    random = np.random.default_rng(seed)
    chips = random.integers(0, 256, (3, 150, 150, 3), np.uint8)
    chips[1] = chips[1, ::50, ::50].repeat(50, 0).repeat(50, 1)
    chips[2] = chips[2, 0, 0]
    return chips


@pytest.mark.parametrize("seed", range(3))
def test_an_embedding_is_dlibs(embedder: ResnetEmbedder, seed: int) -> None:
    """To five digits, for any chip."""
    reference = DlibEmbedder.load(find_weights(RESNET))

    difference = np.abs(embedder.embed(noise(seed)) - reference.embed(noise(seed)))

    assert difference.max() < 1e-5


def test_no_chips_give_no_embeddings(embedder: ResnetEmbedder) -> None:
    """The shape stays."""
    assert (0, 128) == embedder.embed(np.empty((0, 150, 150, 3), np.uint8)).shape


def test_a_batch_of_chips_is_the_chips_one_by_one(embedder: ResnetEmbedder) -> None:
    """To the last bit, so that cutting a video differently changes nothing."""
    chips = np.concatenate([noise(seed) for seed in range(4)])
    alone = np.concatenate([embedder.embed(chip[None]) for chip in chips])

    assert np.array_equal(alone, embedder.embed(chips))


def test_parity_is_measured_on_a_drawn_face(models_dir: Path) -> None:
    """No photograph is needed, and MMOD sees a face in it."""
    measured = parity_of(EncoderSpec(models_dir, detector="mmod", runtime="onnxruntime"))

    assert measured.embedding < 1e-5
    assert measured.score is not None and measured.score < 0.01


class _Skewed:
    """An embedder that is a little wrong."""

    def __init__(self, embedder: ResnetEmbedder, by: float) -> None:
        self._embedder, self._by = embedder, np.float32(by)

    def embed(self, chips: AlignedChips) -> Embeddings:
        return self._embedder.embed(chips) + self._by


def test_an_embedding_that_differs_from_dlibs_is_refused(embedder: ResnetEmbedder) -> None:
    """The limit is 1e-5."""
    dlib_comparison.require_embedder(_Skewed(embedder, 5e-6))
    with pytest.raises(ModelError, match=r"differs from dlib's own by 0\.0001"):
        dlib_comparison.require_embedder(_Skewed(embedder, 1e-4))
