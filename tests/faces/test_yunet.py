"""YuNet: OpenCV's boxes in a modern runtime, added on the user's word only."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from portraitd.faces import graph_cache
from portraitd.faces.detectors.yunet import YunetDetector
from portraitd.faces.models import model_registry
from portraitd.faces.models.cards import YUNET
from portraitd.faces.runtime import OnnxRuntimeSession
from portraitd.model.errors import ModelError
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


def test_a_damaged_model_is_refused_when_it_is_used(tmp_path: Path) -> None:
    """Bits rot in the state folder too."""
    model_registry.model_path(YUNET, tmp_path).write_bytes(b"rotten")

    with pytest.raises(ModelError, match="portraitd models add yunet"):
        graph_cache.ensure_yunet(tmp_path)
