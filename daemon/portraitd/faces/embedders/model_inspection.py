"""Check that an ONNX file is an embedder as ArcFace, AdaFace, EdgeFace and others are exported.

The file comes from anywhere, so this runs in a sandboxed worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from portraitd.faces.embedders.onnx_embedder import OnnxEmbedder, to_planes
from portraitd.faces.interface import ARCFACE_CHIP_PX, AlignedChips
from portraitd.faces.models.cards import EmbedderCard
from portraitd.faces.models.user_models import (
    MAX_EMBEDDING_SIZE,
    MIN_EMBEDDING_SIZE,
    make_user_card,
)
from portraitd.faces.runtime import OnnxRuntimeSession
from portraitd.model.errors import ModelError
from portraitd.model.track import l2_normalised
from portraitd.workers.job_results import returns

MAX_SIMILARITY = 0.999
"""Largest cosine of the vectors of two pictures that have nothing in common."""

_WANTED = "input (n, 3, 112, 112) and one flat output of 64 to 1024 numbers"


@returns("portraitd.workers.plain_results:SIZE")
def inspect_embedder(path: Path, *, is_bgr: bool, pixel_mean: float, pixel_scale: float) -> int:
    """Load and run a model, and return how many numbers it gives for a face.

    Args:
        path: The file. Files that it refers to are not read; it is refused.
        is_bgr, pixel_mean, pixel_scale: As for ``make_user_card``.

    Raises:
        ModelError: The file is not such a model, or its numbers do not depend on the picture.
    """
    # Imported here: the command that submits the job does without OpenCV and dlib.
    from portraitd.faces.dlib_comparison import make_chips

    _require_form(path)
    session = OnnxRuntimeSession(path)
    card = make_user_card("", 0, 0, is_bgr=is_bgr, pixel_mean=pixel_mean, pixel_scale=pixel_scale)
    chips = make_chips(ARCFACE_CHIP_PX)
    try:
        size = session.run(to_planes(chips[:1], card)).size
        if not MIN_EMBEDDING_SIZE <= size <= MAX_EMBEDDING_SIZE:
            raise ModelError(f"it gives {size} numbers for a face; needed: {_WANTED}")
        return _require_vectors(session, card, chips, size)
    except ModelError:
        raise
    except Exception as error:
        # The runtime has a dozen kinds of exceptions.
        reason = str(error).splitlines()[0]
        raise ModelError(f"it cannot be run on a picture: {reason}") from error


def _require_vectors(
    session: OnnxRuntimeSession, card: EmbedderCard, chips: AlignedChips, size: int
) -> int:
    sized = make_user_card(
        "",
        0,
        size,
        is_bgr=card.channels == "bgr",
        pixel_mean=card.pixel_mean[0],
        pixel_scale=card.pixel_scale[0],
    )
    face, pattern = l2_normalised(OnnxEmbedder(session, sized).embed(chips)).astype(np.float64)
    if not face.std() > 0 or face @ pattern > MAX_SIMILARITY:
        raise ModelError("it gives the same numbers for different pictures")
    return size


def _require_form(path: Path) -> None:
    """Check inputs, outputs and that all weights are in the file itself."""
    import onnx

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except Exception as error:
        raise ModelError("it is not an ONNX file") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(graph)):
        raise ModelError("its weights are in other files; export it as one file")
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ModelError(
            f"it has {len(inputs)} inputs and {len(graph.output)} outputs; needed: {_WANTED}"
        )
    kind = inputs[0].type.tensor_type
    shape = [side.dim_value or side.dim_param or "?" for side in kind.shape.dim]
    if kind.elem_type != onnx.TensorProto.FLOAT or shape[1:] != [3, 112, 112]:
        numbers = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
        found = ", ".join(map(str, shape))
        raise ModelError(f"its input is {numbers} ({found}); needed: {_WANTED}, float")
    if isinstance(shape[0], int) and shape[0] != 1:
        raise ModelError(f"it takes {shape[0]} pictures at once; needed: {_WANTED}")


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield all tensors of a graph and of the graphs inside it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)
