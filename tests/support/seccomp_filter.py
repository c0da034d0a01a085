"""Install seccomp filters, to run tests with fewer rights than this machine gives."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

LOAD, IF_EQUAL, IF_ANY, RETURN = 0x20, 0x15, 0x45, 0x06
"""Instructions of classic BPF; the second and third numbers of a step are where it jumps."""

NUMBER, SECOND_ARGUMENT = 0, 24
"""Offsets in ``struct seccomp_data``."""

ALLOW, DENY = 0x7FFF0000, 0x00050000 | errno.EPERM

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(steps: Sequence[tuple[int, int, int, int]]) -> None:
    """Filter the system calls of this process, and of everything it starts, for good."""
    program = _Program(len(steps), b"".join(struct.pack("=HBBI", *step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _check(libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0))


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
