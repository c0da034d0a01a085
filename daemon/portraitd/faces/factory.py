"""Build an encoder from the settings: detector, embedder and runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from portraitd.faces import dlib_reference, graph_cache
from portraitd.faces.alignment import Aligner, ArcfaceAligner
from portraitd.faces.detector_comparison import CROWDS, compare_detectors, draw_crowds
from portraitd.faces.detectors.mmod import MmodDetector
from portraitd.faces.detectors.mmod_screening import ScreenedSession
from portraitd.faces.detectors.yunet import YunetDetector
from portraitd.faces.dlib_comparison import (
    DlibComparison,
    draw_face,
    make_chips,
    measure_embedding_difference,
    measure_score_difference,
)
from portraitd.faces.dlib_reference import CnnDetector, DlibEmbedder, HogDetector
from portraitd.faces.embedders.onnx_embedder import OnnxEmbedder, to_planes
from portraitd.faces.embedders.resnet import ResnetEmbedder
from portraitd.faces.encoder import Encoder
from portraitd.faces.interface import (
    ARCFACE_CHIP_PX,
    DLIB_CHIP_PX,
    Detector,
    DetectorName,
    Embedder,
    EncoderSpec,
)
from portraitd.faces.models import model_registry
from portraitd.faces.models.cards import DLIB
from portraitd.faces.models.model_registry import find_embedder
from portraitd.faces.models.weights import FIVE_POINTS, MMOD, RESNET, find_weights, read_verified
from portraitd.faces.runtime import OnnxRuntimeSession, Session, Tensor
from portraitd.faces.runtime_selection import RuntimeSelector, Variant, grey_pictures
from portraitd.model.errors import ConfigError

# A picture that runtimes are timed with.
_YUNET_SAMPLE = grey_pictures(416, 704)


def build_encoder(settings: EncoderSpec) -> Encoder:
    """Load the models and build an encoder; takes a second, once per worker.

    Raises:
        ConfigError: If a setting names something that is not available.
        ModelError: If a model file is missing or damaged.
    """
    if settings.kind == "dlib":
        return _build_reference(settings)
    points = find_weights(FIVE_POINTS)
    read_verified(FIVE_POINTS, points)
    aligner = Aligner.load(points)
    card = find_embedder(settings.embedder, settings.models_dir)
    return Encoder(
        settings,
        build_detector(settings),
        aligner if card.alignment == "dlib" else ArcfaceAligner(aligner),
        _build_embedder(settings),
    )


def resolve_detector(settings: EncoderSpec) -> DetectorName:
    """Return the detector of the settings; resolve ``auto``."""
    return cast(
        DetectorName,
        model_registry.wanted_detector(settings.detector, settings.kind, settings.models_dir),
    )


def compare_with_dlib(settings: EncoderSpec) -> DlibComparison:
    """Compare the detector and embedder of these settings with dlib, on a drawn face.

    Raises:
        ConfigError, ModelError: As ``build_encoder``.
    """
    score = None
    if resolve_detector(settings) == "mmod":
        score = measure_score_difference(build_detector(replace(settings, upsample=0)))
    runs_dlib = settings.kind == "dlib" or settings.embedder == DLIB.name
    embedding = measure_embedding_difference(_build_embedder(settings)) if runs_dlib else None
    return DlibComparison(embedding, score)


def measure_runtime_difference(settings: EncoderSpec) -> float:
    """Return the largest difference between embeddings in the runtime in use and in float32.

    Raises:
        ConfigError, ModelError: As ``build_encoder``.
    """
    card = find_embedder(settings.embedder, settings.models_dir)
    chips = make_chips(DLIB_CHIP_PX if card.alignment == "dlib" else ARCFACE_CHIP_PX)
    exact = _build_embedder(replace(settings, runtime="onnxruntime"))
    return float(np.abs(_build_embedder(settings).embed(chips) - exact.embed(chips)).max())


def build_detector(settings: EncoderSpec) -> Detector:
    """Build the detector alone. Raises as ``build_encoder``."""
    models_dir = settings.models_dir
    selector = RuntimeSelector(settings.runtime, models_dir)
    match resolve_detector(settings):
        case "yunet":
            return YunetDetector(selector.open(graph_cache.ensure_yunet(models_dir), _YUNET_SAMPLE))
        case "hog":
            return HogDetector.load(settings.upsample)
        case "cnn":
            return CnnDetector.load(find_weights(MMOD), settings.upsample)
        case _:
            exact = graph_cache.ensure_mmod(models_dir)
            session = selector.open(exact, _mmod_sample(), _screen_mmod(exact, models_dir))
            return MmodDetector(session, settings.upsample)


def describe_detector_runtime(settings: EncoderSpec) -> str:
    """Say what runs the detector, and what was measured when that was chosen.

    Raises:
        ConfigError, ModelError: As ``build_encoder``.
    """
    models_dir = settings.models_dir
    selector = RuntimeSelector(settings.runtime, models_dir)
    match resolve_detector(settings):
        case "mmod":
            exact = graph_cache.ensure_mmod(models_dir)
            variant = _screen_mmod(exact, models_dir)
            chosen, key = selector.select(exact, _mmod_sample(), variant), variant.key
        case "yunet":
            path = graph_cache.ensure_yunet(models_dir)
            chosen, key = selector.select(path, _YUNET_SAMPLE), path.name
        case _:
            return "dlib"
    timings = selector.timings_ms(key) if settings.runtime == "auto" else {}
    measured = ", ".join(f"{name} {ms:.1f} ms" for name, ms in timings.items())
    return f"{chosen} ({measured})" if measured else chosen


def _screen_mmod(exact: Path, models_dir: Path) -> Variant:
    """Return MMOD in int8, with float32 where it sees a face."""

    def open_screened() -> Session:
        screen = OnnxRuntimeSession(graph_cache.ensure_mmod_int8(models_dir))
        return ScreenedSession(screen, OnnxRuntimeSession(exact))

    def is_sound(reference: Session, other: Session) -> bool:
        one, two = MmodDetector(reference, upsample=0), MmodDetector(other, upsample=0)
        return compare_detectors(one, two, draw_crowds(CROWDS)).is_close

    key = graph_cache.mmod_int8_path(models_dir).name
    return Variant("onnxruntime-int8", key, open_screened, is_sound)


def _mmod_sample() -> Tensor:
    """Return a level of a pyramid, with a face: where one is, screening takes longer."""
    sample = grey_pictures(720, 1280)
    sample[0, 200:400, 500:700] = draw_face(200)
    return sample


def _build_embedder(settings: EncoderSpec) -> Embedder:
    if settings.kind == "dlib":
        return DlibEmbedder.load(find_weights(RESNET))
    selector = RuntimeSelector(settings.runtime, settings.models_dir)
    card = find_embedder(settings.embedder, settings.models_dir)
    if card is DLIB:
        sample = grey_pictures(DLIB_CHIP_PX, DLIB_CHIP_PX)
        return ResnetEmbedder(selector.open(graph_cache.ensure_resnet(settings.models_dir), sample))
    path = model_registry.require_added(card, settings.models_dir)
    read_verified(card.file, path)
    grey = grey_pictures(ARCFACE_CHIP_PX, ARCFACE_CHIP_PX).astype(np.uint8)
    return OnnxEmbedder(selector.open(path, to_planes(grey, card)), card)


def _build_reference(settings: EncoderSpec) -> Encoder:
    """Build the encoder that face_recognition uses, with its own models."""
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
        settings,
        detector,
        Aligner(api.pose_predictor_5_point),
        DlibEmbedder(api.face_encoder),
    )
