"""Simulate a crash at any change that code makes to the file system."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CHANGES = frozenset({"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod"})
_left: list[int] = []


class CutShortError(BaseException):
    """The simulated crash. No later code, not even cleanup, can change a file."""


def _hook(event: str, args: tuple[object, ...]) -> None:
    if not _left:
        return
    writes = event == "open" and isinstance(args[2], int) and bool(args[2] & 1)
    if event in _CHANGES or writes:
        if _left[0] == 0:
            raise CutShortError
        _left[0] -= 1


_installed: list[bool] = []


@contextmanager
def cut_short(after: int) -> Iterator[None]:
    """Allow a number of changes, and raise at every later one.

    Uses an audit hook, which cannot be removed: it is inactive outside the block.
    """
    if not _installed:
        sys.addaudithook(_hook)
        _installed.append(True)
    _left.append(after)
    try:
        yield
    finally:
        _left.clear()
