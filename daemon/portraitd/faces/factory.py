"""Settings to an encoder: which detector, which embedding and which engine."""

from __future__ import annotations

from dataclasses import replace

from portraitd.faces import dlib_reference, graph_cache
from portraitd.faces.alignment import Aligner
from portraitd.faces.detectors.mmod import MmodDetector
from portraitd.faces.detectors.yunet import YunetDetector
from portraitd.faces.dlib_comparison import (
    DlibComparison,
    measure_embedding_difference,
    measure_score_difference,
)
from portraitd.faces.dlib_reference import CnnDetector, DlibEmbedder, HogDetector
from portraitd.faces.embedders.resnet import ResnetEmbedder
from portraitd.faces.encoder import Encoder
from portraitd.faces.interface import CHIP_PX, Detector, DetectorName, Embedder, EncoderSpec
from portraitd.faces.models import model_registry
from portraitd.faces.models.weights import FIVE_POINTS, MMOD, RESNET, find_weights, read_verified
from portraitd.faces.runtime_selection import RuntimeSelector
from portraitd.model.errors import ConfigError

# Height and width of the pictures that engines are compared with: one level of a pyramid.
_MMOD_SAMPLE = (400, 640)
_YUNET_SAMPLE = (416, 704)


def build_encoder(settings: EncoderSpec) -> Encoder:
    """Load the models and put the encoder together. Once per worker; takes a second.

    Raises:
        ConfigError: If a setting names something that is not there.
        ModelError: If a model file is missing or damaged.
    """
    if settings.kind == "dlib":
        return _reference(settings)
    points = find_weights(FIVE_POINTS)
    read_verified(FIVE_POINTS, points)
    return Encoder(settings, _detector(settings), Aligner.load(points), _embedder(settings))


def resolve_detector(settings: EncoderSpec) -> DetectorName:
    """The detector that ``auto`` stands for here."""
    if settings.detector != "auto":
        return settings.detector
    if settings.kind == "dlib":
        return "cnn"
    return "yunet" if model_registry.is_added(model_registry.YUNET, settings.models_dir) else "mmod"


def compare_with_dlib(settings: EncoderSpec) -> DlibComparison:
    """Compare what these settings choose with dlib, on a drawn face.

    Raises:
        ConfigError, ModelError: As ``build_encoder``.
    """
    score = None
    if resolve_detector(settings) == "mmod":
        score = measure_score_difference(_detector(replace(settings, upsample=0)))
    return DlibComparison(measure_embedding_difference(_embedder(settings)), score)


def _detector(settings: EncoderSpec) -> Detector:
    models_dir = settings.models_dir
    engines = RuntimeSelector(settings.runtime, models_dir)
    match resolve_detector(settings):
        case "yunet":
            return YunetDetector(engines.open(graph_cache.ensure_yunet(models_dir), _YUNET_SAMPLE))
        case "hog":
            return HogDetector.load(settings.upsample)
        case "cnn":
            return CnnDetector.load(find_weights(MMOD), settings.upsample)
        case _:
            session = engines.open(graph_cache.ensure_mmod(models_dir), _MMOD_SAMPLE)
            return MmodDetector(session, settings.upsample)


def _embedder(settings: EncoderSpec) -> Embedder:
    if settings.kind == "dlib":
        return DlibEmbedder.load(find_weights(RESNET))
    engines = RuntimeSelector(settings.runtime, settings.models_dir)
    return ResnetEmbedder(
        engines.open(graph_cache.ensure_resnet(settings.models_dir), (CHIP_PX, CHIP_PX))
    )


def _reference(settings: EncoderSpec) -> Encoder:
    """As face_recognition sets it up, with its own models."""
    api = dlib_reference.face_recognition_api()
    detector: Detector
    match resolve_detector(settings):
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
