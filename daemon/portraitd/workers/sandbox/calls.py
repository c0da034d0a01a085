"""A system call filter (seccomp(2)) that refuses what a decoder never needs.

Builds the program that the kernel runs at every call, as classic BPF for x86-64 and arm64. Calls
that libraries may try return an error, so that the library continues without them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Sequence

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

_CLONE_THREAD = 0x00010000
_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

Numbers = tuple[int | None, int | None]

_TO_OTHERS: dict[str, Numbers] = {
    # The network, and every other way to open a new connection.
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200),
    "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242), "sendto": (44, 206),
    "sendmsg": (46, 211), "sendmmsg": (307, 269), "shmget": (29, 194), "semget": (64, 190),
    "msgget": (68, 186), "mq_open": (240, 180), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    # Other programs and other processes.
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "kcmp": (312, 272), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    # The machine.
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "setns": (308, 268), "unshare": (272, 97), "fsopen": (430, 430), "fsmount": (432, 432),
    "fsconfig": (431, 431), "fspick": (433, 433), "move_mount": (429, 429),
    "open_tree": (428, 428), "mount_setattr": (442, 442), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224),
    "swapoff": (168, 225), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "personality": (135, 92), "syslog": (103, 116), "acct": (163, 89), "quotactl": (179, 60),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    "inotify_init": (253, None), "inotify_init1": (294, 26), "fanotify_init": (300, 262),
}  # fmt: skip

_ON_FILES: dict[str, Numbers] = {
    "creat": (85, None), "truncate": (76, 45), "fallocate": (285, 47), "mkdir": (83, None),
    "mkdirat": (258, 34), "mknod": (133, None), "mknodat": (259, 33), "rmdir": (84, None),
    "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38),
    "renameat2": (316, 276), "link": (86, None), "linkat": (265, 37), "symlink": (88, None),
    "symlinkat": (266, 36), "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53),
    "fchmodat2": (452, 452), "chown": (92, None), "fchown": (93, 55), "lchown": (94, None),
    "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None), "utimensat": (280, 88),
    "futimesat": (261, None), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
}  # fmt: skip

_CLONE: Numbers = (56, 220)
_CLONE3: Numbers = (435, 435)
_OPEN: Numbers = (2, None)
_OPENAT: Numbers = (257, 56)
_OPENAT2: Numbers = (437, 437)
_KILL_CALL: Numbers = (62, 129)
_TGKILL: Numbers = (234, 131)
_PRLIMIT: Numbers = (302, 261)
_IOCTL: Numbers = (16, 29)
_FCNTL: Numbers = (72, 25)

_TYPE_INTO_TERMINAL, _PASTE_INTO_TERMINAL = 0x5412, 0x541C
_F_SETOWN, _F_SETOWN_EX = 8, 15

_Instructions = list[bytes]


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


_libc = ctypes.CDLL(None, use_errno=True)


def available() -> bool:
    """Return whether this kernel filters system calls, on an architecture that is known here."""
    number = _SECCOMP.get(platform.machine())
    if number is None:
        return False
    action = ctypes.c_uint32(_ERROR)
    return bool(_libc.syscall(number, _GET_ACTION_AVAILABLE, 0, ctypes.byref(action)) == 0)


def restrict(may_write: bool) -> None:
    """Refuse the network, programs and other processes, permanently and in every thread.

    Args:
        may_write: Whether files may still be opened for writing, created and removed.

    Raises:
        OSError: The kernel does not support filters, or refuses this one.
    """
    code = b"".join(_program(platform.machine(), os.getpid(), may_write))
    program = _Program(len(code) // 8, code)
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or _libc.syscall(
        _SECCOMP[platform.machine()], _SET_MODE_FILTER, _EVERY_THREAD, ctypes.byref(program)
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _program(machine: str, pid: int, may_write: bool) -> _Instructions:
    column = _COLUMN[machine]
    refused = dict.fromkeys(_numbers(_TO_OTHERS, column), errno.EPERM)
    # "Not implemented", so that the C library falls back to calls with visible arguments.
    refused |= dict.fromkeys(
        _numbers({"clone3": _CLONE3, "openat2": _OPENAT2}, column), errno.ENOSYS
    )
    if not may_write:
        refused |= dict.fromkeys(_numbers(_ON_FILES, column), errno.EACCES)
    program = [
        _step(_LOAD, _AT_ARCH),
        _step(_EQUAL, _AUDIT_ARCH[machine], if_true=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _AT_NUMBER),
        _step(_AT_LEAST, _X32_CALLS, if_false=1),
        _step(_RETURN, _ERROR | errno.ENOSYS),
    ]
    for number, error in refused.items():
        program += [_step(_EQUAL, number, if_false=1), _step(_RETURN, _ERROR | error)]
    program += _when(_CLONE[column], 0, _any_bit(_CLONE_THREAD, _ALLOW, _ERROR | errno.EPERM))
    for call in (_KILL_CALL, _TGKILL):
        program += _when(call[column], 0, _one_of([pid], _ALLOW, _ERROR | errno.EPERM))
    program += _when(_PRLIMIT[column], 0, _one_of([0, pid], _ALLOW, _ERROR | errno.EPERM))
    terminal = [_TYPE_INTO_TERMINAL, _PASTE_INTO_TERMINAL]
    program += _when(_IOCTL[column], 1, _one_of(terminal, _ERROR | errno.EPERM, _ALLOW))
    owners = [_F_SETOWN, _F_SETOWN_EX]
    program += _when(_FCNTL[column], 1, _one_of(owners, _ERROR | errno.EPERM, _ALLOW))
    if not may_write:
        for call, argument in ((_OPEN, 1), (_OPENAT, 2)):
            opened_to_write = _any_bit(_TO_WRITE, _ERROR | errno.EACCES, _ALLOW)
            program += _when(call[column], argument, opened_to_write)
    return [*program, _step(_RETURN, _ALLOW)]


def _numbers(calls: dict[str, Numbers], column: int) -> list[int]:
    return [numbers[column] for numbers in calls.values() if numbers[column] is not None]  # type: ignore[misc]


def _when(number: int | None, argument: int, then: _Instructions) -> _Instructions:
    """Decide about one call by the lower half of one of its arguments."""
    if number is None:
        return []
    load = _step(_LOAD, _AT_ARGUMENTS + 8 * argument)
    return [_step(_EQUAL, number, if_false=1 + len(then)), load, *then]


def _any_bit(mask: int, if_set: int, otherwise: int) -> _Instructions:
    return [_step(_ANY_BIT, mask, if_false=1), _step(_RETURN, if_set), _step(_RETURN, otherwise)]


def _one_of(values: Sequence[int], if_found: int, otherwise: int) -> _Instructions:
    steps: _Instructions = []
    for value in values:
        steps += [_step(_EQUAL, value, if_false=1), _step(_RETURN, if_found)]
    return [*steps, _step(_RETURN, otherwise)]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Pack one ``struct sock_filter``; jumps count the instructions to skip."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
