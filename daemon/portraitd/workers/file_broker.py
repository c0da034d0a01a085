"""Files for workers that may open none: the daemon opens them, and hands the descriptor over.

Each worker asks through a socket of its own. Only what it has a job for is opened, without
following a link, for reading.
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
_LONGEST_PATH = 4096
_OPENED = 0


def open_to_read(path: Path) -> int:
    """A descriptor of a file, from the desk if this process has one.

    Raises:
        OSError: As ``os.open``; ELOOP for a link.
    """
    if _asking.socket is None:
        return os.open(path, _FLAGS)
    # A plain write: a worker that is closed may not send to sockets.
    os.write(_asking.socket.fileno(), os.fsencode(path))
    answer, descriptors, _, _ = socket.recv_fds(_asking.socket, 4, 1)
    number = int.from_bytes(answer, "little") if answer else errno.EPIPE
    if number != _OPENED:
        raise OSError(number, os.strerror(number))
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


class _Asking:
    """Where this process asks; a daemon, a command or a test asks nobody."""

    socket: socket.socket | None = None


_asking = _Asking()


def ask(introduction: socket.socket) -> None:
    """From now on ``open_to_read`` asks the desk. Called by a fresh worker, before it is closed."""
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    socket.send_fds(introduction, [b"hello"], [theirs.fileno()])
    theirs.close()
    introduction.close()
    _asking.socket = ours


class FileBroker:
    """Opens files for workers, in a thread of its own.

    Attributes:
        introduction: What a new worker is given, for ``ask``.
    """

    def __init__(self) -> None:
        self._door, self.introduction = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._allowed: Counter[Path] = Counter()
        # Jobs go out from one thread and come back in another.
        self._counting = threading.Lock()
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(self._door, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="handover", daemon=True)
        self._thread.start()

    def allow(self, path: Path) -> None:
        """A job for this file goes out."""
        with self._counting:
            self._allowed[path] += 1

    def withdraw(self, path: Path) -> None:
        """A job for this file has come back."""
        with self._counting:
            self._allowed[path] -= 1
            if self._allowed[path] <= 0:
                del self._allowed[path]

    def close(self) -> None:
        """End the thread; workers that ask afterwards are told nothing."""
        self.introduction.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            for key, _ in self._waiting.select():
                place = key.fileobj
                assert isinstance(place, socket.socket)
                if place is not self._door:
                    self._answer(place)
                elif not self._welcome():
                    self._leave()
                    return

    def _welcome(self) -> bool:
        """Let a new worker in; False when no worker can come any more."""
        greeting, descriptors, _, _ = socket.recv_fds(self._door, 16, 1)
        for descriptor in descriptors:
            worker = socket.socket(fileno=descriptor)
            worker.set_inheritable(False)
            self._waiting.register(worker, selectors.EVENT_READ)
        return bool(greeting)

    def _answer(self, worker: socket.socket) -> None:
        try:
            asked = worker.recv(_LONGEST_PATH + 1)
            if asked:
                self._hand_over(worker, Path(os.fsdecode(asked)))
                return
        except OSError:
            # It ended while it was asking.
            pass
        self._waiting.unregister(worker)
        worker.close()

    def _hand_over(self, worker: socket.socket, path: Path) -> None:
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

    def _leave(self) -> None:
        for key in list(self._waiting.get_map().values()):
            place = key.fileobj
            assert isinstance(place, socket.socket)
            with suppress(OSError):
                place.close()
        self._waiting.close()
