"""The sandbox of a worker: only the descriptors it was passed.

A worker enters it in two steps. ``enter`` runs before anything is loaded, while there is one
thread: from then on the worker has namespaces of its own, and only libraries, models and named
paths can be opened. ``seal`` runs when the models are loaded and before the first untrusted byte is
read: no writing, no network, no other programs, no further libraries, no call that its jobs do not
need.

Landlock and the filter are required: a worker that cannot have one of them ends, unless the
settings accept less. Everything else is used where the kernel offers it.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from portraitd.model.errors import ConfigError, WorkerDied
from portraitd.workers import capabilities
from portraitd.workers.libc import prctl
from portraitd.workers.sandbox import calls, landlock, namespaces
from portraitd.workers.sandbox.calls import CallRights
from portraitd.workers.sandbox.compiled_modules import load_common_modules
from portraitd.workers.sandbox.library_paths import list_library_paths

_PR_SET_MDWE, _PR_GET_MDWE = 65, 66
_REFUSE_GAIN = 1

MAX_FILE_BYTES = 1 << 30
"""The largest file that a worker may write before it is sealed: a built network, a grouping."""


@dataclass(frozen=True, slots=True)
class FileAccess:
    """What a worker may open, besides libraries.

    Attributes:
        readable: Files and folders.
        writable: Folders that it may write to until it is sealed; created if they are missing.
        keeps_writing: Whether it may write to them afterwards too.
        saves_files: Whether it may write whole files that it was passed.
        locks_files: Whether it may lock what it reads, as SQLite does.
        keeps_libraries: Whether it may still read libraries when it is sealed. It can load none.
        hidden: Folders that it may not read, even if libraries are sought there; those above win.
        accepts_less: Whether it also runs where the kernel supports neither Landlock nor filters.
    """

    readable: tuple[Path, ...]
    writable: tuple[Path, ...]
    keeps_writing: bool = False
    saves_files: bool = False
    locks_files: bool = False
    keeps_libraries: bool = True
    hidden: tuple[Path, ...] = ()
    accepts_less: bool = False


class _ThisWorker:
    """What the first step found out for the second one, which can no longer list all folders."""

    libraries: tuple[Path, ...] = ()


_this_worker = _ThisWorker()


def enter(access: FileAccess) -> None:
    """Take the first step. The worker continues in another process, see ``namespaces``.

    Raises:
        OSError: The kernel does not support it, and ``access`` does not accept less.
    """
    if namespaces.isolate() and os.geteuid() != 0:
        # In a new user namespace every process has all rights.
        capabilities.keep(())
    _forget_resource_tracker()
    for folder in access.writable:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _this_worker.libraries = list_library_paths(access.hidden)
    with _tolerating(access):
        readable = (*_this_worker.libraries, *access.readable)
        landlock.restrict(readable, access.writable)
    _lower_limit(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
    _lower_limit(resource.RLIMIT_NOFILE, 256)


def seal(access: FileAccess) -> None:
    """Take the second step.

    Raises:
        WorkerDied: The kernel does not support it, and ``access`` does not accept less.
    """
    try:
        _seal(access)
    except OSError as error:
        raise WorkerDied(f"the sandbox cannot be entered: {error}") from error


def _seal(access: FileAccess) -> None:
    load_common_modules()
    readable = [*access.readable, *access.writable]
    if access.keeps_libraries:
        readable += _this_worker.libraries
    with _tolerating(access):
        landlock.restrict(readable, access.writable if access.keeps_writing else ())
    if not (access.keeps_writing or access.saves_files):
        _lower_limit(resource.RLIMIT_FSIZE, 1 << 20)
    with suppress(OSError):
        capabilities.keep(capabilities.TO_WRITE if access.keeps_writing else capabilities.TO_READ)
    # OpenVINO generates machine code while it runs, which is what this forbids.
    generates_code = "openvino" in sys.modules
    if not generates_code:
        with suppress(OSError):
            prctl(_PR_SET_MDWE, _REFUSE_GAIN)
    with _tolerating(access):
        calls.restrict(
            CallRights(
                may_write=access.keeps_writing,
                may_save=access.saves_files,
                may_lock=access.locks_files,
                generates_code=generates_code,
            )
        )


def require_support(remedy: str = 'workers.sandbox = "reduced"') -> None:
    """Check that this kernel supports what a worker must have.

    Args:
        remedy: The setting or option that allows workers to run without it.

    Raises:
        ConfigError: It does not.
    """
    lacking = list(missing_essentials())
    if lacking:
        raise ConfigError(
            "this kernel or container does not support the sandbox of workers: "
            f"{'; '.join(lacking)}. To run portraitd anyway, use {remedy}; see docs/security.md"
        )


def missing_features() -> Iterator[str]:
    """Yield what this kernel does not support, and what workers can do therefore."""
    yield from missing_essentials()
    version = landlock.version()
    if 0 < version < 4:
        yield f"Landlock {version}: only the system call filter blocks the network"
    try:
        prctl(_PR_GET_MDWE)
    except OSError:
        yield "no PR_SET_MDWE: only the system call filter keeps written memory from being executed"


def missing_namespaces() -> Iterator[str]:
    """Yield what follows if workers cannot have namespaces of their own; tries it in a process.

    Under the systemd unit that is normal: the service as a whole has some.
    """
    if not namespaces.available():
        yield (
            "no namespaces of their own: only Landlock and the system call filter separate workers "
            "from other processes and from the network"
        )


def missing_essentials() -> Iterator[str]:
    """Yield what this kernel does not support and a worker must have, unless less is accepted."""
    if not landlock.version():
        yield "no Landlock: workers can read every file that the service can read"
    if not calls.available():
        yield "no system call filter: workers can open sockets and start programs"


def _tolerating(access: FileAccess) -> AbstractContextManager[None]:
    """Ignore an error of the kernel, if that is accepted."""
    return suppress(OSError) if access.accepts_less else nullcontext()


def _forget_resource_tracker() -> None:
    """Close the pipe to multiprocessing's tracker, which removes shared memory on request."""
    tracker: Any = resource_tracker._resource_tracker
    if tracker._fd is not None:
        os.close(tracker._fd)
        tracker._fd = None


def _lower_limit(kind: int, limit: int) -> None:
    """Lower a resource limit; never raise one that was set lower from outside."""
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(kind, (limit, limit))
