"""A system call filter (seccomp(2)) that allows what the jobs of a worker need, and no more.

Builds the program that the kernel runs at every call, as classic BPF for x86-64 and arm64. A call
that is not allowed returns an error, so that a library that only tries it continues without.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from portraitd.workers.libc import expect_success, libc, prctl
from portraitd.workers.sandbox.call_numbers import (
    ALWAYS,
    BY_ARGUMENTS,
    FIRST_SHARED,
    TO_GENERATE_CODE,
    TO_SAVE,
    TO_WRITE,
    Numbers,
)

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}
_X32_CALLS = 0x40000000

_SET_MODE_FILTER, _GET_ACTION_AVAILABLE = 1, 2
_EVERY_THREAD = 1
_PR_SET_NO_NEW_PRIVS = 38

_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000

# Instructions of classic BPF (linux/bpf_common.h), and offsets in ``struct seccomp_data``.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_AT_NUMBER, _AT_ARCH, _AT_ARGUMENTS = 0, 4, 16

_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_OTHERS = stat.S_IRWXO | stat.S_ISUID
_OWNER = (stat.S_IRUSR, stat.S_IWUSR)

_NEW_THREAD = (
    # VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID: as the C
    # library starts a thread, and with DETACHED, as musl does. No process, no namespace.
    0x003D0F00,
    0x007D0F00,
)

_IOCTLS = (
    0x5401,  # TCGETS: whether it is a terminal.
    0x5413,  # TIOCGWINSZ.
    0x541B,  # FIONREAD.
    0x5450, 0x5451,  # FIONCLEX, FIOCLEX.
)  # fmt: skip

_FCNTLS = (
    0, 1030,  # F_DUPFD, F_DUPFD_CLOEXEC.
    1, 2, 3,  # F_GETFD, F_SETFD, F_GETFL. Not F_SETFL: the log is shared with the service.
)  # fmt: skip
_LOCKS = (5, 6, 7, 36, 37, 38)
"""F_GETLK, F_SETLK, F_SETLKW, and the same for open files."""

_PRCTLS = (
    15, 16,  # PR_SET_NAME, PR_GET_NAME.
    0x53564D41,  # PR_SET_VMA, by which the C library names its memory.
)  # fmt: skip

_Instructions = list[bytes]


@dataclass(frozen=True, slots=True)
class CallRights:
    """What a worker may do beyond computing with open files.

    Attributes:
        may_write: Whether it may open files for writing, create and remove them.
        may_save: Whether it may wait until a file that it wrote is on the disk.
        may_lock: Whether it may lock files that it may not write.
        generates_code: Whether it may make memory executable. Otherwise nothing becomes machine
            code that is not yet, neither a library nor the file of its job.
    """

    may_write: bool = False
    may_save: bool = False
    may_lock: bool = False
    generates_code: bool = False


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def available() -> bool:
    """Return whether this kernel filters system calls, on an architecture that is known here."""
    number = _SECCOMP.get(platform.machine())
    if number is None:
        return False
    action = ctypes.c_uint32(_ERROR)
    return bool(libc.syscall(number, _GET_ACTION_AVAILABLE, 0, ctypes.byref(action)) == 0)


def restrict(rights: CallRights) -> None:
    """Allow the calls of ``rights`` only, permanently and in every thread.

    Raises:
        OSError: The kernel does not support filters, or refuses this one.
    """
    code = b"".join(build_filter(platform.machine(), os.getpid(), rights))
    program = _Program(len(code) // 8, code)
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    number = _SECCOMP[platform.machine()]
    expect_success(libc.syscall(number, _SET_MODE_FILTER, _EVERY_THREAD, ctypes.byref(program)))


def list_allowed(machine: str, rights: CallRights) -> set[int]:
    """Return the numbers of calls that are allowed, with any or with some arguments."""
    column = _COLUMN[machine]
    conditional = [BY_ARGUMENTS[name] for name in _check(0, rights)]
    known = (*_without_conditions(rights).values(), *conditional)
    return {number for number in (numbers[column] for numbers in known) if number is not None}


def build_filter(machine: str, pid: int, rights: CallRights) -> _Instructions:
    """Return the instructions of the filter for a process with this id."""
    column = _COLUMN[machine]
    program = [
        _step(_LOAD, _AT_ARCH),
        _step(_EQUAL, _AUDIT_ARCH[machine], if_true=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _AT_NUMBER),
        _step(_AT_LEAST, _X32_CALLS, if_false=1),
        _step(_RETURN, _ERROR | errno.ENOSYS),
    ]
    conditions = {BY_ARGUMENTS[name][column]: steps for name, steps in _check(pid, rights).items()}
    for number, steps in conditions.items():
        program += _when(number, steps)
    for numbers in _without_conditions(rights).values():
        program += _when(numbers[column], [])
    return [
        *program,
        # "Not implemented", so that the C library falls back to a call with visible arguments.
        _step(_AT_LEAST, FIRST_SHARED, if_false=1),
        _step(_RETURN, _ERROR | errno.ENOSYS),
        _step(_RETURN, _ERROR | errno.EPERM),
    ]


def _without_conditions(rights: CallRights) -> dict[str, Numbers]:
    more = TO_WRITE if rights.may_write else TO_SAVE if rights.may_save else {}
    return ALWAYS | more | (TO_GENERATE_CODE if rights.generates_code else {})


def _check(pid: int, rights: CallRights) -> dict[str, _Instructions]:
    """Return the instructions that check the arguments of calls; what passes them is allowed."""
    checks: dict[str, _Instructions] = {
        "mmap": [],
        "mprotect": [],
        "openat": [],
        "open": [],
        "fcntl": _one_of(
            1, (*_FCNTLS, *_LOCKS) if rights.may_write or rights.may_lock else _FCNTLS
        ),
        "ioctl": _one_of(1, _IOCTLS),
        "clone": _one_of(0, _NEW_THREAD),
        "tgkill": _one_of(0, [pid]),
        # Of this process, and of this thread.
        "prlimit64": _one_of(0, [0]),
        "sched_setaffinity": _one_of(0, [0]),
        "prctl": _one_of(0, _PRCTLS),
    }
    if not rights.generates_code:
        checks["mmap"] = _no_bit(2, mmap.PROT_EXEC, errno.EPERM)
        checks["mprotect"] = _no_bit(2, mmap.PROT_EXEC, errno.EPERM)
    if not rights.may_write:
        checks["openat"] = _no_bit(2, _TO_WRITE, errno.EACCES)
        checks["open"] = _no_bit(1, _TO_WRITE, errno.EACCES)
    else:
        # A file that it may only read has a descriptor, too: other users must get no rights to it,
        # and its owner must lose none.
        owned = [step for bit in _OWNER for step in _has_bit(1, bit, errno.EPERM)]
        checks["fchmod"] = [*_no_bit(1, _OTHERS, errno.EPERM), *owned]
    return checks


def _when(number: int | None, checks: _Instructions) -> _Instructions:
    """Allow one call if its arguments pass the checks, each of which returns if they do not."""
    if number is None:
        return []
    then = [*checks, _step(_RETURN, _ALLOW)]
    return [_step(_EQUAL, number, if_false=len(then)), *then]


def _no_bit(argument: int, mask: int, error: int) -> _Instructions:
    """Refuse an argument, by its lower half, that has any of these bits."""
    load = _step(_LOAD, _AT_ARGUMENTS + 8 * argument)
    return [load, _step(_ANY_BIT, mask, if_false=1), _step(_RETURN, _ERROR | error)]


def _has_bit(argument: int, bit: int, error: int) -> _Instructions:
    """Refuse an argument, by its lower half, that does not have this bit."""
    load = _step(_LOAD, _AT_ARGUMENTS + 8 * argument)
    return [load, _step(_ANY_BIT, bit, if_true=1), _step(_RETURN, _ERROR | error)]


def _one_of(argument: int, values: Sequence[int]) -> _Instructions:
    """Refuse an argument, by its lower half, that is none of these values."""
    steps = [_step(_LOAD, _AT_ARGUMENTS + 8 * argument)]
    for left, value in zip(range(len(values), 0, -1), values, strict=True):
        # Skip the other comparisons and the refusal.
        steps.append(_step(_EQUAL, value, if_true=left))
    return [*steps, _step(_RETURN, _ERROR | errno.EPERM)]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Pack one ``struct sock_filter``; jumps count the instructions to skip."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
