"""Which folders of the tree cannot be read or written, and why.

One folder that a reviewer made without permissions for the group, or that an administrator
mounted read-only, must not stop publishing for everyone else: its fault is its own.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_OF_THE_TREE = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ETIMEDOUT, errno.ECONNABORTED,
    errno.ECONNRESET, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
})  # fmt: skip
"""Errors that all folders have in common: the disk is full, the share is not mounted."""


class FolderFaults:
    """Collects the faults of folders during one publish.

    Attributes:
        reasons: What is wrong with each folder, by its number.
    """

    def __init__(self, reasons: Mapping[int, str]) -> None:
        self.reasons = dict(reasons)

    @contextmanager
    def catching(self, number: int) -> Iterator[None]:
        """Note an error as this folder's own; one that concerns the whole tree passes through."""
        try:
            yield
        except OSError as error:
            if error.errno in _OF_THE_TREE:
                raise
            self.note(number, error)

    @contextmanager
    def ignoring(self) -> Iterator[None]:
        """Ignore an error of a folder; one that concerns the whole tree passes through."""
        try:
            yield
        except OSError as error:
            if error.errno in _OF_THE_TREE:
                raise

    def note(self, number: int, error: OSError) -> None:
        """Note the first error of a folder."""
        self.reasons.setdefault(number, error.strerror or str(error))
