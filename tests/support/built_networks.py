"""The network of dlib's embedder in a modern runtime, built once for the homes of all tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from portraitd.faces import EncoderSpec

_FOLDER = tempfile.TemporaryDirectory(prefix="portraitd-networks-")


@cache
def built_networks() -> Path:
    """Return a folder of models that contains it; nothing is added to that folder."""
    from portraitd.faces import graph_cache

    graph_cache.ensure_resnet(Path(_FOLDER.name))
    return Path(_FOLDER.name)


def with_built_networks(encoder: EncoderSpec) -> EncoderSpec:
    """Return the encoder with that folder, if it would build the same network in its own."""
    if encoder.kind == "dlib" or (encoder.detector, encoder.embedder) == ("hog", "dlib"):
        return replace(encoder, models_dir=built_networks())
    return encoder


def add_built_networks(models: Path) -> None:
    """Put that network into the folder of models of a new home."""
    built = built_networks() / "built"
    target = models / built.name
    for folder in (models.parent, models, target):
        folder.mkdir(mode=0o700, exist_ok=True)
    for file in built.iterdir():
        try:
            os.link(file, target / file.name)
        except OSError:  # on another disk
            shutil.copy(file, target)
