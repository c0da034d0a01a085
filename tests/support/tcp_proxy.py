"""A TCP proxy between two programs of this machine that can break its connections."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

CHUNK_BYTES = 1 << 16


class TcpProxy:
    """Forwards connections to its port in both directions, until ``cut`` breaks them.

    Args:
        target: The port to forward to.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._open: list[socket.socket] = []
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._run(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Closing alone would not wake the thread that waits in accept().
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in self._sockets:
            end.close()

    def cut(self) -> int:
        """Break every connection, but accept new ones. Returns how many were broken."""
        with self._lock:
            sockets, self._open = self._open, []
        for end in sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        return len(sockets) // 2

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._server.accept()
                self._sockets.append(caller)
                called = socket.create_connection(("127.0.0.1", self._target))
                self._sockets.append(called)
            except OSError:
                return
            with self._lock:
                self._open += [caller, called]
            self._run(self._forward, caller, called)
            self._run(self._forward, called, caller)

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                target.sendall(chunk)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _run(self, task: object, *ends: socket.socket) -> None:
        thread = threading.Thread(target=task, args=ends, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()
