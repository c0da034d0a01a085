"""Writing a model file so that it is there entirely or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from portraitd.model.errors import ModelError


def write_whole(path: Path, content: bytes) -> None:
    """Write beside, then rename; workers that start together may all do so.

    Raises:
        ModelError: If the folder cannot be written.
    """
    beside = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            beside = file.name
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).replace(path)
    except OSError as error:
        if beside:
            Path(beside).unlink(missing_ok=True)
        raise ModelError(f"{path} cannot be written: {error.strerror}") from error
