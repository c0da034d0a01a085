"""Which frames of a video are looked at, and that they are found again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.media.video import FramesAt, SampledFrames
from portraitd.model.media_file import MediaKind
from support.frames import FrameHashes, sampled
from support.media import source_of, with_frame_times, write_pattern_clip


def sampled_in_pieces(path: Path, cuts: Sequence[float], fps: float) -> FrameHashes:
    edges = [0.0, *sorted(cuts), math.inf]
    return [
        frame
        for start_s, stop_s in pairwise(edges)
        for frame in sampled(path, start_s, stop_s, fps)
    ]


def times(shown: FrameHashes) -> list[float]:
    return [round(t_s, 3) for t_s, _ in shown]


UNEVEN_MS = [100] * 10 + [3000] + [40] * 20 + [500] * 5 + [1] * 10 + [250] * 14

CONTAINERS = {
    "mp4": "mp4v", "avi": "XVID", "mkv": "mp4v", "webm": "VP80", "flv": "FLV1", "ts": "mpg2",
}  # fmt: skip


@pytest.fixture(scope="session")
def uneven(samples_dir: Path, nobody: Path) -> Path:
    """As a phone records: every frame has its own duration, one of them 3 s."""
    clip = samples_dir / "uneven.mp4"
    clip.write_bytes(with_frame_times(nobody.read_bytes(), UNEVEN_MS))
    return clip


@pytest.fixture(scope="session", params=[*CONTAINERS, "uneven"])
def any_clip(request: pytest.FixtureRequest, samples_dir: Path, uneven: Path) -> Path:
    """A clip of each kind of container."""
    if request.param == "uneven":
        return uneven
    clip = samples_dir / f"any.{request.param}"
    return write_pattern_clip(clip, frames=75, fps=10.0, codec=CONTAINERS[request.param])


@pytest.mark.parametrize("fps", [0.3, 1.0, 4.0, 7.0, 1000.0])
@pytest.mark.parametrize("slice_s", [0.1, 0.25, 1.0, 1.3, 2.0, 3.7])
def test_cutting_differently_samples_the_same_frames(
    any_clip: Path, slice_s: float, fps: float
) -> None:
    """Equal slices of any length show the very frames that the whole video shows."""
    cuts = [slice_s * number for number in range(1, math.ceil(8.0 / slice_s))]

    assert sampled(any_clip, fps=fps) == sampled_in_pieces(any_clip, cuts, fps)


@given(
    cuts=st.lists(st.floats(0.001, 12.0), max_size=6, unique=True),
    fps=st.one_of(st.sampled_from([0.5, 1.0, 10.0]), st.floats(0.05, 60.0)),
)
def test_cutting_anywhere_samples_the_same_frames(
    uneven: Path, cuts: list[float], fps: float
) -> None:
    """Even between frames, in the middle of a pause and after the end."""
    assert sampled(uneven, fps=fps) == sampled_in_pieces(uneven, cuts, fps)


@pytest.mark.media
@pytest.mark.parametrize("name", ["talkshow5", "herapheri14", "whitehouse17"])
def test_cutting_real_videos_differently_samples_the_same_frames(
    media_dir: Path, name: str
) -> None:
    """Real encoders reorder frames and place key frames seconds apart."""
    clip = media_dir / "clips" / f"{name}.mp4"
    whole = sampled(clip, fps=2.0)

    assert len(whole) >= 9
    assert whole == sampled_in_pieces(clip, [2.0, 4.0, 6.0, 8.0, 10.0], fps=2.0)
    assert whole == sampled_in_pieces(clip, [0.7, 3.31, 3.4, 4.95], fps=2.0)


def test_every_frame_is_read_once_however_it_is_cut(any_clip: Path) -> None:
    """The frames that slices count as theirs add up to those of the video."""
    source = source_of(any_clip)
    edges = [0.0, 1.0, 1.7, 3.0, 6.4, math.inf]
    slices = [SampledFrames(source, MediaKind.VIDEO, a, b, 1.0) for a, b in pairwise(edges)]
    whole = SampledFrames(source, MediaKind.VIDEO, 0.0, math.inf, 1.0)
    for frames in (whole, *slices):
        list(frames)

    assert whole.decoded == sum(frames.decoded for frames in slices)
    assert whole.ended_s == max(frames.ended_s for frames in slices if frames.ended_s is not None)


def test_one_frame_is_looked_at_for_each_interval(nobody: Path) -> None:
    """The frame nearest to each whole multiple of the interval."""
    assert [0.0, 1.0, 2.0, 3.0, 4.0, 5.0] == times(sampled(nobody, fps=1.0))
    assert [0.0, 2.0, 4.0] == times(sampled(nobody, fps=0.5))
    assert [0.0, 0.7, 1.3] == times(sampled(nobody, fps=1.5))[:3]
    assert 60 == len(sampled(nobody, fps=1000.0))


def test_of_two_frames_that_are_equally_near_the_later_is_looked_at(nobody: Path) -> None:
    """Time stamps are rounded, so which is nearer by a hair must not decide."""
    assert [0.0, 0.3, 0.5, 0.8, 1.0, 1.3] == times(sampled(nobody, fps=4.0))[:6]


def test_times_are_the_frames_own(uneven: Path) -> None:
    """A pause in the picture is a pause in the times; nothing is counted by frame number."""
    shown = times(sampled(uneven, fps=1000.0))

    assert [0.0, 0.1, 0.2] == shown[:3]
    assert [1.0, 4.0, 4.04] == shown[10:13]
    assert round(sum(UNEVEN_MS[:-1]) / 1000, 3) == shown[-1]


def test_a_stretch_without_a_frame_is_empty(uneven: Path) -> None:
    """A slice inside a pause is no error."""
    assert [] == sampled(uneven, 1.5, 3.5)
    assert [] == sampled(uneven, 100.0, math.inf)


@pytest.mark.parametrize("start_s", [0.0, 5.0])
def test_frames_are_found_again(two_people: Path, start_s: float) -> None:
    """Pixel by pixel, where a slice began at the beginning or later."""
    source = source_of(two_people)
    frames = list(SampledFrames(source, MediaKind.VIDEO, start_s, start_s + 4.0, 2.0))
    times = [frame.t_s for frame in frames[1::2]]

    found = list(FramesAt(source, MediaKind.VIDEO, start_s, times))

    assert times == [t_s for t_s, _ in found]
    assert times == [frame.t_s for _, frame in found]
    for (_, again), frame in zip(found, frames[1::2], strict=True):
        assert np.array_equal(frame.image, again.image)


def test_a_moment_that_is_no_frame_is_met_within_its_tolerance(nobody: Path) -> None:
    """By the next frame; without a tolerance by none."""
    source = source_of(nobody)

    loose = list(FramesAt(source, MediaKind.VIDEO, 0.0, [1.03, 2.5, 99.0], tolerance_s=0.5))

    assert [1.03, 2.5] == [t_s for t_s, _ in loose]
    assert [1.1, 2.5] == pytest.approx([frame.t_s for _, frame in loose])
    assert [2.5] == [t_s for t_s, _ in FramesAt(source, MediaKind.VIDEO, 0.0, [1.03, 2.5])]
