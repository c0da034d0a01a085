"""Registry of optional models, which users add and remove with ``portraitd models``.

Nothing is downloaded unless ``add_model`` is called, and only files with the known hash are kept.
"""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from portraitd.faces.models.weights import ModelFile, write_model_file
from portraitd.model.errors import ConfigError, ModelError

TIMEOUT_S = 30.0
"""Timeout of the download while the server sends nothing."""


@dataclass(frozen=True, slots=True)
class OptionalModel:
    """A model that can be added.

    Attributes:
        name: Name on the command line.
        file: Name and hash of its file.
        size: In bytes.
        licence: Of the weights, and where it is stated.
        url: Where ``add_model`` downloads it.
        purpose: One line for a list.
    """

    name: str
    file: ModelFile
    size: int
    licence: str
    url: str
    purpose: str


YUNET = OptionalModel(
    name="yunet",
    file=ModelFile(
        "face_detection_yunet_2023mar.onnx",
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        "run: portraitd models add yunet",
    ),
    size=232_589,
    licence="MIT (opencv_zoo, models/face_detection_yunet)",
    url=(
        "https://github.com/opencv/opencv_zoo/raw/main/"
        "models/face_detection_yunet/face_detection_yunet_2023mar.onnx"
    ),
    purpose="face detector, many times faster than mmod, with landmarks",
)

OPTIONAL_MODELS = {YUNET.name: YUNET}


def find_model(name: str) -> OptionalModel:
    """Return the model with this name.

    Raises:
        ConfigError: If there is none.
    """
    try:
        return OPTIONAL_MODELS[name]
    except KeyError:
        known = ", ".join(sorted(OPTIONAL_MODELS))
        raise ConfigError(f"unknown model {name!r}; known models: {known}") from None


def model_path(of: OptionalModel, models_dir: Path) -> Path:
    """Return the path of a model once it was added."""
    return models_dir / of.file.name


def is_added(of: OptionalModel, models_dir: Path) -> bool:
    """Return whether a model was added; its content is checked when it is used."""
    return model_path(of, models_dir).is_file()


def require_added(of: OptionalModel, models_dir: Path) -> Path:
    """Return the path of a model that was added.

    Raises:
        ModelError: If it was not added.
    """
    if not is_added(of, models_dir):
        raise ModelError(f"{of.name} was not added; run: portraitd models add {of.name}")
    return model_path(of, models_dir)


def add_model(
    wanted: OptionalModel, models_dir: Path, from_file: Path | None = None, url: str | None = None
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
            f"{source} is not {wanted.file.name} ({wanted.size} bytes, SHA-256 "
            f"{wanted.file.sha256}); nothing was added"
        )
    write_model_file(model_path(wanted, models_dir), content)
    return model_path(wanted, models_dir)


def remove_model(unwanted: OptionalModel, models_dir: Path) -> bool:
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


def _read(file: Path, wanted: OptionalModel) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(wanted.size + 1)
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from error


def _download(url: str, wanted: OptionalModel) -> bytes:
    if not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise ModelError(f"{url} is not allowed: the address must start with https://")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:  # noqa: S310
            # One byte more than expected is enough to detect that it is too long.
            return bytes(response.read(wanted.size + 1))
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise ModelError(
            f"{url} cannot be downloaded: {reason}; download it elsewhere and run: "
            f"portraitd models add {wanted.name} --from FILE"
        ) from error
