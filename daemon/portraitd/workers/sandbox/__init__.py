"""What a worker may reach: nothing but the descriptors it was handed, as far as the kernel helps.

It happens in two steps. ``enter`` comes before anything is loaded, while there is one thread:
only the libraries, the models and what is named can be opened. ``close`` comes when the models
are loaded and before the first foreign byte is looked at: nothing can be written, nobody
reached, no program run.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from portraitd.workers.sandbox import calls, landlock

_PR_SET_MDWE, _PR_GET_MDWE = 65, 66
_REFUSE_GAIN = 1

WRITTEN_BYTES = 1 << 30
"""The largest file that may be written before a worker is closed: a built network, a grouping."""

_SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64",
    "/etc/ld.so.cache", "/etc/localtime", "/etc/ssl/openssl.cnf",
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems",
    "/proc/sys/vm", "/sys/devices", "/sys/bus/pci", "/sys/class/drm",
    "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random",
)  # fmt: skip
"""What the interpreter and the libraries look at while they are loaded and at work."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a worker may open, besides libraries.

    Attributes:
        readable: Files and folders.
        writable: Folders in which it may write until it is closed; made if they are missing.
        keeps_writing: Whether it may write there afterwards too.
    """

    readable: tuple[Path, ...]
    writable: tuple[Path, ...]
    keeps_writing: bool = False


def enter(confinement: Confinement) -> None:
    """The first step; does what the kernel offers."""
    for folder in confinement.writable:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if landlock.version():
        with suppress(OSError):
            landlock.restrict((*library_paths(), *confinement.readable), confinement.writable)
    _lower(resource.RLIMIT_FSIZE, WRITTEN_BYTES)
    _lower(resource.RLIMIT_NOFILE, 256)


def close(confinement: Confinement) -> None:
    """The second step; does what the kernel offers."""
    if not confinement.keeps_writing:
        if landlock.version():
            with suppress(OSError):
                readable = (*library_paths(), *confinement.readable, *confinement.writable)
                landlock.restrict(readable, ())
        _lower(resource.RLIMIT_FSIZE, 1 << 20)
    # OpenVINO makes its programs while it runs, which is just what this forbids.
    if "openvino" not in sys.modules:
        ctypes.CDLL(None).prctl(_PR_SET_MDWE, _REFUSE_GAIN, 0, 0, 0)
    if calls.available():
        with suppress(OSError):
            calls.restrict(may_write=confinement.keeps_writing)


def missing() -> Iterator[str]:
    """What the kernel does not offer here, each in words."""
    version = landlock.version()
    if not version:
        yield "no Landlock: workers can read every file that the service can read"
    elif version < 4:
        yield f"Landlock {version}: the network is closed by the filter on system calls alone"
    if not calls.available():
        yield "no filter on system calls: workers can open sockets and start programs"
    if ctypes.CDLL(None).prctl(_PR_GET_MDWE, 0, 0, 0, 0) < 0:
        yield "no PR_SET_MDWE: memory that was written can be made to run"


def library_paths() -> tuple[Path, ...]:
    """What every worker reads: the interpreter, its packages, the system's libraries."""
    found = [sys.prefix, sys.base_prefix, *(place for place in sys.path if place), *_SYSTEM]
    return tuple(map(Path, dict.fromkeys(found)))


def _lower(what: int, limit: int) -> None:
    """Never raise a limit that somebody else set lower."""
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(what, (limit, limit))
