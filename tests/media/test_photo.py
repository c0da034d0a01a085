"""Photos of every format are read, upright; raw files and damaged ones are refused by name."""

from __future__ import annotations

import io
import math
import struct
from collections import Counter
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from portraitd.media import photo
from portraitd.media.photo import PhotoFormat, read_facts
from portraitd.media.video import SampledFrames, probe
from portraitd.model.errors import NotMedia, UnreadableVideo, VideoError
from portraitd.model.media_file import MediaKind
from portraitd.model.reasons import ReasonCode
from support.media import pattern, source_of

ORIENTATION = 0x0112
SIZE = (120, 80)


def drawn() -> Pillow.Image:
    """Return a picture whose corners differ: red, green, blue, white, clockwise."""
    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    half_y, half_x = SIZE[1] // 2, SIZE[0] // 2
    picture[:half_y, :half_x] = (220, 30, 30)
    picture[:half_y, half_x:] = (30, 220, 30)
    picture[half_y:, half_x:] = (30, 30, 220)
    picture[half_y:, :half_x] = (230, 230, 230)
    return Pillow.fromarray(picture)


def corners(image: np.ndarray) -> str:
    """Return the colours of the corners, clockwise from the top left, as letters."""
    height, width = image.shape[:2]
    names = []
    for y, x in ((5, 5), (5, width - 6), (height - 6, width - 6), (height - 6, 5)):
        blue, green, red = (int(value) for value in image[y, x])
        bright = [
            name for name, value in zip("BGR", (blue, green, red), strict=True) if value > 128
        ]
        names.append("W" if len(bright) == 3 else "".join(bright))
    return "".join(names)


def encoded(suffix: str, orientation: int = 1, **options: object) -> bytes:
    """Return the picture in a format, with an EXIF orientation."""
    exif = Pillow.Exif()
    exif[ORIENTATION] = orientation
    data = io.BytesIO()
    drawn().save(data, format=suffix, exif=exif, **options)
    return data.getvalue()


def read(data: bytes) -> tuple[np.ndarray, bool]:
    form = photo.photo_format(data[: photo.HEAD_BYTES])
    assert form is not None
    return photo.read_photo(data, form)


@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        ("JPEG", PhotoFormat.JPEG),
        ("PNG", PhotoFormat.PNG),
        ("WEBP", PhotoFormat.WEBP),
        ("AVIF", PhotoFormat.AVIF),
        ("TIFF", PhotoFormat.TIFF),
        ("BMP", PhotoFormat.BMP),
        ("GIF", PhotoFormat.GIF),
        ("PPM", PhotoFormat.PNM),
        ("JPEG2000", PhotoFormat.JPEG_2000),
    ],
)
def test_every_format_is_read(tmp_path: Path, suffix: str, form: PhotoFormat) -> None:
    """By its content, whatever the file is called."""
    path = tmp_path / "photo.mp4"
    path.write_bytes(encoded(suffix))

    facts = probe(source_of(path))
    image, is_cut = read(path.read_bytes())

    assert form == photo.photo_format(path.read_bytes()[: photo.HEAD_BYTES])
    assert (MediaKind.PHOTO, *SIZE) == (facts.kind, facts.width_px, facts.height_px)
    assert ("RGBW", False) == (corners(image), is_cut)


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "expected"),
    [(1, "RGBW"), (2, "GRWB"), (3, "BWRG"), (4, "WBGR"), (5, "RWBG"), (6, "WRGB"), (7, "BGRW"),
     (8, "GBWR")],
)  # fmt: skip
def test_pictures_are_upright(suffix: str, orientation: int, expected: str) -> None:
    """In all eight orientations, and the header tells the size of the upright picture."""
    data = encoded(suffix, orientation)
    image, _ = read(data)
    facts = photo.read_facts(data, PhotoFormat(photo.photo_format(data[: photo.HEAD_BYTES])))

    assert expected == corners(image)
    assert image.shape[:2] == (facts.height_px, facts.width_px)


def test_the_orientation_of_an_old_webp_is_obeyed() -> None:
    """Some programs write its EXIF data as in a JPEG, with a head of six bytes."""
    data = encoded("WEBP", 6)
    at = data.index(b"EXIF")
    length = struct.unpack_from("<I", data, at + 4)[0]
    exif = b"Exif\0\0" + data[at + 8 : at + 8 + length]
    old = data[:at] + b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2)
    old = old[:4] + struct.pack("<I", len(old) - 8) + old[8:]

    assert "WRGB" == corners(read(old)[0])


def test_a_photo_of_sixteen_bits_keeps_its_brightness() -> None:
    """It is scaled, not cut off."""
    sixteen = np.asarray(drawn()).astype(np.uint16)[:, :, ::-1] * 257
    done, data = cv2.imencode(".png", sixteen)
    assert done

    assert "RGBW" == corners(read(data.tobytes())[0])


def test_a_jpeg_without_its_end_is_read_as_far_as_it_goes() -> None:
    """And known to be cut short."""
    data = encoded("JPEG", quality=95)
    image, is_cut = read(data[: len(data) * 3 // 4])

    assert is_cut
    assert "RG" == corners(image)[:2]


@pytest.mark.parametrize("suffix", ["GIF", "WEBP", "PNG", "AVIF"])
def test_a_picture_that_moves_is_a_short_video(tmp_path: Path, suffix: str) -> None:
    """All its frames are looked at, though they are closer together than the sampling rate."""
    path = tmp_path / "moves"
    others = [drawn().rotate(180)]
    drawn().save(path, format=suffix, save_all=True, append_images=others, duration=400, loop=0)
    source = source_of(path)

    facts = probe(source)
    frames = list(SampledFrames(source, facts.kind, 0.0, math.inf, 1.0))

    assert MediaKind.VIDEO is facts.kind
    assert ["RGBW", "BWRG"] == [corners(frame.image) for frame in frames]
    assert [0.0, 0.4] == pytest.approx([frame.t_s for frame in frames], abs=0.02)


def test_raw_motion_jpeg_is_a_video(tmp_path: Path) -> None:
    """One JPEG after the other, without a container."""
    path = tmp_path / "clip.mjpeg"
    turned = [drawn().rotate(180 * (number % 2)) for number in range(50)]
    with path.open("wb") as file:
        for picture in turned:
            picture.save(file, format="JPEG")
    source = source_of(path)

    facts = probe(source)

    assert MediaKind.VIDEO is facts.kind
    assert len(list(SampledFrames(source, facts.kind, 0.0, math.inf, 1.0))) == 2


def test_a_png_without_its_end_is_read_as_far_as_it_goes() -> None:
    """The rest is black."""
    data = encoded("PNG", compress_level=0)
    image, is_cut = read(data[: len(data) * 3 // 4])

    assert is_cut
    assert "RG" == corners(image)[:2]


@pytest.mark.parametrize("progressive", [False, True])
def test_what_lies_behind_the_end_of_a_jpeg_is_not_missed(progressive: bool) -> None:
    """Phones append depth maps and clips; a preview inside has an end of its own."""
    whole = encoded("JPEG", progressive=progressive)
    exif = Pillow.Exif()
    preview = io.BytesIO()
    drawn().save(preview, format="JPEG", exif=exif, comment=encoded("JPEG"))

    assert not read(whole + b"\0" * 100)[1]
    assert read(whole[:-2])[1]
    assert not read(preview.getvalue())[1]
    assert read(preview.getvalue()[:-2])[1]


def test_a_photo_cut_short_has_no_end(tmp_path: Path) -> None:
    """Which is how the service learns of it."""
    path = tmp_path / "photo.jpg"
    ends = []
    for data in (encoded("JPEG"), encoded("JPEG")[:-2]):
        path.write_bytes(data)
        frames = SampledFrames(source_of(path), MediaKind.PHOTO, 0.0, math.inf, 1.0)
        assert 1 == len(list(frames))
        ends.append(frames.ended_s)

    assert [0.0, None] == ends


def raw_tiff(tags: dict[int, object]) -> bytes:
    """Return a small TIFF picture with other tags, as the first of a camera's raw file has them."""
    data = io.BytesIO()
    Pillow.new("RGB", (16, 12)).save(data, format="TIFF", tiffinfo=tags)
    return data.getvalue()


def with_sensor_values(make: str) -> bytes:
    """Return a TIFF picture of full size with the values of a sensor in a directory below it."""
    data = io.BytesIO()
    Pillow.new("RGB", (640, 480)).save(data, format="TIFF", tiffinfo={271: make, 330: 0xFFFF})
    picture = data.getvalue()
    below = len(picture) + len(picture) % 2
    # Two tags: the photometric interpretation of a colour filter, and Nikon's compression.
    directory = struct.pack("<HHHIIHHIII", 2, 259, 3, 1, 34713, 262, 3, 1, 32803, 0)
    place = picture.index(struct.pack("<I", 0xFFFF)) - 8
    assert picture[place : place + 2] == struct.pack("<H", 330)
    changed = picture[:place] + struct.pack("<HHII", 330, 4, 1, below) + picture[place + 12 :]
    return changed.ljust(below, b"\0") + directory


def test_a_tiff_of_a_camera_is_a_photo() -> None:
    """Only previews and the values of the sensor are not."""
    data = io.BytesIO()
    Pillow.new("RGB", (640, 480)).save(data, format="TIFF", tiffinfo={271: "NIKON", 272: "D90"})

    assert "" == photo.raw_kind(data.getvalue())


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"FUJIFILMCCD-RAW 0201FF" + b"\0" * 100, "RAF"),
        (b"IIRO\x08\0\0\0" + b"\0" * 100, "ORF"),
        (b"IIU\0\x18\0\0\0" + b"\0" * 100, "RW2"),
        (b"II*\0\x10\0\0\0CR\x02\0" + b"\0" * 100, "CR2"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + b"\0" * 100, "CR3"),
        (b"\0MRM" + b"\0" * 100, "MRW"),
        (b"II\x1a\0\0\0HEAPCCDR" + b"\0" * 100, "CRW"),
        (raw_tiff({254: 1}), "TIFF-based raw"),
        (raw_tiff({254: 1, 271: "NIKON CORPORATION"}), "NEF"),
        (raw_tiff({254: 1, 271: "SONY"}), "ARW"),
        (raw_tiff({271: "PENTAX"}), "PEF"),
        (raw_tiff({254: 1, 50706: b"\1\4\0\0"}), "DNG"),
        (with_sensor_values("NIKON CORPORATION"), "NEF"),
    ],
)
def test_raw_files_of_cameras_are_refused_by_name(tmp_path: Path, data: bytes, kind: str) -> None:
    """Their first picture is a preview of a few pixels, which must not be taken for the photo."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)

    with pytest.raises(NotMedia, match=kind) as caught:
        probe(source_of(path))

    assert ReasonCode.CAMERA_RAW is caught.value.reason.code


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "AVIF", "JPEG2000"])
def test_damaged_photos_say_what_they_are(tmp_path: Path, suffix: str) -> None:
    """Whatever is wrong with them."""
    data = encoded(suffix)
    path = tmp_path / "photo"
    path.write_bytes(data[: photo.HEAD_BYTES])

    with pytest.raises(UnreadableVideo) as caught:
        probe(source_of(path))

    assert ReasonCode.PHOTO_NOT_DECODED is caught.value.reason.code


def test_too_many_pixels_are_refused_with_both_figures(tmp_path: Path) -> None:
    """Before the picture is decoded."""
    path = tmp_path / "photo.png"
    Pillow.new("1", (10_000, 6_000)).save(path)

    with pytest.raises(NotMedia, match="10000 x 6000 pixels are 60 megapixels; the limit is 50"):
        probe(source_of(path))


def test_a_moving_picture_may_end_anywhere(tmp_path: Path) -> None:
    """It is read as far as it goes, or refused with a reason; Pillow raises whatever it likes."""
    pictures = [Pillow.fromarray(pattern(number, (64, 48))) for number in range(3)]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:])
    data = buffer.getvalue()
    frames = Counter[int]()
    for end in range(20, len(data), 7):
        with suppress(VideoError):
            frames[read_facts(data[:end], PhotoFormat.GIF).frames] += 1
    cut = tmp_path / "cut.gif"
    cut.write_bytes(data[: len(data) * 2 // 3])

    assert frames.keys() >= {1, 2}
    assert MediaKind.VIDEO is probe(source_of(cut)).kind
