"""Permissions that count also when the tests run as root, and those that systemd withholds."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from support.seccomp_filter import (
    ALLOW,
    DENY,
    IF_ANY,
    IF_EQUAL,
    LOAD,
    NUMBER,
    RETURN,
    SECOND_ARGUMENT,
    install,
)

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


_CALL = {"x86_64": 91, "aarch64": 52}
"""The number of fchmod."""


def run_without_special_bits(act: Callable[[], object]) -> None:
    """Run something in a child that may not set the set-group-id bit, as under systemd.

    ``RestrictSUIDSGID`` answers every fchmod with such a bit with EPERM.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _forbid_special_bits()
            act()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _forbid_special_bits() -> None:
    install(
        [
            (LOAD, 0, 0, NUMBER),
            (IF_EQUAL, 0, 3, _CALL[os.uname().machine]),
            (LOAD, 0, 0, SECOND_ARGUMENT),
            (IF_ANY, 0, 1, stat.S_ISUID | stat.S_ISGID),
            (RETURN, 0, 0, DENY),
            (RETURN, 0, 0, ALLOW),
        ]
    )
