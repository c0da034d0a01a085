"""What the header of a photo says is read in a sandbox, whatever the format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from portraitd.model.errors import FileChanged, UnreadableVideo
from portraitd.model.media_file import Source
from portraitd.people.sidecars.photo_tag_jobs import read_photo_tags
from portraitd.service.pools import decoding_policy
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import WorkerLimits
from support.heif import write_heic
from support.media import source_of
from support.tags import needs_exiftool, write_tags

PICTURE = np.zeros((40, 60, 3), np.uint8)


@pytest.fixture(scope="module")
def sealed() -> Iterator[LocalExecutor]:
    """A worker as the service has it, without models."""
    executor = LocalExecutor(1, WorkerLimits(0, 0, 60.0), decoding_policy(None))
    yield executor
    executor.shutdown()


def photo(path: Path) -> Source:
    if path.suffix == ".heic":
        path.write_bytes(write_heic([[np.zeros((64, 64, 3), np.uint8)] * 2]))
    else:
        path.write_bytes(cv2.imencode(path.suffix, PICTURE)[1].tobytes())
    write_tags(path, "-n", "-EXIF:Orientation=6", "-XMP-dc:Subject=beach")
    return source_of(path)


@needs_exiftool
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".heic"])
def test_the_header_of_each_format_is_read(
    sealed: LocalExecutor, tmp_path: Path, suffix: str
) -> None:
    """Size as it is stored, orientation, and XMP.

    AVIF is turned by its own properties, not by EXIF.
    """
    if suffix == ".avif" and not cv2.haveImageWriter("a.avif"):
        pytest.skip("this OpenCV writes no AVIF")
    tags = sealed.submit(read_photo_tags, photo(tmp_path / f"photo{suffix}")).result(60)

    assert (1 if suffix == ".avif" else 6) == tags.orientation
    assert b"beach" in tags.xmp
    if suffix != ".heic":
        assert (60, 40) == (tags.width_px, tags.height_px)


def test_what_is_no_photo_or_was_changed_is_refused(sealed: LocalExecutor, tmp_path: Path) -> None:
    """The errors say which."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"no photo")
    source = source_of(path)
    with pytest.raises(UnreadableVideo):
        sealed.submit(read_photo_tags, source).result(60)
    path.write_bytes(b"another one")
    with pytest.raises(FileChanged):
        sealed.submit(read_photo_tags, source).result(60)
