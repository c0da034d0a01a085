"""Asking the running daemon for a set: it alone writes to the store.

A request is a small file below the state, and so is its answer.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from pathlib import Path
from typing import Any

from portraitd.dataset.assembly import Assembled
from portraitd.errors import PortraitdError, PublishError

REQUEST, ANSWER = "dataset.wanted", "dataset.answer"


def ask(state_dir: Path) -> str:
    """Ask for a set. Returns the word under which the answer will come.

    Raises:
        PublishError: The state cannot be written.
    """
    word = secrets.token_hex(8)
    _write(state_dir / REQUEST, word)
    return word


def asked(state_dir: Path) -> str:
    """The word of a request that waits for an answer; empty if there is none."""
    try:
        return (state_dir / REQUEST).read_text(encoding="utf-8")[:64]
    except (OSError, UnicodeDecodeError):
        return ""


def answer(state_dir: Path, word: str, done: Assembled | None, trouble: str) -> None:
    """Say what came of a request, unless somebody has asked again meanwhile."""
    content = {"word": word, "trouble": trouble, "done": done and done._asdict()}
    with contextlib.suppress(PublishError):
        _write(state_dir / ANSWER, json.dumps(content))
    if asked(state_dir) == word:
        (state_dir / REQUEST).unlink(missing_ok=True)


def answered(state_dir: Path, word: str) -> Assembled | None:
    """What came of a request; None as long as nothing did.

    Raises:
        PortraitdError: It could not be built; says why.
    """
    try:
        content: dict[str, Any] = json.loads((state_dir / ANSWER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if content.get("word") != word:
        return None
    if content["done"] is None:
        raise PortraitdError(str(content["trouble"]))
    return Assembled(**{**content["done"], "warnings": tuple(content["done"]["warnings"])})


def withdraw(state_dir: Path, word: str) -> None:
    """Nobody waits for the answer any more."""
    if asked(state_dir) == word:
        (state_dir / REQUEST).unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise PublishError(f"{path} cannot be written: {error.strerror}") from error
