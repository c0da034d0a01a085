"""The system calls that a sealed worker may make, and their numbers on x86-64 and arm64.

Measured: ``benchmarks/system_calls.py`` runs jobs of every kind under strace and prints the calls
that are missing here. Beside the measured ones are those that other versions of the C library use
for the same purpose, such as ``stat`` for ``newfstatat``. A call that is not listed is refused,
also one that is newer than this file.
"""

from __future__ import annotations

Numbers = tuple[int, int | None]
"""On x86-64 and on arm64; None where arm64 does not have the call."""

ALWAYS: dict[str, Numbers] = {
    # The most frequent ones first: the filter compares in this order.
    "read": (0, 63), "futex": (202, 98), "write": (1, 64), "pread64": (17, 67), "lseek": (8, 62),
    "munmap": (11, 215), "madvise": (28, 233), "brk": (12, 214), "mremap": (25, 216),
    "sched_yield": (24, 124), "clock_gettime": (228, 113), "getrusage": (98, 165),
    # Files: those that are open, and what Landlock lets it open.
    "close": (3, 57), "fstat": (5, 80), "newfstatat": (262, 79), "stat": (4, None),
    "lstat": (6, None), "statx": (332, 291), "access": (21, None), "faccessat": (269, 48),
    "readlink": (89, None), "readlinkat": (267, 78), "getdents64": (217, 61), "dup": (32, 23),
    "readv": (19, 65), "writev": (20, 66), "getcwd": (79, 17), "poll": (7, None),
    "ppoll": (271, 73),
    # Receives the files of its jobs from the service.
    "recvmsg": (47, 212),
    # Its own threads and signals.
    "set_robust_list": (273, 99), "rseq": (334, 293), "exit": (60, 93), "exit_group": (231, 94),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132), "restart_syscall": (219, 128), "sched_getaffinity": (204, 123),
    # Times, random numbers, and what it is.
    "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "nanosleep": (35, 101),
    "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153), "getrandom": (318, 278),
    "getpid": (39, 172), "gettid": (186, 178), "getppid": (110, 173), "getuid": (102, 174),
    "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177), "uname": (63, 160),
    "sysinfo": (99, 179), "getcpu": (309, 168),
}  # fmt: skip
"""With any arguments."""

TO_SAVE: dict[str, Numbers] = {"fsync": (74, 82), "fdatasync": (75, 83)}
"""Also for workers that write a file that they were passed."""

TO_WRITE: dict[str, Numbers] = {
    **TO_SAVE, "pwrite64": (18, 68), "mkdir": (83, None),
    "mkdirat": (258, 34), "rmdir": (84, None), "unlink": (87, None), "unlinkat": (263, 35),
    "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276), "link": (86, None),
    "linkat": (265, 37), "flock": (73, 32), "statfs": (137, 43), "fstatfs": (138, 44),
    "copy_file_range": (326, 285), "sendfile": (40, 71),
}  # fmt: skip
"""Also for workers that go on writing files. None that changes a file by its path, as ``chmod`` and
``utimensat`` do, unless Landlock knows it."""

TO_GENERATE_CODE: dict[str, Numbers] = {"mbind": (237, 235)}
"""Also for OpenVINO, which places its memory."""

BY_ARGUMENTS: dict[str, Numbers] = {
    "mmap": (9, 222), "mprotect": (10, 226), "openat": (257, 56), "open": (2, None),
    "fcntl": (72, 25), "ioctl": (16, 29), "clone": (56, 220), "tgkill": (234, 131),
    "prlimit64": (302, 261), "prctl": (157, 167), "sched_setaffinity": (203, 122),
    "fchmod": (91, 52),
}  # fmt: skip
"""Only with some arguments, see ``calls``."""

FIRST_SHARED = 424
"""From here on a call has the same number on every architecture. These are the new ones: libraries
try them and continue with an older call if the kernel does not have them."""
