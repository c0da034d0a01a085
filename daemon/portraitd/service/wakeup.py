"""What wakes the main loop: the doorbell, and the signals that ring it."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Doorbell:
    """Wakes the thread that waits. May be called from any thread and from a signal handler."""

    def __init__(self) -> None:
        # Not threading.Event: its set() takes a lock, and in a signal handler that interrupted
        # wait() it would wait for itself. SimpleQueue.put is reentrant.
        self._rings: queue.SimpleQueue[str] = queue.SimpleQueue()

    def wake(self, reason: str) -> None:
        """End the current wait, or the next one."""
        # One ring is enough: the tick that follows finds everything that happened.
        if self._rings.empty():
            self._rings.put(reason)

    def wait(self, timeout_s: float) -> bool:
        """Wait for a ring, and consume all that arrived.

        Returns:
            Whether it rang; False after ``timeout_s``.
        """
        try:
            self._rings.get(timeout=max(timeout_s, 0.0))
        except queue.Empty:
            return False
        while True:
            try:
                self._rings.get_nowait()
            except queue.Empty:
                return True


class Button:
    """Wakes a doorbell, and tells a stage first that it was this button.

    Args:
        doorbell: Wakes the main loop.
        pressed: Called from any thread; may only set a flag.
    """

    def __init__(self, doorbell: Doorbell, pressed: Callable[[], None]) -> None:
        self._doorbell = doorbell
        self._pressed = pressed

    def wake(self, reason: str) -> None:
        """Call ``pressed``, then wake the main loop."""
        self._pressed()
        self._doorbell.wake(reason)


@contextmanager
def stop_signals(doorbell: Doorbell) -> Iterator[Callable[[], bool]]:
    """Let SIGTERM and SIGINT end the loop after its tick; a second one ends the process.

    Yields:
        A function that returns whether a signal was received.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        doorbell.wake("stop")

    with handled_by(stop, signal.SIGTERM, signal.SIGINT):
        yield lambda: bool(received)


@contextmanager
def handled_by(
    handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals
) -> Iterator[None]:
    """Handle signals with ``handler`` until the block ends."""
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in previous.items():
            signal.signal(number, earlier)
