"""Scan an inbox of many files: every scan against scandir and stat of the same tree.

    python benchmarks/inbox_scan.py --files 50000

Prints processor time of three scans (all files new; all stable; all known and being processed), the
longest tick of each, and the ratio to the time of a bare walk over the same tree in the same run.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from portraitd.config import InboxSettings
from portraitd.ingest.admission import Admission
from portraitd.model.stage import Now
from portraitd.store.database import Database
from portraitd.store.files import Files

FILES_IN_FOLDER = 500


def make_inbox(inbox: Path, files: int, kind: str) -> None:
    """Write so many small files, all of them different."""
    claims = b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\x08free" * 9990
    for number in range(files):
        folder = inbox / f"{number // FILES_IN_FOLDER:03d}"
        if number % FILES_IN_FOLDER == 0:
            folder.mkdir(parents=True)
        content = claims if kind == "claims" else f"clip {number}".encode()
        (folder / f"{number:05d}.mp4").write_bytes(content)


def make_chains(inbox: Path, chains: int, depth: int) -> None:
    """Make folders in folders in folders."""
    for number in range(chains):
        fd = os.open(inbox, os.O_RDONLY)
        for _ in range(depth):
            os.mkdir(str(number), dir_fd=fd)
            below = os.open(str(number), os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(os.open("clip.mp4", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=fd))
        os.close(fd)


def walk(fd: int) -> Iterator[os.stat_result]:
    """Do the least that a scan must do."""
    with os.scandir(fd) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            below = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd)
            yield from walk(below)
            os.close(below)
        else:
            yield os.stat(entry.name, dir_fd=fd, follow_symlinks=False)


def scan(admission: Admission, steady_s: float) -> tuple[float, float]:
    """Tick until the scan has ended; return its processor time, and the length of the longest."""
    began_s, longest_s = time.process_time(), 0.0
    admission.wake()
    while True:
        tick_s = time.monotonic()
        admission.tick(Now(1e9 + steady_s, steady_s))
        longest_s = max(longest_s, time.monotonic() - tick_s)
        if admission.wait_s(steady_s, soon=True) > 0:
            return time.process_time() - began_s, longest_s


def main() -> None:
    """Print what each scan costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--kind", choices=("whole", "claims", "chains"), default="whole")
    parser.add_argument("--folder", type=Path, help="where to make the inbox")
    asked = parser.parse_args()
    # Lines of the log are made and written, as the service does, to nowhere.
    with open(os.devnull, "w", encoding="utf-8") as log:
        structlog.configure(
            processors=[structlog.processors.JSONRenderer()],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            logger_factory=structlog.WriteLoggerFactory(log),
        )
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            inbox = Path(folder) / "inbox"
            inbox.mkdir()
            if asked.kind == "chains":
                make_chains(inbox, 5, 900)
            else:
                make_inbox(inbox, asked.files, asked.kind)
            began_s, root_fd = time.process_time(), os.open(inbox, os.O_RDONLY)
            files = sum(1 for _ in walk(root_fd))
            walk_s = time.process_time() - began_s
            print(f"walk          {files:7,} files {walk_s:6.2f} s")
            settings = InboxSettings(quiet_s=5.0, quiet_remote_s=5.0)
            with Database.open(Path(folder)) as database:
                admission = Admission(Files(database, inbox), inbox, settings)
                for name, steady_s in (("new", 100.0), ("stable", 1000.0), ("known", 2000.0)):
                    used_s, longest_s = scan(admission, steady_s)
                    print(
                        f"scan, {name:7} {used_s:21.2f} s  {used_s / walk_s:6.1f} times the walk, "
                        f"longest tick {longest_s:.2f} s"
                    )


if __name__ == "__main__":
    sys.setrecursionlimit(10_000)
    main()
