"""Whether the clock can be trusted with deleting what is too old.

A clock that is years ahead, if only until the machine has asked a time server, would make every
video too old. It is compared with

- the steady clock of the machine while the service runs;
- the time when the service last ran;
- the clock of a file server, if the people tree is on a share: the server sets the time of a file
  that is written now. It can only contradict the clock of this machine. On a local disk that is the
  same clock, and says nothing.

Times of older files are not compared. If they are as new as the clock says, that proves nothing: a
service that starts while the clock is wrong has just written some. If they are newer, the clock is
slow, and nothing is erased too early.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from portraitd.ingest.mounts import is_on_share
from portraitd.model.stage import Now
from portraitd.people.tree.folder_fs import create_unfinished, open_root
from portraitd.store.erasure.retention_record import RetentionRecord, read_record, write_record
from portraitd.workers.libc import libc

DAY_S = 86_400.0

MAX_JUMP_S = DAY_S
"""How far the clock may move against the steady clock of the machine while the service runs."""

MAX_GAP_S = 14 * DAY_S
"""Longest time since the service last ran; if the clock shows a longer one, it may be wrong."""

WRITE_EVERY_S = 3600.0

ASK_EVERY_S = 600.0
"""How often the file server is asked for the time."""

_STA_UNSYNC = 0x0040


class _Timex(ctypes.Structure):
    """The start of ``struct timex``; see adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def is_synchronised() -> bool:
    """Return whether the kernel calls the clock synchronised with a time server.

    False as well where the kernel may not be asked, as under ``ProtectClock``.
    """
    timex = _Timex()
    return libc.adjtimex(ctypes.byref(timex)) >= 0 and not timex.status & _STA_UNSYNC


def read_server_clock(folder: Path) -> float | None:
    """Return what the clock of a file server says.

    Returns:
        Seconds since 1970; None if the folder is on a local disk, or cannot be written.
    """
    if not is_on_share(folder):
        return None
    with suppress(OSError), open_root(folder) as fd:
        name, file_fd = create_unfinished(fd, "clock")
        try:
            os.write(file_fd, b"\n")
        finally:
            os.close(file_fd)
        try:
            return os.stat(name, dir_fd=fd, follow_symlinks=False).st_mtime
        finally:
            os.unlink(name, dir_fd=fd)
    return None


class ClockCheck:
    """Compares the clock with others, and with earlier times.

    Args:
        state_dir: Where it is kept what the clock last said.
        people_dir: The people tree, which may be on a share.
        newest_s: Returns the newest time that the store knows, for a home of an earlier version.
    """

    def __init__(self, state_dir: Path, people_dir: Path, newest_s: Callable[[], float]) -> None:
        self._state_dir = state_dir
        self._people_dir = people_dir
        self._asked_s = -math.inf
        self._is_contradicted = False
        self._newest_s = newest_s
        self._reference: Now | None = None
        self._written_s = -math.inf
        self._record = read_record(state_dir)

    @property
    def last_s(self) -> float:
        """The time when the clock was last trusted; 0 if that is not known."""
        return self._record.clock_s or self._newest_s()

    def agrees(self, now: Now) -> bool:
        """Return whether the clock has moved as expected since the last check, within bounds."""
        if self._reference is not None:
            passed_s = now.steady_s - self._reference.steady_s
            agrees = abs(now.wall_s - self._reference.wall_s - passed_s) <= MAX_JUMP_S
        else:
            last_s = self.last_s
            agrees = not last_s or -MAX_JUMP_S <= now.wall_s - last_s <= MAX_GAP_S
        if agrees and not self._does_server_contradict(now):
            self.trust(now)
            return True
        return False

    def _does_server_contradict(self, now: Now) -> bool:
        """Return whether the file server has another time; asked again while it has."""
        if self._is_contradicted or now.steady_s - self._asked_s >= ASK_EVERY_S:
            server_s = read_server_clock(self._people_dir)
            self._is_contradicted = server_s is not None and abs(now.wall_s - server_s) > MAX_JUMP_S
            self._asked_s = now.steady_s
        return self._is_contradicted

    def trust(self, now: Now, forgotten_before_s: float = 0.0) -> None:
        """Trust the clock from now on.

        Args:
            now: What it says.
            forgotten_before_s: All videos from before this time have just been erased.
        """
        self._reference = now
        before_s = max(self._record.forgotten_before_s, forgotten_before_s)
        is_due = now.steady_s - self._written_s >= WRITE_EVERY_S
        if is_due or before_s > self._record.forgotten_before_s:
            self._record = RetentionRecord(now.wall_s, before_s)
            self._written_s = now.steady_s
            # On a full disk an older time stays, which is stricter.
            with suppress(OSError):
                write_record(self._state_dir, self._record)
