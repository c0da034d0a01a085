"""Small files that would keep a worker busy for hours are refused, or cost little."""

from __future__ import annotations

import io
import os
import resource
import time
from pathlib import Path

import pytest
from PIL import Image as Pillow

from portraitd.media import work_limit
from portraitd.media.content_hash import SPARSE_BYTES, expect_written
from portraitd.media.decoder import open_video
from portraitd.media.video import MAX_PICTURE_BYTES, probe
from portraitd.media.work_limit import BASE_S, limit_work
from portraitd.model.errors import NotMedia, UnreadableVideo, VideoError
from portraitd.model.reasons import ReasonCode
from support.media import source_of, write_pattern_clip


def refused(path: Path) -> ReasonCode:
    with pytest.raises(VideoError) as caught:
        probe(source_of(path))
    return caught.value.reason.code


def progressive_jpeg(scans: int, size_px: tuple[int, int] = (5000, 4000)) -> bytes:
    """Return a grey picture that is refined again and again, 75 bytes a time."""
    buffer = io.BytesIO()
    Pillow.new("L", size_px, 128).save(buffer, "JPEG", progressive=True, quality=30)
    data = buffer.getvalue()
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - data.count(b"\xff\xda")) + data[-2:]


def test_a_picture_is_refined_a_limited_number_of_times(tmp_path: Path) -> None:
    """A second and a half for a hundred scans; a file of 4 MB could hold fifty thousand."""
    path = tmp_path / "refined.jpg"
    path.write_bytes(progressive_jpeg(3000))
    began_s = time.process_time()

    assert ReasonCode.TOO_MUCH_WORK is refused(path)

    assert time.process_time() - began_s < 1.0


def test_a_progressive_picture_is_read(tmp_path: Path) -> None:
    """As programs write them, with some ten scans; a small one may have many more."""
    large, small = tmp_path / "large.jpg", tmp_path / "small.jpg"
    large.write_bytes(progressive_jpeg(12))
    small.write_bytes(progressive_jpeg(60, (640, 480)))

    assert 5000 == probe(source_of(large)).width_px
    assert 640 == probe(source_of(small)).width_px


@pytest.mark.parametrize("start", [b"", b"\0\0\0\x18ftypisom" + b"\0" * 12, b"\0\0\0\1\x67\x42"])
def test_a_large_file_that_was_hardly_written_is_not_read(tmp_path: Path, start: bytes) -> None:
    """20 GiB of zeros are neither hashed nor decoded, whatever they begin with."""
    path = tmp_path / "sparse.mp4"
    path.write_bytes(start)
    os.truncate(path, 20 << 30)
    began_s = time.process_time()

    assert ReasonCode.PREALLOCATED is refused(path)

    assert time.process_time() - began_s < 1.0


def test_what_is_no_media_is_not_hashed(tmp_path: Path) -> None:
    """A large file takes a while to read; what it is can be told from its beginning."""
    path = tmp_path / "archive.mp4"
    path.write_bytes(b"PK\x03\x04" + b"\0" * 100)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, 300 << 20)
    began_s = time.process_time()

    assert ReasonCode.OTHER_FILE_TYPE is refused(path)

    # A quarter of a second for hashing alone.
    assert time.process_time() - began_s < 0.2


def test_holes_of_a_file_that_was_written_do_no_harm(tmp_path: Path) -> None:
    """Only where they are far more than all the rest."""
    path = tmp_path / "clip.mp4"
    write_pattern_clip(path, 5)
    os.truncate(path, SPARSE_BYTES)
    with path.open("rb") as file:
        expect_written(file.fileno())

    os.truncate(path, 2 * SPARSE_BYTES)

    with path.open("rb") as file, pytest.raises(NotMedia):
        expect_written(file.fileno())


def test_a_picture_larger_than_any_is_not_read_into_memory(tmp_path: Path) -> None:
    """It begins as one, and goes on for more than a gigabyte."""
    path = tmp_path / "large.bmp"
    path.write_bytes(b"BM" + b"\0" * 100)
    os.truncate(path, MAX_PICTURE_BYTES + 1)

    assert ReasonCode.TOO_LARGE is refused(path)


def test_a_file_that_takes_too_long_for_its_size_is_refused(tmp_path: Path) -> None:
    """The decoder asks before each packet."""
    path = write_pattern_clip(tmp_path / "clip.mp4", 20)
    asked = []
    with path.open("rb") as file:
        with open_video(file.fileno(), on_work=lambda: asked.append(True)) as video:
            assert 20 == len(video.timeline().times_s)
        with limit_work(file.fileno(), base_s=0.0) as check_work:
            check_work()
            spin(path.stat().st_size / work_limit.BYTES_PER_S)
            with pytest.raises(UnreadableVideo) as caught:
                check_work()

    assert len(asked) >= 20
    assert ReasonCode.TOO_MUCH_WORK is caught.value.reason.code


def spin(seconds: float) -> None:
    began_s = time.process_time()
    while time.process_time() - began_s <= seconds:
        pass


def test_the_kernel_ends_a_library_that_does_not_return(tmp_path: Path) -> None:
    """Its limit is lowered for one file, and then is what it was."""
    path = write_pattern_clip(tmp_path / "clip.mp4", 5)
    before = resource.getrlimit(resource.RLIMIT_CPU)

    with path.open("rb") as file, limit_work(file.fileno()):
        soft, hard = resource.getrlimit(resource.RLIMIT_CPU)

    used_s = time.process_time()
    assert hard == before[1]
    assert used_s < soft <= used_s + BASE_S + work_limit.MARGIN_S + 2
    assert before == resource.getrlimit(resource.RLIMIT_CPU)
