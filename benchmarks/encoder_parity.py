"""How near the fast encoder is to dlib, and how much faster.

    python benchmarks/encoder_parity.py --models MODELS_DIR --frames 6 VIDEO [VIDEO ...]

Takes frames evenly from each video, looks for faces with dlib's own network and with MMOD
in every engine that is installed, and embeds what dlib found with both. Times are processor
time, so that other work on the machine disturbs them little. Prints one JSON line.
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
from portraitd.faces.detectors.yunet import YunetDetector
from portraitd.faces.dlib_reference import CnnDetector, DlibEmbedder
from portraitd.faces.embedders.resnet import ResnetEmbedder
from portraitd.faces.encoder import fit_size, shrink_image
from portraitd.faces.interface import Detector, Embedder
from portraitd.faces.models import model_registry
from portraitd.faces.models.weights import FIVE_POINTS, MMOD, RESNET, find_weights
from portraitd.faces.runtime import Runtime, has_bfloat16, has_openvino, open_session
from portraitd.faces.runtime_selection import describe_machine
from portraitd.model.face import Detection, Image


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--models", type=Path, required=True, help="folder of built networks")
    parser.add_argument("--frames", type=int, default=6, help="frames of each video")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    frames = [frame for video in arguments.videos for frame in sampled(video, arguments.frames)]
    reference = CnnDetector.load(find_weights(MMOD), upsample=1)
    dlibs, dlib_ms = searched(reference, frames)
    chips = aligned(frames, dlibs)
    network = DlibEmbedder.load(find_weights(RESNET))
    vectors, face_ms = embedded(network, chips)
    result: dict[str, Any] = {
        "machine": describe_machine(),
        "frames": len(frames),
        "faces": len(chips),
        "dlib": {"ms_a_frame": dlib_ms, "ms_a_face": face_ms},
    }
    for engine in engines():
        detector = MmodDetector(
            open_session(graph_cache.ensure_mmod(arguments.models), engine), upsample=1
        )
        found, frame_ms = searched(detector, frames)
        embedder = ResnetEmbedder(open_session(graph_cache.ensure_resnet(arguments.models), engine))
        mine, chip_ms = embedded(embedder, chips)
        drift = [np.abs(one - other).max() for one, other in zip(vectors, mine, strict=True)]
        result[engine] = {
            "ms_a_frame": frame_ms,
            "ms_a_face": chip_ms,
            "detection_times_dlib": round(dlib_ms / frame_ms, 1),
            "embedding_times_dlib": round(face_ms / chip_ms, 1),
            "embedding_difference": float(max(drift, default=0.0)),
            **agreement(dlibs, found),
        }
        if model_registry.is_added(model_registry.YUNET, arguments.models):
            yunet = YunetDetector(open_session(graph_cache.ensure_yunet(arguments.models), engine))
            _, yunet_ms = searched(yunet, frames)
            result[engine]["yunet_ms_a_frame"] = yunet_ms
    print(json.dumps(result))


def engines() -> list[Runtime]:
    """Those that can run here."""
    found: list[Runtime] = ["onnxruntime"]
    if has_openvino():
        found.append("openvino")
        if has_bfloat16():
            found.append("openvino-bf16")
    return found


def sampled(video: Path, count: int) -> Iterator[Image]:
    """Frames at even distances, reduced as for a search."""
    # As OpenCV comes: a worker may read nothing but descriptors.
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


def searched(detector: Detector, frames: list[Image]) -> tuple[list[list[Detection]], float]:
    """The faces of each frame, and the milliseconds a frame takes."""
    return timed(lambda frame: detector.detect([frame], 0.0)[0], frames)


def embedded(embedder: Embedder, chips: list[Any]) -> tuple[list[Any], float]:
    """The embedding of each chip, and the milliseconds one takes."""
    return timed(lambda chip: embedder.embed(chip[None])[0], chips)


def timed(work: Callable[[Any], Any], items: list[Any]) -> tuple[list[Any], float]:
    """What the work gives for each item, and the median of its milliseconds."""
    results, taken = [], []
    for item in items:
        start = time.process_time()
        results.append(work(item))
        taken.append(time.process_time() - start)
    return results, round(1000 * statistics.median(taken), 2) if taken else 0.0


def aligned(frames: list[Image], found: list[list[Detection]]) -> list[Any]:
    """The chips of all faces."""
    aligner = Aligner.load(find_weights(FIVE_POINTS))
    return [
        aligner.align(frame, face.box)[0]
        for frame, faces in zip(frames, found, strict=True)
        for face in faces
    ]


def agreement(dlibs: list[list[Detection]], mine: list[list[Detection]]) -> dict[str, float]:
    """Of dlib's faces that score above 0.2, how many are found and how exactly."""
    overlaps = [
        max((face.box.iou(other.box) for other in others), default=0.0)
        for faces, others in zip(dlibs, mine, strict=True)
        for face in faces
        if face.score > 0.2
    ]
    return {
        "of_dlibs_faces": len(overlaps),
        "found": sum(overlap >= 0.5 for overlap in overlaps),
        "median_overlap": statistics.median(overlaps) if overlaps else 0.0,
        "very_same_box": sum(overlap == 1.0 for overlap in overlaps),
    }


if __name__ == "__main__":
    main()
