"""Read files of other programs within limits: plain, or in a zip archive."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

from portraitd.model.errors import ConfigError

MAX_BYTES = 256 << 20

MAX_MEMBERS = 100_000
"""A CVAT export with images has a member for each."""


def read_annotations(path: Path, ending: str, max_bytes: int = MAX_BYTES) -> list[tuple[str, str]]:
    """Return the name and text of each annotation file.

    Args:
        path: A file, or a zip archive with such files.
        ending: Of their names, as ``.xml``.
        max_bytes: Of the file, and of all annotations, unpacked.

    Raises:
        ConfigError: It cannot be read, is too large, or contains none.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if len(data) > max_bytes:
        raise ConfigError(f"{path} is larger than {max_bytes >> 20} MB")
    members = (
        _unpack(path, data, ending, max_bytes) if data.startswith(b"PK") else [(path.name, data)]
    )
    found = []
    for name, content in members:
        try:
            found.append((name, content.decode("utf-8-sig")))
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: {name} is not UTF-8 text") from error
    return found


def _unpack(path: Path, data: bytes, ending: str, max_bytes: int) -> list[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise ConfigError(f"{path} has more than {MAX_MEMBERS:,} files in it")
            wanted = [one for one in members if one.filename.lower().endswith(ending)]
            if not wanted:
                raise ConfigError(f"{path} has no {ending} file in it")
            found: list[tuple[str, bytes]] = []
            left = max_bytes
            for one in wanted:
                # What the directory of the archive says about sizes may be false.
                with archive.open(one) as file:
                    content = file.read(left + 1)
                left -= len(content)
                if left < 0:
                    raise ConfigError(f"{path} unpacks to more than {max_bytes >> 20} MB")
                found.append((one.filename, content))
            return found
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError) as error:
        # RuntimeError stands for an archive with a password.
        raise ConfigError(f"{path} cannot be unpacked: {error}") from error
