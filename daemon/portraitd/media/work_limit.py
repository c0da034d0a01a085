"""Limit the work that a file causes before it is known what it contains.

A few kilobytes can describe a month of video, or a picture of 50 megapixels that is refined ten
thousand times. The limit is processor time, with the size of the file: the same file is refused on
a machine that is busy and on one that is not.
"""

from __future__ import annotations

import math
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from portraitd.model.errors import UnreadableVideo
from portraitd.model.reasons import Reason, ReasonCode

BASE_S = 30.0
"""Processor time for the smallest file."""

BYTES_PER_S = 100_000
"""Content that deserves another second. A full decode of H.264 reads some six times as much."""

MARGIN_S = 30.0
"""A library that does not return within this time after the limit ends with its process."""


UNCOUNTED_BYTES = 1 << 30
"""What counts of a file on a file system that does not count blocks."""


@contextmanager
def limit_work(fd: int, base_s: float = BASE_S) -> Iterator[Callable[[], None]]:
    """Yield a function that raises ``UnreadableVideo`` when a file has taken too long.

    A library that does not come back to call it is ended by the kernel, with this process.

    Args:
        fd: The file. What was never written of it does not count.
        base_s: Processor time for the smallest file.
    """
    status = os.fstat(fd)
    limit_s = base_s + min(status.st_size, status.st_blocks * 512 or UNCOUNTED_BYTES) / BYTES_PER_S
    began_s = time.process_time()

    def check_work() -> None:
        if time.process_time() - began_s > limit_s:
            raise UnreadableVideo(
                Reason.of(ReasonCode.TOO_MUCH_WORK, work=f"{limit_s:.0f} s of processor time")
            )

    with _kernel_limit(began_s + limit_s + MARGIN_S):
        yield check_work


@contextmanager
def _kernel_limit(used_s: float) -> Iterator[None]:
    """Have the kernel end this process (SIGXCPU) once it has used this much processor time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limits = [math.ceil(used_s), soft, hard]
    lower = min(limit for limit in limits if limit != resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_CPU, (lower, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
