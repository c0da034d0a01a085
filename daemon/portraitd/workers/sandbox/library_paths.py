"""What every worker reads: the interpreter, its packages and the system's libraries."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64",
    "/etc/ld.so.cache", "/etc/localtime", "/etc/ssl/openssl.cnf",
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems",
    "/proc/sys/vm", "/sys/devices", "/sys/bus/pci", "/sys/class/drm",
    "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random",
)  # fmt: skip
"""What the interpreter and the libraries read while they load and run."""

_PACKAGE = Path(__file__).resolve().parents[2]
"""The folder of our own modules."""


def list_library_paths(hidden: Iterable[Path] = ()) -> tuple[Path, ...]:
    """Return what every worker reads.

    Args:
        hidden: Folders that no worker may read, wherever libraries are: a path for modules that is
            below one of them is left out, and so is everything on the way to one.
    """
    closed = tuple(map(_resolve, hidden))
    installed = _list_package_folders()
    # An environment may be inside a hidden folder, and these contain nothing but libraries.
    own = [path for path in (*installed, _PACKAGE) if not _contains_any(_resolve(path), closed)]
    shared = [Path(sys.prefix), Path(sys.base_prefix), *map(Path, filter(None, sys.path))]
    open_paths = (
        part
        for path in (*shared, *map(Path, _SYSTEM))
        if not _is_below_any(_resolve(path), closed)
        for part in _without(path, closed)
    )
    return tuple(dict.fromkeys((*own, *open_paths)))


def _list_package_folders() -> list[Path]:
    """Return the folders of the standard library and of installed packages."""
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    found = [sysconfig.get_path(kind) for kind in kinds]
    found += [*site.getsitepackages(), site.getusersitepackages()]
    return [Path(path) for path in dict.fromkeys(found)]


def _without(path: Path, closed: tuple[Path, ...]) -> Iterator[Path]:
    """Yield a path, or the parts of it that contain no closed folder."""
    resolved = _resolve(path)
    if not _contains_any(resolved, closed):
        yield path
        return
    with suppress(OSError):
        for entry in sorted(resolved.iterdir()):
            # A link leads elsewhere, where other rules decide.
            if entry not in closed and not entry.is_symlink():
                yield from _without(entry, closed)


def _contains_any(path: Path, closed: tuple[Path, ...]) -> bool:
    return any(folder.is_relative_to(path) for folder in closed)


def _is_below_any(path: Path, closed: tuple[Path, ...]) -> bool:
    return any(path.is_relative_to(folder) for folder in closed)


def _resolve(path: Path) -> Path:
    return Path(os.path.realpath(path))
