"""Where dlib's weights are installed, and whether they are the ones portraitd knows.

The package face_recognition_models brings them, so nothing is ever downloaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from portraitd.model.errors import ModelError

REINSTALL = "install the package face_recognition_models again"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file with weights.

    Attributes:
        name: Its name without a folder.
        sha256: Of its content. A flipped bit in a weight can be seen in no other way.
        remedy: What to do where it is missing or damaged.
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


def find(model: ModelFile) -> Path:
    """Where a model file of the package is installed.

    The package is not imported: its import needs pkg_resources, and it is only a folder.

    Raises:
        ModelError: If the package or the file is missing.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "models" / model.name
        if path.is_file():
            return path
    raise ModelError(f"{model.name} is not installed; {model.remedy}")


def verified(model: ModelFile, path: Path) -> bytes:
    """The content of a model file.

    Raises:
        ModelError: If it cannot be read or is not the file that portraitd knows.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; {model.remedy}") from error
    if hashlib.sha256(content).hexdigest() != model.sha256:
        raise ModelError(f"{path} is damaged or another {model.name}; {model.remedy}")
    return content
