"""Give up the rights of root (capabilities(7)) that a worker does not need."""

from __future__ import annotations

import ctypes
import os

CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER = 0, 1, 2, 3

TO_READ = (DAC_READ_SEARCH,)
"""What reads the libraries of another user; Landlock restricts it to them."""

TO_WRITE = (CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER)
"""What writes to the folders of another user."""

_VERSION = 0x20080522
_PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _CLEAR_ALL = 24, 47, 4
_LAST = 63

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    """``struct __user_cap_header_struct``."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Half(ctypes.Structure):
    """``struct __user_cap_data_struct``; two of them are a set."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def keep(numbers: tuple[int, ...]) -> None:
    """Give up all rights but these, of those that the process has.

    Raises:
        OSError: The kernel refuses.
    """
    permitted = _read() & sum(1 << number for number in numbers)
    for number in range(_LAST + 1):
        # Fails without the right to do so, and for numbers that the kernel does not have.
        _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    _libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    halves = (_Half * 2)(_Half(permitted, permitted, 0), _Half(0, 0, 0))
    _checked(_libc.capset(ctypes.byref(_Header(_VERSION, 0)), halves))


def _read() -> int:
    """Return the lower half of what this process is permitted."""
    halves = (_Half * 2)()
    _checked(_libc.capget(ctypes.byref(_Header(_VERSION, 0)), halves))
    return int(halves[0].permitted)


def _checked(answer: int) -> None:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
