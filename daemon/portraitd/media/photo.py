"""Read photos: what kind of picture a file is, when it was taken, and the picture, upright.

OpenCV decodes every format but HEIC, which libheif decodes. Pillow reads the headers: size,
orientation, date, and whether a picture moves.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, BinaryIO

import numpy as np
import pi_heif
from PIL import Image as Pillow
from PIL import ImageFile, TiffImagePlugin

from portraitd.media.opencv import cv2
from portraitd.media.picture import MAX_PIXELS, too_large
from portraitd.media.picture_errors import DAMAGED
from portraitd.media.recording_date import exif_recording_time
from portraitd.media.xml_tree import MAX_XML_BYTES
from portraitd.model.errors import NotMedia, UnreadableVideo
from portraitd.model.face import Image
from portraitd.model.photo_tags import PhotoTags
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.model.recording_time import RecordingTime

HEAD_BYTES = 64

MAX_SCANS = 1000
"""Programs write some ten; those of thumbnails and further pictures in the file count as well."""

MAX_SCANNED_PIXELS = 2_000_000_000
"""Forty scans of the largest picture: about ten seconds."""

_ORIENTATION = 0x0112
_NEW_SUBFILE_TYPE = 0x00FE
_WIDTH, _HEIGHT = 0x0100, 0x0101
_COMPRESSION, _PHOTOMETRIC = 0x0103, 0x0106
_MAKE = 0x010F
_SUB_IFDS = 0x014A
_DNG_VERSION = 0xC612

_RAW_PHOTOMETRICS = frozenset({32803, 34892})
"""Photometric interpretations of a sensor's values: with a colour filter, and linear."""

_RAW_COMPRESSIONS = frozenset({32767, 32769, 32770, 34713})
"""How Sony, Epson, Samsung and Nikon code a sensor's values."""

_PREVIEW_PX = 320
"""Cameras write no photo as small as this: if a TIFF of theirs begins so, it is a preview."""

_MAX_SUB_IFDS = 16

_RAW_OF_MAKE = {
    "nikon": "NEF",
    "sony": "ARW",
    "canon": "CR2",
    "pentax": "PEF",
    "ricoh": "PEF",
    "samsung": "SRW",
    "panasonic": "RW2",
    "olympus": "ORF",
    "kodak": "DCR",
    "eastman": "DCR",
    "hasselblad": "3FR",
    "phase one": "IIQ",
    "leaf": "MOS",
    "mamiya": "MEF",
    "seiko epson": "ERF",
}
"""Suffix of the TIFF-based raw files of a camera, by the start of its make."""

_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2"})

_TIFF_HEADS = (b"II*\0", b"MM\0*")

_RAW_HEADS = {
    b"FUJIFILMCCD-RAW": "RAF",
    b"\0MRM": "MRW",
    b"II\x1a\0\0\0HEAPCCDR": "CRW",
    b"IIIITwaR": "IIQ",
    b"MMMMRawT": "IIQ",
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


_TURNED_BY_DECODER = frozenset({PhotoFormat.HEIC, PhotoFormat.TIFF})
"""Pillow, OpenCV and libheif return these upright, whatever is asked for."""


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """What the header of a picture says.

    Attributes:
        width_px, height_px: Of the upright picture.
        frames: How many pictures it holds; more than one is a short video.
        orientation: By EXIF, 1 to 8; 1 for HEIC and TIFF, which decoders turn upright.
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
    if any(head.startswith(raw) for raw in _RAW_HEADS) or _is_cr2(head):
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
    if _is_cr2(data):
        return "CR2"
    return _raw_kind_of_tiff(data) if data[:4] in _TIFF_HEADS else ""


def _is_cr2(head: bytes) -> bool:
    return head[:4] in _TIFF_HEADS and head[8:10] == b"CR"


def _raw_kind_of_tiff(data: bytes) -> str:
    """Return the name of a raw format that is built like a TIFF; empty for a TIFF picture.

    The first picture of such a file is a small preview, or the values of the sensor.
    """
    first = _read_ifd(data)
    if _DNG_VERSION in first:
        return "DNG"
    is_raw = bool(_number(first, _NEW_SUBFILE_TYPE) & 1) or _holds_sensor(first)
    places = first.get(_SUB_IFDS, ())
    places = places[:_MAX_SUB_IFDS] if isinstance(places, tuple) else (places,)
    is_raw = is_raw or any(_holds_sensor(_read_ifd(data, place)) for place in places)
    make = str(first.get(_MAKE, "")).lower()
    named = next((kind for start, kind in _RAW_OF_MAKE.items() if make.startswith(start)), "")
    if not is_raw and max(_number(first, _WIDTH), _number(first, _HEIGHT)) <= _PREVIEW_PX:
        is_raw = bool(named)
    return (named or "TIFF-based raw") if is_raw else ""


def _read_ifd(data: bytes, place: object = None) -> dict[int, Any]:
    """Return the tags of a TIFF directory, by default the first; none if it is damaged."""
    directory = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
    file = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            # Pillow warns of damaged tags, which are left out.
            warnings.simplefilter("ignore")
            file.seek(directory.next if place is None else int(str(place)))
            directory.load(file)
            return dict(directory)
    except DAMAGED:
        return {}


def _holds_sensor(tags: Mapping[int, Any]) -> bool:
    return (
        _number(tags, _PHOTOMETRIC) in _RAW_PHOTOMETRICS
        or _number(tags, _COMPRESSION) in _RAW_COMPRESSIONS
    )


def _number(tags: Mapping[int, Any], tag: int) -> int:
    value = tags.get(tag)
    return value if isinstance(value, int) else 0


def is_motion_jpeg(data: bytes) -> bool:
    """Return whether one JPEG follows another directly, as in a raw motion JPEG stream.

    Cameras too put several pictures into one file, and list them in a segment of its own (MPF).
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return False
    at = _start_of_scan(data)
    if b"MPF\0" in data[:at]:
        return False
    # In the coded picture 0xFF is always followed by a zero or by a restart marker.
    end = data.find(b"\xff\xd9", at)
    return end >= 0 and data[end + 2 : end + 5] == b"\xff\xd8\xff"


def _start_of_scan(data: bytes) -> int:
    """Return where the first coded picture of a JPEG begins, behind previews in its segments."""
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] not in (b"\xda", b""):
        at += 2 + max(int.from_bytes(data[at + 2 : at + 4], "big"), 2)
    return at


def read_facts(data: bytes, form: PhotoFormat) -> PhotoFacts:
    """Read a picture's header.

    Raises:
        NotMedia: It is a camera's raw file, or too large.
        UnreadableVideo: The header is damaged.
    """
    if kind := raw_kind(data):
        raise NotMedia(Reason.of(ReasonCode.CAMERA_RAW, kind=kind))
    with _header(io.BytesIO(data), form) as header:
        width, height = header.size
        if width * height > MAX_PIXELS:
            raise NotMedia(too_large(width, height))
        if form is PhotoFormat.JPEG:
            _expect_few_scans(data, width * height)
        exif = _exif_of(header)
        orientation = 1 if form in _TURNED_BY_DECODER else _orientation_of(exif)
        if orientation in (5, 6, 7, 8):
            width, height = height, width
        # Pages of a TIFF are no moments.
        moves = form in (PhotoFormat.GIF, PhotoFormat.WEBP, PhotoFormat.PNG, PhotoFormat.AVIF)
        frames = _count_frames(header) if moves else 1
        return PhotoFacts(width, height, frames, orientation, exif_recording_time(exif))


def read_tags(file: BinaryIO) -> PhotoTags:
    """Read what a sidecar of a photo depends on.

    Raises:
        UnreadableVideo: It is no photo any more, or damaged.
    """
    form = photo_format(file.read(HEAD_BYTES))
    file.seek(0)
    if form is None:
        raise UnreadableVideo(Reason.of(ReasonCode.PHOTO_NOT_DECODED, format=""))
    with _header(file, form) as header:
        width, height = header.size
        orientation = _orientation_of(_exif_of(header))
        if form is PhotoFormat.HEIC:
            # libheif has its own; other programs find it in EXIF.
            orientation = header.info.get("original_orientation") or 1
        if form in _TURNED_BY_DECODER and orientation >= 5:
            width, height = height, width
        xmp = header.info.get("xmp", b"")
        data = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
        return PhotoTags(width, height, orientation, data if len(data) <= MAX_XML_BYTES else b"")


def read_photo(data: bytes, form: PhotoFormat) -> tuple[Image, bool]:
    """Decode a picture, upright.

    Returns:
        The picture, and whether its end is missing.

    Raises:
        UnreadableVideo: It is damaged.
    """
    if form is PhotoFormat.HEIC:
        return _read_heic(data), False
    orientation = 1
    if form not in _TURNED_BY_DECODER:
        with _header(io.BytesIO(data), form) as header:
            orientation = _orientation_of(_exif_of(header))
    image, is_cut = _decoded(data), _is_cut_short(data, form)
    if image is None and is_cut:
        # The copy broke off: what is there is a picture as far as it goes.
        whole = data + b"\xff\xd9"
        image = _decoded(whole) if form is PhotoFormat.JPEG else _decode_beginning(data)
    if image is None:
        raise UnreadableVideo(Reason.of(ReasonCode.PHOTO_NOT_DECODED, format=form))
    return _turned(image, orientation), is_cut


def _expect_few_scans(data: bytes, pixels: int) -> None:
    """Raise ``NotMedia`` for a JPEG whose picture is refined far more often than any camera does.

    Each scan costs a pass over the whole picture, and may be a few bytes long.
    """
    scans = data.count(b"\xff\xda")
    if scans > MAX_SCANS or scans * pixels > MAX_SCANNED_PIXELS:
        raise NotMedia(
            Reason.of(
                ReasonCode.TOO_MUCH_WORK, work=f"{scans:,} scans of {pixels / 1e6:.0f} megapixels"
            )
        )


def _decoded(data: bytes) -> Image | None:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


def _is_cut_short(data: bytes, form: PhotoFormat) -> bool:
    """Return whether the end of a JPEG or PNG is missing."""
    if form is PhotoFormat.JPEG:
        return data.find(b"\xff\xd9", _start_of_scan(data)) < 0
    return form is PhotoFormat.PNG and b"IEND" not in data


def _decode_beginning(data: bytes) -> Image | None:
    """Decode a picture whose end is missing; the rest is black."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        with Pillow.open(io.BytesIO(data)) as picture:
            rgb = np.asarray(picture.convert("RGB"), np.uint8)
    except DAMAGED:
        return None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    return np.ascontiguousarray(rgb[:, :, ::-1])


def _read_heic(data: bytes) -> Image:
    try:
        heif = pi_heif.read_heif(io.BytesIO(data))
        rgb = np.asarray(heif.to_pillow().convert("RGB"), np.uint8)
    except DAMAGED as error:
        raise UnreadableVideo(
            Reason.of(ReasonCode.PHOTO_NOT_DECODED, format=PhotoFormat.HEIC)
        ) from error
    return np.ascontiguousarray(rgb[:, :, ::-1])


def _header(file: BinaryIO, form: PhotoFormat) -> Pillow.Image:
    """Open a picture without decoding it.

    Raises:
        UnreadableVideo: Pillow finds no picture.
    """
    pi_heif.register_heif_opener()
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures; their size is checked below.
            warnings.simplefilter("ignore")
            return Pillow.open(file)
    except DAMAGED as error:
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


def _count_frames(header: Pillow.Image) -> int:
    """Return how many pictures a file holds; two where the second is damaged."""
    try:
        return int(getattr(header, "n_frames", 1))
    except DAMAGED:
        return 2


def _exif_of(header: Pillow.Image) -> Pillow.Exif:
    """Return the EXIF data of a picture; none if it is damaged or behind its missing end."""
    try:
        return header.getexif()
    except DAMAGED:
        return Pillow.Exif()


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
