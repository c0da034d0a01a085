"""Open untrusted videos and photos, and read their frames.

A file is opened once, without following a link, and the decoder reads that descriptor. So the
checked file is the file that is read, no name is ever interpreted, and a playlist cannot open
another file: the decoder has no protocol that would.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from portraitd.media import container
from portraitd.media.opencv import CAPTURE_OPTIONS, cv2
from portraitd.model.errors import FileChanged, NotMedia, UnreadableVideo, UnsafeFile
from portraitd.model.face import Frame, Image
from portraitd.model.media_file import MediaFacts, MediaKind, Source, Stamp
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.workers.file_broker import open_to_read

MAX_PIXELS = 50_000_000
"""Larger frames are rejected: one frame of this size takes 150 MB."""

PHOTO_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*")

SEEK_MARGIN_S = 2.0

_CHUNK_BYTES = 1 << 20

TIE_S = 0.0001
"""Two frames whose distances differ by less are equally near: timestamps are rounded."""

MAX_DURATION_S = 30 * 24 * 3600.0
MIN_BYTES_PER_S = 20.0
"""A duration that implies less data per second is not valid."""


@contextmanager
def opened(source: Source) -> Iterator[int]:
    """Open a file and check, before and after the reading, that it has not changed.

    Raises:
        UnsafeFile: The path is a link, pipe, socket, device or folder.
        FileChanged: The stamp differs.
        NotMedia: The file cannot be opened.
    """
    try:
        fd = open_to_read(source.path)
    except FileNotFoundError:
        raise FileChanged(Reason.of(ReasonCode.REMOVED)) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafeFile(Reason.of(ReasonCode.SYMBOLIC_LINK)) from None
        if error.errno == errno.ENXIO:
            raise UnsafeFile(Reason.of(ReasonCode.NOT_A_REGULAR_FILE)) from None
        raise NotMedia(Reason.of(ReasonCode.CANNOT_READ, error=error.strerror)) from None
    try:
        _expect(source, fd)
        yield fd
        _expect(source, fd)
    finally:
        os.close(fd)


def probe(source: Source, partial_copies: Sequence[tuple[int, str]] = ()) -> MediaFacts:
    """Hash a file and determine by its content what it is.

    Args:
        source: The file.
        partial_copies: Size and SHA-256 of known contents that the file may start with.

    Raises:
        VideoError: The file is empty, not a video or photo, or cannot be read.
    """
    with opened(source) as fd:
        if source.stamp.size == 0:
            raise NotMedia(Reason.of(ReasonCode.EMPTY))
        digest, extends = _fingerprint(fd, partial_copies)
        if _is_photo(fd):
            height, width = _photo(fd).shape[:2]
            return MediaFacts(digest, MediaKind.PHOTO, 0.0, 0.0, width, height)
        if container.is_encrypted(fd):
            raise UnreadableVideo(Reason.of(ReasonCode.ENCRYPTED))
        with _capture(fd) as capture:
            fps = float(capture.get(cv2.CAP_PROP_FPS))
            frames = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            fps = fps if math.isfinite(fps) and 0.001 <= fps <= 1000 else 0.0
            first = _retrieved(capture) if capture.grab() else None
            if first is None:
                raise UnreadableVideo(_no_frame(capture))
            height, width = first.shape[:2]
        duration = frames / fps if fps and frames > 0 else math.inf
        return MediaFacts(
            digest,
            MediaKind.VIDEO,
            _valid_duration(duration, source.stamp.size),
            fps,
            width,
            height,
            extends,
        )


@dataclass(slots=True)
class SampledFrames:
    """The frames of a stretch that a sampling rate picks, and statistics of reading them.

    For each multiple of ``1 / fps`` the nearest frame is picked: frame ``i`` if a multiple is in
    ``(t[i-1] + h, t[i] + h]``, where ``h`` is half a frame at the declared rate, and the very
    first; of two equally near frames, the later. This depends only on the two timestamps, so the
    result is the same wherever a video is cut into slices.

    With ``keyframes`` the same rule picks among the keyframes alone, which cost next to nothing
    to reach. OpenCV cannot seek among keyframes: it reads the file from the start.

    Attributes:
        source: The file.
        kind: Whether it is a video or a photo.
        start_s, stop_s: The half-open stretch.
        fps: Frames to pick per second.
        keyframes: Whether to read keyframes only.
        decoded: Frames of the stretch that were read.
        ended_s: Timestamp of the last of them.
    """

    source: Source
    kind: MediaKind
    start_s: float
    stop_s: float
    fps: float
    keyframes: bool = False
    decoded: int = 0
    ended_s: float | None = field(default=None)

    def __iter__(self) -> Iterator[Frame]:
        """Read the picked frames.

        Raises:
            VideoError: No frame can be decoded, or the file changed while it was read.
        """
        with opened(self.source) as fd:
            if self.kind is MediaKind.PHOTO:
                self.decoded, self.ended_s = 1, 0.0
                yield Frame(0.0, _photo(fd))
                return
            yield from self._of_video(fd)
        if self.decoded == 0 and self.start_s == 0:
            raise UnreadableVideo(Reason.of(ReasonCode.NO_FRAME_DECODED, codec=""))

    def _of_video(self, fd: int) -> Iterator[Frame]:
        if self.start_s > SEEK_MARGIN_S and not self.keyframes:
            with _capture(fd) as capture:
                before_s = _sought(capture, self.start_s)
                if before_s is not None:
                    yield from self._picked(capture, before_s)
                    return
        # Read the start, never seek to it: MPEG-TS would land on its second keyframe.
        with _capture(fd, self.keyframes) as capture:
            yield from self._picked(capture, -math.inf)

    def _picked(self, capture: cv2.VideoCapture, last_s: float) -> Iterator[Frame]:
        """Return the picked frames among those after ``last_s``."""
        half_s = _frame_s(capture) / 2 - TIE_S
        previous = -1 if last_s < 0 else math.floor((last_s + half_s) * self.fps)
        for t_s in _times(capture, last_s):
            if t_s >= self.stop_s:
                return
            mark = math.floor((t_s + half_s) * self.fps)
            if t_s >= self.start_s:
                self.decoded += 1
                self.ended_s = t_s
                if mark > previous:
                    image = _retrieved(capture)
                    if image is not None:
                        yield Frame(t_s, image)
            previous = max(previous, mark)


@dataclass(frozen=True, slots=True)
class FramesAt:
    """Frames of a stretch that ``SampledFrames`` picked before, read again.

    The stretch must start where that one started, so that in a stream without usable timestamps
    the frames are counted in the same way.

    Attributes:
        source: The file.
        kind: Whether it is a video or a photo.
        start_s: Start of the stretch.
        times_s: Timestamps of the requested frames, rising.
        tolerance_s: How much later a frame may be and still stand for a requested one.
    """

    source: Source
    kind: MediaKind
    start_s: float
    times_s: Sequence[float]
    tolerance_s: float = 0.0

    def __iter__(self) -> Iterator[tuple[float, Frame]]:
        """Read each requested frame with the timestamp requested; missing ones are left out.

        Raises:
            VideoError: No frame can be decoded, or the file changed while it was read.
        """
        with opened(self.source) as fd:
            if self.kind is MediaKind.PHOTO:
                image = _photo(fd)
                yield from ((t_s, Frame(0.0, image)) for t_s in self.times_s)
                return
            if self.start_s > SEEK_MARGIN_S:
                with _capture(fd) as capture:
                    before_s = _sought(capture, self.start_s)
                    if before_s is not None:
                        yield from self._met(capture, before_s)
                        return
            with _capture(fd) as capture:
                yield from self._met(capture, -math.inf)

    def _met(self, capture: cv2.VideoCapture, last_s: float) -> Iterator[tuple[float, Frame]]:
        left = list(reversed(self.times_s))
        for t_s in _times(capture, last_s):
            # A thousandth: the same file gives the same timestamps.
            while left and left[-1] + self.tolerance_s < t_s - 0.001:
                left.pop()
            if not left:
                return
            if t_s >= left[-1] - 0.001:
                image = _retrieved(capture)
                if image is not None:
                    yield left.pop(), Frame(t_s, image)


def _no_frame(capture: cv2.VideoCapture) -> Reason:
    """Return the reason for a container that opens and gives no frame, with its codec."""
    code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
    name = code.decode("ascii", "replace").strip()
    codec = f" ({name})" if name.isalnum() else ""
    return Reason.of(ReasonCode.NO_FRAME_DECODED, codec=codec)


def _sought(capture: cv2.VideoCapture, start_s: float) -> float | None:
    """Seek to a frame before ``start_s`` and grab it. Return its timestamp, or None without one.

    Seeks too early on purpose and reads on from there: a seek does not always land on the frame
    that was requested.
    """
    margin_s = SEEK_MARGIN_S
    while margin_s < start_s:
        capture.set(cv2.CAP_PROP_POS_MSEC, (start_s - margin_s) * 1000)
        if capture.grab():
            first_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if 0 <= first_s < start_s:
                return first_s
        margin_s *= 4
    return None


def _times(capture: cv2.VideoCapture, last_s: float) -> Iterator[float]:
    """Return the timestamp of each following frame, always rising."""
    step_s = _frame_s(capture)
    while capture.grab():
        t_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if not math.isfinite(t_s) or t_s < 0:
            t_s = 0.0
        # Some streams have no usable timestamps, or ones that jump back: advance by one frame then.
        if t_s <= last_s:
            t_s = last_s + step_s
        last_s = t_s
        yield t_s


def _frame_s(capture: cv2.VideoCapture) -> float:
    """Return the declared duration of a frame; 0.04 if the declared rate is not valid."""
    fps = capture.get(cv2.CAP_PROP_FPS)
    return 1 / fps if math.isfinite(fps) and 1 <= fps <= 1000 else 0.04


@contextmanager
def _capture(fd: int, keyframes: bool = False) -> Iterator[cv2.VideoCapture]:
    os.lseek(fd, 0, os.SEEK_SET)
    # OpenCV reads this variable at each opening; it has no other way to receive the descriptor.
    options = f"{CAPTURE_OPTIONS}|fd;{fd}"
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = (
        f"{options}|avdiscard;nonkey" if keyframes else options
    )
    capture = cv2.VideoCapture("fd:", cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    try:
        if not capture.isOpened():
            raise NotMedia(container.why_unreadable(fd))
        pixels = capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if pixels > MAX_PIXELS:
            raise NotMedia(
                Reason.of(
                    ReasonCode.TOO_MANY_PIXELS, megapixels=pixels / 1e6, limit=MAX_PIXELS / 1e6
                )
            )
        yield capture
    finally:
        capture.release()


def _retrieved(capture: cv2.VideoCapture) -> Image | None:
    """Return the last grabbed frame, upright, with square pixels; None if conversion fails."""
    ok, image = capture.retrieve()
    if not ok or image is None or image.size == 0:
        return None
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return _with_square_pixels(np.asarray(image, np.uint8), capture)


def _with_square_pixels(image: Image, capture: cv2.VideoCapture) -> Image:
    """Scale a frame to square pixels: some containers declare another pixel aspect ratio."""
    across, down = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
    aspect = across / down if across > 0 and down > 0 else 1.0
    if aspect == 1.0 or not 1 / 8 <= aspect <= 8:
        return image
    height, width = image.shape[:2]
    # The ratio is that of the stored frame; a rotation by 90 degrees swaps the sides.
    if capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180 == 90:
        size = (width, max(1, round(height * aspect)))
    else:
        size = (max(1, round(width * aspect)), height)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _is_photo(fd: int) -> bool:
    head = os.pread(fd, 16, 0)
    return head.startswith(PHOTO_SIGNATURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def _photo(fd: int) -> Image:
    """Decode a photo and rotate it upright by its EXIF orientation."""
    size = os.fstat(fd).st_size
    data = np.frombuffer(os.pread(fd, size, 0), np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise UnreadableVideo(Reason.of(ReasonCode.PHOTO_NOT_DECODED))
    return np.asarray(image, np.uint8)


def _fingerprint(fd: int, partial_copies: Sequence[tuple[int, str]]) -> tuple[str, str]:
    """Return the SHA-256 of a file, and that of the longest known content that it starts with."""
    known: dict[int, set[str]] = {}
    for size, digest in partial_copies:
        known.setdefault(size, set()).add(digest)
    whole, extends, at = hashlib.sha256(), "", 0
    for mark in [*sorted(known), math.inf]:
        while at < mark:
            chunk = os.pread(fd, int(min(_CHUNK_BYTES, mark - at)), at)
            if not chunk:
                return whole.hexdigest(), extends
            whole.update(chunk)
            at += len(chunk)
        if at == mark and whole.hexdigest() in known[at]:
            extends = whole.hexdigest()
    return whole.hexdigest(), extends


def _valid_duration(duration_s: float, size: int) -> float:
    """Return a declared duration, or infinity if the file is too small for it."""
    if 0 < duration_s <= MAX_DURATION_S and size / duration_s >= MIN_BYTES_PER_S:
        return duration_s
    return math.inf


def _expect(source: Source, fd: int) -> None:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeFile(Reason.of(ReasonCode.NOT_A_REGULAR_FILE))
    if Stamp.of(status) != source.stamp:
        raise FileChanged(Reason.of(ReasonCode.CHANGED_WHILE_READ))
