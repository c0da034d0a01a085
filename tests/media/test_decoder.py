"""Decoding no more than is needed gives the pictures of a full decode, for every codec."""

from __future__ import annotations

import gc
import hashlib
import math
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame

from portraitd.media.decoder import NoVideoError, Timeline, VideoDecoder, open_video
from portraitd.media.frame_selection import select_frames
from portraitd.media.video import SampledFrames
from portraitd.model.media_file import MediaKind
from support.clips import ENCODINGS, Encoding, write_clip
from support.media import source_of

CUTS = 6
RATES = (1.0, 2.0, 7.0)


def digest(frame: VideoFrame) -> str:
    return hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest()


@contextmanager
def decoder_of(path: Path, demuxer: str | None = None) -> Iterator[VideoDecoder]:
    fd = os.open(path, os.O_RDONLY)
    try:
        with open_video(fd, demuxer) as decoder:
            yield decoder
    finally:
        os.close(fd)


def picked(
    decoder: VideoDecoder, timeline: Timeline, fps: float, cut: tuple[float, float], keys_only: bool
) -> list[int]:
    """Return the indexes that a sampling rate picks of a stretch."""
    listed = np.flatnonzero(timeline.is_key) if keys_only else np.arange(len(timeline.keys))
    chosen = listed[
        select_frames(
            timeline.times_s[listed], decoder.frame_s, fps, from_start=timeline.from_start
        )
    ]
    return [int(index) for index in chosen if cut[0] <= timeline.times_s[index] < cut[1]]


@pytest.fixture(scope="module", params=ENCODINGS, ids=lambda name: name.replace(" ", "-"))
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 100 frames in one of the codecs."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip", ENCODINGS[request.param])


def test_sampled_frames_are_those_of_a_full_decode(clip: Path) -> None:
    """At several rates, over stretches cut anywhere, and among key frames alone."""
    chance = random.Random(1)
    with decoder_of(clip) as decoder:
        whole = decoder.timeline()
        full = {
            number if whole.packets is None else frame.pts: digest(frame)
            for number, frame in enumerate(decoder.decode_all())
        }
        assert 100 == len(full)
        assert full.keys() == set(whole.keys.tolist())
        starts = [chance.uniform(0, whole.times_s[-1]) for _ in range(CUTS)]
        cuts = [(0.0, math.inf), *((start, start + chance.uniform(0.1, 3)) for start in starts)]
        for cut in cuts:
            for fps in RATES:
                for keys_only in (False, True):
                    part = decoder.timeline(*cut)
                    wanted = picked(decoder, part, fps, cut, keys_only)
                    expected = {
                        int(whole.keys[index])
                        for index in picked(decoder, whole, fps, cut, keys_only)
                    }
                    found = {
                        int(part.keys[index]): digest(frame)
                        for index, frame in decoder.frames(part, wanted)
                    }

                    assert {key: full[key] for key in expected} == found, (cut, fps, keys_only)


@pytest.mark.parametrize("name", ["h264", "mpeg2 transport stream", "vp9", "mjpeg"])
def test_only_what_is_needed_is_decoded(tmp_path: Path, name: str) -> None:
    """A group of pictures is decoded up to its last sampled frame; one without any is not."""
    path = write_clip(tmp_path / "clip", ENCODINGS[name])
    with decoder_of(path) as decoder:
        timeline = decoder.timeline()
        wanted = picked(decoder, timeline, 1.0, (0.0, math.inf), False)
        found = dict(decoder.frames(timeline, wanted))

        assert 4 == len(found)
        assert decoder.decoded_packets < (5 if name == "mjpeg" else 80)


def test_times_are_those_of_the_frames(tmp_path: Path) -> None:
    """At an uneven frame rate, from the first frame on."""
    times = [0, 40, 400, 410, 1000, 1033, 5000]
    path = write_clip(
        tmp_path / "uneven", Encoding(".mkv", "libx264"), frames=len(times), times=times
    )
    with decoder_of(path) as decoder:
        found = decoder.timeline().times_s

    assert [time / 1000 for time in times] == pytest.approx(found.tolist(), abs=0.002)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_file_cut_off_gives_what_is_there(tmp_path: Path, share: float) -> None:
    """The frames before the cut are those of the whole; nothing is made up."""
    path = write_clip(tmp_path / "clip", ENCODINGS["mpeg2 transport stream"])
    with decoder_of(path) as decoder:
        whole = {frame.pts: digest(frame) for frame in decoder.decode_all()}
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    with decoder_of(path) as decoder:
        timeline = decoder.timeline()
        frames = dict(decoder.frames(timeline, range(len(timeline.keys) - 1)))

    assert 100 * share * 0.5 < len(frames) < 100
    last = max(frames)
    for index, frame in frames.items():
        # The last picture may be half there.
        if index < last - 3:
            assert whole[int(timeline.keys[index])] == digest(frame)


@pytest.mark.parametrize(
    "data", [b"", b"no video at all" * 100, b"#EXTM3U\nhttp://127.0.0.1:1/a.ts\n", b"\0" * 5000]
)
def test_what_is_no_video_is_refused(tmp_path: Path, data: bytes) -> None:
    """With an error of its own, and without looking at another file."""
    path = tmp_path / "file.mp4"
    path.write_bytes(data)

    with pytest.raises(NoVideoError), decoder_of(path):
        pass


def test_the_largest_track_is_read(tmp_path: Path) -> None:
    """Not a small preview that comes first."""
    import av

    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = []
        for size in ((64, 48), (192, 144)):
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            streams.append((stream, size))
        for number in range(10):
            for stream, size in streams:
                picture = np.full((size[1], size[0], 3), number * 20, np.uint8)
                container.mux(stream.encode(VideoFrame.from_ndarray(picture, format="bgr24")))
        for stream, _ in streams:
            container.mux(stream.encode())

    with decoder_of(path) as decoder:
        assert (192, 144) == decoder.size_px


def test_frames_are_freed_without_a_search_for_circles(tmp_path: Path) -> None:
    """A long video would fill the memory: Python counts objects, not their size."""
    source = source_of(write_clip(tmp_path / "clip", ENCODINGS["h264"]))
    gc.collect()
    gc.disable()
    before = {id(found) for found in gc.get_objects() if isinstance(found, VideoFrame)}
    try:
        seen = sum(1 for _ in SampledFrames(source, MediaKind.VIDEO, 0.0, math.inf, 10.0))
        alive = [
            found
            for found in gc.get_objects()
            if isinstance(found, VideoFrame) and id(found) not in before
        ]
    finally:
        gc.enable()

    assert seen > 30
    assert [] == alive
