"""Tell when a file is stable: it has stopped changing, no program writes it, it is complete."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from portraitd.media import container
from portraitd.model.media_file import Stamp
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.workers.paths_without_links import FileOpener, open_file_below

_SMALL_BYTES = 64 * 1024
"""Below this size the block count means nothing: file systems store small files inline."""

_FIRST_GAP_S, _LONGEST_GAP_S = 10.0, 600.0


class StabilityTracker:
    """Which files have not changed for the quiet time. Reads no file itself.

    Attributes:
        quiet_s: How long a file must not have changed.
    """

    def __init__(self, quiet_s: float) -> None:
        self.quiet_s = quiet_s
        self._since: dict[Path, tuple[float, Stamp]] = {}

    def observe(
        self, found: Mapping[Path, Stamp], now_s: float, began_s: float | None = None
    ) -> list[Path]:
        """Return the files that have not changed for the quiet time, the longest first.

        A stable file is returned by every call until ``forget``. A file that is missing from
        ``found`` is dropped; its quiet time starts again when it comes back.

        Args:
            found: Every file that is present and not yet admitted.
            now_s: Time of a clock that never goes back, when the last of them was found.
            began_s: The time when the first of them was looked for; ``now_s`` by default.
        """
        began_s = now_s if began_s is None else began_s
        since: dict[Path, tuple[float, Stamp]] = {}
        for path, stamp in found.items():
            before = self._since.get(path)
            since[path] = before if before and before[1] == stamp else (now_s, stamp)
        self._since = since
        stable = [
            (quiet_since_s, path)
            for path, (quiet_since_s, _) in since.items()
            if began_s - quiet_since_s >= self.quiet_s
        ]
        return [path for _, path in sorted(stable)]

    def since_s(self, path: Path) -> float:
        """Return when an observed file last changed."""
        return self._since[path][0]

    def forget(self, path: Path) -> None:
        """Drop a file. If it is observed again, its quiet time starts again."""
        self._since.pop(path, None)


class Writer(Enum):
    """Whether another program has a file open for writing, as far as the kernel knows."""

    NONE = "none"
    OPEN = "open"
    UNKNOWN = "unknown"


def writer_of(descriptor: int) -> Writer:
    """Ask for a read lease, which the kernel refuses while a program has the file open to write.

    The service must own the file and the file system must support leases; otherwise the answer
    is ``UNKNOWN``.

    Args:
        descriptor: A regular file, open for reading.
    """
    # A program that opens the file for writing now breaks the lease; SIGIO would end this process.
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return Writer.OPEN if error.errno == errno.EAGAIN else Writer.UNKNOWN
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writer.NONE


def why_incomplete(descriptor: int) -> Reason:
    """Return what an open file lacks; ``NO_REASON`` if nothing is known to be missing."""
    facts = os.fstat(descriptor)
    if facts.st_size == 0:
        return Reason.of(ReasonCode.EMPTY)
    if facts.st_size > _SMALL_BYTES and facts.st_blocks * 512 < facts.st_size / 2:
        return Reason.of(ReasonCode.PREALLOCATED)
    return container.why_incomplete(descriptor)


@dataclass(frozen=True, slots=True)
class StabilityPolicy:
    """How long a file must not have changed before it is processed in doubtful cases.

    Attributes:
        unknown_writer_s: Minimum age of the last change, in seconds, where the kernel cannot
            tell whether the file is open for writing.
        unfinished_s: Age of the last change, in seconds, after which an incomplete file is
            processed as it is.
    """

    unknown_writer_s: float
    unfinished_s: float


def block_reason(
    path: Path,
    still_s: float,
    policy: StabilityPolicy,
    wall_s: float = 0.0,
    stamp: Stamp | None = None,
    opener: FileOpener | None = None,
) -> Reason:
    """Return why an unchanged file may not be processed yet; ``NO_REASON`` if it may.

    Args:
        path: The file; opened briefly, without following a link.
        still_s: How long it has not changed, as far as the service has seen.
        policy: How long to wait in which case.
        wall_s: The time, to which the file's own times are compared: an incomplete file that
            was changed last week does not wait another hour after each start of the service.
        stamp: What it had when it was found; None if that does not matter.
        opener: Opens ``path``; by default, ``path`` is absolute.
    """
    try:
        descriptor = opener.open(path) if opener else open_file_below(path.parent, Path(path.name))
    except OSError:
        # The worker that probes the file reports the error.
        return NO_REASON
    try:
        status = os.fstat(descriptor)
        if stamp is not None and not Stamp.of(status).is_same(stamp):
            return Reason.of(ReasonCode.STILL_CHANGING)
        writer = writer_of(descriptor)
        if writer is Writer.OPEN:
            return Reason.of(ReasonCode.OPEN_FOR_WRITING)
        if writer is Writer.UNKNOWN and still_s < policy.unknown_writer_s:
            return Reason.of(ReasonCode.CANNOT_TELL_IF_OPEN, quiet_s=policy.unknown_writer_s)
        unchanged_s = max(still_s, wall_s - max(status.st_mtime, status.st_ctime))
        return why_incomplete(descriptor) if unchanged_s < policy.unfinished_s else NO_REASON
    except OSError:
        return NO_REASON
    finally:
        os.close(descriptor)


class BlockReasons:
    """Block reasons of unchanged files, read again after growing pauses.

    Args:
        policy: How long to wait in which case.
        root: The folder that the paths are below; by default, they are absolute.
    """

    def __init__(self, policy: StabilityPolicy, root: Path | None = None) -> None:
        self._policy = policy
        self._opener = FileOpener(root) if root else None
        self._is_reading_many = False
        self._known: dict[Path, tuple[float, float, Reason]] = {}

    def of(
        self,
        path: Path,
        since_s: float,
        now_s: float,
        wall_s: float = 0.0,
        stamp: Stamp | None = None,
    ) -> Reason:
        """Return ``block_reason``, read again after 10 s, then after longer and longer pauses.

        Args:
            path: The file.
            since_s: When it last changed.
            now_s: Time of the same clock, which never goes back.
            wall_s: The time in seconds since 1970.
            stamp: What the file had when it was found.
        """
        read_s, gap_s, reason = self._known.get(path, (since_s, 0.0, NO_REASON))
        policy = self._policy
        # The moments at which the reason can change although the file does not.
        passed = [
            end_s
            for end_s in (since_s + policy.unknown_writer_s, since_s + policy.unfinished_s)
            if read_s < end_s <= now_s
        ]
        if reason and since_s <= read_s and now_s - read_s < gap_s and not passed:
            return reason
        reason = block_reason(path, now_s - since_s, policy, wall_s, stamp, self._opener)
        if not self._is_reading_many:
            self._leave_folder()
        if reason:
            longer_s = min(max(_FIRST_GAP_S, 2 * gap_s), _LONGEST_GAP_S)
            self._known[path] = (now_s, longer_s, reason)
        else:
            self._known.pop(path, None)
        return reason

    @contextmanager
    def reading_many(self) -> Iterator[None]:
        """Stay in the folder of a file, because more files of it follow."""
        self._is_reading_many = True
        try:
            yield
        finally:
            self._is_reading_many = False
            self._leave_folder()

    def _leave_folder(self) -> None:
        if self._opener:
            self._opener.close()

    def keep_only(self, paths: set[Path]) -> None:
        """Drop the reasons of all other files."""
        for path in self._known.keys() - paths:
            del self._known[path]
