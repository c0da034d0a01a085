"""Which engine runs a network here: measured once, then remembered."""

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
    Pictures,
    Runtime,
    Session,
    has_bfloat16,
    has_openvino,
    open_session,
)

Clock = Callable[[], float]

_ROUNDS = 5
_MEMORY = "engines.json"


class RuntimeSelector:
    """Opens networks with the engine that the settings name, or the fastest one.

    What was measured is kept in ``engines.json``, with the processor and the versions it
    holds for. Remove the file to measure again.

    Args:
        runtime: From the settings.
        models_dir: Where the memory is kept.
        clock: Seconds that never go back.
    """

    def __init__(
        self, runtime: RuntimeName, models_dir: Path, clock: Clock = time.perf_counter
    ) -> None:
        self._runtime = runtime
        self._memory = models_dir / _MEMORY
        self._clock = clock

    def open(self, path: Path, sample_shape: tuple[int, int]) -> Session:
        """Load a network.

        Args:
            path: An ONNX file.
            sample_shape: Height and width of the pictures it is measured with.

        Raises:
            ModelError, ConfigError: As ``open_session``.
        """
        return open_session(path, self.engine(path, sample_shape))

    def engine(self, path: Path, sample_shape: tuple[int, int]) -> Runtime:
        """The engine for a network; see ``open``."""
        candidates = _candidates(self._runtime)
        if len(candidates) == 1:
            return candidates[0]
        remembered = self._remembered()
        for engine in candidates:
            if remembered.get(path.name) == engine:
                return engine
        engine = self._fastest(path, candidates, sample_shape)
        kept = {"machine": describe_machine(), "engines": {**remembered, path.name: engine}}
        write_model_file(self._memory, json.dumps(kept, indent=2).encode() + b"\n")
        return engine

    def _remembered(self) -> dict[str, str]:
        """Engine by file name; nothing if it was measured on another machine."""
        try:
            kept = json.loads(self._memory.read_bytes())
            same = kept["machine"] == describe_machine()
            return {str(name): str(engine) for name, engine in kept["engines"].items() if same}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return {}

    def _fastest(
        self, path: Path, candidates: list[Runtime], sample_shape: tuple[int, int]
    ) -> Runtime:
        sample = np.full((1, *sample_shape, 3), 127, np.uint8)
        return min(candidates, key=lambda engine: self._seconds(open_session(path, engine), sample))

    def _seconds(self, session: Session, sample: Pictures) -> float:
        """The best of a few runs: other work only ever makes them longer."""
        session.run(sample)
        taken = []
        for _ in range(_ROUNDS):
            start = self._clock()
            session.run(sample)
            taken.append(self._clock() - start)
        return min(taken)


def describe_machine() -> str:
    """What a measurement holds for: the processor and the versions of both engines."""
    return f"{_processor()}; {_version('onnxruntime')}; {_version('openvino')}"


def _candidates(runtime: RuntimeName) -> list[Runtime]:
    match runtime:
        case "onnxruntime":
            return ["onnxruntime"]
        case "openvino":
            return ["openvino-bf16" if has_bfloat16() else "openvino"]
        case "auto":
            if not has_openvino():
                return ["onnxruntime"]
            # bfloat16 may be picked because its effect was measured. On 1,050 labelled
            # photographs embeddings moved by 0.015 at most (of a length of 1.4), and neither
            # verification nor the best grouping changed. On eight labelled clips MMOD and
            # YuNet found the same labelled faces.
            return ["onnxruntime", "openvino-bf16" if has_bfloat16() else "openvino"]


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return "unknown"
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    return ", ".join(value.strip() for key, value in facts.items() if key.strip() == "model name")
