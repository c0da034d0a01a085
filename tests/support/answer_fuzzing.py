"""A real service whose workers answer any bytes: random ones, damaged answers, impossible values.

In ``tests/``, ``python -m support.answer_fuzzing 10000 --seed 7`` prints what came of ten thousand.
"""

from __future__ import annotations

import argparse
import math
import pickle
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np

from portraitd.ingest import media_jobs
from portraitd.ingest.media_jobs import EncodeOptions
from portraitd.media.jpeg import encode_jpeg
from portraitd.model import errors
from portraitd.model.errors import PortraitdError, WorkerDied
from portraitd.model.face import Box, DetectedFace, Face, Portrait, Quality, SliceFaces
from portraitd.model.media_file import FileState, Slice
from portraitd.model.reasons import ReasonCode
from portraitd.service import log_setup
from portraitd.workers.job_results import schema_of
from portraitd.workers.result_codec import ErrorMessage, encode_error
from support.executors import CachingExecutor
from support.fuzzing import MUTATIONS
from support.home import Home
from support.media import pattern

SHARE = 0.8
"""How many answers are mutants. The others let files get to the later jobs."""

NUMBER = 7

PORTRAIT = encode_jpeg(np.zeros((120, 96, 3), np.uint8), 90)

NAMES = [
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, PortraitdError)
]

EXTREMES: tuple[object, ...] = (
    None, True, False, -1, 0, 1, 1 << 31, 1 << 63, (1 << 64) - 1, -(1 << 63),
    math.nan, math.inf, -math.inf, 1e9, 1e30, 1e308, 5e-324, -0.0,
    "", "x" * 5000, "../../etc/passwd", "\0", "f" * 64, "video", "photo",
    b"", b"\xff\xd8\xff\xd9", bytes(512), b"\x00\x00\xc0\x7f" * 128, PORTRAIT,
    [], {}, [[]], [None] * 50, {"a": 1}, {1: {2: {3: []}}},
)  # fmt: skip

PROGRAMS = (
    pickle.dumps(print),
    pickle.dumps(np.float64(1.0)),
    pickle.dumps(np.zeros(3)),
    b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05numpy\x94\x8c\x05dtype\x94\x93\x94.",
)
"""What was accepted in part when answers were pickles."""


def mutate(message: bytes, chance: random.Random) -> bytes:
    """Return an answer that is not the one that a job gave."""
    way = chance.choice((_any_bytes, _damage, _damage, _replace, _replace, _replace, _fail))
    return way(message, chance)


def _any_bytes(message: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.2:
        return chance.choice(PROGRAMS)
    start = chance.choice((b"", message[:8], b"\x93\xa5value\x07"))
    return start + chance.randbytes(chance.choice((0, 1, 2, 5, 17, 64, 500)))


def _damage(message: bytes, chance: random.Random) -> bytes:
    data = bytearray(message)
    for mutation in chance.choices(MUTATIONS, k=chance.choice((1, 1, 2))):
        if data:
            data = mutation(data, chance)
    return bytes(data)


def _replace(message: bytes, chance: random.Random) -> bytes:
    """Put an extreme value into a field; its place and all others stay as they are."""
    tree = msgspec.msgpack.decode(message)
    place: Any = tree
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = chance.choice(keys)
        below = place[key]
        if not (isinstance(below, list | dict) and below) or chance.random() < 0.15:
            break
        place = below
    place[key] = chance.choice(EXTREMES)
    return msgspec.msgpack.encode(tree)


def _fail(message: bytes, chance: random.Random) -> bytes:
    """Raise any error with any reason, in time or late."""
    kind = chance.choice([*NAMES, "MemoryError", "SystemExit", "object", ""])
    code = chance.choice([*ReasonCode, "no_such_code"])
    number = chance.choice((NUMBER, NUMBER, NUMBER, NUMBER - 1))
    text = chance.choice(("", "text", "\x1b[2J", "\n" * 10))
    return msgspec.msgpack.encode(ErrorMessage(number, kind, str(code), text))


def find_anyone(video_slice: Slice, options: EncodeOptions) -> SliceFaces:
    """Return two faces of a slice: so that there is something to say of them."""
    detections = []
    for person in range(2):
        near = np.random.default_rng(person).normal(size=options.encoder.embedding_size) / 10
        box = Box(10 + 100 * person, 10, 60 + 100 * person, 70)
        detections.append(
            DetectedFace(
                video_slice.start_s,
                Face(box, 1.0, None, near.astype(np.float32), Quality(50.0, 90.0, 0.9)),
                Portrait(Box(0, 0, 300, 300), PORTRAIT),
            )
        )
    return SliceFaces(detections, 1, 1, video_slice.start_s, 0.1)


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        answers: Mutants by what the service read in them: ``refused``, ``raised`` or ``accepted``.
        jobs: Mutants by name of the job.
        states: Files by state, at the end.
        unexplained: Files that failed without a reason, or did not end.
        seconds: For everything.
    """

    answers: Counter[str] = field(default_factory=Counter)
    jobs: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    seconds: float = 0.0


class LyingExecutor(Executor):
    """Runs jobs, and hands what they answer to the service, or something else.

    Args:
        count: How many mutants; afterwards every answer is honest.
        seed: The same seed gives the same mutants.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.left = count
        self.outcome = Outcome()
        self._chance = random.Random(seed)
        self._honest = CachingExecutor()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return what the service reads in the answer of a worker."""
        message = self._answer(fn, args, kwargs)
        is_mutant = self.left > 0 and self._chance.random() < SHARE
        if is_mutant:
            self.left -= 1
            self.outcome.jobs[fn.__name__] += 1
            message = mutate(message, self._chance)
        future: Future[Any] = Future()
        try:
            future.set_result(schema_of(fn).decode(message, NUMBER, args, kwargs))
            read = "accepted"
        except PortraitdError as error:
            # Anything else would leave the thread of a worker, and end the test.
            future.set_exception(error)
            is_refused = error.reason.code is ReasonCode.INVALID_RESULT
            read = "refused" if isinstance(error, WorkerDied) and is_refused else "raised"
        if is_mutant:
            self.outcome.answers[read] += 1
        return future

    def _answer(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> bytes:
        try:
            value = (
                find_anyone(*args)
                if fn is media_jobs.encode
                else self._honest.submit(fn, *args, **kwargs).result()
            )
            return schema_of(fn).encode(NUMBER, value)
        except PortraitdError as error:
            return encode_error(NUMBER, error)


def run(folder: Path, count: int, seed: int) -> Outcome:
    """Drop photos on a service whose workers lie so often, then let them be honest."""
    began_s = time.monotonic()
    home = Home(
        folder / "home",
        inbox={"quiet_s": 0.0, "quiet_remote_s": 0.0},
        workers={"attempts": 20},
        grouping={"settle_s": 0.0},
    )
    executor = LyingExecutor(count, seed)
    with home.opened(executor=executor) as service:
        service.database.execute("pragma synchronous = off")
        dropped = 0
        for _ in range(100 * count + 1000):
            states = Counter(service.files.counts())
            if states["done"] + states["failed"] == dropped:
                if not executor.left and service.idle:
                    break
                if executor.left:
                    picture = np.roll(pattern(1, (320, 240)), dropped, axis=1)
                    picture[0, 0] = dropped % 251, dropped // 251 % 251, 7
                    cv2.imwrite(str(home.inbox / f"{dropped:05d}.png"), picture)
                    dropped += 1
            # A minute, so that nothing waits until it may be tried again.
            home.steady_s += 61.0
            home.tick(service)
        else:
            raise AssertionError(f"the service is not idle: {service.blocked}")
        outcome = executor.outcome
        for file in service.files.below(b"").values():
            outcome.states[file.state] += 1
            is_ended = file.state in (FileState.DONE, FileState.FAILED, FileState.DUPLICATE)
            if not is_ended or (file.state is FileState.FAILED and not file.reason):
                outcome.unexplained.append(f"{file.path}: {file.state} {file.reason}")
    outcome.seconds = time.monotonic() - began_s
    return outcome


def main() -> None:
    """Print what came of so many mutants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    log_setup.quiet()
    # In memory, where there is such a place: the disk has no part in this.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        outcome = run(Path(scratch), asked.count, asked.seed)
    print(f"{asked.count} answers, seed {asked.seed}: {outcome.seconds:.0f} s")
    print("read as", dict(outcome.answers))
    print("of jobs", dict(outcome.jobs))
    print("files", dict(outcome.states))
    print("unexplained", outcome.unexplained)


if __name__ == "__main__":
    main()
