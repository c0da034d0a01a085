"""Whether a file that stands still is all there."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.ingest.stability import (
    BlockReasons,
    StabilityPolicy,
    StabilityTracker,
    Writer,
    block_reason,
    why_incomplete,
    writer_of,
)
from portraitd.model.media_file import Stamp
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from support.media import boxes, with_index_first, write_pattern_clip

PATIENT = StabilityPolicy(unknown_writer_s=60.0, unfinished_s=600.0)
EMPTY = Reason.of(ReasonCode.EMPTY)
CLIP = Path("clip.mp4")


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def lacking(path: Path) -> Reason:
    with opened(path) as descriptor:
        return why_incomplete(descriptor)


def bytes_missing(count: int) -> Reason:
    return Reason.of(ReasonCode.BYTES_MISSING, missing=count)


# --- Who writes.


def test_a_writer_is_noticed(tmp_path: Path) -> None:
    """As long as a program has the file open for writing, whatever it does with it."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"video")
    with opened(clip) as reading:
        if writer_of(reading) is Writer.UNKNOWN:
            pytest.skip("this file system knows no leases")
        with clip.open("r+b"):
            assert Writer.OPEN is writer_of(reading)

        assert Writer.NONE is writer_of(reading)


def test_asking_disturbs_no_writer(tmp_path: Path) -> None:
    """Whoever opens the file meanwhile waits for nothing, and no signal ends this process."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"video")
    script = "import sys\nfor _ in range(300):\n    open(sys.argv[1], 'r+b').close()\nprint('done')"
    with (
        opened(clip) as reading,
        subprocess.Popen([sys.executable, "-c", script, clip], stdout=subprocess.PIPE) as writer,
    ):
        while writer.poll() is None:
            writer_of(reading)
        assert writer.stdout

        assert b"done\n" == writer.stdout.read()
    assert signal.SIG_DFL == signal.getsignal(signal.SIGIO)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that everybody may look into; those of the tests are their own user's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_of_a_file_of_somebody_else_nothing_is_known(open_path: Path) -> None:
    """Then the longer time counts: unknown is not free."""
    clip = open_path / "clip.mp4"
    clip.write_bytes(b"video")
    os.chown(clip, 12345, 12345)
    script = (
        "import sys, pathlib\n"
        "from portraitd.ingest.stability import StabilityPolicy, block_reason\n"
        "for still_s in (59.0, 61.0):\n"
        "    print(block_reason(pathlib.Path(sys.argv[1]), still_s, StabilityPolicy(60.0, 0.0)))\n"
    )

    answer = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all",
         sys.executable, "-c", script, clip],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    if "Permission denied" in answer.stderr or "No module named" in answer.stderr:
        pytest.skip("the interpreter or its packages may not be read by others")
    assert [
        "cannot tell whether another program is still writing this file (network mount); waiting "
        "until it is unchanged for 60 s",
        "",
    ] == answer.stdout.splitlines()


# --- What is missing.


def test_a_whole_file_lacks_nothing(tmp_path: Path, nobody: Path) -> None:
    """Whatever container it is in."""
    avi = write_pattern_clip(tmp_path / "clip.avi", 20, codec="MJPG")

    assert (NO_REASON, NO_REASON) == (lacking(nobody), lacking(avi))


def test_a_cut_off_file_says_how_much_is_missing(tmp_path: Path, nobody: Path) -> None:
    """MP4 with its index first, AVI; and MP4 with its index last, that it is missing."""
    first, last, avi = tmp_path / "first.mp4", tmp_path / "last.mp4", tmp_path / "clip.avi"
    data = nobody.read_bytes()
    first.write_bytes(with_index_first(data)[:-1000])
    last.write_bytes(data[: next(at for kind, at, _ in boxes(data) if kind == b"moov")])
    whole = write_pattern_clip(avi, 20, codec="MJPG").read_bytes()
    avi.write_bytes(whole[:-500])

    assert bytes_missing(1000) == lacking(first)
    assert "incomplete: 1,000 bytes missing at the end of the file" == lacking(first).text
    assert Reason.of(ReasonCode.INDEX_MISSING) == lacking(last)
    assert bytes_missing(500) == lacking(avi)


@pytest.mark.parametrize(("said", "wanted"), [(1000, bytes_missing(500)), (500, NO_REASON)])
def test_a_matroska_file_says_how_long_it_is(tmp_path: Path, said: int, wanted: Reason) -> None:
    """Unless it was written to a pipe: then nobody knows."""
    clip = tmp_path / "clip.mkv"
    header = b"\x1a\x45\xdf\xa3" + b"\x84" + b"\x42\x86\x81\x01"
    segment = b"\x18\x53\x80\x67\x01" + struct.pack(">Q", said)[1:]
    clip.write_bytes(header + segment + b"x" * 500)
    assert wanted == lacking(clip)

    clip.write_bytes(header + b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + b"x" * 500)
    assert NO_REASON == lacking(clip)


def test_what_follows_a_whole_video_is_not_missing(tmp_path: Path, nobody: Path) -> None:
    """Garbage after the last box does not announce gigabytes."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(nobody.read_bytes() + b"\xf0" * 5000)

    assert NO_REASON == lacking(clip)


def test_space_that_was_set_aside_is_not_content(tmp_path: Path) -> None:
    """A file server shows the final size at once."""
    clip = tmp_path / "clip.mp4"
    with clip.open("wb") as file:
        file.write(b"\0\0\0\x18ftypmp42" + b"x" * 2000)
        file.truncate(1 << 24)

    assert Reason.of(ReasonCode.PREALLOCATED) == lacking(clip)


def test_zeros_at_the_beginning_were_never_written(tmp_path: Path) -> None:
    """A copy that was begun: its blocks are there, its content is not."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"\0" * 20_000)

    assert Reason.of(ReasonCode.ONLY_ZEROS) == lacking(clip)


# --- Waiting.


def test_a_file_that_lacks_something_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """Perhaps it is all there will ever be."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"")

    assert EMPTY == block_reason(clip, 599.0, PATIENT)
    assert NO_REASON == block_reason(clip, 600.0, PATIENT)


def test_a_file_is_asked_again_after_ever_longer_times(tmp_path: Path) -> None:
    """But at once when it changed, and when a time is over."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"")
    block_reasons = BlockReasons(PATIENT)
    assert EMPTY == block_reasons.of(clip, 0.0, 5.0)
    clip.write_bytes(b"text")

    assert EMPTY == block_reasons.of(clip, 0.0, 14.0)
    assert NO_REASON == block_reasons.of(clip, 0.0, 15.0)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Opening one for reading must not stand still until somebody writes."""
    os.mkfifo(tmp_path / "clip.mp4")

    assert block_reason(tmp_path / "clip.mp4", 100.0, PATIENT) in (NO_REASON, EMPTY)


# --- Unchanged files.


def test_a_growing_file_is_left_alone() -> None:
    """A file is taken only after it has stood still for the quiet period."""
    stability = StabilityTracker(quiet_s=5.0)

    assert [] == stability.observe({CLIP: Stamp(10, 1, 7)}, now_s=0.0)
    assert [] == stability.observe({CLIP: Stamp(20, 2, 7)}, now_s=4.0)
    assert [] == stability.observe({CLIP: Stamp(20, 2, 7)}, now_s=8.9)
    assert [CLIP] == stability.observe({CLIP: Stamp(20, 2, 7)}, now_s=9.0)


def test_a_file_replaced_by_rename_starts_anew() -> None:
    """Same size and time, another inode: another file."""
    stability = StabilityTracker(quiet_s=5.0)
    stability.observe({CLIP: Stamp(10, 1, 7)}, now_s=0.0)

    assert [] == stability.observe({CLIP: Stamp(10, 1, 8)}, now_s=5.0)


def test_a_settled_file_is_named_until_it_is_forgotten() -> None:
    """Forgetting starts the quiet time again."""
    stability = StabilityTracker(quiet_s=5.0)
    found = {CLIP: Stamp(0, 1, 7)}
    stability.observe(found, now_s=0.0)
    assert [CLIP] == stability.observe(found, now_s=5.0)
    assert [CLIP] == stability.observe(found, now_s=6.0)

    stability.forget(CLIP)

    assert [] == stability.observe(found, now_s=7.0)
    assert [CLIP] == stability.observe(found, now_s=12.0)


def test_a_vanished_file_is_dropped() -> None:
    """A file that comes back has to stand still once more."""
    stability = StabilityTracker(quiet_s=5.0)
    found = {CLIP: Stamp(10, 1, 7)}
    stability.observe(found, now_s=0.0)
    stability.observe({}, now_s=3.0)

    assert [] == stability.observe(found, now_s=6.0)


@given(st.lists(st.tuples(st.floats(0, 10), st.sampled_from([1, 2, 3])), min_size=1, max_size=20))
def test_no_file_settles_before_its_time(story: list[tuple[float, int]]) -> None:
    """Whatever happens, a file named has been seen unchanged over the quiet time."""
    stability = StabilityTracker(quiet_s=5.0)
    now_s = 0.0
    seen: list[tuple[float, int]] = []
    for pause_s, size in story:
        now_s += pause_s
        seen.append((now_s, size))

        named = stability.observe({CLIP: Stamp(size, size, 1)}, now_s=now_s)

        same = [at_s for at_s, _ in _last_run(seen)]
        assert (now_s - same[0] >= 5.0) == bool(named)


def _last_run(seen: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """The observations at the end that all saw the same."""
    first = len(seen) - 1
    while first and seen[first - 1][1] == seen[-1][1]:
        first -= 1
    return seen[first:]


def test_the_wait_for_the_rest_counts_from_the_last_change(tmp_path: Path) -> None:
    """Not from the start of the service: that may be long after the copy broke off."""
    clip = tmp_path / "clip.mp4"
    clip.touch()
    changed_s = max(clip.stat().st_mtime, clip.stat().st_ctime)

    assert EMPTY == block_reason(clip, 5.0, PATIENT, changed_s + 599)
    assert NO_REASON == block_reason(clip, 5.0, PATIENT, changed_s + 600)
    assert EMPTY == block_reason(clip, 5.0, PATIENT, changed_s - 1e6)


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


@pytest.mark.parametrize(
    "data",
    [
        # A box of a maker before the index, and one after which nothing can be told.
        box(b"ftyp", b"isom\0\0\0\0") + box(b"beam", b"\0" * 40) + box(b"moov"),
        box(b"ftyp", b"isom\0\0\0\0") + box(b"beam", b"\0" * 40),
        box(b"ftyp", b"heic\0\0\0\0") + box(b"meta") + box(b"mdat", b"\0" * 100),
        box(b"ftyp", b"avif\0\0\0\0") + box(b"meta") + box(b"mdat", b"\0" * 100),
        box(b"ftyp", b"Xnew\0\0\0\0") + box(b"mdat", b"\0" * 100),
        b"RIFF" + struct.pack("<I", 9) + b"WEBPVP8 ",
        b"DKIF" + b"\0" * 100,
        b"\0\0\0\1\x67" + b"\1" * 100,
    ],
    ids=["box", "box-alone", "heic", "avif", "brand", "odd-riff", "ivf", "raw-h264"],
)
def test_what_cannot_be_checked_is_not_called_incomplete(tmp_path: Path, data: bytes) -> None:
    """It is processed after the quiet time."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(data)

    assert NO_REASON == lacking(clip)


def test_a_video_without_its_index_is_incomplete(tmp_path: Path) -> None:
    """All its boxes are known, and none of them is the index."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(box(b"ftyp", b"isom\0\0\0\0") + box(b"mdat", b"\0" * 100))

    assert Reason.of(ReasonCode.INDEX_MISSING) == lacking(clip)
