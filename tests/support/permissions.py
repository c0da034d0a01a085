"""Permissions that count also when the tests run as root, and those that systemd withholds."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator
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


_CALL = {"x86_64": 91, "aarch64": 52}
"""The number of fchmod."""

_LOAD, _IF_EQUAL, _IF_ANY, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _SECOND_ARGUMENT = 0, 24
_ALLOW, _DENY = 0x7FFF0000, 0x00050000 | errno.EPERM
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2


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
    steps = [
        (_LOAD, 0, 0, _NUMBER),
        (_IF_EQUAL, 0, 3, _CALL[os.uname().machine]),
        (_LOAD, 0, 0, _SECOND_ARGUMENT),
        (_IF_ANY, 0, 1, stat.S_ISUID | stat.S_ISGID),
        (_RETURN, 0, 0, _DENY),
        (_RETURN, 0, 0, _ALLOW),
    ]
    packed = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(packed))
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _check(libc.prctl(_SET_SECCOMP, _FILTER, program, 0, 0))
