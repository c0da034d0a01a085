"""Compare the networks in fast runtimes with dlib: difference and speed.

    python benchmarks/encoder_parity.py --models MODELS_DIR --frames 6 VIDEO [VIDEO ...]

Samples frames evenly from each video, searches them with dlib's own network and with MMOD in every
installed runtime, and embeds the faces that dlib found with both. Times are processor time, which
other load on the machine affects little. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from portraitd.faces import graph_cache
from portraitd.faces.alignment import Aligner
from portraitd.faces.detectors.mmod import MmodDetector
from portraitd.faces.detectors.mmod_screening import ScreenedSession
from portraitd.faces.detectors.tiled_search import shrink_image
from portraitd.faces.detectors.yunet import YunetDetector
from portraitd.faces.dlib_reference import CnnDetector, DlibEmbedder
from portraitd.faces.embedders.resnet import ResnetEmbedder
from portraitd.faces.interface import Detector, Embedder
from portraitd.faces.models import model_registry
from portraitd.faces.models.cards import YUNET
from portraitd.faces.models.weights import FIVE_POINTS, MMOD, RESNET, find_weights
from portraitd.faces.runtime import (
    OnnxRuntimeSession,
    Runtime,
    has_bfloat16,
    has_openvino,
    open_session,
)
from portraitd.faces.runtime_selection import describe_machine
from portraitd.faces.search_scales import fit_size
from portraitd.model.face import Detection, Image


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--models", type=Path, required=True, help="folder of converted networks")
    parser.add_argument("--frames", type=int, default=6, help="frames per video")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    frames = [
        frame for video in arguments.videos for frame in sample_frames(video, arguments.frames)
    ]
    reference = CnnDetector.load(find_weights(MMOD), upsample=1)
    dlibs, dlib_ms = run_detector(reference, frames)
    chips = align_faces(frames, dlibs)
    network = DlibEmbedder.load(find_weights(RESNET))
    vectors, face_ms = run_embedder(network, chips)
    result: dict[str, Any] = {
        "machine": describe_machine(),
        "frames": len(frames),
        "faces": len(chips),
        "dlib": {"ms_a_frame": dlib_ms, "ms_a_face": face_ms},
    }
    for runtime in list_runtimes():
        detector = MmodDetector(
            open_session(graph_cache.ensure_mmod(arguments.models), runtime), upsample=1
        )
        found, frame_ms = run_detector(detector, frames)
        embedder = ResnetEmbedder(
            open_session(graph_cache.ensure_resnet(arguments.models), runtime)
        )
        mine, chip_ms = run_embedder(embedder, chips)
        drift = [np.abs(one - other).max() for one, other in zip(vectors, mine, strict=True)]
        result[runtime] = {
            "ms_a_frame": frame_ms,
            "ms_a_face": chip_ms,
            "detection_times_dlib": round(dlib_ms / frame_ms, 1),
            "embedding_times_dlib": round(face_ms / chip_ms, 1),
            "embedding_difference": float(max(drift, default=0.0)),
            **compare_detections(dlibs, found),
        }
        if model_registry.is_added(YUNET, arguments.models):
            yunet = YunetDetector(open_session(graph_cache.ensure_yunet(arguments.models), runtime))
            _, yunet_ms = run_detector(yunet, frames)
            result[runtime]["yunet_ms_a_frame"] = yunet_ms
    screened = MmodDetector(
        ScreenedSession(
            OnnxRuntimeSession(graph_cache.ensure_mmod_int8(arguments.models)),
            OnnxRuntimeSession(graph_cache.ensure_mmod(arguments.models)),
        ),
        upsample=1,
    )
    found, frame_ms = run_detector(screened, frames)
    result["onnxruntime-int8"] = {
        "ms_a_frame": frame_ms,
        "detection_times_dlib": round(dlib_ms / frame_ms, 1),
        **compare_detections(dlibs, found),
    }
    print(json.dumps(result))


def list_runtimes() -> list[Runtime]:
    """Return the runtimes that can run here."""
    found: list[Runtime] = ["onnxruntime"]
    if has_openvino():
        found.append("openvino")
        if has_bfloat16():
            found.append("openvino-bf16")
    return found


def sample_frames(video: Path, count: int) -> Iterator[Image]:
    """Yield frames at even distances, reduced as for detection."""
    # Restore OpenCV's default: workers may only read descriptors.
    os.environ.pop("OPENCV_FFMPEG_CAPTURE_OPTIONS", None)
    capture = cv2.VideoCapture(str(video))
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = {round((index + 0.5) * total / count) for index in range(count)}
    for index in range(total):
        if not capture.grab():
            return
        if index in wanted:
            frame = np.asarray(capture.retrieve()[1], np.uint8)
            yield shrink_image(frame, fit_size(frame.shape[1], frame.shape[0], 700, 500))


def run_detector(detector: Detector, frames: list[Image]) -> tuple[list[list[Detection]], float]:
    """Return the faces of each frame, and the median of milliseconds per frame."""
    return run_timed(lambda frame: detector.detect([frame], 0.0)[0], frames)


def run_embedder(embedder: Embedder, chips: list[Any]) -> tuple[list[Any], float]:
    """Return the embedding of each chip, and the median of milliseconds per chip."""
    return run_timed(lambda chip: embedder.embed(chip[None])[0], chips)


def run_timed(work: Callable[[Any], Any], items: list[Any]) -> tuple[list[Any], float]:
    """Return the result for each item, and the median of milliseconds per item."""
    results, taken = [], []
    for item in items:
        start = time.process_time()
        results.append(work(item))
        taken.append(time.process_time() - start)
    return results, round(1000 * statistics.median(taken), 2) if taken else 0.0


def align_faces(frames: list[Image], found: list[list[Detection]]) -> list[Any]:
    """Return the aligned chips of all faces."""
    aligner = Aligner.load(find_weights(FIVE_POINTS))
    return [
        aligner.align(frame, face.box)[0]
        for frame, faces in zip(frames, found, strict=True)
        for face in faces
    ]


def compare_detections(
    dlibs: list[list[Detection]], mine: list[list[Detection]]
) -> dict[str, float]:
    """Return how many of dlib's faces with a score above 0.2 are found, and how exactly."""
    ious = [
        max((face.box.iou(other.box) for other in others), default=0.0)
        for faces, others in zip(dlibs, mine, strict=True)
        for face in faces
        if face.score > 0.2
    ]
    return {
        "of_dlibs_faces": len(ious),
        "found": sum(iou >= 0.5 for iou in ious),
        "median_iou": statistics.median(ious) if ious else 0.0,
        "same_box": sum(iou == 1.0 for iou in ious),
    }


if __name__ == "__main__":
    main()
