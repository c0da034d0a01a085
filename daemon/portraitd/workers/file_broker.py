"""Open files for sandboxed workers, which cannot open any, and pass them the descriptors.

Each worker sends its requests through its own socket. The broker opens only files of jobs that
are running, for reading, and never follows a link.
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

# NONBLOCK: opening a pipe would otherwise wait for a writer for ever.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_PATH_BYTES = 4096
_OPENED = 0


def open_to_read(path: Path) -> int:
    """Open a file for reading, through the broker if this process is connected to one.

    Returns:
        Its descriptor, which the caller closes.

    Raises:
        OSError: As ``os.open``; ELOOP for a link.
    """
    if _connection.socket is None:
        return os.open(path, _FLAGS)
    # A plain write: the sandbox does not allow sending to sockets.
    os.write(_connection.socket.fileno(), os.fsencode(path))
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
        self._allowed: Counter[Path] = Counter()
        # Jobs are submitted in one thread and finish in another.
        self._allowed_lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._registrations, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="file broker", daemon=True)
        self._thread.start()

    def allow(self, path: Path) -> None:
        """Let workers open a file, until ``revoke`` was called as often as this."""
        with self._allowed_lock:
            self._allowed[path] += 1

    def revoke(self, path: Path) -> None:
        """Take back one ``allow``: a job for this file is finished."""
        with self._allowed_lock:
            self._allowed[path] -= 1
            if self._allowed[path] <= 0:
                del self._allowed[path]

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
            requested = worker.recv(_MAX_PATH_BYTES + 1)
            if requested:
                self._send_descriptor(worker, Path(os.fsdecode(requested)))
                return
        except OSError:
            # The worker ended during its request.
            pass
        self._selector.unregister(worker)
        worker.close()

    def _send_descriptor(self, worker: socket.socket, path: Path) -> None:
        try:
            if path not in self._allowed:
                raise PermissionError(errno.EACCES, "no job for this file")
            descriptor = os.open(path, _FLAGS)
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

    def _close_all(self) -> None:
        for key in list(self._selector.get_map().values()):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            with suppress(OSError):
                connection.close()
        self._selector.close()
