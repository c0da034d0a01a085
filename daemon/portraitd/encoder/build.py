"""Settings to an encoder: which detector and which embedder belong together."""

from __future__ import annotations

from portraitd.encoder.chips import Aligner
from portraitd.encoder.dlib_reference import (
    CnnDetector,
    DlibEmbedder,
    HogDetector,
    face_recognition_api,
)
from portraitd.encoder.engine import Encoder
from portraitd.encoder.interface import Detector, EncoderSettings
from portraitd.errors import ConfigError


def build_encoder(settings: EncoderSettings) -> Encoder:
    """Load the models and put the encoder together.

    Raises:
        ConfigError: If a setting names something that is not there.
    """
    if settings.kind == "dlib":
        return _reference(settings)
    raise ConfigError('encoder.kind = "onnx" is not built yet; write "dlib"')


def _reference(settings: EncoderSettings) -> Encoder:
    api = face_recognition_api()
    detector: Detector
    match settings.detector:
        case "hog":
            detector = HogDetector(api.face_detector, settings.upsample)
        case "cnn" | "auto":
            detector = CnnDetector(api.cnn_face_detector, settings.upsample)
        case other:
            raise ConfigError(
                f'encoder.detector = "{other}" needs encoder.kind = "onnx"; '
                'with "dlib" write "hog" or "cnn"'
            )
    return Encoder(
        settings, detector, Aligner(api.pose_predictor_5_point), DlibEmbedder(api.face_encoder)
    )
