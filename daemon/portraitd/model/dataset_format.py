"""Formats of a training set, as the settings name them and `datasets/formats` writes them."""

from __future__ import annotations

from typing import Literal

Format = Literal[
    "yolo",
    "yolo_face",
    "yolo_pose",
    "darknet",
    "coco",
    "voc",
    "imagefolder",
    "chips150",
    "chips112",
    "pairs",
    "embeddings",
    "webdataset",
    "captions",
    "cvat",
]
