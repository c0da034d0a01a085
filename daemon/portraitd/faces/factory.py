"""Settings to an encoder: which detector, which embedding and which engine."""

from __future__ import annotations

from dataclasses import replace

from portraitd.faces import dlib_backend, graph_cache
from portraitd.faces.alignment import Aligner
from portraitd.faces.detectors.mmod import MmodDetector
from portraitd.faces.detectors.yunet import YunetDetector
from portraitd.faces.dlib_backend import CnnDetector, DlibEmbedder, HogDetector
from portraitd.faces.embedders.resnet import ResnetEmbedder
from portraitd.faces.encoder import Encoder
from portraitd.faces.interface import CHIP_PX, Detector, DetectorName, Embedder, EncoderSettings
from portraitd.faces.models import zoo
from portraitd.faces.models.weights import FIVE_POINTS, MMOD, RESNET, find, verified
from portraitd.faces.parity import Parity, embedding_difference, score_difference
from portraitd.faces.runtime_choice import Engines
from portraitd.model.errors import ConfigError

# Height and width of the pictures that engines are compared with: one level of a pyramid.
_MMOD_SAMPLE = (400, 640)
_YUNET_SAMPLE = (416, 704)


def build_encoder(settings: EncoderSettings) -> Encoder:
    """Load the models and put the encoder together. Once per worker; takes a second.

    Raises:
        ConfigError: If a setting names something that is not there.
        ModelError: If a model file is missing or damaged.
    """
    if settings.kind == "dlib":
        return _reference(settings)
    points = find(FIVE_POINTS)
    verified(FIVE_POINTS, points)
    return Encoder(settings, _detector(settings), Aligner.load(points), _embedder(settings))


def detector_name(settings: EncoderSettings) -> DetectorName:
    """The detector that ``auto`` stands for here."""
    if settings.detector != "auto":
        return settings.detector
    if settings.kind == "dlib":
        return "cnn"
    return "yunet" if zoo.is_added(zoo.YUNET, settings.models_dir) else "mmod"


def parity(settings: EncoderSettings) -> Parity:
    """Compare what these settings choose with dlib, on a drawn face.

    Raises:
        ConfigError, ModelError: As ``build_encoder``.
    """
    score = None
    if detector_name(settings) == "mmod":
        score = score_difference(_detector(replace(settings, upsample=0)))
    return Parity(embedding_difference(_embedder(settings)), score)


def _detector(settings: EncoderSettings) -> Detector:
    models_dir = settings.models_dir
    engines = Engines(settings.runtime, models_dir)
    match detector_name(settings):
        case "yunet":
            return YunetDetector(engines.open(graph_cache.yunet(models_dir), _YUNET_SAMPLE))
        case "hog":
            return HogDetector.load(settings.upsample)
        case "cnn":
            return CnnDetector.load(find(MMOD), settings.upsample)
        case _:
            session = engines.open(graph_cache.mmod(models_dir), _MMOD_SAMPLE)
            return MmodDetector(session, settings.upsample)


def _embedder(settings: EncoderSettings) -> Embedder:
    if settings.kind == "dlib":
        return DlibEmbedder.load(find(RESNET))
    engines = Engines(settings.runtime, settings.models_dir)
    return ResnetEmbedder(engines.open(graph_cache.resnet(settings.models_dir), (CHIP_PX, CHIP_PX)))


def _reference(settings: EncoderSettings) -> Encoder:
    """As face_recognition sets it up, with its own models."""
    api = dlib_backend.face_recognition_api()
    detector: Detector
    match detector_name(settings):
        case "hog":
            detector = HogDetector(api.face_detector, settings.upsample)
        case "cnn":
            detector = CnnDetector(api.cnn_face_detector, settings.upsample)
        case other:
            raise ConfigError(
                f'encoder.detector = "{other}" needs encoder.kind = "onnx"; '
                'with "dlib" write "hog" or "cnn"'
            )
    return Encoder(
        settings, detector, Aligner(api.pose_predictor_5_point), DlibEmbedder(api.face_encoder)
    )
