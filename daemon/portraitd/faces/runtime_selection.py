"""Select the runtime of each network: measured once, then kept in a file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict

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
from portraitd.model.errors import ModelError

Clock = Callable[[], float]

WORTH_IT = 1.25
"""A variant is taken if it is at least this many times as fast as the fastest runtime."""

_ROUNDS = 5
_FILE = "engines.json"


class _Kept(TypedDict):
    engines: dict[str, str]
    timings_ms: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Variant:
    """Another way to run a network, taken only where it is measured to be worth it.

    Attributes:
        name: Of the choice, beside those of the runtimes.
        key: Under which the choice is kept: a file name with a version of what is run.
        open: Loads it; raises ``ModelError`` if that is not possible here.
        is_sound: Whether its results are good enough, compared with those of the network in
            float32, which is the first argument.
    """

    name: str
    key: str
    open: Callable[[], Session]
    is_sound: Callable[[Session, Session], bool]


class RuntimeSelector:
    """Opens networks in the runtime that the settings name, or in the fastest one.

    The choice is kept in ``engines.json``, together with the processor and the versions that it
    is valid for. Delete the file to measure again.

    Args:
        runtime: From the settings.
        models_dir: Folder of the file.
        clock: Returns seconds of processor time, which other load on the machine hardly changes.
    """

    def __init__(
        self, runtime: RuntimeName, models_dir: Path, clock: Clock = time.process_time
    ) -> None:
        self._runtime = runtime
        self._file = models_dir / _FILE
        self._clock = clock

    def open(self, path: Path, sample: Tensor, variant: Variant | None = None) -> Session:
        """Load a network.

        Args:
            path: An ONNX file.
            sample: An input that it is timed with.
            variant: Considered if the settings leave the choice.

        Raises:
            ModelError, ConfigError: As ``open_session``.
        """
        return self._openers(path, variant)[self.select(path, sample, variant)]()

    def select(self, path: Path, sample: Tensor, variant: Variant | None = None) -> str:
        """Return the name of the runtime or variant for a network; see ``open``."""
        openers = self._openers(path, variant)
        if len(openers) == 1:
            return next(iter(openers))
        key = variant.key if variant and variant.name in openers else path.name
        kept = self._read_kept()
        if kept["engines"].get(key) in openers:
            return kept["engines"][key]
        timings = self._measure(openers, sample, variant)
        chosen = min(timings, key=lambda name: timings[name])
        kept["engines"][key] = chosen
        kept["timings_ms"][key] = {name: round(1000 * s, 2) for name, s in timings.items()}
        content = {"machine": describe_machine(), **kept}
        write_model_file(self._file, json.dumps(content, indent=2).encode() + b"\n")
        return chosen

    def timings_ms(self, key: str) -> dict[str, float]:
        """Return what was measured when a choice was made, in milliseconds; empty if nothing."""
        return self._read_kept()["timings_ms"].get(key, {})

    def _openers(self, path: Path, variant: Variant | None) -> dict[str, Callable[[], Session]]:
        openers: dict[str, Callable[[], Session]] = {
            runtime: partial(open_session, path, runtime)
            for runtime in _list_candidates(self._runtime)
        }
        if variant and self._runtime == "auto":
            openers[variant.name] = variant.open
        return openers

    def _read_kept(self) -> _Kept:
        """Return the choices; none if they were measured on another machine."""
        try:
            return _parse_kept(json.loads(self._file.read_bytes()))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return {"engines": {}, "timings_ms": {}}

    def _measure(
        self, openers: dict[str, Callable[[], Session]], sample: Tensor, variant: Variant | None
    ) -> dict[str, float]:
        """Return the seconds that each takes; without the variant unless it is worth it."""
        sessions = {name: opener() for name, opener in openers.items() if not _is(name, variant)}
        timings = {name: self._measure_s(session, sample) for name, session in sessions.items()}
        if variant and variant.name in openers:
            try:
                other = variant.open()
            except ModelError:
                return timings
            other_s = self._measure_s(other, sample)
            if other_s * WORTH_IT <= min(timings.values()) and variant.is_sound(
                sessions["onnxruntime"], other
            ):
                timings[variant.name] = other_s
        return timings

    def _measure_s(self, session: Session, sample: Tensor) -> float:
        """Return the seconds of the fastest of a few runs; other load can only slow them down."""
        session.run(sample)
        taken = []
        for _ in range(_ROUNDS):
            start = self._clock()
            session.run(sample)
            taken.append(self._clock() - start)
        return min(taken)


def _is(name: str, variant: Variant | None) -> bool:
    return variant is not None and name == variant.name


def _parse_kept(content: Any) -> _Kept:
    """Raises ``LookupError``, ``TypeError`` or ``AttributeError`` if it is not what was written."""
    if content["machine"] != describe_machine():
        raise LookupError
    # Files of earlier versions have no timings.
    timings = content.get("timings_ms", {})
    return {
        "engines": {str(name): str(chosen) for name, chosen in content["engines"].items()},
        "timings_ms": {
            str(key): {str(name): float(ms) for name, ms in of_key.items()}
            for key, of_key in timings.items()
        },
    }


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
