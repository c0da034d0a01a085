"""Which small faces are found in large photos and frames, and what the search costs.

    uv run benchmarks/small_faces.py FACES [--detector yunet|mmod] [--yunet FILE] [--picture NAME]
        [--runtime auto|onnxruntime|openvino]

FACES is a folder of photographs with one face each, such as those of LFW. They are pasted into a
large picture so that the faces are 24 to 160 pixels wide. One JSON line per picture: processor
seconds of one thread, faces found by width, and other boxes, most of which show other people in the
photographs; with larger copies and with the reduced copy alone.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from portraitd.faces.detectors.tiled_search import search_scales
from portraitd.faces.factory import build_detector
from portraitd.faces.interface import Detector, DetectorName, EncoderSpec, RuntimeName
from portraitd.faces.models import model_registry
from portraitd.faces.models.cards import YUNET
from portraitd.faces.search_scales import list_scales
from portraitd.media.opencv import cv2
from portraitd.model.face import Box, Detection, Image

PICTURES = {
    "1080p": (1920, 1080, 3),
    "4k": (3840, 2160, 8),
    "12-megapixels": (4000, 3000, 12),
    "50-megapixels": (8600, 5760, 12),
}
"""Width, height, and how many faces of each width."""

WIDTHS_PX = (160, 128, 100, 80, 64, 56, 48, 40, 32, 28, 24)

Pasted = list[tuple[int, Box]]


def main() -> None:
    arguments = _arguments()
    detector = _detector(arguments.detector, arguments.yunet, arguments.runtime)
    for name in arguments.picture or PICTURES:
        image, pasted = paste(sorted(arguments.faces.rglob("*.jpg")), *PICTURES[name])
        is_photo = name.endswith("megapixels")
        for small_faces in ("all", "off"):
            settings = EncoderSpec(Path(), small_faces=small_faces)
            size = (image.shape[1], image.shape[0])
            scales = list_scales(*size, settings, detector.limits, is_photo=is_photo)
            began_s = time.process_time()
            found = search_scales(detector, image, scales, 24, detector.limits.tile_px)
            seconds = time.process_time() - began_s
            report = {"picture": name, "detector": arguments.detector, "small_faces": small_faces}
            print(json.dumps(report | {"cpu_s": round(seconds, 2)} | count(pasted, found)))


def paste(photographs: Sequence[Path], width: int, height: int, each: int) -> tuple[Image, Pasted]:
    """Return a picture full of faces, with width and box of each.

    The face of an LFW photograph is in its middle, and about 95 of 250 pixels wide.
    """
    chance = random.Random(5)
    picture = cv2.resize(
        np.random.default_rng(5).integers(0, 256, (height // 40, width // 40, 3), np.uint8),
        (width, height),
        interpolation=cv2.INTER_CUBIC,
    )
    pasted: Pasted = []
    x = y = row_px = 0
    for face_px in WIDTHS_PX:
        for _ in range(each):
            photograph = cv2.imread(str(chance.choice(photographs)))
            side = round(250 * face_px / 95)
            part = cv2.resize(photograph, (side, side), interpolation=cv2.INTER_AREA)
            if x + side > width:
                x, y, row_px = 0, y + row_px, 0
            if y + side > height:
                return np.asarray(picture, np.uint8), pasted
            picture[y : y + side, x : x + side] = part
            left, top = x + (side - face_px) // 2, y + (side - face_px) // 2
            pasted.append((face_px, Box(left, top, left + face_px, top + face_px)))
            x, row_px = x + side, max(row_px, side)
    return np.asarray(picture, np.uint8), pasted


def count(pasted: Pasted, found: Sequence[Detection]) -> dict[str, object]:
    """Return what was found of the pasted faces by width, and what else was found."""
    there = Counter(face_px for face_px, _ in pasted)
    hits: Counter[int] = Counter()
    right: set[int] = set()
    for face_px, box in pasted:
        same = {index for index, one in enumerate(found) if one.box.iou(box) > 0.3}
        hits[face_px] += bool(same)
        right |= same
    by_width = {f"{px} px": f"{hits[px]}/{there[px]}" for px in sorted(there)}
    return {"found": sum(hits.values()), "of": len(pasted), "others": len(found) - len(right)} | {
        "by_width": by_width
    }


def _detector(name: DetectorName, yunet: Path | None, runtime: RuntimeName) -> Detector:
    with tempfile.TemporaryDirectory() as scratch:
        if name == "yunet":
            model_registry.add_model(YUNET, Path(scratch), from_file=yunet)
        return build_detector(EncoderSpec(Path(scratch), detector=name, runtime=runtime))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--detector", choices=("yunet", "mmod"), default="yunet")
    parser.add_argument("--yunet", type=Path, help="the model file; downloaded by default")
    parser.add_argument(
        "--runtime", choices=("auto", "onnxruntime", "openvino"), default="onnxruntime"
    )
    parser.add_argument("--picture", choices=PICTURES, action="append")
    return parser.parse_args()


if __name__ == "__main__":
    main()
