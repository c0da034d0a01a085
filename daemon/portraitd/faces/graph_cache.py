"""The ONNX graphs: built from their weights once, compared with dlib, and kept.

A graph's file name carries the hash of its source and the version of the builder, so a new
source or a new builder never meets an old file. The files may be removed at any time.
"""

from __future__ import annotations

from pathlib import Path

from portraitd.faces import parity
from portraitd.faces.detectors.mmod import MmodDetector
from portraitd.faces.embedders.resnet import ResnetEmbedder
from portraitd.faces.models.weights import MMOD, RESNET, ModelFile, find, verified
from portraitd.faces.models.zoo import YUNET, added
from portraitd.faces.runtime import OnnxRuntimeSession
from portraitd.media.fs import write_whole

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
        from portraitd.faces.models import dlib_dat, onnx_export

        source = find(MMOD)
        content = onnx_export.detector_graph(dlib_dat.parse(verified(MMOD, source), str(source)))
        parity.require_detector(MmodDetector(OnnxRuntimeSession(content), upsample=0))
        write_whole(path, content)
    return path


def resnet(models_dir: Path) -> Path:
    """The embedding's graph. Raises as ``mmod`` does."""
    path = _path(models_dir, "resnet", RESNET)
    if not path.exists():
        from portraitd.faces.models import dlib_dat, onnx_export

        source = find(RESNET)
        content = onnx_export.embedder_graph(dlib_dat.parse(verified(RESNET, source), str(source)))
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
        from portraitd.faces.models import onnx_export

        write_whole(path, onnx_export.yunet_graph(verified(YUNET.file, source)))
    return path


def _path(models_dir: Path, name: str, source: ModelFile) -> Path:
    return models_dir / "built" / f"{name}-{source.sha256[:16]}-{BUILDER_VERSION}.onnx"
