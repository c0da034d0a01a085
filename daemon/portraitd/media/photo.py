"""Read photos: what kind of picture a file is, when it was taken, and the picture, upright.

OpenCV decodes every format but HEIC, which libheif decodes. Pillow reads the headers: size,
orientation, date, and whether a picture moves.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pi_heif
from PIL import Image as Pillow

from portraitd.media.opencv import cv2
from portraitd.media.picture import MAX_PIXELS, too_large
from portraitd.media.recording_date import exif_recording_time
from portraitd.model.errors import NotMedia, UnreadableVideo
from portraitd.model.face import Image
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.model.recording_time import RecordingTime

HEAD_BYTES = 64

_ORIENTATION = 0x0112
_NEW_SUBFILE_TYPE = 0x00FE
_PHOTOMETRIC = 0x0106
_DNG_VERSION = 0xC612
_FILTER_ARRAY = 32803
"""Photometric interpretation of a sensor's raw values."""

_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2"})

_RAW_HEADS = {
    b"FUJIFILMCCD-RAW": "RAF",
    b"IIRO": "ORF",
    b"IIRS": "ORF",
    b"MMOR": "ORF",
    b"IIU\0": "RW2",
    b"FOVb": "X3F",
}


class PhotoFormat(StrEnum):
    """Formats of photos, known by their first bytes."""

    JPEG = "JPEG"
    PNG = "PNG"
    BMP = "BMP"
    TIFF = "TIFF"
    WEBP = "WebP"
    GIF = "GIF"
    PNM = "PNM"
    JPEG_2000 = "JPEG 2000"
    AVIF = "AVIF"
    HEIC = "HEIC"
    RAW = "camera raw"


_HEADS = (
    (b"\xff\xd8\xff", PhotoFormat.JPEG),
    (b"\x89PNG\r\n\x1a\n", PhotoFormat.PNG),
    (b"BM", PhotoFormat.BMP),
    (b"II*\0", PhotoFormat.TIFF),
    (b"MM\0*", PhotoFormat.TIFF),
    (b"II+\0", PhotoFormat.TIFF),
    (b"MM\0+", PhotoFormat.TIFF),
    (b"GIF87a", PhotoFormat.GIF),
    (b"GIF89a", PhotoFormat.GIF),
    (b"\0\0\0\x0cjP  \r\n\x87\n", PhotoFormat.JPEG_2000),
    (b"\xff\x4f\xff\x51", PhotoFormat.JPEG_2000),
)


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """What the header of a picture says.

    Attributes:
        width_px, height_px: Of the upright picture.
        frames: How many pictures it holds; more than one is a short video.
        orientation: By EXIF, 1 to 8; 1 for HEIC, which has its own.
        recorded: When it was taken; None if it does not say.
    """

    width_px: int
    height_px: int
    frames: int
    orientation: int
    recorded: RecordingTime | None


def photo_format(head: bytes) -> PhotoFormat | None:
    """Return which photo format a file has, by its first 64 bytes; None if it is no photo."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return PhotoFormat.WEBP
    if head[4:8] == b"ftyp":
        return _format_of_brand(head)
    if any(head.startswith(raw) for raw in _RAW_HEADS) or head[8:10] == b"CR":
        return PhotoFormat.RAW
    if len(head) > 2 and head[:1] == b"P" and head[1:2] in b"1234567" and head[2:3].isspace():
        return PhotoFormat.PNM
    return next((form for start, form in _HEADS if head.startswith(start)), None)


def raw_kind(data: bytes) -> str:
    """Return the name of a camera's raw format; empty where the data is something else."""
    for head, name in _RAW_HEADS.items():
        if data.startswith(head):
            return name
    if data[4:12] == b"ftypcrx ":
        return "CR3"
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return ""
    return "CR2" if data[8:10] == b"CR" else _raw_kind_of_tiff(data)


def _raw_kind_of_tiff(data: bytes) -> str:
    try:
        with _header(data, PhotoFormat.TIFF) as header:
            tags = dict(getattr(header, "tag_v2", {}))
    except UnreadableVideo:
        return ""
    if _DNG_VERSION in tags:
        return "DNG"
    # The first picture of a raw file is a small preview, or the values of the sensor.
    is_preview = int(tags.get(_NEW_SUBFILE_TYPE) or 0) & 1
    is_sensor = tags.get(_PHOTOMETRIC) == _FILTER_ARRAY
    return "TIFF-based raw" if is_preview or is_sensor else ""


def is_motion_jpeg(data: bytes) -> bool:
    """Return whether one JPEG follows another directly, as in a raw motion JPEG stream.

    Cameras too put several pictures into one file, and list them in a segment of its own (MPF).
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return False
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] not in (b"\xda", b""):
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2 or data[at + 4 : at + 8] == b"MPF\0":
            return False
        at += 2 + length
    # In the coded picture 0xFF is always followed by a zero or by a restart marker.
    end = data.find(b"\xff\xd9", at)
    return end >= 0 and data[end + 2 : end + 5] == b"\xff\xd8\xff"


def read_facts(data: bytes, form: PhotoFormat) -> PhotoFacts:
    """Read a picture's header.

    Raises:
        NotMedia: It is a camera's raw file, or too large.
        UnreadableVideo: The header is damaged.
    """
    if kind := raw_kind(data):
        raise NotMedia(Reason.of(ReasonCode.CAMERA_RAW, kind=kind))
    with _header(data, form) as header:
        width, height = header.size
        if width * height > MAX_PIXELS:
            raise NotMedia(too_large(width, height))
        exif = header.getexif()
        orientation = 1 if form is PhotoFormat.HEIC else _orientation_of(exif)
        if orientation in (5, 6, 7, 8):
            width, height = height, width
        # Pages of a TIFF are no moments.
        moves = form in (PhotoFormat.GIF, PhotoFormat.WEBP, PhotoFormat.PNG, PhotoFormat.AVIF)
        frames = int(getattr(header, "n_frames", 1)) if moves else 1
        return PhotoFacts(width, height, frames, orientation, exif_recording_time(exif))


def read_photo(data: bytes, form: PhotoFormat) -> tuple[Image, bool]:
    """Decode a picture, upright.

    Returns:
        The picture, and whether its end is missing.

    Raises:
        UnreadableVideo: It is damaged.
    """
    if form is PhotoFormat.HEIC:
        return _read_heic(data), False
    with _header(data, form) as header:
        orientation = _orientation_of(header.getexif())
    image, is_cut = _decoded(data), False
    if image is None and form is PhotoFormat.JPEG:
        # The copy broke off: what is there is a picture as far as it goes.
        image, is_cut = _decoded(data + b"\xff\xd9"), True
    if image is None:
        raise UnreadableVideo(Reason.of(ReasonCode.PHOTO_NOT_DECODED, format=form))
    return _turned(image, orientation), is_cut


def _decoded(data: bytes) -> Image | None:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


def _read_heic(data: bytes) -> Image:
    try:
        heif = pi_heif.read_heif(io.BytesIO(data))
        rgb = np.asarray(heif.to_pillow().convert("RGB"), np.uint8)
    except (ValueError, OSError, RuntimeError, SyntaxError, EOFError) as error:
        raise UnreadableVideo(
            Reason.of(ReasonCode.PHOTO_NOT_DECODED, format=PhotoFormat.HEIC)
        ) from error
    return np.ascontiguousarray(rgb[:, :, ::-1])


def _header(data: bytes, form: PhotoFormat) -> Pillow.Image:
    """Open a picture without decoding it.

    Raises:
        UnreadableVideo: Pillow finds no picture.
    """
    pi_heif.register_heif_opener()
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures; their size is checked below.
            warnings.simplefilter("ignore")
            return Pillow.open(io.BytesIO(data))
    except (OSError, ValueError, SyntaxError, EOFError, Pillow.DecompressionBombError) as error:
        raise UnreadableVideo(Reason.of(ReasonCode.PHOTO_NOT_DECODED, format=form)) from error


def _turned(image: Image, orientation: int) -> Image:
    """Turn a picture upright by its EXIF orientation (1 to 8)."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def _orientation_of(exif: Pillow.Exif) -> int:
    value = exif.get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _format_of_brand(head: bytes) -> PhotoFormat | None:
    """Return the format of a file that begins as an ISO base media file."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    major = head[8:12]
    brands = {head[at : at + 4] for at in range(16, length - 3, 4)} | {major}
    if major == b"crx ":
        return PhotoFormat.RAW
    if major == b"avif" or (major in (b"mif1", b"miaf") and b"avif" in brands):
        return PhotoFormat.AVIF
    if major in _HEIC_BRANDS:
        return PhotoFormat.HEIC
    return None
