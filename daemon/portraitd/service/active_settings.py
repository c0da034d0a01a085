"""What the running service works with: its settings, and the models that it has loaded.

A command has settings of its own, from its own command line and from a file that may have changed
since the service read it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portraitd.config import Settings
from portraitd.media.fs import write_atomically
from portraitd.service.health import lock_holder

FILE_NAME = "service.json"

_PATHS = ("home", "paths.", "metrics.")


@dataclass(frozen=True, slots=True)
class ActiveService:
    """A running service.

    Attributes:
        process: Its number.
        detector, embedder: The models that it has loaded.
        target: What the stored faces are changed over to; empty if they have it.
        settings: All its settings, as JSON has them.
    """

    process: int
    detector: str
    embedder: str
    target: str
    settings: dict[str, Any]

    def differences(self, settings: Settings) -> dict[str, list[Any]]:
        """Return the value here and the given one of every setting that differs, by its key.

        Paths are left out: the same folder can be written in several ways.
        """
        found = _compare(self.settings, settings.model_dump(mode="json"))
        return {key: values for key, values in found.items() if not key.startswith(_PATHS)}


def write_active(settings: Settings, detector: str, embedder: str, target: str) -> None:
    """Record what this process works with, if that is possible."""
    facts = {
        "process": os.getpid(),
        "detector": detector,
        "embedder": embedder,
        "target": target,
        "settings": settings.model_dump(mode="json"),
    }
    with suppress(OSError):
        write_atomically(settings.state_dir / FILE_NAME, json.dumps(facts).encode())


def read_active(state_dir: Path) -> ActiveService | None:
    """Return what the running service works with; None if none runs or it is not known."""
    process = lock_holder(state_dir)
    try:
        found = ActiveService(**json.loads((state_dir / FILE_NAME).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return found if found.process == process else None


def differences(before: Settings, after: Settings) -> dict[str, list[Any]]:
    """Return the old and the new value of every setting that differs, by its full key."""
    return _compare(before.model_dump(mode="json"), after.model_dump(mode="json"))


def _compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    old, new = _flat(before), _flat(after)
    keys = [*old, *(key for key in new if key not in old)]
    return {key: [old.get(key), new.get(key)] for key in keys if old.get(key) != new.get(key)}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found
