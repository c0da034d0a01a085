"""The ONNX graphs: built from their weights once, compared with dlib, and kept.

A graph's file name carries the hash of its source and the version of the builder, so a new
source or a new builder never meets an old file. The files may be removed at any time.
"""

from __future__ import annotations

from pathlib import Path

from portraitd.encoder import parity
from portraitd.encoder.files import write_whole
from portraitd.encoder.mmod import MmodDetector
from portraitd.encoder.resnet import ResnetEmbedder
from portraitd.encoder.runtime import OnnxRuntimeSession
from portraitd.encoder.weights import MMOD, RESNET, ModelFile, find, verified
from portraitd.encoder.zoo import YUNET, added

BUILDER_VERSION = 1
"""Raise it with every change to what ``networks`` builds."""


def mmod(models_dir: Path) -> Path:
    """The detector's graph.

    Raises:
        ModelError: If the weights are missing or damaged, the graph does not give what dlib
            gives, or the folder cannot be written.
    """
    path = _path(models_dir, "mmod", MMOD)
    if not path.exists():
        from portraitd.encoder import dat_file, networks

        source = find(MMOD)
        content = networks.detector_graph(dat_file.parse(verified(MMOD, source), str(source)))
        parity.require_detector(MmodDetector(OnnxRuntimeSession(content), upsample=0))
        write_whole(path, content)
    return path


def resnet(models_dir: Path) -> Path:
    """The embedding's graph. Raises as ``mmod`` does."""
    path = _path(models_dir, "resnet", RESNET)
    if not path.exists():
        from portraitd.encoder import dat_file, networks

        source = find(RESNET)
        content = networks.embedder_graph(dat_file.parse(verified(RESNET, source), str(source)))
        parity.require_embedder(ResnetEmbedder(OnnxRuntimeSession(content)))
        write_whole(path, content)
    return path


def yunet(models_dir: Path) -> Path:
    """YuNet's graph.

    Raises:
        ModelError: If YuNet was not added, or its file is damaged.
    """
    source = added(YUNET, models_dir)
    path = _path(models_dir, "yunet", YUNET.file)
    if not path.exists():
        from portraitd.encoder import networks

        write_whole(path, networks.yunet_graph(verified(YUNET.file, source)))
    return path


def _path(models_dir: Path, name: str, source: ModelFile) -> Path:
    return models_dir / "built" / f"{name}-{source.sha256[:16]}-{BUILDER_VERSION}.onnx"
