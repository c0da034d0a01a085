"""Run networks in ONNX Runtime, or in OpenVINO if it is installed."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from portraitd.model.errors import ConfigError, ModelError
from portraitd.model.extras import describe_installation

Runtime = Literal["onnxruntime", "openvino", "openvino-bf16"]
"""What runs a network, and in which precision."""

Tensor = NDArray[np.uint8] | NDArray[np.float32]
"""The input of a network: pictures ``(n, height, width, 3)``, or what a published file wants."""


_CPU_WARNING = re.compile(rb"cpuinfo|cpuid_info")

MAX_SHAPES = 40
"""After this many input shapes the OpenVINO model is compiled again.

OpenVINO keeps about 1 MB of code for every shape. A video needs up to 20 shapes, one for each level
of the pyramid; compiling takes 30 ms.
"""


class Session(Protocol):
    """A loaded network with one input and one output. Uses one thread."""

    def run(self, pictures: Tensor) -> NDArray[np.float32]:
        """Run the network; a batch gives the same results as its pictures one by one."""


def open_session(path: Path, runtime: Runtime) -> Session:
    """Load an ONNX file.

    Raises:
        ModelError: If the file is not a network.
        ConfigError: If the runtime is not installed.
    """
    if runtime == "onnxruntime":
        return OnnxRuntimeSession(path)
    return OpenVinoSession(path, bfloat16=runtime == "openvino-bf16")


class OnnxRuntimeSession:
    """A network in ONNX Runtime, in float32."""

    def __init__(self, network: Path | bytes) -> None:
        # Version 1.32 sends usage data to its makers unless this is set before the import.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        # The workers run in parallel; a spinning thread pool would take their cores.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # Every level of the pyramid has another shape, so a memory plan for each is not worth it.
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                network, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ModelError(
                f"{_describe(network)} cannot be loaded: {error}; remove it"
            ) from error
        self._input = self._session.get_inputs()[0].name

    def run(self, pictures: Tensor) -> NDArray[np.float32]:
        """See ``Session``."""
        [result] = self._session.run(None, {self._input: pictures})
        return np.asarray(result, np.float32)


class OpenVinoSession:
    """A network in OpenVINO, in float32 or in bfloat16."""

    def __init__(self, path: Path, *, bfloat16: bool) -> None:
        self._path = path
        self._core = _import_openvino().Core()
        self._hints = {
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            # Every worker would pin its thread to the same first core.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        }
        self._shapes: set[tuple[int, ...]] = set()
        self._request = self._compile()

    def run(self, pictures: Tensor) -> NDArray[np.float32]:
        """See ``Session``."""
        self._shapes.add(pictures.shape)
        if len(self._shapes) > MAX_SHAPES:
            self._shapes = {pictures.shape}
            self._request = self._compile()
        self._request.infer({0: pictures}, share_inputs=True)
        # Copied, because the next run overwrites the memory of the request.
        return np.array(self._request.get_output_tensor(0).data, np.float32)

    def _compile(self) -> Any:
        try:
            compiled = self._core.compile_model(str(self._path), "CPU", self._hints)
        except RuntimeError as error:
            raise ModelError(f"{self._path} cannot be loaded: {error}; remove it") from error
        return compiled.create_infer_request()


def import_onnxruntime() -> Any:
    """Import ONNX Runtime without what it prints where ``/proc/cpuinfo`` cannot be read.

    That file is hidden by the systemd unit, and in some containers. The fastest instructions are
    used all the same: they are found by asking the processor.
    """
    # Imported here, because OpenVINO may be enough, and each needs memory.
    if "onnxruntime" in sys.modules or Path("/proc/cpuinfo").exists():
        import onnxruntime

        return onnxruntime
    kept, (reader, writer) = os.dup(2), os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    os.dup2(writer, 2)
    try:
        import onnxruntime
    finally:
        os.dup2(kept, 2)
        with suppress(BlockingIOError):
            lines = os.read(reader, 1 << 16).splitlines(keepends=True)
            os.write(2, b"".join(line for line in lines if not _CPU_WARNING.search(line)))
        for descriptor in (kept, reader, writer):
            os.close(descriptor)
    return onnxruntime


def _describe(network: Path | bytes) -> str:
    return str(network) if isinstance(network, Path) else "the new network"


def has_openvino() -> bool:
    """Return whether OpenVINO is installed."""
    try:
        _import_openvino()
    except ConfigError:
        return False
    return True


def has_bfloat16() -> bool:
    """Return whether OpenVINO reports that this CPU supports bfloat16."""
    return "BF16" in _import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _import_openvino() -> Any:
    """Import OpenVINO without its model converter.

    The converter reports every import to its makers over the network (2024 to 2026, unless a
    file in the home directory forbids it). It is not needed, and OpenVINO handles a failing
    import of it.
    """
    if "openvino" not in sys.modules:
        # oneDNN would cache up to 1024 kernels in addition to what the sessions keep.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise ConfigError(
            'encoder.runtime = "openvino" needs the package openvino: '
            f"{describe_installation('openvino')}"
        ) from error
    return openvino
