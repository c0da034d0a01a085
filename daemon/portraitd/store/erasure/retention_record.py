"""What retention remembers beside the database, so that a restored backup does not undo it."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from portraitd.media.fs import write_atomically

FILE_NAME = "retention.json"


@dataclass(frozen=True, slots=True)
class RetentionRecord:
    """What retention remembers.

    Attributes:
        clock_s: What the clock said when it was last right; 0 if that is not known.
        forgotten_before_s: All videos from before this time were kept for too long, and erased.
    """

    clock_s: float = 0.0
    forgotten_before_s: float = 0.0


def read_record(state_dir: Path) -> RetentionRecord:
    """Return the record; an empty one if there is none, or it is damaged."""
    with suppress(OSError, ValueError, TypeError, OverflowError, RecursionError):
        found = RetentionRecord(**json.loads((state_dir / FILE_NAME).read_bytes()))
        if all(math.isfinite(value) for value in (found.clock_s, found.forgotten_before_s)):
            return found
    return RetentionRecord()


def write_record(state_dir: Path, record: RetentionRecord) -> None:
    """Write the record.

    Raises:
        OSError: It cannot be written.
    """
    write_atomically(state_dir / FILE_NAME, json.dumps(asdict(record)).encode())
