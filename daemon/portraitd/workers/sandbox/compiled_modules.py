"""Modules in C: a worker loads them before it is sealed, because it cannot load them afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

_STANDARD = (
    "_bisect", "_blake2", "_csv", "_ctypes", "_datetime", "_decimal", "_elementtree", "_hashlib",
    "_heapq", "_json", "_lzma", "_bz2", "_md5", "_multibytecodec", "_opcode", "_pickle",
    "_posixsubprocess", "_queue", "_random", "_sha1", "_sha256", "_sha512", "_sha3", "_socket",
    "_statistics", "_struct", "_uuid", "_zoneinfo", "array", "binascii", "cmath", "fcntl", "grp",
    "math", "mmap", "pyexpat", "resource", "select", "termios", "unicodedata", "zlib",
)  # fmt: skip
"""Modules of the standard library in C, as far as this interpreter does not have them built in."""


_FOR_ANSWERS = ("msgspec", "numpy")


def load_common_modules() -> None:
    """Load what any job may import of the standard library, and what its answer is written with."""
    import_available((*_STANDARD, *_FOR_ANSWERS))


def import_available(names: Iterable[str]) -> None:
    """Import modules; some are not built, or have another name in another version."""
    for name in names:
        with suppress(ImportError):
            import_module(name)


def list_compiled(package: str) -> list[str]:
    """Return the modules in C of a package, some of which it imports for some files only."""
    folder = Path(import_module(package).__path__[0])
    found = (path.relative_to(folder.parent) for path in sorted(folder.rglob("*.so")))
    return [".".join([*path.parent.parts, path.name.partition(".")[0]]) for path in found]
