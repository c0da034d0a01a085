"""When a photo or video was recorded, as its metadata says."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image as Pillow

from portraitd.media.recording_date import container_recording_time
from portraitd.media.video import probe
from portraitd.model.recording_time import RecordingTime
from support.media import source_of
from support.tags import needs_exiftool, needs_ffmpeg, remux, write_tags

TAKEN = "-EXIF:DateTimeOriginal=2019:07:14 15:16:17"


def photo(folder: Path, suffix: str) -> Path:
    path = folder / f"photo.{suffix}"
    Pillow.new("RGB", (64, 48), (200, 40, 90)).save(path)
    return path


def recorded(path: Path) -> RecordingTime | None:
    return probe(source_of(path)).recorded


@needs_exiftool
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
def test_the_date_of_a_photo_is_the_original_one(tmp_path: Path, suffix: str) -> None:
    """Not that of the file, and not of the last change."""
    path = photo(tmp_path, suffix)
    assert None is recorded(path)

    write_tags(path, "-EXIF:ModifyDate=2022:02:02 02:02:02")
    assert None is recorded(path)
    write_tags(path, TAKEN)
    local = recorded(path)
    write_tags(path, "-EXIF:OffsetTimeOriginal=+05:30")
    elsewhere = recorded(path)

    assert local
    assert elsewhere
    assert ("2019-07-14T15:16:17", None) == (local.iso(), local.offset_min)
    assert "2019-07-14T15:16:17+05:30" == elsewhere.iso()
    assert local.at_s - 5.5 * 3600 == elsewhere.at_s


@needs_exiftool
@pytest.mark.parametrize("text", ["0000:00:00 00:00:00", "2019:13:45 99:99:99", "    "])
def test_what_is_no_date_is_none(tmp_path: Path, text: str) -> None:
    """Zeros, a thirteenth month, spaces."""
    path = write_tags(photo(tmp_path, "jpg"), "-n", f"-EXIF:DateTimeOriginal={text}")

    assert None is recorded(path)


@needs_ffmpeg
def test_the_date_of_a_video_is_that_of_its_container(tmp_path: Path, nobody: Path) -> None:
    """In UTC."""
    path = remux(nobody, tmp_path / "a.mp4", "-metadata", "creation_time=2021-05-06T07:08:09Z")

    assert RecordingTime(1620284889.0, 0) == recorded(path)


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"creation_time": "2021-05-06T07:08:09.000000Z"}, "2021-05-06T07:08:09Z"),
        ({"CREATION_TIME": "2021-05-06 07:08:09"}, "2021-05-06T07:08:09"),
        (
            {
                "creation_time": "2021-05-06T05:08:09.000000Z",
                "com.apple.quicktime.creationdate": "2021-05-06T07:08:09+0200",
            },
            "2021-05-06T07:08:09+02:00",
        ),
        (
            {"creation_time": "2021-05-06T05:08:09Z", "com.apple.quicktime.creationdate": "May"},
            "2021-05-06T05:08:09Z",
        ),
        ({"creation_time": "-infinity"}, ""),
        ({"creation_time": "9999999-01-01T00:00:00Z"}, ""),
        ({"title": "2021-05-06T07:08:09Z", "date": "2021"}, ""),
        ({}, ""),
    ],
)
def test_apples_date_has_the_offset_and_goes_first(metadata: dict[str, str], text: str) -> None:
    """Anything that cannot be read is skipped."""
    found = container_recording_time(metadata)

    assert text == (found.iso() if found else "")
