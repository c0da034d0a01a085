"""Files that nobody vouches for: what they are, and the frames that are looked at."""

from __future__ import annotations

import hashlib
import math
import os
import socket
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.errors import FileChanged, NotMedia, UnreadableVideo, UnsafeFile, VideoError
from portraitd.model import MediaKind
from portraitd.video import FramesAt, SampledFrames, probe
from samples import (
    BAD_CONTENTS,
    find_box,
    pattern,
    source_of,
    turned_right,
    with_frame_times,
    with_index_first,
    write_pattern_clip,
)

Shown = list[tuple[float, str]]
"""Time and content of each frame."""


def sampled(path: Path, start_s: float = 0.0, stop_s: float = math.inf, fps: float = 1.0) -> Shown:
    frames = SampledFrames(source_of(path), MediaKind.VIDEO, start_s, stop_s, fps)
    return [(frame.t_s, hashlib.sha256(frame.image).hexdigest()) for frame in frames]


def sampled_in_pieces(path: Path, cuts: Sequence[float], fps: float) -> Shown:
    edges = [0.0, *sorted(cuts), math.inf]
    return [
        frame
        for start_s, stop_s in pairwise(edges)
        for frame in sampled(path, start_s, stop_s, fps)
    ]


def times(shown: Shown) -> list[float]:
    return [round(t_s, 3) for t_s, _ in shown]


# --- The law: cutting a video differently never changes which frames are looked at.

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


def test_a_turned_video_stands_upright(tmp_path: Path, nobody: Path) -> None:
    """The phone's mark is heeded, in the facts and in the frames."""
    clip = tmp_path / "turned.mp4"
    clip.write_bytes(turned_right(nobody.read_bytes()))
    frames = SampledFrames(source_of(clip), MediaKind.VIDEO, 0.0, math.inf, 1.0)
    facts = probe(source_of(clip))

    upright = next(iter(frames)).image

    assert (48, 64) == (facts.width_px, facts.height_px)
    assert (64, 48, 3) == upright.shape
    # The square at the left edge of the pattern is at the top now.
    expected = cv2.rotate(pattern(0), cv2.ROTATE_90_CLOCKWISE)
    assert 20 > float(np.abs(upright.astype(int) - expected).mean())


# --- What a file is, whatever it is called.


def test_a_video_is_described(nobody: Path) -> None:
    """Hash, kind, duration, rate and size, from the content."""
    facts = probe(source_of(nobody))

    assert hashlib.sha256(nobody.read_bytes()).hexdigest() == facts.sha256
    assert (MediaKind.VIDEO, 6.0, 10.0) == (facts.kind, facts.duration_s, facts.fps)
    assert (64, 48) == (facts.width_px, facts.height_px)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".bmp", ".tiff", ".webp"])
@pytest.mark.parametrize("name", ["photo.mp4", "photo", "photo.txt"])
def test_a_photo_is_known_by_its_content(tmp_path: Path, ending: str, name: str) -> None:
    """Its extension says nothing."""
    encoded = cv2.imencode(ending, pattern(3))[1].tobytes()
    path = tmp_path / name
    path.write_bytes(encoded)

    facts = probe(source_of(path))
    (frame,) = SampledFrames(source_of(path), MediaKind.PHOTO, 0.0, math.inf, 1.0)

    assert (MediaKind.PHOTO, 0.0, 64, 48) == (
        facts.kind,
        facts.duration_s,
        facts.width_px,
        facts.height_px,
    )
    assert (0.0, (48, 64, 3)) == (frame.t_s, frame.image.shape)


def test_a_video_is_known_by_its_content(tmp_path: Path, nobody: Path) -> None:
    """A clip called holiday.jpg is a clip."""
    path = tmp_path / "holiday.jpg"
    path.write_bytes(nobody.read_bytes())

    assert MediaKind.VIDEO is probe(source_of(path)).kind


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_photo_is_turned_as_its_orientation_says(tmp_path: Path, orientation: int) -> None:
    """The camera's note is part of the content."""
    turns = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_COUNTERCLOCKWISE, 8: cv2.ROTATE_90_CLOCKWISE}
    as_stored = cv2.rotate(pattern(0), turns[orientation])
    jpeg = cv2.imencode(".jpg", as_stored)[1].tobytes()
    note = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"
    note += bytes([orientation]) + b"\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(note) + 2).to_bytes(2, "big") + note
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg[:2] + segment + jpeg[2:])

    (frame,) = SampledFrames(source_of(path), MediaKind.PHOTO, 0.0, math.inf, 1.0)

    assert (64, 48) == (probe(source_of(path)).width_px, probe(source_of(path)).height_px)
    assert 20 > float(np.abs(frame.image.astype(int) - pattern(0)).mean())


def test_a_duration_that_cannot_be_true_is_not_believed(tmp_path: Path, nobody: Path) -> None:
    """An index may claim a thousand years; such a video is read to its end in one piece."""
    path = tmp_path / "long.mp4"
    clip = bytearray(nobody.read_bytes())
    at, _ = find_box(clip, "moov/trak/mdia/mdhd")
    clip[at + 24 : at + 28] = b"\xff\xff\xff\xf0"
    at, _ = find_box(clip, "moov/mvhd")
    clip[at + 24 : at + 28] = b"\xff\xff\xff\xf0"
    at, _ = find_box(clip, "moov/trak/tkhd")
    clip[at + 28 : at + 32] = b"\xff\xff\xff\xf0"
    at, _ = find_box(clip, "moov/trak/mdia/minf/stbl/stts")
    clip[at + 20 : at + 24] = b"\x00\xff\xff\xff"
    path.write_bytes(clip)

    assert math.inf == probe(source_of(path)).duration_s


# --- What cannot be read says why, and takes nothing else with it.


@pytest.mark.parametrize("name", BAD_CONTENTS)
def test_a_bad_file_has_a_readable_reason(tmp_path: Path, nobody: Path, name: str) -> None:
    """Whoever dropped it learns what is wrong with it."""
    make, reason = BAD_CONTENTS[name]
    path = tmp_path / "clip.mp4"
    path.write_bytes(make(nobody.read_bytes()))

    with pytest.raises((NotMedia, UnreadableVideo), match=reason):
        probe(source_of(path))


def test_a_clip_cut_off_after_its_index_gives_what_there_is(tmp_path: Path, nobody: Path) -> None:
    """Half a video is half a video, and where it ended is known."""
    data = with_index_first(nobody.read_bytes())
    path = tmp_path / "half.mp4"
    path.write_bytes(data[: len(data) * 6 // 10])
    frames = SampledFrames(source_of(path), MediaKind.VIDEO, 0.0, math.inf, 1.0)

    shown = [frame.t_s for frame in frames]

    assert 6.0 == probe(source_of(path)).duration_s
    assert [0.0, 1.0, 2.0, 3.0] == shown
    assert frames.ended_s is not None
    assert 3.0 <= frames.ended_s < 4.0


def test_a_container_without_one_frame_is_unreadable(tmp_path: Path, nobody: Path) -> None:
    """It opens, and then there is nothing."""
    data = with_index_first(nobody.read_bytes())
    at = data.rindex(b"mdat")
    path = tmp_path / "hollow.mp4"
    path.write_bytes(data[: at + 4] + b"\0" * (len(data) - at - 4))
    source = source_of(path)

    with pytest.raises(UnreadableVideo, match="no frame could be decoded"):
        probe(source)
    with pytest.raises(UnreadableVideo, match="no frame could be decoded"):
        list(SampledFrames(source, MediaKind.VIDEO, 0.0, math.inf, 1.0))


def make_link(path: Path) -> None:
    path.symlink_to(path.with_name("real.mp4"))


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        folder_fd = os.open(path.parent, os.O_RDONLY)
        # The path of a socket may not be long.
        listening.bind(f"/proc/self/fd/{folder_fd}/{path.name}")
        os.close(folder_fd)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, make_link, make_socket])
@pytest.mark.parametrize("read", [probe, None])
def test_what_is_no_regular_file_is_never_read(
    tmp_path: Path, nobody: Path, make: Callable[[Path], None], read: object
) -> None:
    """Not even a pipe, which would be waited for, or a link to a good clip."""
    (tmp_path / "real.mp4").write_bytes(nobody.read_bytes())
    path = tmp_path / "clip.mp4"
    path.write_bytes(nobody.read_bytes())
    source = source_of(path)
    path.unlink()
    make(path)

    with pytest.raises(UnsafeFile, match=r"regular file"):
        if read is probe:
            probe(source)
        else:
            list(SampledFrames(source, MediaKind.VIDEO, 0.0, math.inf, 1.0))


def test_a_name_that_is_not_utf8_is_read(tmp_path: Path, nobody: Path) -> None:
    """OpenCV never sees the name; it would crash over this one."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    path.write_bytes(nobody.read_bytes())

    assert MediaKind.VIDEO is probe(source_of(path)).kind
    assert 6 == len(sampled(path))


@pytest.mark.parametrize("name", ["%05d.mp4", "-i", "http:__x.mp4", "concat:a.mp4", "a\nb.mp4"])
def test_a_name_means_nothing(tmp_path: Path, nobody: Path, name: str) -> None:
    """Patterns, options and protocols in a name are a name."""
    path = tmp_path / name
    path.write_bytes(nobody.read_bytes())

    assert 6 == len(sampled(path))


def test_a_removed_file_is_a_change(tmp_path: Path, nobody: Path) -> None:
    """It is looked at again when it is back."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(nobody.read_bytes())
    source = source_of(path)
    path.unlink()

    with pytest.raises(FileChanged, match="removed"):
        probe(source)
    with pytest.raises(FileChanged, match="removed"):
        list(SampledFrames(source, MediaKind.VIDEO, 0.0, math.inf, 1.0))


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def replace_by_rename(path: Path) -> None:
    beside = path.with_name("beside")
    beside.write_bytes(path.read_bytes())
    os.utime(beside, ns=(0, path.stat().st_mtime_ns))
    beside.rename(path)


def rewrite_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


@pytest.mark.parametrize("change", [append, replace_by_rename, rewrite_in_place])
def test_a_file_changed_since_it_was_taken_is_not_read(
    tmp_path: Path, nobody: Path, change: Callable[[Path], None]
) -> None:
    """Same name, another content: what was taken is not there any more."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(nobody.read_bytes())
    source = source_of(path)
    change(path)

    with pytest.raises(FileChanged, match="written or replaced"):
        probe(source)
    with pytest.raises(FileChanged, match="written or replaced"):
        list(SampledFrames(source, MediaKind.VIDEO, 0.0, math.inf, 1.0))


def test_a_file_written_while_it_is_read_is_noticed_at_the_end(
    tmp_path: Path, nobody: Path
) -> None:
    """What the first frames showed does not count then."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(nobody.read_bytes())
    frames = iter(SampledFrames(source_of(path), MediaKind.VIDEO, 0.0, math.inf, 1.0))
    next(frames)
    append(path)

    with pytest.raises(FileChanged, match="written or replaced"):
        list(frames)


def test_a_file_replaced_while_it_is_read_shows_only_itself(tmp_path: Path, nobody: Path) -> None:
    """The decoder holds on to the file it was given, not to its name."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(nobody.read_bytes())
    expected = sampled(path)
    frames = iter(SampledFrames(source_of(path), MediaKind.VIDEO, 0.0, math.inf, 1.0))
    first = next(frames)
    write_pattern_clip(tmp_path / "other.mp4", frames=20, size_px=(32, 32)).rename(path)

    shown = [first, *frames]

    assert expected == [(f.t_s, hashlib.sha256(f.image).hexdigest()) for f in shown]


PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile '{other}'\n",
    "concat": "file '{other}'\n",
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{other}\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD><BaseURL>{other}</BaseURL></MPD>',
    "sdp": "v=0\nm=video 5004 RTP/AVP 96\nc=IN IP4 127.0.0.1\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("way", ["relative", "absolute", "url"])
@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.ffconcat"])
def test_a_playlist_reaches_for_no_other_file(
    tmp_path: Path, kind: str, way: str, name: str
) -> None:
    """A text that names a film next to it is a text."""
    secret = write_pattern_clip(tmp_path / "secret.ts", frames=30, codec="mpg2")
    others = {"relative": "secret.ts", "absolute": str(secret), "url": f"file://{secret}"}
    path = tmp_path / name
    path.write_text(PLAYLISTS[kind].format(other=others[way]))

    with pytest.raises(VideoError, match=r"a playlist|text, not a video"):
        probe(source_of(path))


# --- Certain frames once more.


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
