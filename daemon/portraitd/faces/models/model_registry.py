"""Registry of optional models, which users add and remove with ``portraitd models``.

Nothing is downloaded unless ``add_model`` is called, and only files with the known hash are kept.
"""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

from portraitd.faces.models.cards import (
    CARDS,
    DLIB,
    EMBEDDERS,
    INSTALLED,
    MMOD_CARD,
    MOBILEFACENET,
    RECOMMENDED,
    YUNET,
    EmbedderCard,
    ModelCard,
    Role,
)
from portraitd.faces.models.model_download import PARTIAL_SUFFIX, download_model
from portraitd.faces.models.user_models import (
    ADD_ARCFACE,
    ARCFACE,
    read_user_card,
    with_measured_rules,
)
from portraitd.faces.models.weights import write_model_file
from portraitd.model.errors import ConfigError, ModelError
from portraitd.model.grouping_rules import EmbeddingRules

CHOICE_FILE = "chosen.json"
"""Names the models that the user chose, by role."""


def find_model(name: str) -> ModelCard:
    """Return the model with this name; not the one that the user brought.

    Raises:
        ConfigError: If there is none.
    """
    try:
        return CARDS[name]
    except KeyError:
        known = ", ".join(card.name for card in optional_models())
        raise ConfigError(f"unknown model {name!r}; known models: {known}, {ARCFACE}") from None


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
        name: ``encoder.embedder``; ``auto`` is the one that the user chose, or else the best
            one that was added, or dlib.
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
    chosen = _chosen("embedder", models_dir)
    if chosen is not None:
        return find_embedder(chosen, models_dir)
    return MOBILEFACENET if is_added(MOBILEFACENET, models_dir) else DLIB


def wanted_detector(name: str, kind: str, models_dir: Path) -> str:
    """Return the detector that the settings ask for; ``auto`` is yunet if it was added.

    Args:
        name: ``encoder.detector``.
        kind: ``encoder.kind``.
        models_dir: Folder of added models.
    """
    if name != "auto":
        return name
    if kind == "dlib":
        return "cnn"
    chosen = _chosen("detector", models_dir)
    if chosen is not None:
        return chosen
    return YUNET.name if is_added(YUNET, models_dir) else MMOD_CARD.name


def choose(card: ModelCard, models_dir: Path) -> None:
    """Make a model the one that ``auto`` means in the settings.

    Raises:
        ModelError: The folder cannot be written.
    """
    roles: tuple[Role, ...] = ("detector", "embedder")
    chosen = {role: name for role in roles if (name := _chosen(role, models_dir))}
    chosen[card.role] = card.name
    write_model_file(models_dir / CHOICE_FILE, json.dumps(chosen, indent=2).encode() + b"\n")


def _chosen(role: Role, models_dir: Path) -> str | None:
    """Return the model that the user chose for a role, if it is still there."""
    try:
        name = json.loads((models_dir / CHOICE_FILE).read_bytes())[role]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    if name == ARCFACE:
        return ARCFACE if (models_dir / "arcface.onnx").is_file() else None
    card = CARDS.get(name) if isinstance(name, str) else None
    return card.name if card and card.role == role and is_at_hand(card, models_dir) else None


def model_path(of: ModelCard, models_dir: Path) -> Path:
    """Return the path of a model once it was added."""
    return models_dir / of.file.name


def is_added(of: ModelCard, models_dir: Path) -> bool:
    """Return whether a model was added; its content is checked when it is used.

    Raises:
        ModelError: The folder cannot be read, so this is not known.
    """
    path = model_path(of, models_dir)
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error


def is_intact(of: ModelCard, models_dir: Path) -> bool:
    """Return whether a model was added, with the right content."""
    try:
        with model_path(of, models_dir).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == of.file.sha256
    except OSError:
        return False


def is_at_hand(of: ModelCard, models_dir: Path) -> bool:
    """Return whether a model can be used: it is installed with portraitd, or was added."""
    return of.name in INSTALLED or is_added(of, models_dir)


def require_at_hand(of: ModelCard, models_dir: Path) -> None:
    """Check that a model can be used.

    Raises:
        ModelError: If it is not installed with portraitd and was not added.
    """
    if of.name not in INSTALLED:
        require_added(of, models_dir)


def require_added(of: ModelCard, models_dir: Path) -> Path:
    """Return the path of a model that was added.

    Raises:
        ModelError: If it was not added.
    """
    if not is_added(of, models_dir):
        raise ModelError(f"{of.name} was not added; {of.file.remedy}")
    return model_path(of, models_dir)


def missing_recommended(kind: str, detector: str, embedder: str, models_dir: Path) -> list[str]:
    """Return the names of the recommended models that ``auto`` would use and that are missing.

    Args:
        kind: ``encoder.kind``; the reference ``dlib`` runs dlib's own networks only.
        detector, embedder: From the settings; a model that they name is the user's choice, and
            so is one that was chosen with ``choose``.
        models_dir: Folder of added models.
    """
    if kind == "dlib":
        return []
    choices = {"detector": detector, "embedder": embedder}
    return [
        card.name
        for card in RECOMMENDED
        if choices[card.role] == "auto"
        and not is_added(card, models_dir)
        and _chosen(card.role, models_dir) is None
    ]


def add_model(
    wanted: ModelCard,
    models_dir: Path,
    from_file: Path | None = None,
    url: str | None = None,
    offline_command: str = "",
) -> Path:
    """Download a model, or copy it from a file. A model that is there already stays as it is.

    Args:
        wanted: See ``find_model``.
        models_dir: Created when needed.
        from_file: A file with the model, or a folder with that file; then nothing is downloaded.
        url: Another address to download it from; the hash must be the same.
        offline_command: What works without a network, for the error message.

    Returns:
        The path of the added model.

    Raises:
        ModelError: If it is installed with portraitd, cannot be read or downloaded, has another
            hash, or cannot be written.
    """
    if not wanted.url:
        raise ModelError(f"{wanted.name} is installed with portraitd and cannot be added")
    path = model_path(wanted, models_dir)
    if is_intact(wanted, models_dir):
        return path
    if from_file is None:
        offline = offline_command or f"portraitd models add {wanted.name} --from FILE"
        download_model(url or wanted.url, wanted, path, offline)
        return path
    file = _find_in(from_file, wanted) if from_file.is_dir() else from_file
    content = _read(file, wanted)
    if hashlib.sha256(content).hexdigest() != wanted.file.sha256:
        raise ModelError(
            f"{file} is not {wanted.file.name} ({wanted.size_bytes} bytes, SHA-256 "
            f"{wanted.file.sha256}); nothing was added"
        )
    write_model_file(path, content)
    return path


def remove_model(unwanted: ModelCard, models_dir: Path) -> bool:
    """Remove a model, and what an interrupted download left; return False if it was not added.

    Raises:
        ModelError: If it is installed with portraitd, or the file cannot be removed.
    """
    if unwanted.name in INSTALLED:
        raise ModelError(f"{unwanted.name} is installed with portraitd and cannot be removed")
    kept = model_path(unwanted, models_dir)
    was_added = is_added(unwanted, models_dir)
    leftovers = [kept, kept.with_name(kept.name + PARTIAL_SUFFIX)]
    if isinstance(unwanted, EmbedderCard):
        leftovers.append(models_dir / f"{unwanted.name}.json")
    for path in leftovers:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ModelError(f"{path} cannot be removed: {error.strerror}") from error
    return was_added


def _find_in(folder: Path, wanted: ModelCard) -> Path:
    """Return the file of a model in a folder, under its own name or any other.

    Raises:
        ModelError: If there is none.
    """
    named = folder / wanted.file.name
    if named.is_file():
        return named
    for path in sorted(folder.glob("*.onnx")):
        if path.is_file() and path.stat().st_size == wanted.size_bytes:
            return path
    raise ModelError(f"{folder} does not contain {wanted.file.name}; nothing was added")


def _read(file: Path, wanted: ModelCard) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(wanted.size_bytes + 1)
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from error
