"""New settings for a service that runs: what differs, said key by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portraitd.config import Settings


def differences(before: Settings, after: Settings) -> dict[str, list[Any]]:
    """The old and the new value of every setting that is not the same, by its whole name."""
    old, new = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    return {key: [old[key], new[key]] for key in old if old[key] != new[key]}


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{key}.")
        else:
            found[above + key] = value
    return found
