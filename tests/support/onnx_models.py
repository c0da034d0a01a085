"""Small ONNX networks that look like embedders from outside, and networks with faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE_PX = 112


def write_embedder(
    path: Path,
    size: int,
    *,
    seed: int = 1,
    batch: int | str = "n",
    shape: tuple[int, ...] = (3, SIDE_PX, SIDE_PX),
    gain: float = 1.0,
    outputs: int = 1,
    keeps_axes: bool = False,
) -> Path:
    """Write a network that averages 14 x 14 blocks of each colour and multiplies by a matrix.

    Args:
        path: Where to write it.
        size: How many numbers it gives.
        seed: Of the matrix.
        batch: How many pictures it takes at once.
        shape: Of one picture.
        gain: Factor of the matrix: 0 gives zeros, infinity gives what is not a number.
        outputs: How many outputs it has.
        keeps_axes: Whether the output is ``(n, size, 1, 1)``.
    """
    columns = 3 * 8 * 8
    random = np.random.default_rng(seed).normal(size=(columns, size)) * gain
    constants = [
        numpy_helper.from_array(random.astype(np.float32), "matrix"),
        numpy_helper.from_array(np.array([0, size, 1, 1], np.int64), "axes"),
    ]
    nodes = [
        helper.make_node(
            "AveragePool", ["data"], ["pooled"], kernel_shape=[14, 14], strides=[14, 14]
        ),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["vector"]),
    ]
    if keeps_axes:
        nodes.append(helper.make_node("Reshape", ["vector", "axes"], ["out-0"]))
    else:
        nodes.append(helper.make_node("Identity", ["vector"], ["out-0"]))
    nodes += [
        helper.make_node("Identity", ["vector"], [f"out-{number}"]) for number in range(1, outputs)
    ]
    graph = helper.make_graph(
        nodes,
        "embedder",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, *shape])],
        [
            helper.make_tensor_value_info(f"out-{number}", TensorProto.FLOAT, None)
            for number in range(outputs)
        ],
        constants if keeps_axes else constants[:1],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())
    return path


def with_external_weights(path: Path, weights: str) -> None:
    """Have a network refer to another file for its first weights, as large models do."""
    model = onnx.load(str(path))
    tensor = model.graph.initializer[0]
    content = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", weights), ("offset", "0"), ("length", str(len(content)))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())
