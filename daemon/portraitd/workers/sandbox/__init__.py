"""The sandbox of a worker: only the descriptors it was passed, as far as the kernel supports it.

A worker enters it in two steps. ``enter`` runs before anything is loaded, while there is one
thread: only libraries, models and named paths can be opened. ``seal`` runs when the models are
loaded and before the first untrusted byte is read: no writing, no network, no other programs.
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

MAX_FILE_BYTES = 1 << 30
"""The largest file that a worker may write before it is sealed: a built network, a grouping."""

_SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64",
    "/etc/ld.so.cache", "/etc/localtime", "/etc/ssl/openssl.cnf",
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems",
    "/proc/sys/vm", "/sys/devices", "/sys/bus/pci", "/sys/class/drm",
    "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random",
)  # fmt: skip
"""What the interpreter and the libraries read while they load and run."""


@dataclass(frozen=True, slots=True)
class FileAccess:
    """What a worker may open, besides libraries.

    Attributes:
        readable: Files and folders.
        writable: Folders that it may write to until it is sealed; created if they are missing.
        keeps_writing: Whether it may write to them afterwards too.
    """

    readable: tuple[Path, ...]
    writable: tuple[Path, ...]
    keeps_writing: bool = False


def enter(access: FileAccess) -> None:
    """Take the first step, with what the kernel supports."""
    for folder in access.writable:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if landlock.version():
        with suppress(OSError):
            landlock.restrict((*library_paths(), *access.readable), access.writable)
    _lower_limit(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
    _lower_limit(resource.RLIMIT_NOFILE, 256)


def seal(access: FileAccess) -> None:
    """Take the second step, with what the kernel supports."""
    if not access.keeps_writing:
        if landlock.version():
            with suppress(OSError):
                readable = (*library_paths(), *access.readable, *access.writable)
                landlock.restrict(readable, ())
        _lower_limit(resource.RLIMIT_FSIZE, 1 << 20)
    # OpenVINO generates machine code while it runs, which is what this forbids.
    if "openvino" not in sys.modules:
        ctypes.CDLL(None).prctl(_PR_SET_MDWE, _REFUSE_GAIN, 0, 0, 0)
    if calls.available():
        with suppress(OSError):
            calls.restrict(may_write=access.keeps_writing)


def missing_features() -> Iterator[str]:
    """Yield what this kernel does not support, and what workers can do therefore."""
    version = landlock.version()
    if not version:
        yield "no Landlock: workers can read every file that the service can read"
    elif version < 4:
        yield f"Landlock {version}: only the system call filter blocks the network"
    if not calls.available():
        yield "no system call filter: workers can open sockets and start programs"
    if ctypes.CDLL(None).prctl(_PR_GET_MDWE, 0, 0, 0, 0) < 0:
        yield "no PR_SET_MDWE: workers can make memory that they wrote executable"


def library_paths() -> tuple[Path, ...]:
    """Return what every worker reads: the interpreter, its packages, the system libraries."""
    found = [sys.prefix, sys.base_prefix, *(path for path in sys.path if path), *_SYSTEM]
    return tuple(map(Path, dict.fromkeys(found)))


def _lower_limit(kind: int, limit: int) -> None:
    """Lower a resource limit; never raise one that was set lower from outside."""
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(kind, (limit, limit))
