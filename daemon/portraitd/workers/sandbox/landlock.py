"""Landlock: restrict this process to opening files below some folders.

Uses the system calls directly (landlock(7)): the C library has no functions for them. A rule set
applies to the calling thread and everything it starts afterwards, permanently.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from portraitd.workers.libc import expect_success, libc, prctl

# The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_DIR, _MAKE_FILE, _MAKE_LINK = 1 << 7, 1 << 8, 1 << 12
_REFER = 1 << 13

_READ = _READ_FILE | _READ_DIR
_WRITE = (
    _WRITE_FILE | _TRUNCATE | _REMOVE_DIR | _REMOVE_FILE
    | _MAKE_DIR | _MAKE_FILE | _MAKE_LINK | _REFER
)  # fmt: skip
_ON_FILES = _READ_FILE | _WRITE_FILE | _TRUNCATE

_BIND_OR_CONNECT_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


class _Attributes(ctypes.Structure):
    """``struct landlock_ruleset_attr``."""

    _fields_ = (
        ("files", ctypes.c_uint64),
        ("net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _Beneath(ctypes.Structure):
    """``struct landlock_path_beneath_attr``."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def version() -> int:
    """Return the version of the interface that the kernel supports; 0 if it supports none."""
    answer: int = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    return max(answer, 0)


def restrict(readable: Sequence[Path], writable: Sequence[Path]) -> None:
    """Refuse to open anything except below these paths, and to run programs.

    From version 4 on TCP connections are refused too, from version 6 on signals to processes
    outside and abstract sockets. Files that are open already stay open.

    Args:
        readable: Files and folders; missing ones are skipped.
        writable: Folders in which files may also be written, created and removed.

    Raises:
        OSError: The kernel does not support Landlock, or refuses.
    """
    offered = version()
    handled = _handled(offered)
    rules = _create(offered, handled)
    try:
        for path in readable:
            _allow(rules, path, _READ & handled)
        for path in writable:
            _allow(rules, path, (_READ | _WRITE) & handled)
        prctl(_PR_SET_NO_NEW_PRIVS, 1)
        expect_success(libc.syscall(_RESTRICT_SELF, rules, 0))
    finally:
        os.close(rules)


def _handled(offered: int) -> int:
    """Return every file right that this version knows: a right not listed is allowed."""
    bits = {0: 0, 1: 13, 2: 14, 3: 15, 4: 15}.get(offered, 16)
    return (1 << bits) - 1


def _create(offered: int, handled: int) -> int:
    attributes = _Attributes(handled, _BIND_OR_CONNECT_TCP, _ABSTRACT_SOCKETS_AND_SIGNALS)
    # An older kernel refuses a structure with fields that it does not know.
    size = 8 if offered < 4 else 16 if offered < 6 else 24
    return expect_success(
        libc.syscall(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), 0)
    )


def _allow(rules: int, path: Path, allowed: int) -> None:
    try:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(folder).st_mode):
            allowed &= _ON_FILES
        beneath = _Beneath(allowed, folder)
        expect_success(libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, ctypes.byref(beneath), 0))
    finally:
        os.close(folder)
