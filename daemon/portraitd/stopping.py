"""Signals that ask the service to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from portraitd.watch import Doorbell


@contextmanager
def stop_signals(doorbell: Doorbell) -> Iterator[Callable[[], bool]]:
    """SIGTERM and SIGINT end the loop after its turn; a second one ends the process."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        doorbell.ring("stop")

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
