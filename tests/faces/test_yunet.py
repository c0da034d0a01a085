"""YuNet: OpenCV's boxes in a modern runtime, added on the user's word only."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from portraitd.faces import graph_cache
from portraitd.faces.detectors.yunet import YunetDetector
from portraitd.faces.models import model_registry
from portraitd.faces.models.cards import YUNET, ModelCard
from portraitd.faces.models.weights import ModelFile
from portraitd.faces.runtime import OnnxRuntimeSession
from portraitd.model.errors import ConfigError, ModelError
from portraitd.model.face import Image
from support.pictures import YUNET_FILE, admiral, astronaut, bricks, mirrored, resized

needs_model = pytest.mark.skipif(not YUNET_FILE.exists(), reason="the model is not here")


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> YunetDetector:
    """The network, built once for all tests here."""
    models = tmp_path_factory.mktemp("models")
    model_registry.add_model(YUNET, models, from_file=YUNET_FILE)
    return YunetDetector(OnnxRuntimeSession(graph_cache.ensure_yunet(models)))


@needs_model
@pytest.mark.media
@pytest.mark.parametrize("times", [0.3, 0.61, 1.0])
@pytest.mark.parametrize("picture", [astronaut(), admiral()])
def test_a_face_is_where_opencv_finds_it(
    detector: YunetDetector, picture: Image, times: float
) -> None:
    """Box, score and landmarks, whatever the size of the picture."""
    picture = resized(picture, times)
    size = (picture.shape[1], picture.shape[0])
    opencv = cv2.FaceDetectorYN.create(str(YUNET_FILE), "", size, 0.6, 0.3, 5000)

    [[mine]] = detector.detect([picture], 0.0)
    [theirs] = opencv.detect(picture)[1]

    x, y, width, height = theirs[:4]
    assert abs(mine.score - theirs[14]) < 1e-4
    assert mine.landmarks is not None
    assert np.allclose(np.ravel(mine.landmarks), theirs[4:14], atol=0.01)
    assert abs(mine.box.width - 0.821 * height) <= 1.5
    assert abs((mine.box.left + mine.box.right) / 2 - (x + width / 2 - 0.034 * height)) <= 1
    assert abs((mine.box.top + mine.box.bottom) / 2 - (y + height / 2 - 0.006 * height)) <= 1


@needs_model
@pytest.mark.media
def test_a_batch_is_its_frames_one_by_one(detector: YunetDetector) -> None:
    """To the last bit."""
    frames = [astronaut(), bricks(), mirrored(astronaut()), astronaut(), bricks()]
    alone = [faces for frame in frames for faces in detector.detect([frame], 0.0)]

    assert [1, 0, 1, 1, 0] == [len(faces) for faces in alone]
    assert alone == detector.detect(frames, 0.0)
    assert [] == detector.detect([], 0.0)


CONTENT = b"weights" * 100

MODEL = ModelCard(
    name="small",
    role="detector",
    file=ModelFile("small.onnx", hashlib.sha256(CONTENT).hexdigest()),
    size_bytes=len(CONTENT),
    trained_on="nothing",
    licence="MIT",
    url="https://example.org/small.onnx",
    purpose="for tests",
)


ANSWERS = {
    "/small.onnx": CONTENT,
    "/other.onnx": CONTENT[::-1],
    "/longer.onnx": CONTENT * 2,
    "/shorter.onnx": CONTENT[:-1],
}


class _Handler(BaseHTTPRequestHandler):
    """Serves the answers, and nothing else."""

    def do_GET(self) -> None:
        content = ANSWERS.get(self.path)
        self.send_response(404 if content is None else 200)
        self.end_headers()
        self.wfile.write(content or b"not here")

    def log_message(self, *args: object) -> None:
        """Tests are quiet."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A web server on this machine."""
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_model_is_fetched_checked_and_kept(tmp_path: Path, server: str) -> None:
    """And removed again."""
    models = tmp_path / "models"

    kept = model_registry.add_model(MODEL, models, url=f"{server}/small.onnx")

    assert CONTENT == kept.read_bytes()
    assert model_registry.is_added(MODEL, models) and kept == model_registry.require_added(
        MODEL, models
    )
    assert [kept] == list(models.iterdir())
    assert model_registry.remove_model(MODEL, models)
    assert not model_registry.remove_model(MODEL, models)
    assert [] == list(models.iterdir())


@pytest.mark.parametrize("name", ["other", "longer", "shorter"])
def test_a_model_with_another_hash_is_not_kept(tmp_path: Path, server: str, name: str) -> None:
    """The message says which hash was expected."""
    with pytest.raises(ModelError, match=MODEL.file.sha256):
        model_registry.add_model(MODEL, tmp_path, url=f"{server}/{name}.onnx")

    assert [] == list(tmp_path.iterdir())


def test_a_model_that_cannot_be_fetched_can_be_brought(tmp_path: Path, server: str) -> None:
    """The message says how."""
    for url in (f"{server}/missing.onnx", "http://127.0.0.1:1/small.onnx"):
        with pytest.raises(ModelError, match=r"portraitd models add small --from FILE"):
            model_registry.add_model(MODEL, tmp_path, url=url)
    for url in ("file:///etc/passwd", "http://example.org/small.onnx"):
        with pytest.raises(ModelError, match="https://"):
            model_registry.add_model(MODEL, tmp_path, url=url)

    brought = tmp_path / "brought"
    brought.write_bytes(CONTENT)
    assert (
        CONTENT
        == model_registry.add_model(MODEL, tmp_path / "models", from_file=brought).read_bytes()
    )


def test_a_file_that_is_not_there_is_an_error_to_act_on(tmp_path: Path) -> None:
    """Named."""
    with pytest.raises(ModelError, match=r"gone.*No such file"):
        model_registry.add_model(MODEL, tmp_path, from_file=tmp_path / "gone")
    with pytest.raises(ModelError, match="portraitd models add small"):
        model_registry.require_added(MODEL, tmp_path)


def test_a_damaged_model_is_refused_when_it_is_used(tmp_path: Path) -> None:
    """Bits rot in the state folder too."""
    model_registry.model_path(YUNET, tmp_path).write_bytes(b"rotten")

    with pytest.raises(ModelError, match="portraitd models add yunet"):
        graph_cache.ensure_yunet(tmp_path)


def test_models_have_names() -> None:
    """An unknown one is told the known ones."""
    assert YUNET == model_registry.find_model("yunet")
    with pytest.raises(ConfigError, match="known models: yunet, mobilefacenet, sface"):
        model_registry.find_model("unheard-of")
