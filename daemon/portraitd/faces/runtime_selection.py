"""Select the runtime of each network: measured once, then kept in a file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from portraitd.faces.interface import RuntimeName
from portraitd.faces.models.weights import write_model_file
from portraitd.faces.runtime import (
    Runtime,
    Session,
    Tensor,
    has_bfloat16,
    has_openvino,
    open_session,
)

Clock = Callable[[], float]

_ROUNDS = 5
_FILE = "engines.json"


class RuntimeSelector:
    """Opens networks in the runtime that the settings name, or in the fastest one.

    The choice is kept in ``engines.json``, together with the processor and the versions that it
    is valid for. Delete the file to measure again.

    Args:
        runtime: From the settings.
        models_dir: Folder of the file.
        clock: Returns seconds of a monotonic clock.
    """

    def __init__(
        self, runtime: RuntimeName, models_dir: Path, clock: Clock = time.perf_counter
    ) -> None:
        self._runtime = runtime
        self._file = models_dir / _FILE
        self._clock = clock

    def open(self, path: Path, sample: Tensor) -> Session:
        """Load a network.

        Args:
            path: An ONNX file.
            sample: An input that it is timed with.

        Raises:
            ModelError, ConfigError: As ``open_session``.
        """
        return open_session(path, self.select(path, sample))

    def select(self, path: Path, sample: Tensor) -> Runtime:
        """Return the runtime for a network; see ``open``."""
        candidates = _list_candidates(self._runtime)
        if len(candidates) == 1:
            return candidates[0]
        known = self._read_choices()
        for runtime in candidates:
            if known.get(path.name) == runtime:
                return runtime
        runtime = self._find_fastest(path, candidates, sample)
        kept = {"machine": describe_machine(), "engines": {**known, path.name: runtime}}
        write_model_file(self._file, json.dumps(kept, indent=2).encode() + b"\n")
        return runtime

    def _read_choices(self) -> dict[str, str]:
        """Return the runtime by file name; empty if it was measured on another machine."""
        try:
            kept = json.loads(self._file.read_bytes())
            same = kept["machine"] == describe_machine()
            return {str(name): str(runtime) for name, runtime in kept["engines"].items() if same}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return {}

    def _find_fastest(self, path: Path, candidates: list[Runtime], sample: Tensor) -> Runtime:
        return min(candidates, key=lambda one: self._measure_s(open_session(path, one), sample))

    def _measure_s(self, session: Session, sample: Tensor) -> float:
        """Return the seconds of the fastest of a few runs; other load can only slow them down."""
        session.run(sample)
        taken = []
        for _ in range(_ROUNDS):
            start = self._clock()
            session.run(sample)
            taken.append(self._clock() - start)
        return min(taken)


def grey_pictures(height_px: int, width_px: int) -> Tensor:
    """Return a picture to time networks with that take pictures."""
    return np.full((1, height_px, width_px, 3), 127, np.uint8)


def describe_machine() -> str:
    """Return what a measurement is valid for: the processor and the versions of both runtimes."""
    versions = f"{_describe_version('onnxruntime')}; {_describe_version('openvino')}"
    return f"{_describe_processor()}; {versions}"


def _list_candidates(runtime: RuntimeName) -> list[Runtime]:
    match runtime:
        case "onnxruntime":
            return ["onnxruntime"]
        case "openvino":
            return ["openvino-bf16" if has_bfloat16() else "openvino"]
        case "auto":
            if not has_openvino():
                return ["onnxruntime"]
            # bfloat16 is a candidate because its effect was measured. On 1,050 labelled photographs
            # embeddings moved by at most 0.015 (their length is 1.4), and neither verification
            # nor the best grouping changed. On eight labelled clips MMOD and YuNet found the
            # same labelled faces.
            return ["onnxruntime", "openvino-bf16" if has_bfloat16() else "openvino"]


def _describe_version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def _describe_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return "unknown"
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    return ", ".join(value.strip() for key, value in facts.items() if key.strip() == "model name")
