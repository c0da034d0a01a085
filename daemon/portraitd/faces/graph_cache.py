"""Cache of the ONNX graphs, which are built once from weights and compared with dlib.

The file name of a graph contains the hash of its source and the version of the builder, so a new
source or builder never uses an old file. The files can be deleted at any time.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from portraitd.faces import dlib_comparison
from portraitd.faces.detectors.mmod import MmodDetector
from portraitd.faces.embedders.resnet import ResnetEmbedder
from portraitd.faces.models.cards import YUNET
from portraitd.faces.models.model_registry import require_added
from portraitd.faces.models.weights import (
    MMOD,
    RESNET,
    ModelFile,
    find_weights,
    read_verified,
    write_model_file,
)
from portraitd.faces.runtime import OnnxRuntimeSession

if TYPE_CHECKING:
    from portraitd.faces.models.dlib_dat import DlibNetwork

BUILDER_VERSION = 1
"""Raise this with every change to what ``onnx_export`` builds."""


def ensure_mmod(models_dir: Path) -> Path:
    """Return the path of the MMOD graph; build it if it is missing.

    Raises:
        ModelError: If the weights are missing or damaged, the graph's results differ from dlib's,
            or the folder cannot be written.
    """
    path = _graph_path(models_dir, "mmod", MMOD)
    if not path.exists():
        from portraitd.faces.models import onnx_export

        content = onnx_export.build_mmod_graph(_read_network(MMOD))
        dlib_comparison.require_detector(MmodDetector(OnnxRuntimeSession(content), upsample=0))
        write_model_file(path, content)
    return path


def ensure_mmod_int8(models_dir: Path) -> Path:
    """Return the path of the MMOD graph in int8; build it if it is missing.

    Its results are not compared here, because they depend on the machine.

    Raises:
        ModelError: If the weights are missing or damaged, or the folder cannot be written.
    """
    path = mmod_int8_path(models_dir)
    if not path.exists():
        from portraitd.faces.models import onnx_export

        write_model_file(path, onnx_export.build_mmod_int8_graph(_read_network(MMOD)))
    return path


def mmod_int8_path(models_dir: Path) -> Path:
    """Return where ``ensure_mmod_int8`` builds the graph."""
    return _graph_path(models_dir, "mmod-int8", MMOD)


def ensure_resnet(models_dir: Path) -> Path:
    """Return the path of the ResNet graph; build it if it is missing. Raises as ``ensure_mmod``."""
    path = _graph_path(models_dir, "resnet", RESNET)
    if not path.exists():
        from portraitd.faces.models import onnx_export

        content = onnx_export.build_resnet_graph(_read_network(RESNET))
        dlib_comparison.require_embedder(ResnetEmbedder(OnnxRuntimeSession(content)))
        write_model_file(path, content)
    return path


def ensure_yunet(models_dir: Path) -> Path:
    """Return the path of the YuNet graph; build it if it is missing.

    Raises:
        ModelError: If YuNet was not added, or its file is damaged.
    """
    source = require_added(YUNET, models_dir)
    path = _graph_path(models_dir, "yunet", YUNET.file)
    if not path.exists():
        from portraitd.faces.models import onnx_export

        write_model_file(path, onnx_export.build_yunet_graph(read_verified(YUNET.file, source)))
    return path


def _read_network(weights: ModelFile) -> DlibNetwork:
    from portraitd.faces.models import dlib_dat

    source = find_weights(weights)
    return dlib_dat.parse_network(read_verified(weights, source), str(source))


def _graph_path(models_dir: Path, name: str, source: ModelFile) -> Path:
    return models_dir / "built" / f"{name}-{source.sha256[:16]}-{BUILDER_VERSION}.onnx"
