"""Kinds of files that programs and cameras write, and what each one is taken for.

The ffmpeg program makes them from a drawn pattern; without it these tests are skipped.
"""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path

import pytest

from portraitd.media.container import why_incomplete
from portraitd.media.video import SampledFrames, probe
from portraitd.model.errors import NotMedia
from portraitd.model.media_file import MediaFacts, MediaKind
from portraitd.model.reasons import ReasonCode
from support.media import source_of

pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")

PATTERN = ("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=4")
TONE = ("-f", "lavfi", "-i", "sine=duration=4")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def made(path: Path, *arguments: str | Path) -> Path:
    """Run ffmpeg; skip the test if this build lacks an encoder."""
    run = subprocess.run(
        ["ffmpeg", "-v", "error", "-y", *arguments, path], capture_output=True, check=False
    )
    if b"Unknown encoder" in run.stderr:
        pytest.skip(run.stderr.decode().strip())
    assert run.returncode == 0, run.stderr
    return path


def seen(path: Path) -> tuple[MediaFacts, list[tuple[float, tuple[int, int]]], float | None]:
    """Return the facts, time and size of each sampled frame, and where the reading ended."""
    source = source_of(path)
    facts = probe(source)
    frames = SampledFrames(source, facts.kind, 0.0, math.inf, 1.0)
    found = [(frame.t_s, (frame.image.shape[1], frame.image.shape[0])) for frame in frames]
    return facts, found, frames.ended_s


def refused(path: Path) -> ReasonCode:
    with pytest.raises(NotMedia) as caught:
        probe(source_of(path))
    return caught.value.reason.code


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.ogv", ("-c:v", "libtheora", "-q:v", "7")),
        ("clip.dv", ("-c:v", "dvvideo", "-s", "720x576", "-pix_fmt", "yuv420p")),
        ("clip.mxf", ("-c:v", "mpeg2video", "-q:v", "4")),
        ("clip.y4m", ("-pix_fmt", "yuv420p")),
        ("clip.nut", H264),
        ("clip.mjpeg", ("-c:v", "mjpeg", "-q:v", "4", "-f", "mjpeg")),
        ("clip.vob", ("-c:v", "mpeg2video", "-q:v", "4", "-flags", "+ilme+ildct")),
        ("clip.mts", (*H264, "-flags", "+ilme+ildct", "-x264-params", "tff=1", "-f", "mpegts")),
        ("clip.webm", ("-c:v", "libvpx", "-deadline", "realtime")),
        ("clip.3gp", ("-c:v", "h263", "-s", "352x288")),
    ],
)
def test_every_second_of_a_video_is_seen(
    tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    """Whatever its container is."""
    facts, found, _ = seen(made(tmp_path / name, *PATTERN, *options))

    assert MediaKind.VIDEO is facts.kind
    assert pytest.approx(4.0, abs=0.1) == facts.duration_s
    assert [0.0, 1.0, 2.0, 3.0] == pytest.approx([t_s for t_s, _ in found], abs=0.03)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.h264", H264),
        (
            "clip.hevc",
            ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"),
        ),
    ],
)
def test_a_raw_stream_is_read(tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    """It has no container: how long it is shows when it was read."""
    path = made(tmp_path / name, *PATTERN, *options)
    with path.open("rb") as file:
        assert not why_incomplete(file.fileno())

    facts, found, ended_s = seen(path)

    assert (MediaKind.VIDEO, math.inf) == (facts.kind, facts.duration_s)
    assert [0.0, 1.0, 2.0, 3.0] == pytest.approx([t_s for t_s, _ in found], abs=0.03)
    assert pytest.approx(4.0, abs=0.1) == ended_s


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.avi", ("-c:v", "mpeg4", "-q:v", "4")),
        ("clip.flv", ("-c:v", "flv", "-q:v", "4")),
        ("clip.wmv", ("-c:v", "wmv2", "-q:v", "4")),
        ("clip.webm", ("-c:v", "libvpx", "-deadline", "realtime", "-b:v", "1M")),
        ("clip.mxf", ("-c:v", "mpeg2video", "-q:v", "4")),
        ("clip.mp4", (*H264, "-movflags", "+faststart")),
    ],
)
def test_a_video_cut_off_has_its_declared_length(
    tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    """So that what is missing can be told."""
    path = made(tmp_path / name, *PATTERN, *options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])

    facts, found, ended_s = seen(path)

    assert pytest.approx(4.0, abs=0.1) == facts.duration_s
    assert found
    assert ended_s is not None and ended_s < 3.0


def test_a_damaged_theora_has_its_declared_length(tmp_path: Path) -> None:
    """Its last page tells the time."""
    path = made(tmp_path / "clip.ogv", *PATTERN, "-c:v", "libtheora", "-q:v", "7")
    data = bytearray(path.read_bytes())
    middle, end = len(data) // 2, len(data) - 12_000
    data[middle:end] = bytes(7 * number % 251 for number in range(end - middle))
    path.write_bytes(data)

    facts, _, ended_s = seen(path)

    assert pytest.approx(4.0, abs=0.1) == facts.duration_s
    assert ended_s is not None and ended_s < 3.0


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.m4a", "aac"), ("a.mp3", "libmp3lame"), ("a.flac", "flac"), ("a.wma", "wmav2")],
)
def test_music_with_a_cover_is_sound(tmp_path: Path, name: str, codec: str) -> None:
    """The cover is no video, however it is stored."""
    cover = made(tmp_path / "cover.jpg", *PATTERN, "-frames:v", "1")
    song = made(
        tmp_path / name, *TONE, "-i", cover, "-map", "0", "-map", "1", "-c:a", codec,
        "-c:v", "copy", "-disposition:v", "attached_pic",
    )  # fmt: skip

    assert ReasonCode.SOUND_ONLY is refused(song)


@pytest.mark.parametrize(
    "name", ["a.wav", "a.aac", "a.ac3", "a.aiff", "a.au", "a.caf", "a.mp2", "a.ogg", "a.wv"]
)
def test_sound_is_called_sound(tmp_path: Path, name: str) -> None:
    """Also where FFmpeg is not allowed to open its format."""
    assert ReasonCode.SOUND_ONLY is refused(made(tmp_path / name, *TONE))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("a.rm", ("-c:v", "rv20", "-s", "352x288"), "RealMedia"),
        (
            "a.swf",
            (
                "-c:v",
                "flv",
            ),
            "Flash",
        ),
        ("a.gxf", ("-c:v", "mpeg2video", "-s", "720x576"), "GXF"),
    ],
)
def test_a_format_that_is_not_supported_is_named(
    tmp_path: Path, name: str, options: tuple[str, ...], said: str
) -> None:
    """With what to do."""
    path = made(tmp_path / name, *PATTERN, *options)

    with pytest.raises(NotMedia, match=said) as caught:
        probe(source_of(path))

    assert ReasonCode.UNSUPPORTED_FORMAT is caught.value.reason.code


def test_frames_have_their_own_size_and_shape(tmp_path: Path) -> None:
    """A broadcast changes from 4:3 to 16:9 within the recording."""
    parts = [
        made(tmp_path / name, *PATTERN, *H264, "-vf", shape, "-output_ts_offset", start)
        for name, shape, start in (
            ("1.ts", "scale=320:240,setsar=1", "0"),
            ("2.ts", "scale=640:360,setsar=1", "4"),
            ("3.ts", "scale=720:576,setsar=64/45", "8"),
        )
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))

    _, found, _ = seen(joined)

    assert [(320, 240)] * 4 + [(640, 360)] * 4 + [(1024, 576)] * 4 == [size for _, size in found]


def test_the_preview_track_is_not_the_video(tmp_path: Path) -> None:
    """Though it comes first, and is marked like the other."""
    both = made(
        tmp_path / "both.mp4", *PATTERN, "-filter_complex", "[0]split[a][b];[a]scale=80:60[c]",
        "-map", "[c]", "-map", "[b]", *H264,
    )  # fmt: skip

    assert (320, 240) == seen(both)[1][0][1]


def test_a_trimmed_recording_begins_where_it_was_trimmed(tmp_path: Path) -> None:
    """An edit list leaves out frames that are still in the file."""
    whole = made(tmp_path / "whole.mp4", *PATTERN, *H264, "-g", "100")
    trimmed = made(tmp_path / "trimmed.mp4", "-ss", "1.5", "-i", whole, "-c", "copy")

    facts, found, ended_s = seen(trimmed)

    assert pytest.approx(2.5, abs=0.1) == facts.duration_s
    assert [0.0, 1.0, 2.0] == pytest.approx([t_s for t_s, _ in found], abs=0.04)
    assert ended_s is not None and ended_s > 2.3
