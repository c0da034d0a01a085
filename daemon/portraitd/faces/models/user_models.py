"""Cards of models that only the user has, and rules that were measured on the user's own faces.

Both are kept beside the model files, in ``<name>.json``: for ``arcface`` the whole card, and for a
model whose card has no rules the rules that were measured for it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from portraitd.faces.models.cards import EmbedderCard
from portraitd.faces.models.weights import ModelFile, write_model_file
from portraitd.model.errors import ConfigError
from portraitd.model.grouping_rules import EmbeddingRules

ARCFACE = "arcface"
"""The name of the one model that users bring themselves."""

MIN_EMBEDDING_SIZE, MAX_EMBEDDING_SIZE = 64, 1024

ADD_ARCFACE = "run: portraitd models add arcface --from FILE"

_MAX_CARD_BYTES = 100_000


def make_user_card(
    sha256: str,
    size_bytes: int,
    embedding_size: int,
    *,
    is_bgr: bool = False,
    pixel_mean: float = 127.5,
    pixel_scale: float = 127.5,
    rules: EmbeddingRules | None = None,
) -> EmbedderCard:
    """Return the card of a model that the user brings.

    Args:
        sha256: Hex digest of its file. It names the embedding space.
        size_bytes: Of its file.
        embedding_size: How many numbers it gives.
        is_bgr: Whether its input is blue, green, red.
        pixel_mean: Subtracted from the pixels.
        pixel_scale: What they are divided by afterwards.
        rules: The numbers of grouping, if they were measured.
    """
    return EmbedderCard(
        name=ARCFACE,
        role="embedder",
        file=ModelFile("arcface.onnx", sha256, ADD_ARCFACE),
        size_bytes=size_bytes,
        licence="known to you alone",
        trained_on="known to you alone",
        purpose="recognises faces; your own file",
        space=f"arcface-{sha256[:12]}",
        embedding_size=embedding_size,
        alignment="arcface",
        channels="bgr" if is_bgr else "rgb",
        pixel_mean=(pixel_mean,) * 3,
        pixel_scale=(pixel_scale,) * 3,
        rules=rules,
    )


def read_user_card(models_dir: Path) -> EmbedderCard | None:
    """Return the card of the model that the user brought; None if there is none.

    Raises:
        ConfigError: The card is damaged.
    """
    facts = _read(models_dir / "arcface.json")
    if facts is None:
        return None
    try:
        card = make_user_card(
            str(facts["sha256"]),
            int(facts["size_bytes"]),
            int(facts["embedding_size"]),
            is_bgr=facts["channels"] == "bgr",
            pixel_mean=_number(facts["pixel_mean"]),
            pixel_scale=_number(facts["pixel_scale"]),
            rules=_parse_rules(facts.get("rules")),
        )
        sizes = range(MIN_EMBEDDING_SIZE, MAX_EMBEDDING_SIZE + 1)
        if card.embedding_size not in sizes or len(card.file.sha256) != 64:
            raise ValueError("out of range")
    except (LookupError, TypeError, ValueError) as error:
        raise _damaged(models_dir / "arcface.json", ADD_ARCFACE) from error
    return card


def write_user_card(card: EmbedderCard, models_dir: Path) -> None:
    """Write the card of the model that the user brought.

    Raises:
        ModelError: The folder cannot be written.
    """
    facts = {
        "sha256": card.file.sha256,
        "size_bytes": card.size_bytes,
        "embedding_size": card.embedding_size,
        "channels": card.channels,
        "pixel_mean": card.pixel_mean[0],
        "pixel_scale": card.pixel_scale[0],
        "rules": asdict(card.rules) if card.rules else None,
    }
    _write(models_dir / "arcface.json", facts)


def with_measured_rules(card: EmbedderCard, models_dir: Path) -> EmbedderCard:
    """Return a card with the rules that were measured on the user's faces, if there are any.

    Raises:
        ConfigError: The file with the rules is damaged.
    """
    if card.rules is not None or card.name == ARCFACE:
        return card
    path = models_dir / f"{card.name}.json"
    facts = _read(path)
    if facts is None or facts.get("space") != card.space:
        return card
    return replace(card, rules=_parse_rules(facts.get("rules")))


def keep_rules(card: EmbedderCard, models_dir: Path, rules: EmbeddingRules) -> EmbedderCard:
    """Keep the rules that were measured for a model, and return its card with them.

    Raises:
        ModelError: The folder cannot be written.
    """
    measured = replace(card, rules=rules)
    if card.name == ARCFACE:
        write_user_card(measured, models_dir)
    else:
        _write(models_dir / f"{card.name}.json", {"space": card.space, "rules": asdict(rules)})
    return measured


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            facts = json.loads(file.read(_MAX_CARD_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, "remove it, and add the model again") from error
    if not isinstance(facts, dict):
        raise _damaged(path, "remove it, and add the model again")
    return facts


def _write(path: Path, facts: dict[str, Any]) -> None:
    write_model_file(path, json.dumps(facts, indent=2).encode() + b"\n")


def _damaged(path: Path, remedy: str) -> ConfigError:
    return ConfigError(f"{path} cannot be read as the card of a model; {remedy}")


def _parse_rules(facts: Any) -> EmbeddingRules | None:
    """Return rules; None if there are none, or another version of portraitd measured them."""
    try:
        rules = _parse(EmbeddingRules, facts)
    except (LookupError, StopIteration, TypeError, ValueError):
        return None
    return rules if isinstance(rules, EmbeddingRules) else None


def _parse(kind: Any, facts: Any) -> Any:
    """Return a dataclass of numbers from what ``asdict`` and JSON made of one.

    Raises:
        LookupError, StopIteration, TypeError, ValueError: The facts are not those of one.
    """
    if not isinstance(facts, dict):
        return _plain(facts)
    # Of a field that may be None, the other type.
    found: Any = next(one for one in (kind, *get_args(kind)) if is_dataclass(one))
    kinds = get_type_hints(found)
    if facts.keys() - {field.name for field in fields(found)}:
        raise ValueError("unknown keys")
    return found(**{name: _parse(kinds[name], value) for name, value in facts.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_plain, value))
    return value if value is None or isinstance(value, bool) else _number(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("not a number")
    return value
