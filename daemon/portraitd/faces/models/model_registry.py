"""Registry of optional models, which users add and remove with ``portraitd models``.

Nothing is downloaded unless ``add_model`` is called, and only files with the known hash are kept.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from portraitd.faces.models.cards import (
    CARDS,
    DLIB,
    EMBEDDERS,
    MOBILEFACENET,
    EmbedderCard,
    ModelCard,
)
from portraitd.faces.models.user_models import (
    ADD_ARCFACE,
    ARCFACE,
    read_user_card,
    with_measured_rules,
)
from portraitd.faces.models.weights import write_model_file
from portraitd.model.errors import ConfigError, ModelError
from portraitd.model.grouping_rules import EmbeddingRules

TIMEOUT_S = 30.0
"""Timeout of the download while the server sends nothing."""


def find_model(name: str) -> ModelCard:
    """Return the model with this name.

    Raises:
        ConfigError: If there is none.
    """
    try:
        return CARDS[name]
    except KeyError:
        known = ", ".join(card.name for card in optional_models())
        raise ConfigError(f"unknown model {name!r}; known models: {known}") from None


def find_embedder(name: str, models_dir: Path) -> EmbedderCard:
    """Return the card of an embedder, with the rules that were measured for it.

    Args:
        name: ``arcface`` is the model that the user brought.
        models_dir: Folder of added models.

    Raises:
        ConfigError: If there is none with this name.
    """
    if name == ARCFACE:
        card = read_user_card(models_dir)
        if card is None:
            raise ConfigError(f"{ARCFACE} was not added; {ADD_ARCFACE}")
        return card
    try:
        return with_measured_rules(EMBEDDERS[name], models_dir)
    except KeyError:
        known = ", ".join(sorted({*EMBEDDERS, ARCFACE}))
        raise ConfigError(f"unknown embedder {name!r}; known embedders: {known}") from None


def find_space(space: str, models_dir: Path) -> EmbedderCard:
    """Return the card of the embedder that made vectors of this embedding space.

    Args:
        space: As stored with each face; what follows a ``+`` does not change its distances.
        models_dir: Folder of added models.

    Raises:
        ConfigError: If no known embedder makes such vectors.
    """
    name = space.partition("+")[0]
    for card in EMBEDDERS.values():
        if card.space == name:
            return with_measured_rules(card, models_dir)
    own = read_user_card(models_dir)
    if own is not None and own.space == name:
        return own
    kind, _, digits = name.partition("-")
    if kind == ARCFACE:
        raise ConfigError(
            f"the stored faces need the model whose SHA-256 begins with {digits}; "
            "run: portraitd models add arcface --from FILE with that file"
        )
    raise ConfigError(f"the embedder of the stored faces, {name}, is not known")


def require_rules(card: EmbedderCard) -> EmbeddingRules:
    """Return the numbers of an embedding model.

    Raises:
        ConfigError: They were never measured.
    """
    if card.rules is None:
        raise ConfigError(
            f"the distances of the model {card.name} have not been measured; "
            f"run: portraitd models use {card.name}"
        )
    return card.rules


def optional_models() -> list[ModelCard]:
    """Return the models that users can add; the others are installed with portraitd."""
    return [card for card in CARDS.values() if card.url]


def wanted_embedder(name: str, kind: str, models_dir: Path) -> EmbedderCard:
    """Return the embedder that the settings ask for.

    Args:
        name: ``encoder.embedder``; ``auto`` is the best one that was added, or else dlib.
        kind: ``encoder.kind``; the reference ``dlib`` runs dlib's own network only.
        models_dir: Folder of added models.

    Raises:
        ConfigError: The name is not known, or the reference cannot run it.
    """
    if kind == "dlib":
        if name not in ("auto", DLIB.name):
            raise ConfigError(f'encoder.embedder = "{name}" needs encoder.kind = "onnx"')
        return DLIB
    if name != "auto":
        return find_embedder(name, models_dir)
    return MOBILEFACENET if is_added(MOBILEFACENET, models_dir) else DLIB


def model_path(of: ModelCard, models_dir: Path) -> Path:
    """Return the path of a model once it was added."""
    return models_dir / of.file.name


def is_added(of: ModelCard, models_dir: Path) -> bool:
    """Return whether a model was added; its content is checked when it is used."""
    return model_path(of, models_dir).is_file()


def require_added(of: ModelCard, models_dir: Path) -> Path:
    """Return the path of a model that was added.

    Raises:
        ModelError: If it was not added.
    """
    if not is_added(of, models_dir):
        raise ModelError(f"{of.name} was not added; run: portraitd models add {of.name}")
    return model_path(of, models_dir)


def add_model(
    wanted: ModelCard, models_dir: Path, from_file: Path | None = None, url: str | None = None
) -> Path:
    """Download a model, or copy it from a file. Adding it twice does no harm.

    Args:
        wanted: See ``find_model``.
        models_dir: Created when needed.
        from_file: A file with the model; then nothing is downloaded.
        url: Another address to download it from; the hash must be the same.

    Returns:
        The path of the added model.

    Raises:
        ModelError: If it cannot be read or downloaded, has another hash, or cannot be written.
    """
    source = str(from_file) if from_file else url or wanted.url
    content = _read(from_file, wanted) if from_file else _download(source, wanted)
    if hashlib.sha256(content).hexdigest() != wanted.file.sha256:
        raise ModelError(
            f"{source} is not {wanted.file.name} ({wanted.size_bytes} bytes, SHA-256 "
            f"{wanted.file.sha256}); nothing was added"
        )
    write_model_file(model_path(wanted, models_dir), content)
    return model_path(wanted, models_dir)


def remove_model(unwanted: ModelCard, models_dir: Path) -> bool:
    """Remove a model; return False if it was not added.

    Raises:
        ModelError: If the file cannot be removed.
    """
    kept = model_path(unwanted, models_dir)
    try:
        kept.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ModelError(f"{kept} cannot be removed: {error.strerror}") from error
    return True


def _read(file: Path, wanted: ModelCard) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(wanted.size_bytes + 1)
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from error


def _download(url: str, wanted: ModelCard) -> bytes:
    if not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise ModelError(f"{url} is not allowed: the address must start with https://")
    # It loads the modules of HTTP, TLS and mail.
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:  # noqa: S310
            # One byte more than expected is enough to detect that it is too long.
            return bytes(response.read(wanted.size_bytes + 1))
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise ModelError(
            f"{url} cannot be downloaded: {reason}; download it elsewhere and run: "
            f"portraitd models add {wanted.name} --from FILE"
        ) from error
