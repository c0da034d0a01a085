"""Short clips in every codec that PyAV can encode; the frames carry their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


class Encoding(NamedTuple):
    """How a clip is written.

    Attributes:
        suffix: Of the file; decides the container.
        codec: Name of the encoder.
        options: Of the encoder.
        pix_fmt: Pixel format that it takes.
        container: Options of the muxer.
    """

    suffix: str
    codec: str
    options: Mapping[str, str] = {}
    pix_fmt: str = "yuv420p"
    size: tuple[int, int] = (192, 144)
    fps: int = 25


ENCODINGS: dict[str, Encoding] = {
    "h264": Encoding(".mp4", "libx264", {"x264-params": "keyint=20:bframes=2"}),
    "h264 open groups": Encoding(
        ".mp4", "libx264", {"x264-params": "open-gop=1:keyint=24:bframes=3:b-pyramid=normal"}
    ),
    "h264 strict pyramid": Encoding(
        ".mkv", "libx264", {"x264-params": "bframes=8:b-pyramid=strict:keyint=60"}
    ),
    "h264 field-coded": Encoding(
        ".ts", "libx264", {"x264-params": "interlaced=1:tff=1:keyint=24", "flags": "+ilme+ildct"}
    ),
    "h264 gradual refresh": Encoding(
        ".mp4", "libx264", {"x264-params": "intra-refresh=1:keyint=30:bframes=0"}
    ),
    "hevc": Encoding(".mp4", "libx265", {"x265-params": "log-level=none:keyint=24"}),
    "hevc temporal layers": Encoding(
        ".mp4",
        "libx265",
        {"x265-params": "log-level=none:temporal-layers=3:bframes=7:keyint=48"},
    ),
    "vp9": Encoding(".webm", "libvpx-vp9", {"deadline": "realtime", "g": "30"}),
    "av1": Encoding(".mp4", "libsvtav1", {"preset": "12", "g": "30"}),
    "mpeg2 program stream": Encoding(".mpg", "mpeg2video", {"bf": "2", "g": "12"}),
    "mpeg2 transport stream": Encoding(".ts", "mpeg2video", {"bf": "2", "g": "12"}),
    "mpeg2 mxf": Encoding(".mxf", "mpeg2video", {"bf": "2", "g": "12"}),
    "mpeg4 avi": Encoding(".avi", "mpeg4", {"bf": "2", "g": "12"}),
    "mjpeg": Encoding(".avi", "mjpeg", {}, "yuvj420p"),
    "prores": Encoding(".mov", "prores_ks", {}, "yuv422p10le"),
    "wmv": Encoding(".wmv", "wmv2", {"g": "12"}),
    "dv": Encoding(".dv", "dvvideo", {}, "yuv420p", (720, 576)),
    "ffv1": Encoding(".mkv", "ffv1", {"g": "12"}),
    "raw h264": Encoding(".h264", "libx264", {"x264-params": "keyint=20:bframes=2"}),
}


def drawn(number: int, size: tuple[int, int] = (192, 144)) -> Picture:
    """Return a picture that differs from its neighbours everywhere: a moving gradient and a box."""
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    picture = np.stack(
        [(x + 5 * number) % 256, (y + 3 * number) % 256, (x + y + 7 * number) % 256], axis=2
    ).astype(np.uint8)
    left = (11 * number) % (width - 40)
    picture[height // 3 : height // 3 + 40, left : left + 40] = (number * 29) % 256
    return picture


def write_clip(
    path: Path, encoding: Encoding, frames: int = 100, times: Sequence[int] | None = None
) -> Path:
    """Encode drawn frames.

    Args:
        path: Its suffix is replaced.
        encoding: How.
        frames: How many.
        times: The time stamp of each in 1 / 1000 s; by default at the encoding's rate.
    """
    path = path.with_suffix(encoding.suffix)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            encoding.codec, rate=encoding.fps, options=dict(encoding.options)
        )
        stream.width, stream.height = encoding.size
        stream.pix_fmt = encoding.pix_fmt
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(frames):
            frame = VideoFrame.from_ndarray(drawn(number, encoding.size), format="bgr24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            else:
                frame.pts, frame.time_base = number, Fraction(1, encoding.fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
