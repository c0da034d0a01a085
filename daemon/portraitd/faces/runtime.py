"""What runs a network: ONNX Runtime, or OpenVINO where it is installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from portraitd.model.errors import ConfigError, ModelError

Runtime = Literal["onnxruntime", "openvino", "openvino-bf16"]

Pictures = NDArray[np.uint8]
"""Shape ``(n, height, width, 3)``."""


MOST_SHAPES = 40
"""OpenVINO keeps code for every shape it has seen, about 1 MB each; then it begins anew.

A video needs up to 20, one for each level of the pyramid; beginning anew takes 30 ms.
"""


class Session(Protocol):
    """A loaded network with one input and one output. Uses one thread."""

    def run(self, pictures: Pictures) -> NDArray[np.float32]:
        """Run the network; a batch gives the same as its pictures one by one."""


def open_session(path: Path, engine: Runtime) -> Session:
    """Load an ONNX file.

    Raises:
        ModelError: If the file is no network.
        ConfigError: If the engine is not installed.
    """
    if engine == "onnxruntime":
        return OnnxRuntimeSession(path)
    return OpenVinoSession(path, bfloat16=engine == "openvino-bf16")


class OnnxRuntimeSession:
    """A network in ONNX Runtime, in float32."""

    def __init__(self, network: Path | bytes) -> None:
        # Version 1.32 sends what it observes to its makers unless told not to, before its import.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        # OpenVINO may be all that is needed, and each takes its share of memory.
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # The workers are the parallelism; a pool that spins would take their cores.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # Every level of the pyramid has another shape: a plan for each would only cost.
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                network, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ModelError(f"{_name(network)} cannot be loaded: {error}; remove it") from error
        self._input = self._session.get_inputs()[0].name

    def run(self, pictures: Pictures) -> NDArray[np.float32]:
        """See ``Session``."""
        [result] = self._session.run(None, {self._input: pictures})
        return np.asarray(result, np.float32)


class OpenVinoSession:
    """A network in OpenVINO, in float32 or in bfloat16."""

    def __init__(self, path: Path, *, bfloat16: bool) -> None:
        self._path = path
        self._core = _openvino().Core()
        self._hints = {
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            # Every worker would pin its thread to the same first core.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        }
        self._shapes: set[tuple[int, ...]] = set()
        self._request = self._compiled()

    def run(self, pictures: Pictures) -> NDArray[np.float32]:
        """See ``Session``."""
        self._shapes.add(pictures.shape)
        if len(self._shapes) > MOST_SHAPES:
            self._shapes = {pictures.shape}
            self._request = self._compiled()
        self._request.infer({0: pictures}, share_inputs=True)
        # A view of the request's own memory: the next run would write over it.
        return np.array(self._request.get_output_tensor(0).data, np.float32)

    def _compiled(self) -> Any:
        try:
            compiled = self._core.compile_model(str(self._path), "CPU", self._hints)
        except RuntimeError as error:
            raise ModelError(f"{self._path} cannot be loaded: {error}; remove it") from error
        return compiled.create_infer_request()


def _name(network: Path | bytes) -> str:
    return str(network) if isinstance(network, Path) else "the network just built"


def has_openvino() -> bool:
    """Whether OpenVINO can be used here."""
    try:
        _openvino()
    except ConfigError:
        return False
    return True


def has_bfloat16() -> bool:
    """Whether OpenVINO says that this CPU computes in bfloat16."""
    return "BF16" in _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _openvino() -> Any:
    """Import OpenVINO without its model converter.

    The converter reports every import to its makers over the network (2024 to 2026, unless
    a file in the home directory forbids it). It is not needed, and an import of it that
    fails is foreseen there.
    """
    if "openvino" not in sys.modules:
        # Its kernels would keep 1024 pieces of code beside what the sessions keep.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise ConfigError(
            'encoder.runtime = "openvino" needs the extra: pip install "portraitd[openvino]"'
        ) from error
    return openvino
