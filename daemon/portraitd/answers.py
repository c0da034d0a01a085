"""What the daemon believes of what a worker says: values, never programs.

multiprocessing sends pickles, and a pickle may name any function to be called by whoever reads
it. A worker that a hostile file took over could so take over the daemon. Here only the value
types that jobs return, our errors and pebble's own messages can be named.
"""

from __future__ import annotations

import io
import multiprocessing.context
import os
import pickle
import sys
from dataclasses import is_dataclass
from enum import Enum
from multiprocessing.connection import Connection
from multiprocessing.reduction import DupFd, ForkingPickler, register
from typing import Any

from portraitd import logs
from portraitd.errors import PortraitdError, WorkerDied

log = logs.get("answers")

_NAMED = frozenset({
    ("builtins", "MemoryError"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("pathlib", "PosixPath"),
    ("pebble.common.types", "RemoteException.rebuild_exception"),
    ("pebble.common.types", "Result"),
    ("pebble.common.types", "ResultStatus"),
    ("pebble.pool.process", "Acknowledgement"),
    ("pebble.pool.process", "TaskProblem"),
    ("pebble.pool.process", "TaskResult"),
})  # fmt: skip
"""What others define and an answer may be made of, by module and name."""


def packed(value: object) -> bytes:
    """An answer, for the way to the daemon.

    Raises:
        WorkerDied: It cannot be sent.
    """
    try:
        return bytes(ForkingPickler.dumps(value))
    except Exception as error:
        raise WorkerDied(f"the job ended without an answer that can be sent: {error}") from error


def unpacked(data: bytes) -> Any:
    """An answer that is made of values.

    Raises:
        WorkerDied: It is damaged, or names something that is no value.
    """
    try:
        return _Reader(io.BytesIO(data)).load()
    except Exception as error:
        # Whatever is in it, it is what a worker sent that is no longer ours.
        raise WorkerDied(f"the worker's answer is not believed: {error}") from error


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What an answer names, if that is a value; nothing is imported for it."""
        loaded = sys.modules.get(module)
        if loaded is not None and (module, name) in _NAMED:
            return super().find_class(module, name)
        found = getattr(loaded, name, None) if module.startswith("portraitd.") else None
        if not (isinstance(found, type) and found.__module__ == module and _is_of_values(found)):
            raise pickle.UnpicklingError(f"{module}.{name} is no value")
        return found


def _is_of_values(kind: type) -> bool:
    """Whether making one does nothing but hold what it is given."""
    named_tuple = issubclass(kind, tuple) and hasattr(kind, "_fields")
    return named_tuple or is_dataclass(kind) or issubclass(kind, Enum | PortraitdError)


class CarefulConnection(Connection):
    """A connection whose reader believes values alone."""

    def recv(self) -> Any:
        """The next message; one that is not believed is nothing, and its job ends by its limit."""
        try:
            return unpacked(self.recv_bytes())
        except WorkerDied as error:
            log.error("message_refused", reason=str(error))
            return None


def _plain(end: CarefulConnection) -> tuple[Any, ...]:
    """How an end travels to a worker: there it is a connection like any other."""
    return _rebuilt, (DupFd(end.fileno()), end.readable, end.writable)


def _rebuilt(descriptor: Any, readable: bool, writable: bool) -> Connection:
    return Connection(descriptor.detach(), readable=readable, writable=writable)


register(CarefulConnection, _plain)


class CarefulContext(multiprocessing.context.SpawnContext):
    """Fresh interpreters, as ``spawn`` makes them, whose messages are read with care."""

    def Pipe(self, duplex: bool = True) -> tuple[Any, Any]:  # noqa: N802
        """Two ends; here both believe values alone, in a worker they are plain."""
        reader, writer = super().Pipe(duplex)
        ends = []
        for end in (reader, writer):
            careful = CarefulConnection(os.dup(end.fileno()), end.readable, end.writable)
            os.set_inheritable(careful.fileno(), False)
            end.close()
            ends.append(careful)
        return ends[0], ends[1]
