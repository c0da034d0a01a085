"""Open files for sandboxed workers, which cannot open any, and pass them the descriptors.

Each worker sends its requests through its own socket. The broker opens only files of jobs that
are running, and follows no link: neither to the file nor to a folder above it, up to a folder that
the service knows.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from portraitd.model.media_file import Source
from portraitd.workers.paths_without_links import create_file_below, open_file_below

_MAX_PATH_BYTES = 4096
_OPENED = 0

_TO_READ, _TO_CREATE = b"r", b"c"
"""The first byte of a request; the path follows."""


class JobFile(NamedTuple):
    """A file that a worker opens for its job.

    Attributes:
        path: The file.
        root: A folder above it. Neither the file nor a folder between them may be a link. None for
            the folder that it is in.
        is_created: Whether the worker creates and writes it; otherwise it reads it.
    """

    path: Path
    root: Path | None = None
    is_created: bool = False

    @classmethod
    def of(cls, source: Source) -> Self:
        """Return the file of a source, to read."""
        return cls(source.path, source.root)

    @property
    def request(self) -> bytes:
        """What a worker sends to have it opened."""
        return (_TO_CREATE if self.is_created else _TO_READ) + os.fsencode(self.path)

    def open(self) -> int:
        """Open it in this process. Returns its descriptor.

        Raises:
            OSError: It cannot be opened; ELOOP if it is a link, ENOTDIR if a folder above it is.
        """
        root = self.path.parent if self.root is None else self.root
        opened = create_file_below if self.is_created else open_file_below
        return opened(root, self.path.relative_to(root))


def open_to_read(path: Path, root: Path | None = None) -> int:
    """Open a file for reading, through the broker if this process is connected to one.

    Args:
        path: The file.
        root: As for ``JobFile``; the broker goes by what the service has said.

    Returns:
        Its descriptor, which the caller closes.

    Raises:
        OSError: As for ``JobFile.open``.
    """
    return _open(JobFile(path, root))


def create(path: Path) -> int:
    """Create a file and open it for writing, as ``open_to_read`` does.

    Returns:
        Its descriptor, which the caller closes.

    Raises:
        OSError: As for ``JobFile.open``; EEXIST if it is there already.
    """
    return _open(JobFile(path, is_created=True))


def _open(file: JobFile) -> int:
    if _connection.socket is None:
        return file.open()
    # A plain write: the sandbox does not allow sending to sockets.
    os.write(_connection.socket.fileno(), file.request)
    answer, descriptors, _, _ = socket.recv_fds(_connection.socket, 4, 1)
    number = int.from_bytes(answer, "little") if answer else errno.EPIPE
    if number != _OPENED:
        raise OSError(number, os.strerror(number))
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


class _BrokerConnection:
    """This process's socket to the broker; None in the daemon, in commands and in tests."""

    socket: socket.socket | None = None


_connection = _BrokerConnection()


def connect(registration: socket.socket) -> None:
    """Make ``open_to_read`` use the broker. Called by a new worker before it is sandboxed."""
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    socket.send_fds(registration, [b"hello"], [theirs.fileno()])
    theirs.close()
    registration.close()
    _connection.socket = ours


class FileBroker:
    """Opens files for workers, in its own thread.

    Attributes:
        registration: The socket that a new worker passes to ``connect``.
    """

    def __init__(self) -> None:
        self._registrations, self.registration = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET
        )
        self._allowed: dict[bytes, JobFile] = {}
        self._jobs_with: Counter[bytes] = Counter()
        # Jobs are submitted in one thread and finish in another.
        self._allowed_lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._registrations, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="file broker", daemon=True)
        self._thread.start()

    def allow(self, file: JobFile) -> None:
        """Let workers open a file, until ``revoke`` was called as often as this."""
        with self._allowed_lock:
            self._allowed[file.request] = file
            self._jobs_with[file.request] += 1

    def revoke(self, file: JobFile) -> None:
        """Take back one ``allow``: a job for this file is finished."""
        with self._allowed_lock:
            self._jobs_with[file.request] -= 1
            if self._jobs_with[file.request] <= 0:
                del self._jobs_with[file.request], self._allowed[file.request]

    def close(self) -> None:
        """End the thread; later requests of workers fail."""
        self.registration.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                if connection is not self._registrations:
                    self._answer(connection)
                elif not self._accept_worker():
                    self._close_all()
                    return

    def _accept_worker(self) -> bool:
        """Register a new worker's socket. Returns whether more workers can come."""
        try:
            greeting, descriptors, _, _ = socket.recv_fds(self._registrations, 16, 1)
        except OSError:
            # This one gets no files, and its jobs fail; the others go on.
            return True
        for descriptor in descriptors:
            worker = socket.socket(fileno=descriptor)
            worker.set_inheritable(False)
            self._selector.register(worker, selectors.EVENT_READ)
        return bool(greeting)

    def _answer(self, worker: socket.socket) -> None:
        """Answer one request, or drop a worker that has ended."""
        try:
            requested = worker.recv(_MAX_PATH_BYTES + 2)
            if requested:
                self._send_descriptor(worker, requested)
                return
        except OSError:
            # The worker ended during its request.
            pass
        self._selector.unregister(worker)
        worker.close()

    def _send_descriptor(self, worker: socket.socket, requested: bytes) -> None:
        try:
            descriptor = self._find(requested).open()
        except (OSError, ValueError) as error:
            number = getattr(error, "errno", None) or errno.EINVAL
            worker.send(number.to_bytes(4, "little"), socket.MSG_DONTWAIT)
            return
        try:
            socket.send_fds(
                worker, [_OPENED.to_bytes(4, "little")], [descriptor], socket.MSG_DONTWAIT
            )
        finally:
            os.close(descriptor)

    def _find(self, requested: bytes) -> JobFile:
        """Return the file that a request names, as the job of the service names it."""
        with self._allowed_lock:
            file = self._allowed.get(requested)
        if file is None:
            raise PermissionError(errno.EACCES, "no job for this file")
        return file

    def _close_all(self) -> None:
        for key in list(self._selector.get_map().values()):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            with suppress(OSError):
                connection.close()
        self._selector.close()
