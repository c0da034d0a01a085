"""Read when a photo or video was recorded; names of files say nothing reliable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from PIL import Image as Pillow

from portraitd.media.picture_errors import DAMAGED
from portraitd.model.recording_time import RecordingTime

_EXIF = 0x8769
_DATE_TAKEN, _OFFSET_TAKEN = 0x9003, 0x9011

CONTAINER_KEYS = ("com.apple.quicktime.creationdate", "creation_time")
"""Metadata of containers, the most precise first: Apple's has the offset of the place."""

_EXIF_DATE = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)$")


def exif_recording_time(exif: Pillow.Exif) -> RecordingTime | None:
    """Return when a photo was taken (DateTimeOriginal); None if it does not say."""
    try:
        details = exif.get_ifd(_EXIF)
        taken, offset = (str(details.get(tag, "")) for tag in (_DATE_TAKEN, _OFFSET_TAKEN))
    except DAMAGED:
        return None
    return _time_of(taken.strip("\0 "), offset.strip("\0 "))


def container_recording_time(metadata: Mapping[str, str]) -> RecordingTime | None:
    """Return when a video was recorded, by the metadata of its container; None if unknown."""
    texts = {key.lower(): text.strip() for key, text in metadata.items()}
    found = (_time_of(texts[key], texts[key]) for key in CONTAINER_KEYS if key in texts)
    return next((time for time in found if time), None)


def _time_of(date: str, offset: str) -> RecordingTime | None:
    """Return the moment of a date; its offset is at the end of the second text, if anywhere."""
    match = _EXIF_DATE.match(date)
    if match is None:
        return None
    try:
        wall = datetime(*map(int, match.groups()), tzinfo=UTC)  # type: ignore[misc,arg-type]
    except ValueError:
        return None
    seconds = (wall - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)
    offset_min = _minutes_of(offset)
    return RecordingTime(seconds - 60 * (offset_min or 0), offset_min)


def _minutes_of(offset: str) -> int | None:
    if offset.endswith("Z"):
        return 0
    match = _OFFSET.search(offset)
    if match is None:
        return None
    sign, hours, minutes = match.groups()
    total = int(hours) * 60 + int(minutes)
    return -total if sign == "-" else total
