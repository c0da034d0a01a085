"""Ending the process, as it were, at any change it makes to the file system."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CHANGES = frozenset({"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod"})
_left: list[int] = []


class CutShortError(BaseException):
    """Nothing runs any more; not even what would tidy up can change a file."""


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
    """Let so many changes happen, and none after them.

    An audit hook sees them all, and cannot be taken away again: it sleeps otherwise.
    """
    if not _installed:
        sys.addaudithook(_hook)
        _installed.append(True)
    _left.append(after)
    try:
        yield
    finally:
        _left.clear()
