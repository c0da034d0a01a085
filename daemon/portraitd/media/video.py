"""Open untrusted videos and photos, and read their frames.

A file is opened once, without following a link, and the decoder reads that descriptor. So the
checked file is the file that is read, no name is ever interpreted, and a playlist cannot open
another file: the decoder has no protocol that would.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from portraitd.media import container, photo
from portraitd.media.animation import open_animation
from portraitd.media.content_hash import expect_written, hash_open_file, opened
from portraitd.media.decoder import NoVideoError, VideoDecoder, VideoSource, open_video
from portraitd.media.frame_selection import select_frames
from portraitd.media.photo import PhotoFormat
from portraitd.media.picture import MAX_PIXELS, display_matrix, picture_of, too_large
from portraitd.media.picture_hash import VideoHash, hash_photo
from portraitd.media.recording_date import container_recording_time
from portraitd.media.work_limit import limit_work
from portraitd.model.errors import NotMedia, UnreadableVideo
from portraitd.model.face import Frame, FrameTimes, Image
from portraitd.model.media_file import MediaFacts, MediaKind, Source
from portraitd.model.reasons import Reason, ReasonCode

MAX_DURATION_S = 30 * 24 * 3600.0
MIN_BYTES_PER_S = 20.0
"""A duration that implies less data per second is not valid."""

SAME_S = 0.001
"""The same file gives the same timestamps, which are rounded where they are stored."""

MAX_PICTURE_BYTES = 1 << 30
"""No picture of at most 50 megapixels is larger, however it is coded."""

_FIRST_PICTURE_BYTES = 1 << 26

_TRIED_FRAMES = 30
"""Frames at the start of a video that may be damaged."""


def probe(source: Source, partial_copies: Sequence[tuple[int, str]] = ()) -> MediaFacts:
    """Hash a file and determine by its content what it is.

    Args:
        source: The file.
        partial_copies: Size and SHA-256 of known contents that the file may start with.

    Raises:
        VideoError: The file is empty, not a video or photo, or cannot be read.
    """
    with opened(source) as fd, limit_work(fd) as check_work:
        if source.stamp.size == 0:
            raise NotMedia(Reason.of(ReasonCode.EMPTY))
        expect_written(fd)
        picture_hash, recorded = "", None
        form = photo.photo_format(os.pread(fd, photo.HEAD_BYTES, 0))
        if form is not None and not _is_long_motion_jpeg(fd, form):
            data = _content(fd)
            facts = photo.read_facts(data, form)
            recorded = facts.recorded
            if facts.frames == 1 and not photo.is_motion_jpeg(data):
                image, _ = photo.read_photo(data, form)
                digest, _ = hash_open_file(fd, ())
                return MediaFacts(
                    digest,
                    MediaKind.PHOTO,
                    0.0,
                    0.0,
                    facts.width_px,
                    facts.height_px,
                    picture_hash=hash_photo(data, form, facts.orientation, image),
                    recorded=recorded,
                )
            if form in (PhotoFormat.GIF, PhotoFormat.PNG, PhotoFormat.WEBP):
                # Their packets contain comments and tags.
                picture_hash = hash_photo(data, form, facts.orientation, None)
        if container.is_encrypted(fd):
            raise UnreadableVideo(Reason.of(ReasonCode.ENCRYPTED))
        with _open_frames(fd, check_work) as video:
            packets = VideoHash()
            if isinstance(video, VideoDecoder):
                timeline = video.timeline(on_packet=packets.update)
            else:
                timeline = video.timeline()
            if len(timeline.times_s) <= 1 and video.may_be_cover:
                raise NotMedia(Reason.of(ReasonCode.SOUND_ONLY))
            image, turn = _first_picture(video)
            # Only what is known to be media is hashed, which takes a while for a large file.
            digest, extends = hash_open_file(fd, partial_copies)
            height, width = image.shape[:2]
            if isinstance(video, VideoDecoder):
                picture_hash = picture_hash or packets.hexdigest((width, height), turn)
                recorded = recorded or container_recording_time(video.metadata)
            duration_s = math.inf
            if timeline.is_reliable and len(timeline.times_s):
                duration_s = float(timeline.times_s[-1]) + video.frame_s
                if video.declares_its_duration or container.is_cut_short(fd):
                    # The rest of the file is missing, not only hidden by an edit list.
                    duration_s = max(duration_s, video.declared_s, container.declared_s(fd))
            return MediaFacts(
                digest,
                MediaKind.VIDEO,
                _valid_duration(duration_s, source.stamp.size),
                video.fps,
                width,
                height,
                extends,
                picture_hash,
                recorded,
            )


@dataclass(slots=True)
class SampledFrames:
    """The frames of a stretch that a sampling rate picks, and statistics of reading them.

    ``frame_selection.select_frames`` says which: the result is the same wherever a video is cut
    into slices.

    With ``keyframes`` the same rule picks among the keyframes alone, which cost next to nothing
    to reach.

    Attributes:
        source: The file.
        kind: Whether it is a video or a photo.
        start_s, stop_s: The half-open stretch.
        fps: Frames to pick per second.
        keyframes: Whether to read keyframes only.
        also_s: Timestamps of frames that are picked as well.
        within: Stretches of time, their ends excluded, outside of which nothing is picked; None for
            no limit.
        decoded: Frames of the stretch, decoded or not.
        ended_s: Timestamp of the last frame that is there: of the last picked one that could be
            decoded, where one could not. None for a photo whose end is missing.
    """

    source: Source
    kind: MediaKind
    start_s: float
    stop_s: float
    fps: float
    keyframes: bool = False
    also_s: Sequence[float] = ()
    within: Sequence[tuple[float, float]] | None = None
    decoded: int = 0
    ended_s: float | None = field(default=None)

    def __iter__(self) -> Iterator[Frame]:
        """Read the picked frames.

        Raises:
            VideoError: No frame can be decoded, or the file changed while it was read.
        """
        with opened(self.source) as fd:
            if self.kind is MediaKind.PHOTO:
                image, is_cut = _photo(fd)
                self.decoded, self.ended_s = 1, None if is_cut else 0.0
                yield Frame(0.0, image)
                return
            with _open_frames(fd) as video:
                yield from self.of_video(video)

    def of_video(self, video: VideoSource) -> Iterator[Frame]:
        """Read the picked frames of an open video; one that cannot be converted is left out.

        Raises:
            UnreadableVideo: None of them can be decoded.
        """
        timeline = video.timeline(self.start_s, self.stop_s)
        times_s = timeline.times_s
        listed = np.flatnonzero(timeline.is_key) if self.keyframes else np.arange(len(times_s))
        picked = listed[
            select_frames(
                times_s[listed],
                video.frame_s,
                max(self.fps, video.least_fps),
                from_start=timeline.from_start,
            )
        ]
        inside = (times_s >= self.start_s) & (times_s < self.stop_s)
        if self.within is not None:
            inside &= np.any([(times_s > a) & (times_s < b) for a, b in self.within], axis=0)
        self.decoded = int(inside[listed].sum())
        wanted = {int(index) for index in picked if inside[index]}
        also = (_find_frame(times_s, t_s, SAME_S) for t_s in self.also_s)
        wanted |= {index for index in also if index is not None and inside[index]}
        there = listed[inside[listed]]
        witnesses = self._witnesses(there)
        error, decoded = None, set()
        for index, frame in video.frames(timeline, wanted | witnesses):
            try:
                image = picture_of(frame, video.pixel_aspect)
            except UnreadableVideo as failure:
                error = failure
                continue
            decoded.add(index)
            if index in wanted:
                yield Frame(float(times_s[index]), image)
        if wanted and not decoded & wanted:
            codec = f" ({video.codec})"
            raise error or UnreadableVideo(Reason.of(ReasonCode.NO_FRAME_DECODED, codec=codec))
        if len(there) and wanted | witnesses <= decoded:
            self.ended_s = float(times_s[there[-1]])
        elif decoded:
            self.ended_s = float(times_s[max(decoded)])

    def _witnesses(self, there: NDArray[np.int64]) -> set[int]:
        """Return frames that tell whether the end of a video can be decoded: two of the last.

        Of a file that was cut off, the very last frame is often damaged.
        """
        if not len(there) or math.isfinite(self.stop_s) or self.within is not None:
            return set()
        return {int(there[-1]), int(there[(len(there) - 1) * 97 // 100])}


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
                image, _ = _photo(fd)
                yield from ((t_s, Frame(0.0, image)) for t_s in self.times_s)
                return
            with _open_frames(fd) as video:
                yield from self.of_video(video)

    def of_video(self, video: VideoSource) -> Iterator[tuple[float, Frame]]:
        """Read the requested frames of an open video."""
        stop_s = max(self.times_s, default=0.0) + self.tolerance_s + 2 * video.frame_s
        timeline = video.timeline(self.start_s, stop_s)
        requested: dict[int, list[float]] = {}
        for t_s in self.times_s:
            at = _find_frame(timeline.times_s, t_s, max(SAME_S, self.tolerance_s))
            if at is not None:
                requested.setdefault(at, []).append(t_s)
        for index, frame in video.frames(timeline, requested):
            try:
                image = picture_of(frame, video.pixel_aspect)
            except UnreadableVideo:
                continue
            for t_s in requested[index]:
                yield t_s, Frame(float(timeline.times_s[index]), image)


def read_frame_times(source: Source, kind: MediaKind) -> FrameTimes:
    """Return the time of every frame, as ``SampledFrames`` and ``FramesAt`` give it; 0 of a photo.

    Nothing is decoded, unless the container does not tell the times.

    Raises:
        VideoError: The file is no video, or changed while it was read.
    """
    with opened(source) as fd:
        if kind is MediaKind.PHOTO:
            return np.zeros(1)
        with limit_work(fd) as check_work, _open_frames(fd, check_work) as video:
            return video.timeline().times_s


def _find_frame(times_s: NDArray[np.float64], t_s: float, tolerance_s: float) -> int | None:
    """Return the index of the frame of a time, or of the next one within the tolerance."""
    at = int(np.searchsorted(times_s, t_s - SAME_S))
    return at if at < len(times_s) and times_s[at] <= t_s + tolerance_s else None


@contextmanager
def _open_frames(fd: int, on_work: Callable[[], None] | None = None) -> Iterator[VideoSource]:
    """Open a video, or a picture that moves.

    Args:
        fd: The file.
        on_work: Called for each packet or picture that is read.

    Raises:
        NotMedia: The file holds no video; the reason says what it is.
    """
    head = os.pread(fd, photo.HEAD_BYTES, 0)
    form = photo.photo_format(head)
    if form is PhotoFormat.WEBP:
        with open_animation(_content(fd), on_work) as animation:
            yield animation
        return
    try:
        with open_video(fd, "mjpeg" if form is PhotoFormat.JPEG else None, on_work) as video:
            if math.prod(video.size_px) > MAX_PIXELS:
                raise NotMedia(too_large(*video.size_px))
            yield video
    except NoVideoError as error:
        if error.has_sound:
            raise NotMedia(Reason.of(ReasonCode.SOUND_ONLY)) from None
        raise NotMedia(container.why_unreadable(fd)) from None


def _first_picture(video: VideoSource) -> tuple[Image, tuple[int, ...]]:
    """Return the first frame that can be decoded, upright, and how it was turned.

    Raises:
        UnreadableVideo: There is none at the start of the video.
    """
    timeline = video.timeline(0.0, 2.0)
    error = UnreadableVideo(Reason.of(ReasonCode.NO_FRAME_DECODED, codec=f" ({video.codec})"))
    count = len(timeline.times_s)
    for few in (range(min(1, count)), range(1, min(_TRIED_FRAMES, count)), range(count)):
        for _, frame in video.frames(timeline, few):
            try:
                return picture_of(frame, video.pixel_aspect), display_matrix(frame)
            except UnreadableVideo as failure:
                error = failure
    raise error


def _photo(fd: int) -> tuple[Image, bool]:
    """Read a photo, upright, and whether its end is missing.

    Raises:
        UnreadableVideo: It is damaged.
    """
    data = _content(fd)
    form = photo.photo_format(data[: photo.HEAD_BYTES])
    if form is None:
        raise UnreadableVideo(Reason.of(ReasonCode.PHOTO_NOT_DECODED, format=""))
    return photo.read_photo(data, form)


def _is_long_motion_jpeg(fd: int, form: PhotoFormat) -> bool:
    """Return whether a file is a stream of JPEGs that is too large to be read as one picture."""
    return (
        form is PhotoFormat.JPEG
        and os.fstat(fd).st_size > MAX_PICTURE_BYTES
        and photo.is_motion_jpeg(os.pread(fd, _FIRST_PICTURE_BYTES, 0))
    )


def _content(fd: int) -> bytes:
    """Return the content of a picture.

    Raises:
        NotMedia: It is too large for one.
    """
    size = os.fstat(fd).st_size
    if size > MAX_PICTURE_BYTES:
        raise NotMedia(Reason.of(ReasonCode.TOO_LARGE, size=size, limit=MAX_PICTURE_BYTES))
    return os.pread(fd, size, 0)


def _valid_duration(duration_s: float, size: int) -> float:
    """Return a declared duration, or infinity if the file is too small for it."""
    if 0 < duration_s <= MAX_DURATION_S and size / duration_s >= MIN_BYTES_PER_S:
        return duration_s
    return math.inf
