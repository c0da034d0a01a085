"""Permissions that count also when the tests run as root."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION_3 = 0x20080522
_OVERRIDES = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: what lets root write and look everywhere."""


@contextmanager
def permissions_count() -> Iterator[None]:
    """Within the block, this thread may read and write only what the modes allow its user."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    rights = (ctypes.c_uint32 * 6)()
    _check(libc.capget(header, rights))
    effective = rights[0]
    rights[0] = effective & ~_OVERRIDES
    _check(libc.capset(header, rights))
    try:
        yield
    finally:
        rights[0] = effective
        _check(libc.capset(header, rights))


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
