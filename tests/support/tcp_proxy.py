"""A line between two programs of this machine that can be cut, and mended."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

PIECE_BYTES = 1 << 16


class Relay:
    """Hands on what is said to its port, in both directions, until the line is cut.

    Args:
        target: The port that is listened on behind it.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._ends: list[socket.socket] = []
        self._made: list[socket.socket] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._door.getsockname()[1])
        self._run(self._take_calls)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Closing alone would not wake the thread that waits for a call.
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in self._made:
            end.close()

    def cut(self) -> int:
        """End every connection that is there; new ones are taken. Returns how many there were."""
        with self._lock:
            ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        return len(ends) // 2

    def _take_calls(self) -> None:
        while True:
            try:
                caller, _ = self._door.accept()
                self._made.append(caller)
                called = socket.create_connection(("127.0.0.1", self._target))
                self._made.append(called)
            except OSError:
                return
            with self._lock:
                self._ends += [caller, called]
            self._run(self._hand_on, caller, called)
            self._run(self._hand_on, called, caller)

    def _hand_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                target.sendall(piece)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _run(self, task: object, *ends: socket.socket) -> None:
        thread = threading.Thread(target=task, args=ends, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()
