"""Namespaces of a worker's own (namespaces(7)), without other processes, networks and IPC.

A process cannot move itself to another PID namespace, only its children. The worker is therefore a
child of the process that the service started, which waits for it and ends as it ends. The first
process of a PID namespace ignores signals that would end it, so the worker is the second one; the
first one does nothing. If any of the three ends, the others are killed.

Run as a program, this module tries whether the kernel allows it; the service, which has threads,
cannot try that itself.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_NEW_UTS, _NEW_IPC, _NEW_USER, _NEW_PID, _NEW_NET = (
    0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
_APART = _NEW_UTS | _NEW_IPC | _NEW_PID | _NEW_NET

_FIRST_FILE = 3
_LAST_FILE = 1 << 20

PROBE_S = 20.0

_libc = ctypes.CDLL(None, use_errno=True)


@lru_cache(maxsize=1)
def available() -> bool:
    """Return whether this process may create the namespaces of a worker."""
    try:
        answer = subprocess.run(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PROBE_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return answer.returncode == 0


def isolate() -> bool:
    """Continue in a child process that has namespaces of its own, where the kernel allows it.

    The calling process must have one thread. It does not return from here: it waits for the child,
    and ends as the child does.

    Returns:
        Whether this is that child; False if the kernel does not allow it.
    """
    if not _may_unshare():
        return False
    _unshare()
    lifeline, held = os.pipe()
    prepared, preparing = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(held)
        _idle(lifeline)
    os.close(preparing)
    # Until it closes its end: a worker would keep this process's end of the other pipe open too,
    # and an end of this process would not show.
    os.read(prepared, 1)
    os.close(prepared)
    worker = os.fork()
    if worker != 0:
        _close_files_except(held)
        _end_as(first, worker)
    os.close(held)
    _die_with_parent(lifeline)
    return True


def _may_unshare() -> bool:
    """Try it in a child, because a step that fails cannot be undone."""
    child = os.fork()
    if child == 0:
        try:
            _unshare()
            # Root's rights over the files of other users end with a user namespace.
            if not all(os.access(path, os.R_OK) for path in (sys.executable, os.__file__)):
                os._exit(1)
            # The first process in a PID namespace is what a container may forbid.
            inner = os.fork()
            if inner == 0:
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]))
        except OSError:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _unshare() -> None:
    """Create the namespaces; with a user namespace unless this user needs none.

    Raises:
        OSError: The kernel does not allow it.
    """
    if os.geteuid() == 0:
        # Within a user namespace, root could no longer read the files of other users.
        _checked(_libc.unshare(_APART))
        return
    user, group = os.geteuid(), os.getegid()
    _checked(_libc.unshare(_APART | _NEW_USER))
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        file = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(file, content.encode())
        finally:
            os.close(file)


def _idle(lifeline: int) -> NoReturn:
    """Be the first process of the namespace until the parent ends, or has ended already.

    Closes all files when it is certain to end with its parent.
    """
    _die_with_parent(lifeline)
    _close_files_except(_FIRST_FILE - 1)
    while True:
        signal.pause()


def _die_with_parent(lifeline: int) -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.set_blocking(lifeline, False)
    try:
        has_parent = os.read(lifeline, 1) != b""
    except BlockingIOError:
        has_parent = True
    os.close(lifeline)
    if not has_parent:
        os._exit(1)


def _end_as(first: int, worker: int) -> NoReturn:
    """Wait for the worker, and end with its exit code or by its signal."""
    while True:
        try:
            _, status = os.waitpid(worker, 0)
            break
        except InterruptedError:
            continue
    with suppress(OSError):
        os.kill(first, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with suppress(OSError, ValueError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
        code = 128 - code
    os._exit(code)


def _close_files_except(kept: int) -> None:
    """Close what belongs to the worker, so that its end is seen at the other side at once."""
    os.closerange(_FIRST_FILE, kept)
    os.closerange(kept + 1, min(os.sysconf("SC_OPEN_MAX"), _LAST_FILE))


def _checked(answer: int) -> None:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    sys.exit(0 if _may_unshare() else 1)
