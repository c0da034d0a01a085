"""What wakes the loop: the doorbell, and signals that ring it."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Doorbell:
    """Wakes the one who waits. May be rung from any thread and from a signal handler."""

    def __init__(self) -> None:
        # Not threading.Event: its set() takes a lock, and in a signal handler that interrupted
        # wait() it would wait for itself. SimpleQueue.put is reentrant.
        self._rings: queue.SimpleQueue[str] = queue.SimpleQueue()

    def wake(self, reason: str) -> None:
        """End the wait that is going on, or else the next one."""
        # One ring is as good as a thousand: the look that follows it sees everything.
        if self._rings.empty():
            self._rings.put(reason)

    def wait(self, timeout_s: float) -> bool:
        """Wait until it rings, and take every ring there is.

        Returns:
            Whether it rang; False after ``timeout_s`` without.
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
    """Rings a doorbell, and says first that it was this one.

    Args:
        doorbell: Wakes whoever waits.
        pressed: Called from any thread; must do no more than to set a flag.
    """

    def __init__(self, doorbell: Doorbell, pressed: Callable[[], None]) -> None:
        self._doorbell = doorbell
        self._pressed = pressed

    def wake(self, reason: str) -> None:
        """Something happened."""
        self._pressed()
        self._doorbell.wake(reason)


@contextmanager
def stop_signals(doorbell: Doorbell) -> Iterator[Callable[[], bool]]:
    """SIGTERM and SIGINT end the loop after its turn; a second one ends the process.

    Gives a function that says whether one was received.
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
    """Until the end, signals are handled so; then as before."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
