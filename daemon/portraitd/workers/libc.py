"""The C library, for calls that Python does not offer; their errors as ``OSError``.

``sandbox/namespaces.py`` has its own: it also runs as a program, without this package.
"""

from __future__ import annotations

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)


def expect_success(answer: int) -> int:
    """Return what a call has answered.

    Raises:
        OSError: It is negative: the call failed.
    """
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer


def prctl(option: int, *values: int) -> int:
    """Make a call of prctl(2); arguments that are not given are 0, as most options require.

    Raises:
        OSError: The kernel refuses, or does not know the option.
    """
    arguments = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    return expect_success(libc.prctl(option, *arguments))
