"""Export the networks to ONNX: the same results, laid out for fast runtimes.

All graphs take pictures as uint8 ``(n, height, width, 3)``. The separate steps of dlib are folded
into the convolutions: scaling and centring of the input, and the gain and offset after each
convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from portraitd.faces.models.dlib_dat import (
    WINDOW,
    AddPrevious,
    Affine,
    Convolution,
    Dense,
    DlibNetwork,
    PoolLayer,
    Relu,
)
from portraitd.model.errors import ModelError

OPSET = 17
IR_VERSION = 8

ORT_DOMAIN = "com.microsoft"
"""Operators of ONNX Runtime that are not in the standard."""

# Runtimes store channels in blocks of 16 floats; 45 channels would not use the fast path.
CHANNEL_BLOCK = 16

# The detector's last layer has only one channel. Computing a patch of 4 by 4 outputs as 16
# channels fills a block: 16 times the arithmetic of one output, for 16 outputs.
PATCH = 4

ACTIVATION_RANGES = (6.0, 6.9, 4.4, 3.75, 5.6, 11.2)
"""What 255 stands for after each layer of MMOD in int8 but the last: the largest activation in 40
labelled photographs. Narrower ranges cut off what faces are recognised by; with four fifths of
these, the root mean square of the error of scores above -0.3 doubles to 0.03."""

SCORE_RANGE = (-1.0, 1.0)
"""Scores of MMOD in int8; it need not tell very good ones from good ones."""

PIXELS_PER_GROUP = 4
"""The first layer of MMOD in int8 takes pixels of one row in groups. Its kernels need channels in
multiples of four, and a pixel has three."""

Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Filters:
    """A convolution with everything folded into it, in double precision."""

    weights: Weights
    biases: Weights
    stride: int
    padding: int


def build_mmod_graph(network: DlibNetwork) -> bytes:
    """Build MMOD: pictures ``(n, h, w, 3)`` in BGR to scores ``(n, 1, rows, columns)``.

    The score in row ``r`` and column ``c`` is that of the window centred on pixel
    ``(8c + 14, 8r + 14)``. There may be up to three more rows and columns than in the
    original network, which have no meaning.

    Raises:
        ModelError: If it is another network.
    """
    filters = _fold_mmod(network)
    graph = _GraphBuilder()
    x = graph.pixels("pictures")
    for convolution in filters[:-1]:
        x = graph.relu(graph.convolution(x, convolution))
    x = graph.convolution(
        x, _make_patches(filters[-1]), right_padding=filters[-1].padding + PATCH - 1
    )
    graph.node("DepthToSpace", [x], "scores", blocksize=PATCH, mode="DCR")
    return graph.model("mmod", "pictures", ["n", "h", "w", 3], "scores")


def build_mmod_int8_graph(network: DlibNetwork) -> bytes:
    """Build MMOD in int8, with the input and output of ``build_mmod_graph``, for ONNX Runtime only.

    Widths of pictures must be multiples of four. Scores end at ``SCORE_RANGE``; those of faces are
    off by 0.01 (root mean square). Weights have one scale per filter, activations one per layer.
    Channels come last in every layer, since ONNX Runtime has int8 kernels only for that.

    Raises:
        ModelError: If it is another network.
    """
    filters = _fold_mmod(network)
    graph = _GraphBuilder()
    scales = [size / 255 for size in ACTIVATION_RANGES]
    x = graph.node("Reshape", ["pictures", graph.constant([0, 0, -1, 3 * PIXELS_PER_GROUP])])
    x = graph.int8_convolution(x, _make_pairs(filters[0]), 1.0, scales[0], strides=(2, 1))
    x = graph.node("Reshape", [x, graph.constant([0, 0, -1, CHANNEL_BLOCK])])
    # Zero is the smallest activation that can be stored, which makes ReLU a part of each layer.
    for convolution, (before, after) in zip(filters[1:-1], pairwise(scales), strict=True):
        x = graph.int8_convolution(x, convolution, before, after)
    low, high = SCORE_RANGE
    step = (high - low) / 255
    zero = round(-low / step)
    last = _make_patches(filters[-1])
    x = graph.int8_convolution(
        x, last, scales[-1], step, zero=zero, right_padding=last.padding + PATCH - 1
    )
    x = graph.node("DequantizeLinear", [x, graph.scalar(step), graph.scalar(np.uint8(zero))])
    x = graph.node("Transpose", [x], perm=[0, 3, 1, 2])
    graph.node("DepthToSpace", [x], "scores", blocksize=PATCH, mode="DCR")
    return graph.model("mmod-int8", "pictures", ["n", "h", "w", 3], "scores")


def build_resnet_graph(network: DlibNetwork) -> bytes:
    """Build ResNet: aligned chips ``(n, 150, 150, 3)`` in RGB to vectors ``(n, 128)``.

    Raises:
        ModelError: If it is another network.
    """
    layers = network.layers
    if [type(layer) for layer in layers] != _RESNET:
        raise ModelError("the embedding is not the network that portraitd knows")
    filters = iter(_fold_layers(network))
    halvings = iter(_find_halvings(layers))
    dense = layers[-1]
    assert isinstance(dense, Dense)
    graph = _GraphBuilder()
    x = graph.relu(graph.convolution(graph.pixels("chips"), next(filters)))
    x = graph.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2])
    size = 35
    for halving in halvings:
        first, second = next(filters), next(filters)
        inner = graph.convolution(graph.relu(graph.convolution(x, first)), second)
        shortcut = x
        if halving:
            computed, size = (size - 3) // 2 + 1, size // 2
            shortcut = graph.convolution(x, _make_average(first))
            if computed < size:
                # dlib treats the missing rows and columns of the convolution as zeros.
                inner = graph.pad(inner, size - computed)
        x = graph.relu(graph.node("Add", [inner, shortcut]))
    x = graph.node("GlobalAveragePool", [x])
    x = graph.node("Flatten", [x])
    graph.node("MatMul", [x, graph.constant(dense.matrix)], "vectors")
    return graph.model("resnet", "chips", ["n", 150, 150, 3], "vectors")


def build_yunet_graph(content: bytes) -> bytes:
    """Build YuNet: pictures ``(n, h, w, 3)`` in BGR to ``(n, cells, 16)``.

    Height and width must be multiples of 32. Each cell has face, object, box (4) and landmarks
    (10); the cells of stride 8 come first, row by row, then those of strides 16 and 32.

    Args:
        content: The file of OpenCV's model zoo, made for pictures of one size.

    Raises:
        ModelError: If it is another network.
    """
    try:
        source = onnx.load_model_from_string(content).graph
    except Exception as error:
        raise ModelError(f"YuNet's file cannot be read: {error}") from error
    wanted = [f"{part}_{stride}" for stride in (8, 16, 32) for part in _YUNET_PARTS]
    if {output.name for output in source.output} != set(wanted) or len(source.input) != 1:
        raise ModelError("YuNet's file is not the network that portraitd knows")
    graph = _GraphBuilder()
    graph.pixels("pictures", source.input[0].name)
    graph.adopt(source)
    cells = [
        graph.node("Concat", wanted[start : start + len(_YUNET_PARTS)], axis=2)
        for start in range(0, len(wanted), len(_YUNET_PARTS))
    ]
    graph.node("Concat", cells, "cells", axis=1)
    return graph.model("yunet", "pictures", ["n", "h", "w", 3], "cells")


_YUNET_PARTS = ("cls", "obj", "bbox", "kps")

_PLAIN = [Convolution, Affine, Relu, Convolution, Affine, AddPrevious, Relu]
_HALVING = [Convolution, Affine, Relu, Convolution, Affine, PoolLayer, AddPrevious, Relu]
_RESNET = (
    [Convolution, Affine, Relu, PoolLayer]
    + _PLAIN * 3
    + (_HALVING + _PLAIN * 3)
    + (_HALVING + _PLAIN * 2)
    + (_HALVING + _PLAIN * 2)
    + (_HALVING + [PoolLayer, Dense])
)


def _fold_mmod(network: DlibNetwork) -> list[_Filters]:
    """Return the convolutions of MMOD for pictures in BGR, with full blocks of channels."""
    kinds = [type(layer) for layer in network.layers]
    if network.window != WINDOW or kinds != [Convolution, Affine, Relu] * 6 + [Convolution]:
        raise ModelError("the detector is not the network that portraitd knows")
    filters = _fold_layers(network)
    filters[0] = _swap_channels(filters[0])
    for index in range(len(filters) - 1):
        filters[index], filters[index + 1] = _fill_block(filters[index], filters[index + 1])
    return filters


def _find_halvings(layers: Sequence[object]) -> list[bool]:
    """Return for each residual block whether it halves the picture."""
    return [
        isinstance(before, PoolLayer)
        for before, layer in pairwise(layers)
        if isinstance(layer, AddPrevious)
    ]


def _fold_layers(network: DlibNetwork) -> list[_Filters]:
    """Return the convolutions, each combined with the gain and offset that follow it."""
    folded: list[_Filters] = []
    for layer, after in zip(network.layers, (*network.layers[1:], None), strict=True):
        if not isinstance(layer, Convolution):
            continue
        weights, biases = layer.filters.astype(np.float64), layer.biases.astype(np.float64)
        if isinstance(after, Affine):
            weights = weights * after.gain[:, None, None, None]
            biases = biases * after.gain + after.offset
        if not folded:
            # (pixel - mean) / 256, exactly, since the first layer pads nothing.
            weights = weights / 256
            means = np.asarray(network.means)
            biases = biases - np.einsum("fchw,c->f", weights, means)
        folded.append(_Filters(weights, biases, layer.stride, layer.padding))
    return folded


def _swap_channels(filters: _Filters) -> _Filters:
    return _Filters(filters.weights[:, ::-1], filters.biases, filters.stride, filters.padding)


def _fill_block(filters: _Filters, after: _Filters) -> tuple[_Filters, _Filters]:
    """Add zero channels up to a full block, and make the next layer ignore them."""
    missing = -len(filters.biases) % CHANNEL_BLOCK
    return (
        _Filters(
            np.pad(filters.weights, [(0, missing), (0, 0), (0, 0), (0, 0)]),
            np.pad(filters.biases, (0, missing)),
            filters.stride,
            filters.padding,
        ),
        _Filters(
            np.pad(after.weights, [(0, 0), (0, missing), (0, 0), (0, 0)]),
            after.biases,
            after.stride,
            after.padding,
        ),
    )


def _make_patches(filters: _Filters) -> _Filters:
    """Turn one output channel at stride 1 into ``PATCH``² channels at stride ``PATCH``."""
    _, channels, height, width = filters.weights.shape
    shape = (PATCH, PATCH, channels, height + PATCH - 1, width + PATCH - 1)
    shifted = np.zeros(shape)
    for down in range(PATCH):
        for across in range(PATCH):
            area = shifted[down, across, :, down : down + height, across : across + width]
            area[...] = filters.weights[0]
    return _Filters(
        shifted.reshape(PATCH * PATCH, *shape[2:]),
        np.repeat(filters.biases, PATCH * PATCH),
        PATCH,
        filters.padding,
    )


def _make_pairs(filters: _Filters) -> _Filters:
    """Turn 16 channels at every second pixel into 32 at every group of four pixels.

    The first 16 are those of the first place in the group, the others those of the second.
    """
    count, colours, height, width = filters.weights.shape
    groups = -(-(width + filters.stride) // PIXELS_PER_GROUP)
    wide = np.zeros((2, count, colours, height, groups * PIXELS_PER_GROUP))
    for place in range(2):
        first = place * filters.stride
        wide[place, ..., first : first + width] = filters.weights
    grouped = wide.reshape(2 * count, colours, height, groups, PIXELS_PER_GROUP)
    weights = grouped.transpose(0, 4, 1, 2, 3).reshape(2 * count, -1, height, groups)
    return _Filters(weights, np.tile(filters.biases, 2), filters.stride, filters.padding)


def _make_average(filters: _Filters) -> _Filters:
    """Return the mean of 2 by 2 pixels as a convolution with as many channels as ``filters``.

    Channels that the input lacks are zero, as in dlib.
    """
    outputs, inputs = filters.weights.shape[:2]
    weights = np.broadcast_to(
        np.eye(outputs, inputs)[:, :, None, None] / 4, (outputs, inputs, 2, 2)
    )
    return _Filters(weights, np.zeros(outputs), 2, 0)


class _GraphBuilder:
    """Collects nodes and constants; every method returns the name of a value."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        name = output or f"{kind}{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, values: NDArray[np.float64] | NDArray[np.float32] | list[int]) -> str:
        kind = np.int64 if isinstance(values, list) else np.float32
        return self.typed(np.ascontiguousarray(values, kind))

    def scalar(self, value: float | np.uint8) -> str:
        kind = np.uint8 if isinstance(value, np.uint8) else np.float32
        return self.typed(np.asarray(value, kind))

    def typed(self, values: NDArray[Any]) -> str:
        """Add a constant of the type of its values."""
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def pixels(self, name: str, output: str = "") -> str:
        """Add the input, uint8 ``(n, h, w, 3)``, as float32 ``(n, 3, h, w)``."""
        planes = self.node("Transpose", [name], perm=[0, 3, 1, 2])
        return self.node("Cast", [planes], output, to=TensorProto.FLOAT)

    def adopt(self, source: onnx.GraphProto) -> None:
        """Add a graph made for batches of one, for batches of any size."""
        shapes = {node.input[1] for node in source.node if node.op_type == "Reshape"}
        for constant in source.initializer:
            if constant.name not in shapes:
                self._constants.append(constant)
                continue
            # Zero keeps the size of the input.
            shape = np.array([0, *numpy_helper.to_array(constant)[1:]], np.int64)
            self._constants.append(numpy_helper.from_array(shape, constant.name))
        self._nodes.extend(source.node)

    def convolution(self, x: str, filters: _Filters, right_padding: int | None = None) -> str:
        after = filters.padding if right_padding is None else right_padding
        return self.node(
            "Conv",
            [x, self.constant(filters.weights), self.constant(filters.biases)],
            kernel_shape=list(filters.weights.shape[2:]),
            strides=[filters.stride] * 2,
            pads=[filters.padding] * 2 + [after] * 2,
        )

    def int8_convolution(
        self,
        x: str,
        filters: _Filters,
        before: float,
        after: float,
        *,
        zero: int = 0,
        strides: tuple[int, int] | None = None,
        right_padding: int | None = None,
    ) -> str:
        """Add a convolution of bytes, channels last.

        Args:
            x: Zero is stored as 0.
            filters: Rounded to int8.
            before, after: What a step of ``x`` and of the result stands for.
            zero: How zero is stored in the result.
            strides, right_padding: Those of ``filters`` unless given.
        """
        scales = np.abs(filters.weights).max(axis=(1, 2, 3)) / 127
        scales[scales == 0] = 1.0
        weights = np.round(filters.weights / scales[:, None, None, None]).astype(np.int8)
        biases = np.round(filters.biases / (scales * before)).astype(np.int32)
        end = filters.padding if right_padding is None else right_padding
        return self.node(
            "QLinearConv",
            [
                x,
                self.scalar(before),
                self.scalar(np.uint8(0)),
                self.typed(weights),
                self.constant(scales),
                self.typed(np.zeros(len(scales), np.int8)),
                self.scalar(after),
                self.scalar(np.uint8(zero)),
                self.typed(biases),
            ],
            domain=ORT_DOMAIN,
            channels_last=1,
            kernel_shape=list(filters.weights.shape[2:]),
            strides=list(strides or [filters.stride] * 2),
            pads=[filters.padding] * 2 + [end] * 2,
        )

    def relu(self, x: str) -> str:
        return self.node("Relu", [x])

    def pad(self, x: str, missing: int) -> str:
        """Add rows and columns of zeros at the end."""
        return self.node("Pad", [x, self.constant([0, 0, 0, 0, 0, 0, missing, missing])])

    def model(self, name: str, source: str, shape: list[str | int], result: str) -> bytes:
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(source, TensorProto.UINT8, shape)],
            [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)],
            self._constants,
        )
        operators = [helper.make_opsetid("", OPSET)]
        if any(node.domain == ORT_DOMAIN for node in self._nodes):
            operators.append(helper.make_opsetid(ORT_DOMAIN, 1))
        model = helper.make_model(graph, opset_imports=operators, producer_name="portraitd")
        model.ir_version = IR_VERSION
        return bytes(model.SerializeToString())
