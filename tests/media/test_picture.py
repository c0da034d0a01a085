"""Frames become the pictures that a person would see; one that cannot be converted is an error."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from portraitd.media.decoder import Timeline, VideoDecoder
from portraitd.media.picture import picture_of
from portraitd.media.video import FramesAt, SampledFrames
from portraitd.model.errors import UnreadableVideo
from portraitd.model.media_file import MediaKind
from portraitd.model.reasons import ReasonCode
from support.clips import ENCODINGS, Encoding, drawn, write_clip
from support.media import source_of


def bars(number: int, height: int = 144, width: int = 192) -> np.ndarray:
    """Return a bright bar on grey that moves quickly to the right."""
    picture = np.full((height, width, 3), 90, np.uint8)
    left = (8 * number) % (width - 30)
    picture[20 : height - 20, left : left + 30] = 230
    return picture


def write_interlaced(path: Path, frames: int = 20) -> Path:
    """Write frames whose even and odd rows show different moments."""
    encoding = ENCODINGS["mpeg2 transport stream"]
    path = path.with_suffix(encoding.suffix)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "mpeg2video", rate=25, options={"flags": "+ilme+ildct", "qscale": "2", "bf": "0"}
        )
        stream.width, stream.height, stream.pix_fmt = 192, 144, "yuv420p"
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=192, height=144, format="yuv420p", time_base=Fraction(1, 25)
        )
        flag, sink = graph.add("setfield", "tff"), graph.add("buffersink")
        source.link_to(flag)
        flag.link_to(sink)
        graph.configure()
        for number in range(frames):
            woven = bars(2 * number)
            woven[1::2] = bars(2 * number + 1)[1::2]
            frame = VideoFrame.from_ndarray(woven, format="bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            graph.push(frame)
            container.mux(stream.encode(graph.pull()))
        container.mux(stream.encode())
    return path


def sampled(path: Path, fps: float = 5.0) -> list[np.ndarray]:
    frames = SampledFrames(source_of(path), MediaKind.VIDEO, 0.0, math.inf, fps)
    return [frame.image for frame in frames]


def test_interlaced_frames_show_one_moment(tmp_path: Path) -> None:
    """No comb at the edges of what moves."""
    images = sampled(write_interlaced(tmp_path / "fields"))

    assert 4 == len(images)
    for image in images:
        assert (144, 192) == image.shape[:2]
        rows = image[30:110, :, 1].astype(int)
        assert np.abs(rows[1:] - rows[:-1]).mean() < 2


def test_frames_flagged_as_interlaced_that_are_not_keep_all_rows(tmp_path: Path) -> None:
    """Many recordings are: their fields show the same moment."""
    encoding = ENCODINGS["mpeg2 transport stream"]._replace(
        options={"flags": "+ilme+ildct", "qscale": "2"}
    )
    flagged = sampled(write_clip(tmp_path / "flagged", encoding, 25))
    plain = sampled(write_clip(tmp_path / "plain", encoding._replace(options={"qscale": "2"}), 25))

    assert len(flagged) == len(plain) == 5
    for one, other in zip(flagged, plain, strict=True):
        doubled = one[::2].repeat(2, axis=0)
        assert np.abs(one.astype(int) - other).mean() < np.abs(doubled.astype(int) - other).mean()


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((1, 0, 0, 1), lambda p: p),
        ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
        ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
        ((1, 0, 0, -1), lambda p: p[::-1]),
        ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
    ],
    ids=["none", "90", "180", "270", "mirrored", "upside-down", "transposed"],
)
def test_the_display_matrix_is_applied(
    tmp_path: Path, matrix: tuple[int, int, int, int], turned: object
) -> None:
    """Rotation and mirroring, as the container asks for them."""
    path = write_clip(tmp_path / "clip", Encoding(".mp4", "libx264"), 3)
    plain = sampled(path)[0]
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value * 65536 for value in matrix)
    for offset, value in ((0, a), (4, b), (12, c), (16, d)):
        data[at + offset : at + offset + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)

    assert np.array_equal(turned(plain), sampled(path)[0])  # type: ignore[operator]


def test_pixels_become_square(tmp_path: Path) -> None:
    """A frame is as wide as it is meant to be seen."""
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 192, 144, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for number in range(3):
            frame = VideoFrame.from_ndarray(drawn(number), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())

    assert (144, 256) == sampled(path)[0].shape[:2]


class Unconvertible(VideoDecoder):
    """A decoder some of whose frames FFmpeg refuses to convert."""

    def frames(
        self, timeline: Timeline, wanted: Collection[int]
    ) -> Iterator[tuple[int, VideoFrame]]:
        for index, frame in super().frames(timeline, wanted):
            # A frame without size or data: FFmpeg refuses to convert it.
            yield index, (VideoFrame(0, 0, "yuv420p") if index >= 25 else frame)


def test_a_frame_that_cannot_be_converted_is_an_error(tmp_path: Path) -> None:
    """Never the picture of another frame, nor an empty one."""
    with pytest.raises(UnreadableVideo) as caught:
        picture_of(VideoFrame(0, 0, "yuv420p"))

    assert ReasonCode.FRAME_NOT_CONVERTED is caught.value.reason.code


def test_frames_after_a_failed_conversion_are_left_out(tmp_path: Path) -> None:
    """The others are those of the video, at their own times; and it is known where it ended."""
    source = source_of(write_clip(tmp_path / "clip", ENCODINGS["h264"]))
    whole = {
        frame.t_s: frame.image
        for frame in SampledFrames(source, MediaKind.VIDEO, 0.0, math.inf, 5.0)
    }
    with source.path.open("rb") as file, closing(Unconvertible(file.fileno())) as decoder:
        frames = SampledFrames(source, MediaKind.VIDEO, 0.0, math.inf, 5.0)
        found = {frame.t_s: frame.image for frame in frames.of_video(decoder)}

        assert [0.0, 0.2, 0.4, 0.6, 0.8] == pytest.approx(list(found))
        assert all(np.array_equal(whole[t_s], image) for t_s, image in found.items())
        assert frames.ended_s == pytest.approx(0.8)
        again = FramesAt(source, MediaKind.VIDEO, 0.0, [0.4, 2.0])
        assert [0.4] == [t_s for t_s, _ in again.of_video(decoder)]
        later = SampledFrames(source, MediaKind.VIDEO, 2.0, math.inf, 5.0)
        with pytest.raises(UnreadableVideo) as caught:
            list(later.of_video(decoder))
    assert ReasonCode.FRAME_NOT_CONVERTED is caught.value.reason.code
