"""The lease on a people tree: one portraitd at a time works on it.

Two services with the same database name on one tree, such as those of a home and of its copy, would
take each other's publications for edits. So the one that works on a tree holds a file in it.

On a local file system the kernel's lock on that file decides: it ends with its process, however
that ends, and the file is written once. On a network share locks may be missing, or count on one
machine only. There the holder changes the file every ``RENEW_S``. Another service takes it over
when it has seen the same content for ``STALE_S`` by its own steady clock: clocks of different
machines are never compared, nor the times of files. The holder reads the file before each turn, and
stands back if it is another's: a machine that was suspended notices before it writes.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import structlog

from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.model.stage import Now, Stage
from portraitd.model.wording import escape_unprintable
from portraitd.people.tree.folder_fs import OWN_PREFIX, move_folder_aside, open_root, set_mode
from portraitd.people.tree.manifest import ROOT_MANIFEST, read_note

log = structlog.get_logger(stage="lease")

LEASE_NAME = f"{OWN_PREFIX}lease"

RENEW_S = 20.0

STALE_S = 300.0
"""Longer than any turn of a service, and than a share may show an old content."""

CONFIRM_S = 5.0
"""On a share, before a lease counts: two services may have written at the same moment."""

_MAX_BYTES = 4096
_UNWRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_NO_FILE = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENODEV})
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class LeaseRecord(NamedTuple):
    """The content of a lease.

    Attributes:
        token: Identifies the holder.
        renewals: Increased with each renewal.
        machine: Name of its machine, for people.
        home: Its home, for people.
        process: Kernel, process namespace, number and start of its process.
    """

    token: str
    renewals: int
    machine: str
    home: str
    process: tuple[str, int, int, int]

    def to_bytes(self) -> bytes:
        """Return the lease as JSON."""
        return json.dumps({"portraitd": 1} | self._asdict()).encode() + b"\n"


class TreeLease(Stage):
    """Holds the lease while no other portraitd does. No tree, no lease.

    Args:
        root: The root of the tree.
        store: The store that works on it; a tree of another one is left alone.
        home: The home, to be named to others.
        is_shared: Returns whether other machines may write to the tree.
        probe: Returns why the share must not be touched.
    """

    def __init__(
        self,
        root: Path,
        store: str,
        home: Path,
        is_shared: Callable[[], bool] = lambda: False,
        probe: Callable[[], Reason] = lambda: NO_REASON,
    ) -> None:
        self._root = root
        self._store = store
        self._is_shared = is_shared
        self._probe = probe
        self._token = secrets.token_hex(16)
        self._record = LeaseRecord(
            self._token, 0, socket.gethostname(), os.fspath(home), read_process(os.getpid())
        )
        self._fd: int | None = None
        self._renewed_s = 0.0
        self._confirmed_s = float("inf")
        self._seen = b""
        self._seen_s = 0.0
        self._is_locked_out = False
        self._is_decided = False
        self._blocked = NO_REASON

    @property
    def blocked(self) -> Reason:
        """Return why the tree must not be touched; ``NO_REASON`` if it may be."""
        return self._blocked

    @property
    def is_locked_out(self) -> bool:
        """Return whether another process holds the lock on the lease: it certainly lives."""
        return self._is_locked_out

    @property
    def is_taking_over(self) -> bool:
        """Return whether it is written, and not certain yet."""
        return self._fd is not None and bool(self._blocked)

    def tick(self, now: Now) -> None:
        """Renew the lease, or try to get it; ``blocked`` then says whether it is held."""
        before = self._blocked
        if self._probe():
            # The stages that work there say so, and wait.
            return
        try:
            with open_root(self._root) as root_fd:
                self._blocked = self._advance(root_fd, now.steady_s)
        except OSError as error:
            self.close()
            self._blocked = NO_REASON if self._is_harmless(error) else self._describe_fault(error)
        if self.is_taking_over:
            return
        if self._blocked and self._blocked != before:
            log.error("tree_in_use", reason=self._blocked.text, reason_code=self._blocked.code)
        elif before and not self._blocked:
            log.info("lease_taken", root=str(self._root))

    def close(self) -> None:
        """Close the file, as the end of the process would; its content stays."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def give_up(self) -> None:
        """End the lease, so that another portraitd need not wait."""
        if self._fd is not None:
            with suppress(OSError), open_root(self._root) as root_fd:
                if self._is_still_ours(root_fd):
                    self._remove(root_fd)
        self.close()
        self._blocked = self._refuse("the lease was released")

    def _remove(self, root_fd: int) -> None:
        try:
            os.unlink(LEASE_NAME, dir_fd=root_fd)
        except OSError:
            if self._is_decided:
                raise
            # Some servers remove no file that is open. Without a lock nothing is lost with it.
            self.close()
            os.unlink(LEASE_NAME, dir_fd=root_fd)

    def _is_harmless(self, error: OSError) -> bool:
        """Return whether others report the error, and no other service can hold the lease.

        A root that is missing is reported by those who read it; one that cannot be written, by
        those who write to it. Edits are read there all the same.
        """
        if error.errno in _UNWRITABLE:
            return not os.path.lexists(self._root / LEASE_NAME)
        return isinstance(error, FileNotFoundError | NotADirectoryError)

    def _describe_fault(self, error: OSError) -> Reason:
        text = f"{self._root / LEASE_NAME}: {error.strerror or error}"
        return Reason(ReasonCode.PUBLISHING_FAILED, text)

    def _advance(self, root_fd: int, steady_s: float) -> Reason:
        if self._fd is not None and not self._is_still_ours(root_fd):
            self.close()
        self._is_locked_out = False
        if self._fd is None:
            marker = read_note(root_fd, ROOT_MANIFEST)
            if marker is None or marker.store not in ("", self._store):
                # The share is not mounted, or the tree another's: the review says so.
                return NO_REASON
            return self._acquire(root_fd, steady_s)
        if not self._is_decided and steady_s - self._renewed_s >= RENEW_S:
            self._write(self._fd, steady_s)
        return self._confirm(steady_s)

    def _is_still_ours(self, root_fd: int) -> bool:
        """Return whether the file at this place is the one that is held, with our token."""
        assert self._fd is not None
        try:
            facts = os.stat(LEASE_NAME, dir_fd=root_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        held = os.fstat(self._fd)
        if (facts.st_dev, facts.st_ino) != (held.st_dev, held.st_ino):
            return False
        # Through a descriptor of its own: a share reads the content again when a file is opened.
        with _opened(root_fd) as fd:
            record = _parsed(os.pread(fd, _MAX_BYTES, 0)) if fd is not None else None
        return record is not None and record.token == self._token

    def _acquire(self, root_fd: int, steady_s: float) -> Reason:
        with _opened(root_fd, create=True) as fd:
            if fd is None:
                return self._refuse(f"{LEASE_NAME} is not a file; remove it")
            is_locked = _lock(fd)
            content = os.pread(fd, _MAX_BYTES, 0)
            self._is_locked_out = is_locked is False
            if self._is_locked_out or not os.fstat(fd).st_nlink:
                return self._refuse(_name_holder(_parsed(content)))
            is_decided = is_locked is True and not self._is_shared()
            self._is_decided = is_decided
            if not is_decided and not self._is_free(content, steady_s):
                wait = f". If it has ended, this one takes over within {STALE_S / 60:.0f} minutes"
                return self._refuse(_name_holder(_parsed(content)) + wait)
            self._write(fd, steady_s)
            # What is not there, or empty, may be what another machine has not sent yet.
            self._confirmed_s = steady_s if is_decided else steady_s + CONFIRM_S
            self._fd = os.dup(fd)
        return self._confirm(steady_s)

    def _confirm(self, steady_s: float) -> Reason:
        """Return ``NO_REASON`` if a take-over is certain by now."""
        is_certain = steady_s >= self._confirmed_s
        return NO_REASON if is_certain else self._refuse("the lease is being taken over")

    def _is_free(self, content: bytes, steady_s: float) -> bool:
        """Return whether no service holds the lease, as far as its content tells."""
        record = _parsed(content)
        if not content or (record and (record.token == self._token or _has_ended(record))):
            return True
        if content != self._seen:
            self._seen, self._seen_s = content, steady_s
        return steady_s - self._seen_s >= STALE_S

    def _write(self, fd: int, steady_s: float) -> None:
        self._record = self._record._replace(renewals=self._record.renewals + 1)
        data = self._record.to_bytes()
        set_mode(fd, 0o660)
        os.pwrite(fd, data, 0)
        os.ftruncate(fd, len(data))
        os.fsync(fd)
        self._renewed_s = steady_s

    def _refuse(self, cause: str) -> Reason:
        return Reason.of(ReasonCode.TREE_IN_USE, root=self._root, cause=cause)


def read_process(pid: int) -> tuple[str, int, int, int]:
    """Return kernel, process namespace, number and start of a process; empty if it has ended."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino
        # The second field is the name of the program, in parentheses; it may contain spaces.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return boot, namespace, pid, int(fields[19])
    except (OSError, ValueError, IndexError):
        return "", 0, 0, 0


def _has_ended(record: LeaseRecord) -> bool:
    """Return whether the holder was a process of this kernel that has ended."""
    boot, namespace, pid, _ = record.process
    here = read_process(os.getpid())
    is_here = bool(boot) and (boot, namespace) == here[:2]
    return is_here and read_process(pid) != record.process


def _name_holder(record: LeaseRecord | None) -> str:
    if record is None:
        return "another portraitd works on this tree"
    return (
        f"another portraitd works on this tree: process {record.process[2]} on {record.machine}, "
        f"home {record.home}; stop it, or set paths.people to another folder"
    )


@contextmanager
def _opened(root_fd: int, *, create: bool = False) -> Iterator[int | None]:
    """Open the lease; None if it is missing or not a file. Gives a descriptor."""
    flags = _FLAGS
    if create:
        _clear(root_fd)
        flags |= os.O_CREAT
    try:
        fd = os.open(LEASE_NAME, flags, 0o660, dir_fd=root_fd)
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        yield None
        return
    try:
        facts = os.fstat(fd)
        yield fd if stat.S_ISREG(facts.st_mode) and facts.st_nlink <= 1 else None
    finally:
        os.close(fd)


def _clear(root_fd: int) -> None:
    """Remove a link or a pipe that has the name of the lease, and move a folder aside.

    Also a hard link: what is written to it would be written to a file elsewhere.
    """
    with suppress(OSError):
        facts = os.stat(LEASE_NAME, dir_fd=root_fd, follow_symlinks=False)
        if stat.S_ISDIR(facts.st_mode):
            move_folder_aside(root_fd, LEASE_NAME)
        elif not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
            os.unlink(LEASE_NAME, dir_fd=root_fd)


def _lock(fd: int) -> bool | None:
    """Lock the lease. Return False if another process has; None if there are no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _parsed(content: bytes) -> LeaseRecord | None:
    """Return what a lease says; None if it is empty or damaged."""
    try:
        facts = json.loads(content)
        boot, *numbers = facts["process"]
        namespace, pid, start = (int(number) for number in numbers)
        return LeaseRecord(
            str(facts["token"]),
            int(facts["renewals"]),
            _printable(facts["machine"]),
            _printable(facts["home"]),
            (str(boot), namespace, pid, start),
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _printable(value: object) -> str:
    """Return a text that a terminal shows as it is: any member of the group can write a lease."""
    return escape_unprintable(str(value)[:200])
