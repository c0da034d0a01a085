"""Add the embedding model that a user brings, once a sandboxed worker has run it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from portraitd.config import Settings
from portraitd.faces.embedders.model_inspection import inspect_embedder
from portraitd.faces.models.cards import EmbedderCard
from portraitd.faces.models.model_registry import model_path
from portraitd.faces.models.user_models import (
    ARCFACE,
    make_user_card,
    read_user_card,
    write_user_card,
)
from portraitd.faces.models.weights import make_models_dir
from portraitd.media.fs import replacing
from portraitd.model.errors import ConfigError, ModelError, StoreError, WorkerDied
from portraitd.service.pools import inspecting_policy, worker_limits
from portraitd.store.database import Database
from portraitd.store.embedding_space import stored_spaces
from portraitd.workers.pool import LocalExecutor

MAX_MODEL_BYTES = 1 << 30
"""Largest file that is accepted; the largest published ones have about 250 MB."""

_BLOCK_BYTES = 1 << 20


def add_own_model(
    settings: Settings, file: Path, *, is_bgr: bool, pixel_mean: float, pixel_scale: float
) -> EmbedderCard:
    """Copy the user's model into the folder of models, and write its card.

    Args:
        settings: Of the home.
        file: The model; it is only read.
        is_bgr, pixel_mean, pixel_scale: As for ``make_user_card``.

    Returns:
        Its card. Its rules are kept if the same model was added before.

    Raises:
        ModelError: The file cannot be read, is not such a model, or cannot be copied.
        ConfigError: The stored faces need the model that it would replace.
    """
    models_dir = settings.models_dir
    make_models_dir(models_dir)
    target = models_dir / "arcface.onnx"
    try:
        with replacing(target, durable=True, concurrent=True) as copied:
            sha256, size_bytes = _copy(file, copied)
            embedding_size = _inspect(settings, file, copied, is_bgr, pixel_mean, pixel_scale)
            card = make_user_card(
                sha256,
                size_bytes,
                embedding_size,
                is_bgr=is_bgr,
                pixel_mean=pixel_mean,
                pixel_scale=pixel_scale,
            )
            known = _read_known(models_dir)
            if known is not None and _is_same(known, card):
                card = known
            elif known is not None:
                _require_replaceable(settings, known)
            write_user_card(card, models_dir)
    except OSError as error:
        raise ModelError(f"{target} cannot be written: {error.strerror or error}") from error
    return card


def needs_space(settings: Settings, card: EmbedderCard) -> bool:
    """Return whether faces of this home were embedded with a model."""
    try:
        with Database.open_to_read(settings.state_dir) as database:
            spaces = stored_spaces(database)
    except StoreError:
        # Nothing has been processed yet.
        return False
    return any(space.partition("+")[0] == card.space for space in spaces)


def _copy(file: Path, target: Path) -> tuple[str, int]:
    """Copy a file; return its hash and its size.

    Raises:
        ModelError: It cannot be read, or is too large.
        OSError: The copy cannot be written.
    """
    digest, size = hashlib.sha256(), 0
    try:
        source = file.open("rb")
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from error
    with source, target.open("wb") as copied:
        while block := source.read(_BLOCK_BYTES):
            size += len(block)
            if size > MAX_MODEL_BYTES:
                raise ModelError(f"{file} is larger than {MAX_MODEL_BYTES} bytes")
            digest.update(block)
            copied.write(block)
    return digest.hexdigest(), size


def _inspect(
    settings: Settings,
    file: Path,
    copied: Path,
    is_bgr: bool,
    pixel_mean: float,
    pixel_scale: float,
) -> int:
    """Have a worker load and run a model; return how many numbers it gives.

    Raises:
        ModelError: It is not a model as it should be, or the worker did not survive it.
    """
    executor = LocalExecutor(1, worker_limits(settings), inspecting_policy(settings, copied))
    try:
        return executor.submit(
            inspect_embedder,
            copied,
            is_bgr=is_bgr,
            pixel_mean=pixel_mean,
            pixel_scale=pixel_scale,
        ).result()
    except (ModelError, WorkerDied) as error:
        raise ModelError(f"{file} was not added: {error}") from error
    finally:
        executor.shutdown(cancel_futures=True)


def _read_known(models_dir: Path) -> EmbedderCard | None:
    try:
        return read_user_card(models_dir)
    except ConfigError:
        # Damaged: the new card replaces it.
        return None


def _is_same(known: EmbedderCard, card: EmbedderCard) -> bool:
    """Return whether two cards give the same vectors."""
    return (known.space, known.channels, known.pixel_mean, known.pixel_scale) == (
        card.space,
        card.channels,
        card.pixel_mean,
        card.pixel_scale,
    )


def _require_replaceable(settings: Settings, known: EmbedderCard) -> None:
    if needs_space(settings, known):
        raise ConfigError(
            f"the stored faces need the {ARCFACE} model that is there "
            f"({model_path(known, settings.models_dir).name}, SHA-256 {known.file.sha256[:12]}…); "
            "change to another one first: portraitd models use dlib"
        )
