"""Decode video with PyAV (FFmpeg): read the time stamps first, then decode what they call for.

One pass over the packets, which costs about a hundredth of decoding, gives the time of every
frame, and the wanted frames are picked from these times. Of each group of pictures only the
packets up to its last wanted frame are decoded, and of those not the pictures that no other
picture refers to; a group without a wanted frame is not decoded at all. The pictures are those of
a full decode. Where the packets carry no usable times, everything is decoded from the beginning.

FFmpeg reads a descriptor: it interprets no name, and no protocol could open another file. This is
the one adapter to PyAV; only workers import it.
"""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from portraitd.media.frame_selection import ATTEMPTS, Packets, plan_packets

DEMUXERS = (
    "apng,asf,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,mjpeg,mov,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,"
    "vc1,webm,yuv4mpegpipe"
)
"""What a dropped file may be. Playlists and image sequences, which name other files, are not."""

SEEK_MARGIN_S = 2.0

MAX_NEW_STREAMS = 100
"""A damaged transport stream may begin new ones all the time."""

PREVIEW_SHARE = 4
"""A track with less than this part of the pixels of the largest is a preview."""

ANIMATION_FPS = 10.0
"""An animated picture has few frames and is short: nearly all of them are looked at."""

REORDER_S = 30.0
"""No frame is presented so long after it is decoded; a time stamp that says so is wrong."""

SKIPS_UNREFERENCED = frozenset({"h264", "mpeg1video", "mpeg2video", "mpeg4", "vc1", "wmv3"})
"""Decoders whose ``skip_frame = NONREF`` leaves out nothing that another picture refers to.

HEVC is not one of them: in a stream with temporal layers, a picture of a higher layer may refer to
one that is marked as unreferenced within its own.
"""

_STILL_CODECS = frozenset({"mjpeg", "png", "bmp", "gif", "webp", "tiff", "jpeg2000"})
"""Codecs of cover art."""

_OWN_DURATION = frozenset({"ogg", "mxf"})
"""Containers that declare the duration of each stream, and have no edit lists."""

_BESIDE_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails
"""Cover art and thumbnails: pictures, but no video."""


PacketCallback: TypeAlias = "Callable[[Packet[VideoStream]], None]"


class NoVideoError(Exception):
    """FFmpeg cannot open the file, or the file holds no video stream.

    Attributes:
        has_sound: Whether the file holds an audio stream.
    """

    def __init__(self, message: str, *, has_sound: bool = False) -> None:
        super().__init__(message)
        self.has_sound = has_sound


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The frames of a stretch in the order in which they are presented.

    Attributes:
        times_s: Shape ``(n,)``; since the first frame of the stream, rising.
        is_key: Shape ``(n,)``; whether decoding can begin with the frame.
        from_start: Whether the first of them is the first frame of the stream.
        is_reliable: Whether the container tells the times.
        keys: Shape ``(n,)``; time stamps in the stream's time base, or, where those are not
            reliable, the number of the frame in a decode from the beginning.
        packets: None where the time stamps are not reliable.
        seek_pts: Where the reading began; None for the beginning.
    """

    times_s: NDArray[np.float64]
    is_key: NDArray[np.bool_]
    from_start: bool
    is_reliable: bool
    keys: NDArray[np.int64]
    packets: Packets | None
    seek_pts: int | None


class VideoSource(Protocol):
    """Something that has frames, in the order of time."""

    @property
    def codec(self) -> str:
        """The name of the codec."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height as declared; frames may differ."""

    @property
    def fps(self) -> float:
        """The declared frame rate; 0 where it is missing or cannot be true."""

    @property
    def frame_s(self) -> float:
        """How long a frame is presented, in seconds."""

    @property
    def declared_s(self) -> float:
        """The declared duration, in seconds; 0 if there is none."""

    @property
    def declares_its_duration(self) -> bool:
        """Whether a shorter video is not the whole one."""

    @property
    def may_be_cover(self) -> bool:
        """Whether a single frame would be the cover of a recording of sound."""

    @property
    def pixel_aspect(self) -> float:
        """Width over height of a pixel of the frame decoded last."""

    @property
    def least_fps(self) -> float:
        """Frames a second that are worth looking at, whatever the sampling rate is."""

    def timeline(self, start_s: float = 0.0, stop_s: float = math.inf) -> Timeline:
        """Read the times of a stretch's frames, of some before it and of some after it."""

    def frames(
        self, timeline: Timeline, wanted: Collection[int]
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Decode some frames of a timeline, and yield them with their indexes."""


class VideoDecoder:
    """Decodes the main video stream of a file.

    Args:
        fd: The file; it is read from its beginning, and left open.
        demuxer: Read it as this format; by default FFmpeg finds out.
        on_work: Called for each packet that is read.

    Raises:
        NoVideoError: FFmpeg cannot open it, or it holds no video stream.

    Attributes:
        decoded_packets: Packets handed to the decoder so far.
    """

    def __init__(
        self, fd: int, demuxer: str | None = None, on_work: Callable[[], None] | None = None
    ) -> None:
        self._fd = fd
        self._demuxer = demuxer
        self._on_work = on_work
        self.decoded_packets = 0
        self._container, self._stream = self._open()

    def close(self) -> None:
        """Close the container; the descriptor stays open."""
        self._container.close()

    @property
    def codec(self) -> str:
        """The name of the codec."""
        return str(self._stream.codec_context.codec.canonical_name)

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height as declared; frames may differ."""
        return self._stream.codec_context.width, self._stream.codec_context.height

    @property
    def fps(self) -> float:
        """The declared frame rate; 0 where it is missing or cannot be true."""
        rate = self._stream.guessed_rate or self._stream.average_rate
        fps = float(rate) if rate else 0.0
        return fps if 0.001 <= fps <= 1000 else 0.0

    @property
    def frame_s(self) -> float:
        """How long a frame is presented, as declared; 0.04 where that is unknown."""
        return 1 / self.fps if self.fps >= 1 else 0.04

    @property
    def least_fps(self) -> float:
        """Frames a second that are worth looking at, whatever the sampling rate is."""
        is_animation = self._container.format.name in ("gif", "apng")
        is_animation |= self._container.metadata.get("major_brand") == "avis"
        return ANIMATION_FPS if is_animation else 0.0

    @property
    def metadata(self) -> dict[str, str]:
        """What the stream and the container say about themselves; the container has priority."""
        return {**self._stream.metadata, **self._container.metadata}

    @property
    def declared_s(self) -> float:
        """The declared duration, in seconds; 0 if there is none."""
        if self._container.format.name == "avi" and self.fps:
            # Of a file that was cut off, FFmpeg shortens the duration.
            return self._stream.frames / self.fps
        if self._stream.duration is not None:
            return float(self._stream.duration * self._tick_s)
        return (self._container.duration or 0) / av.time_base

    @property
    def declares_its_duration(self) -> bool:
        """Whether a shorter video is not the whole one."""
        has_duration = self._stream.duration is not None
        return has_duration and self._container.format.name in _OWN_DURATION

    @property
    def may_be_cover(self) -> bool:
        """Whether a single frame would be the cover of a recording of sound."""
        return self.codec in _STILL_CODECS and bool(self._container.streams.audio)

    @property
    def pixel_aspect(self) -> float:
        """Width over height of a pixel of the frame decoded last; 1 where none is declared."""
        ratio = self._stream.codec_context.sample_aspect_ratio or self._stream.sample_aspect_ratio
        return float(ratio) if ratio else 1.0

    def timeline(
        self,
        start_s: float = 0.0,
        stop_s: float = math.inf,
        on_packet: PacketCallback | None = None,
    ) -> Timeline:
        """Read the times of a stretch's frames, of some before it and of some after it.

        Args:
            start_s, stop_s: The stretch.
            on_packet: Called with each packet, from where the reading began.
        """
        margin_s = SEEK_MARGIN_S
        while margin_s < start_s:
            seek_pts = (self._stream.start_time or 0) + int((start_s - margin_s) / self._tick_s)
            packets = self._read_packets(seek_pts, stop_s, on_packet)
            keys = packets.pts[packets.is_key]
            # A seek lands where the container likes: sometimes behind the time asked for.
            if packets.is_reliable and len(keys) and self._seconds(keys[:1])[0] < start_s:
                return self._timeline_of(packets, seek_pts)
            margin_s *= 4
        packets = self._read_packets(None, stop_s, on_packet)
        if packets.is_reliable:
            return self._timeline_of(packets, None)
        return self._decoded_timeline()

    def frames(
        self, timeline: Timeline, wanted: Collection[int]
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Decode some frames of a timeline.

        A frame that does not come out, or comes out damaged, is decoded again from farther
        back: some streams call a picture a key frame from which the picture only builds up.

        Args:
            timeline: Of this decoder.
            wanted: Indexes of its frames.

        Yields:
            The index and the frame, each at most once; in the order of time, but for those that
            needed another attempt.
        """
        missing = {int(timeline.keys[index]): index for index in wanted}
        packets = timeline.packets
        if packets is None:
            for number, frame in enumerate(self.decode_all()):
                if number in missing:
                    yield missing.pop(number), frame
                if not missing:
                    return
            return
        for attempt in range(ATTEMPTS):
            if not missing:
                return
            needed = plan_packets(packets, missing, attempt)
            skips = attempt == 0 and self.codec in SKIPS_UNREFERENCED
            is_last = attempt == ATTEMPTS - 1
            for frame in self._decode_planned(needed, timeline.seek_pts, missing, skips):
                if frame.pts in missing and (is_last or not frame.is_corrupt):
                    yield missing.pop(frame.pts), frame

    @property
    def _tick_s(self) -> float:
        return float(self._stream.time_base or 1)

    def _seconds(self, pts: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray((pts - (self._stream.start_time or 0)) * self._tick_s, np.float64)

    def _open(self) -> tuple[InputContainer, VideoStream]:
        os.lseek(self._fd, 0, os.SEEK_SET)
        options = {
            "fd": str(self._fd),
            "protocol_whitelist": "fd",
            "format_whitelist": DEMUXERS,
        }
        try:
            container = av.open("fd:", format=self._demuxer, options=options)
        except (av.FFmpegError, ValueError) as error:
            raise NoVideoError(str(error)) from error
        streams = [
            stream
            for stream in container.streams.video
            if stream.codec_context is not None and not stream.disposition & _BESIDE_VIDEO
        ]
        if not streams:
            has_sound = bool(container.streams.audio)
            container.close()
            raise NoVideoError("no video stream", has_sound=has_sound)
        # A file may begin with a small preview track, or with a still picture (AVIF sequences).
        # Some programs mark the first track as the default one, whatever it is.
        areas = [one.codec_context.width * one.codec_context.height for one in streams]
        _, stream = max(
            zip(areas, streams, strict=True),
            key=lambda pair: (
                pair[1].frames != 1,
                pair[0] * PREVIEW_SHARE >= max(areas),
                bool(pair[1].disposition & Disposition.default),
                pair[0],
            ),
        )
        # One thread: the workers are the parallelism.
        stream.codec_context.thread_count = 1
        return container, stream

    def _packets_from(self, seek_pts: int | None) -> Iterator[Packet[VideoStream]]:
        """Yield the packets of the stream from a place on; a damaged container just ends."""
        if seek_pts is None:
            # Opened anew, not sought: MPEG-TS would land on its second key frame.
            self._container.close()
            self._container, self._stream = self._open()
        else:
            with suppress(av.FFmpegError):
                self._container.seek(seek_pts, stream=self._stream, backward=True)
        self._stream.codec_context.flush_buffers()
        for _ in range(MAX_NEW_STREAMS):
            try:
                yield from self._demuxed()
            except IndexError:
                # A stream that began later: PyAV does not know it, and can be asked to go on.
                continue
            except av.FFmpegError:
                pass
            return

    def _demuxed(self) -> Iterator[Packet[VideoStream]]:
        for packet in self._container.demux(self._stream):
            if self._on_work is not None:
                self._on_work()
            # The last one is empty: it stands for the end.
            if packet.size or packet.pts is not None or packet.dts is not None:
                yield packet

    def _read_packets(
        self,
        seek_pts: int | None,
        stop_s: float,
        on_packet: PacketCallback | None,
    ) -> Packets:
        pts, flags = array("q"), bytearray()
        is_reliable, last_dts = True, -math.inf
        # Both from the stream, which opening anew replaces.
        stop = reorder = math.inf
        for packet in self._packets_from(seek_pts):
            if not pts:
                stop = (self._stream.start_time or 0) + stop_s / self._tick_s
                reorder = REORDER_S / self._tick_s
            if on_packet is not None:
                on_packet(packet)
            when, dts = packet.pts, packet.dts
            if when is None:
                is_reliable = False
            elif dts is not None:
                is_reliable &= dts >= last_dts and 0 <= when - dts <= reorder
                last_dts = dts
            pts.append(-1 if when is None else when)
            flags.append(packet.is_keyframe | (not packet.is_discard) << 1)
            # Nothing that is decoded later is presented before that.
            if is_reliable and dts is not None and dts >= stop:
                break
        times = np.array(pts, np.int64)
        bits = np.frombuffer(bytes(flags), np.uint8)
        is_shown = (bits & 2).astype(np.bool_)
        shown = times[is_shown]
        is_reliable &= len(np.unique(shown)) == len(shown)
        return Packets(times, (bits & 1).astype(np.bool_), is_shown, is_reliable)

    def _timeline_of(self, packets: Packets, seek_pts: int | None) -> Timeline:
        order = np.argsort(packets.pts, kind="stable")
        order = order[packets.is_shown[order]]
        keys = packets.pts[order]
        return Timeline(
            self._seconds(keys),
            packets.is_key[order],
            seek_pts is None,
            True,
            keys,
            packets,
            seek_pts,
        )

    def _decoded_timeline(self) -> Timeline:
        """Number the frames of a full decode; a frame without a usable time follows the last."""
        times_s, is_key = array("d"), bytearray()
        last_s = -math.inf
        for frame in self.decode_all():
            pts = frame.pts
            t_s = math.nan if pts is None else float(self._seconds(np.array([pts]))[0])
            if not t_s > last_s or t_s < 0:
                t_s = max(last_s + self.frame_s, 0.0)
            last_s = t_s
            times_s.append(t_s)
            is_key.append(frame.key_frame)
        return Timeline(
            np.array(times_s, np.float64),
            np.frombuffer(bytes(is_key), np.uint8).astype(np.bool_),
            True,
            False,
            np.arange(len(times_s)),
            None,
            None,
        )

    def decode_all(self) -> Iterator[VideoFrame]:
        """Decode every frame from the beginning, in the order of presentation."""
        self._stream.codec_context.skip_frame = "DEFAULT"
        for packet in self._packets_from(None):
            yield from self._fed(packet)
        yield from self._fed(None)

    def _decode_planned(
        self,
        needed: NDArray[np.bool_],
        seek_pts: int | None,
        wanted: Collection[int],
        skips: bool,
    ) -> Iterator[VideoFrame]:
        """Decode the needed packets; between two stretches of them the decoder starts afresh."""
        chosen = np.flatnonzero(needed)
        if not len(chosen):
            return
        is_end = np.append(~needed[1:], True)
        context = None
        for index, packet in enumerate(self._packets_from(seek_pts)):
            context = context or self._stream.codec_context
            if index < len(needed) and needed[index]:
                is_wanted = packet.pts in wanted
                context.skip_frame = "NONREF" if skips and not is_wanted else "DEFAULT"
                yield from self._fed(packet)
                if is_end[index]:
                    # It may hold pictures back until it has seen what follows.
                    yield from self._fed(None)
                    context.flush_buffers()
            if index >= chosen[-1]:
                return

    def _fed(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        """Hand a packet to the decoder, or the end; a damaged one gives no frame."""
        self.decoded_packets += packet is not None
        try:
            return self._stream.codec_context.decode(packet)
        except (av.FFmpegError, ValueError):
            return []


@contextmanager
def open_video(
    fd: int, demuxer: str | None = None, on_work: Callable[[], None] | None = None
) -> Iterator[VideoDecoder]:
    """Open a file's video for reading; the arguments are those of ``VideoDecoder``.

    Raises:
        NoVideoError: FFmpeg cannot open it, or it holds no video stream.
    """
    decoder = VideoDecoder(fd, demuxer, on_work)
    try:
        yield decoder
    finally:
        decoder.close()
