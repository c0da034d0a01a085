"""Jobs that try to get out of a sealed worker, by raw system calls.

Each attempt would succeed in a process of the same user outside. Numbers are those of x86-64 and
arm64; a call that is newer than the headers has the same number on both.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import platform
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from portraitd.model.media_file import Source
from portraitd.workers import file_broker
from portraitd.workers.job_results import returns
from portraitd.workers.sandbox.call_numbers import Numbers

AT_FDCWD = -100
_COLUMN = {"x86_64": 0, "aarch64": 1}[platform.machine()]
_NUMBERS: dict[str, Numbers] = {
    "chmod": (90, None), "utimensat": (280, 88), "setxattr": (188, 5), "removexattr": (197, 14),
    "truncate": (76, 45), "mknodat": (259, 33), "symlinkat": (266, 36), "chdir": (80, 49),
    "chroot": (161, 51), "mount": (165, 40), "unshare": (272, 97), "setns": (308, 268),
    "clone": (56, 220), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "kcmp": (312, 272), "kill": (62, 129), "tkill": (200, 130),
    "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "setpriority": (141, 140),
    "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    "ioprio_set": (251, 30), "prlimit64": (302, 261), "prctl": (157, 167), "seccomp": (317, 277),
    "memfd_create": (319, 279), "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186),
    "mq_open": (240, 180), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217),
    "inotify_init1": (294, 26), "fanotify_init": (300, 262), "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264), "execveat": (322, 281), "personality": (135, 92),
    "socket": (41, 198), "socketpair": (53, 199), "sendmsg": (46, 211), "sendto": (44, 206),
    "shutdown": (48, 210), "setsid": (112, 157), "setpgid": (109, 154), "timer_create": (222, 107),
    "eventfd2": (290, 19), "signalfd4": (289, 74), "epoll_create1": (291, 20), "pipe2": (293, 59),
    "splice": (275, 76), "tee": (276, 77), "vmsplice": (278, 75), "flock": (73, 32),
    "fsync": (74, 82), "ftruncate": (77, 46), "fallocate": (285, 47), "sync": (162, 81),
    "syncfs": (306, 267), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "set_mempolicy": (238, 237), "pkey_mprotect": (329, 288), "remap_file_pages": (216, 234),
}  # fmt: skip
_NEW = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426,
    "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fspick": 433,
    "pidfd_open": 434, "clone3": 435, "openat2": 437, "pidfd_getfd": 438, "process_madvise": 440,
    "mount_setattr": 442, "quotactl_fd": 443, "landlock_create_ruleset": 444, "memfd_secret": 447,
    "process_mrelease": 448, "set_mempolicy_home_node": 450, "fchmodat2": 452, "statmount": 457,
    "listmount": 458, "lsm_set_self_attr": 460, "setxattrat": 463, "removexattrat": 466,
    "open_tree_attr": 467, "file_setattr": 469, "listns": 470,
}  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


@returns("support.bad_jobs:PLAIN")
def sweep(numbers: Iterable[int]) -> dict[str, str]:
    """Make calls without arguments; return the errors, ``done`` for a call that was made."""
    return {str(number): _call(number) for number in numbers}


@returns("support.bad_jobs:PLAIN")
def try_to_get_out(pid: int, path: str, passed: Source) -> dict[str, str]:
    """Make each denied call with arguments that would do something outside.

    Args:
        pid: A process of the same user.
        path: A file of the same user, which the worker may not open.
        passed: The file of this job.

    Returns:
        The error of each attempt, ``done`` for one that was made.
    """
    descriptor = file_broker.open_to_read(passed.path)
    attempts = _attempts(pid, os.fsencode(path), descriptor) | _attempts_of_python(descriptor, pid)
    return {name: attempt() for name, attempt in attempts.items()}


def _attempts(pid: int, path: bytes, descriptor: int) -> dict[str, Callable[[], str]]:
    """Return the attempts that are raw system calls."""
    own = os.getpid()
    value = ctypes.create_string_buffer(b"x", 8)
    name = ctypes.create_string_buffer(b"user.portraitd")
    buffer = ctypes.create_string_buffer(4096)
    remote = struct.pack("=QQ", ctypes.addressof(buffer), 8)
    vector = ctypes.create_string_buffer(remote)
    xattr = ctypes.create_string_buffer(struct.pack("=QII", ctypes.addressof(value), 1, 0))
    attributes = ctypes.create_string_buffer(24)
    how = ctypes.create_string_buffer(struct.pack("=QQQ", os.O_WRONLY, 0, 0))
    parameter = ctypes.create_string_buffer(struct.pack("=i", 0))
    schedule = ctypes.create_string_buffer(struct.pack("=IIQiIQQQ", 48, 0, 0, 5, 0, 0, 0, 0))
    limit = ctypes.create_string_buffer(struct.pack("=QQ", 8, 8))
    clone = ctypes.create_string_buffer(struct.pack("=11Q", 0, 0, 0, 0, signal.SIGCHLD, *[0] * 6))
    thread = 0x003D0F00
    arguments: dict[str, tuple[object, ...]] = {
        # Files by their path: Landlock knows nothing of most of these.
        "chmod": (path, 0o777), "fchmodat2": (AT_FDCWD, path, 0o777, 0),
        "utimensat": (AT_FDCWD, path, None, 0), "truncate": (path, 0),
        "setxattr": (path, name, value, 1, 0), "removexattr": (path, name),
        "setxattrat": (AT_FDCWD, path, 0, name, xattr, 16),
        "removexattrat": (AT_FDCWD, path, 0, name),
        "file_setattr": (AT_FDCWD, path, attributes, 24, 0),
        "openat2": (AT_FDCWD, path, how, 24), "mknodat": (AT_FDCWD, path + b".pipe", 0o010666, 0),
        "symlinkat": (b"/", AT_FDCWD, path + b".link"), "chdir": (b"/",), "chroot": (b"/",),
        "name_to_handle_at": (AT_FDCWD, path, buffer, buffer, 0),
        "open_by_handle_at": (AT_FDCWD, buffer, 0), "inotify_init1": (0,),
        "fanotify_init": (0, 0), "execveat": (AT_FDCWD, b"/bin/true", None, None, 0),
        "quotactl_fd": (descriptor, 0, 0, buffer), "sync": (), "syncfs": (descriptor,),
        # The file of its job, and what it inherited.
        "ftruncate": (2, 0), "fallocate": (2, 0, 0, 4096), "flock": (descriptor, 2), "fsync": (2,),
        "shutdown": (2, 2), "splice": (descriptor, None, 2, None, 1, 0), "tee": (0, 1, 1, 0),
        "vmsplice": (1, vector, 1, 0),
        # Mounts and namespaces.
        "mount": (b"/", b"/mnt", None, 4096, None), "open_tree": (AT_FDCWD, b"/", 1),
        "open_tree_attr": (AT_FDCWD, b"/", 1, None, 0), "move_mount": (-1, b"", -1, b"", 0),
        "fsopen": (b"tmpfs", 0), "fspick": (AT_FDCWD, b"/", 0),
        "statmount": (buffer, buffer, 64, 0),
        "listmount": (buffer, buffer, 8, 0), "mount_setattr": (AT_FDCWD, b"/", 0, buffer, 32),
        "unshare": (0x10000000,), "setns": (descriptor, 0), "listns": (buffer, buffer, 8, 0),
        # Other processes.
        "kill": (pid, 0), "kill itself": (own, 0), "tkill": (pid, 0), "tgkill": (pid, pid, 0),
        "rt_sigqueueinfo": (pid, 0, buffer), "pidfd_open": (pid, 0),
        "pidfd_send_signal": (descriptor, 0, None, 0), "pidfd_getfd": (descriptor, 0, 0),
        "ptrace": (0x4206, pid, 0, 0), "process_vm_readv": (pid, vector, 1, vector, 1, 0),
        "process_vm_writev": (pid, vector, 1, vector, 1, 0), "kcmp": (pid, own, 0, 0, 0),
        "process_madvise": (descriptor, vector, 1, 4, 0), "process_mrelease": (descriptor, 0),
        "migrate_pages": (pid, 64, buffer, buffer), "move_pages": (pid, 0, None, None, None, 0),
        "setpriority": (0, pid, 5), "setpriority of itself": (0, 0, 5),
        "sched_setscheduler": (pid, 3, parameter), "sched_setparam": (pid, parameter),
        "sched_setattr": (pid, schedule, 0), "ioprio_set": (1, pid, 0x6007),
        "prlimit64": (pid, 7, limit, None), "setpgid": (pid, 0), "setsid": (),
        # New processes and threads of another kind.
        "clone": (signal.SIGCHLD, None, None, None, None),
        "clone with a user namespace": (thread | 0x10000000, None, None, None, None),
        "clone of a traced thread": (thread | 0x2000, None, None, None, None),
        "clone3": (clone, 88),
        # Itself.
        "no death with the service": (1, 0, 0, 0, 0), "may be traced": (0x59616D61, -1, 0, 0, 0),
        "new privileges": (38, 0, 0, 0, 0), "dumpable": (4, 1, 0, 0, 0),
        "another memory map": (35, 1, 0, 0, 0), "another child reaper": (36, 1, 0, 0, 0),
        "seccomp": (1, 0, buffer), "landlock_create_ruleset": (None, 0, 1),
        "lsm_set_self_attr": (100, buffer, 32, 0), "personality": (0x0040000,),
        "pkey_mprotect": (buffer, 4096, 4, -1), "remap_file_pages": (buffer, 4096, 4, 0, 0),
        "set_mempolicy": (0, None, 0), "set_mempolicy_home_node": (buffer, 4096, 0, 0),
        # Memory, queues and keys that other processes see, and parts of the kernel.
        "memfd_create": (b"x", 0), "memfd_secret": (0,), "shmget": (0, 4096, 0o1600),
        "semget": (0, 1, 0o1600), "msgget": (0, 0o1600), "mq_open": (b"x", 0o102, 0o600, None),
        "add_key": (b"user", b"x", value, 1, -3), "keyctl": (0, -3, 1),
        "bpf": (5, buffer, 48), "perf_event_open": (buffer, 0, -1, -1, 0), "userfaultfd": (1,),
        "io_uring_setup": (1, buffer), "io_uring_enter": (descriptor, 1, 0, 0, None, 0),
        "io_uring_register": (descriptor, 0, None, 0), "timer_create": (1, None, buffer),
        "eventfd2": (0, 0), "signalfd4": (-1, buffer, 8, 0), "epoll_create1": (0,),
        "pipe2": (buffer, 0),
        # Connections.
        "socket": (socket.AF_INET, socket.SOCK_STREAM, 0),
        "socketpair": (socket.AF_UNIX, socket.SOCK_STREAM, 0, buffer),
        "sendmsg": (descriptor, buffer, 0), "sendto": (descriptor, buffer, 1, 0, None, 0),
    }  # fmt: skip
    called = {
        "kill itself": "kill", "setpriority of itself": "setpriority",
        "clone with a user namespace": "clone", "clone of a traced thread": "clone",
        **dict.fromkeys(
            ("no death with the service", "may be traced", "new privileges", "dumpable",
             "another memory map", "another child reaper"), "prctl",
        ),
    }  # fmt: skip
    numbers = {name: both[_COLUMN] for name, both in _NUMBERS.items()} | _NEW
    return {
        attempt: _bind(number, given)
        for attempt, given in arguments.items()
        # arm64 has no ``chmod``.
        if (number := numbers[called.get(attempt, attempt)]) is not None
    }


def _attempts_of_python(descriptor: int, pid: int) -> dict[str, Callable[[], str]]:
    """Return the attempts with calls that are allowed with other arguments."""
    return {
        "code from the file of the job": lambda: _error_of(
            lambda: mmap.mmap(descriptor, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
        ),
        "code from memory": lambda: _error_of(
            lambda: mmap.mmap(-1, 4096, mmap.MAP_PRIVATE, mmap.PROT_WRITE | mmap.PROT_EXEC)
        ),
        "the log cannot be made to fail": lambda: _error_of(
            lambda: fcntl.fcntl(2, fcntl.F_SETFL, os.O_NONBLOCK)
        ),
        "a lease on the file of the job": lambda: _error_of(
            lambda: fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        ),
        "signals for other processes": lambda: _error_of(
            lambda: fcntl.fcntl(descriptor, fcntl.F_SETOWN, pid)
        ),
        "typing into a terminal": lambda: _error_of(lambda: fcntl.ioctl(0, 0x5412, b"x")),
        "making a log non-blocking": lambda: _error_of(
            lambda: fcntl.ioctl(2, 0x5421, struct.pack("=i", 1))
        ),
    }


def _bind(number: int, arguments: tuple[object, ...]) -> Callable[[], str]:
    return lambda: _call(number, *arguments)


def _call(number: int, *arguments: object) -> str:
    ctypes.set_errno(0)
    padded = [
        ctypes.c_long(one) if isinstance(one, int) else one
        for one in (*arguments, *[0] * (6 - len(arguments)))
    ]
    if _libc.syscall(ctypes.c_long(number), *padded) != -1:
        return "done"
    return errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno()))


def _error_of(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return "done"


@returns("support.bad_jobs:PLAIN")
def describe_process() -> dict[str, object]:
    """Return what a worker sees of itself, of other processes and of the network."""
    status = dict(
        line.split(":\t", 1)
        for line in Path("/proc/self/status").read_text().splitlines()
        if ":\t" in line
    )
    links = {}
    for name in ("net", "pid", "ipc", "uts", "user"):
        with suppress(OSError):
            links[name] = os.readlink(f"/proc/self/ns/{name}")
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "namespaces": links,
        "capabilities": [status[name] for name in ("CapEff", "CapPrm", "CapInh", "CapBnd")],
        "filters": status["Seccomp"],
        "no new privileges": status["NoNewPrivs"],
        "descriptors": sorted(os.readlink(f"/proc/self/fd/{one}") for one in _open_files()),
    }


def _open_files() -> list[int]:
    found = []
    for descriptor in range(256):
        with suppress(OSError):
            os.fstat(descriptor)
            found.append(descriptor)
    return found


@returns("support.bad_jobs:PLAIN")
def try_to_read(paths: list[str]) -> dict[str, str]:
    """Try to open files and list folders; return the errors, ``done`` for what was read."""
    found = {}
    for path in paths:
        reads = os.listdir if os.path.isdir(path) else _read_first
        found[path] = _error_of(lambda: reads(path))  # noqa: B023
    return found


def _read_first(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(1)


@returns("support.bad_jobs:PLAIN")
def try_to_write(paths: list[str]) -> dict[str, str]:
    """Try to change files and to create some in folders; ``done`` for what was written."""
    found = {}
    for path in paths:
        writes = _create_in if os.path.isdir(path) else _append_to
        found[path] = _error_of(lambda: writes(path))  # noqa: B023
    return found


def _append_to(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND))


def _create_in(folder: str) -> None:
    path = os.path.join(folder, "created by a worker")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    os.unlink(path)


@returns("support.bad_jobs:PLAIN")
def try_to_change(paths: list[str]) -> list[str]:
    """Try to change what a file or folder is, by its path and where it can be read; return what
    was done."""
    attempts: dict[str, Callable[[str], object]] = {
        "mode": lambda path: os.chmod(path, 0o700),
        "time": lambda path: os.utime(path, (0, 0)),
        "attribute": lambda path: os.setxattr(path, "user.portraitd", b"x"),
        "size": lambda path: os.truncate(path, 0),
        "size of the log": lambda path: os.ftruncate(2, 0),
        "owner": lambda path: os.chown(path, os.geteuid(), os.getegid()),
        "link": lambda path: os.symlink("/", f"{path}.link"),
        "pipe": lambda path: os.mkfifo(f"{path}.pipe"),
        "mode for others": lambda path: _with_descriptor(path, lambda fd: os.fchmod(fd, 0o646)),
        "mode for nobody": lambda path: _with_descriptor(path, lambda fd: os.fchmod(fd, 0)),
        "mode of a program": lambda path: _with_descriptor(path, lambda fd: os.fchmod(fd, 0o4700)),
        "time of a descriptor": lambda path: _with_descriptor(
            path, lambda fd: os.utime(fd, (0, 0))
        ),
    }
    return [
        f"{name}: {path}"
        for path in paths
        for name, attempt in attempts.items()
        if _error_of(lambda: attempt(path)) == "done"  # noqa: B023
    ]


@returns("support.bad_jobs:PLAIN")
def try_to_move(sources: list[str], folders: list[str]) -> list[str]:
    """Try to get files and folders into other ones, under another name; return what was done."""
    attempts: dict[str, Callable[[str, str], object]] = {
        "link": os.link,
        "rename": os.rename,
        "exchange": lambda one, other: _check(
            _libc.renameat2(AT_FDCWD, one.encode(), AT_FDCWD, other.encode(), 2)
        ),
        "symbolic link": os.symlink,
    }
    return [
        f"{name}: {source} to {folder}"
        for source in sources
        for folder in folders
        for name, attempt in attempts.items()
        if _error_of(lambda: attempt(source, f"{folder}/taken")) == "done"  # noqa: B023
    ]


def _check(answer: int) -> None:
    if answer:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@returns("support.bad_jobs:PLAIN")
def ask_the_broker(job: HasFiles, requests: list[bytes]) -> list[str]:
    """Send requests to the broker, as a worker that knows how; return the errors."""
    connection = file_broker._connection.socket
    assert connection is not None
    found = []
    for request in requests:
        os.write(connection.fileno(), request)
        answer, descriptors, _, _ = socket.recv_fds(connection, 4, 1)
        number = int.from_bytes(answer, "little")
        found.append("done" if descriptors else errno.errorcode[number])
    return found


class HasFiles(NamedTuple):
    """An argument of a job that names files, as the service does."""

    files: list[file_broker.JobFile]


def _with_descriptor(path: str, change: Callable[[int], object]) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        change(descriptor)
    finally:
        os.close(descriptor)


@returns("support.bad_jobs:PLAIN")
def try_to_load(library: str) -> str:
    """Try to load a library that is not loaded yet; return the error, ``done`` if it is loaded."""
    try:
        ctypes.CDLL(library)
    except OSError as error:
        return str(error)
    return "done"


@returns("support.bad_jobs:PLAIN")
def list_modules() -> list[str]:
    """Return the modules that a worker has loaded."""
    return sorted(sys.modules)


def prepare_and_import_this(prepare: tuple[Callable[..., object], tuple[Any, ...]]) -> None:
    """Load what workers of a kind load; this module is there then too, and they can use it."""
    function, arguments = prepare
    function(*arguments)
    import_module("support.bad_jobs")
