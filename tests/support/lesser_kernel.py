"""Run a program as on a kernel, or in a container, that refuses some system calls.

In ``tests/``, ``python -m support.lesser_kernel seccomp,unshare python -m portraitd run`` does.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_PR_SET_NO_NEW_PRIVS = 38

_NUMBERS = {
    "x86_64": {"landlock_create_ruleset": 444, "seccomp": 317, "unshare": 272},
    "aarch64": {"landlock_create_ruleset": 444, "seccomp": 277, "unshare": 97},
}


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse(names: list[str]) -> None:
    """Refuse calls to this process and everything it starts."""
    numbers = _NUMBERS[platform.machine()]
    steps = [(_LOAD, 0, 0, 0)]
    for name in names:
        steps += [(_EQUAL, 0, 1, numbers[name]), (_RETURN, 0, 0, _ERROR | errno.EPERM)]
    steps.append((_RETURN, 0, 0, _ALLOW))
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(steps), code)
    assert libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.syscall(numbers["seccomp"], 1, 0, ctypes.byref(program)) == 0


if __name__ == "__main__":
    refuse(sys.argv[1].split(","))
    os.execvp(sys.argv[2], sys.argv[2:])
