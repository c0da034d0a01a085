"""HEIC photos are read whole and upright, in eight and ten bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from portraitd.media import photo
from portraitd.media.photo import PhotoFormat
from portraitd.media.video import probe
from portraitd.model.errors import UnreadableVideo
from portraitd.model.media_file import MediaKind
from portraitd.model.reasons import ReasonCode
from support.heif import Picture, write_heic
from support.media import source_of

COLOURS = {"R": (220, 30, 30), "G": (30, 220, 30), "B": (30, 30, 220), "W": (230, 230, 230)}


def tile(colour: str) -> Picture:
    """Return 64 x 64 pixels of one colour."""
    return np.full((64, 64, 3), COLOURS[colour], np.uint8)


TILES = [[tile("R"), tile("G"), tile("G")], [tile("W"), tile("B"), tile("B")]]


def corners(image: Picture) -> str:
    """Return the colours of the corners, clockwise from the top left, as letters."""
    height, width = image.shape[:2]
    found = ""
    for y, x in ((9, 9), (9, width - 9), (height - 9, width - 9), (height - 9, 9)):
        rgb = image[y, x, ::-1].astype(int)
        found += min(COLOURS, key=lambda name: int(np.abs(rgb - COLOURS[name]).sum()))
    return found


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize(
    ("turns", "mirror_axis", "expected"),
    [
        (0, None, "RGBW"),
        (1, None, "GBWR"),
        (2, None, "BWRG"),
        (3, None, "WRGB"),
        (0, 0, "WBGR"),
        (0, 1, "GRWB"),
    ],
)
def test_all_tiles_are_read_upright(
    tmp_path: Path, turns: int, mirror_axis: int | None, expected: str, pix_fmt: str
) -> None:
    """As phones store them; the first tile alone is not the photo."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(write_heic(TILES, turns=turns, mirror_axis=mirror_axis, pix_fmt=pix_fmt))

    facts = probe(source_of(path))
    image, is_cut = photo.read_photo(path.read_bytes(), PhotoFormat.HEIC)

    size = (128, 192) if turns % 2 else (192, 128)
    assert (MediaKind.PHOTO, *size) == (facts.kind, facts.width_px, facts.height_px)
    assert (expected, False) == (corners(image), is_cut)
    assert size == (image.shape[1], image.shape[0])


def test_a_photo_without_tiles_is_read_as_well() -> None:
    """Cameras store one picture."""
    whole = np.concatenate([np.concatenate(row, axis=1) for row in TILES])

    assert "RGBW" == corners(photo.read_photo(write_heic([[whole]]), PhotoFormat.HEIC)[0])


def test_a_damaged_photo_is_called_heic(tmp_path: Path) -> None:
    """The reason says what the file is."""
    path = tmp_path / "photo.heic"
    data = write_heic(TILES)
    path.write_bytes(data[: len(data) // 2])

    with pytest.raises(UnreadableVideo, match="the HEIC photo could not be decoded") as caught:
        probe(source_of(path))

    assert ReasonCode.PHOTO_NOT_DECODED is caught.value.reason.code
