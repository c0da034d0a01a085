"""Give up the rights of root (capabilities(7)) that a process does not need."""

from __future__ import annotations

import ctypes
from contextlib import suppress

from portraitd.workers.libc import expect_success, libc, prctl

CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER = 0, 1, 2, 3

TO_READ = (DAC_READ_SEARCH,)
"""What reads the libraries of another user; Landlock restricts a worker to them."""

TO_WRITE = (CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER)
"""What writes to the folders of another user."""

_VERSION = 0x20080522
_PR_CAPBSET_DROP, _PR_CAP_AMBIENT = 24, 47
_RAISE, _CLEAR_ALL = 2, 4
_LAST = 63


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
    """Give up all rights but these, of those that the process has; programs inherit none.

    Raises:
        OSError: The kernel refuses.
    """
    permitted = _read() & _bits(numbers)
    for number in range(_LAST + 1):
        # Fails without the right to do so, and for numbers that the kernel does not have.
        with suppress(OSError):
            prctl(_PR_CAPBSET_DROP, number)
    with suppress(OSError):
        prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
    _write(permitted, 0)


def keep_for_programs(numbers: tuple[int, ...]) -> None:
    """Give up all rights but these, which new programs have as well.

    Raises:
        OSError: The process does not have them, or the kernel refuses.
    """
    rights = _bits(numbers)
    _write(rights, rights)
    for number in numbers:
        prctl(_PR_CAP_AMBIENT, _RAISE, number)


def _bits(numbers: tuple[int, ...]) -> int:
    return sum(1 << number for number in numbers)


def _read() -> int:
    """Return the lower half of what this process is permitted."""
    halves = (_Half * 2)()
    expect_success(libc.capget(ctypes.byref(_Header(_VERSION, 0)), halves))
    return int(halves[0].permitted)


def _write(rights: int, inheritable: int) -> None:
    halves = (_Half * 2)(_Half(rights, rights, inheritable), _Half(0, 0, 0))
    expect_success(libc.capset(ctypes.byref(_Header(_VERSION, 0)), halves))
