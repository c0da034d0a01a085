"""What a file is, and why some are not read."""

from __future__ import annotations

import hashlib
import math
import os
import socket
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from portraitd.media.video import SampledFrames, probe
from portraitd.model.errors import FileChanged, NotMedia, UnreadableVideo, UnsafeFile, VideoError
from portraitd.model.media_file import MediaKind
from support.frames import sampled
from support.media import (
    BAD_CONTENTS,
    find_box,
    pattern,
    source_of,
    turned_right,
    with_index_first,
    write_pattern_clip,
)


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
    # An edit list would leave out all that lies beyond the true duration.
    at, _ = find_box(clip, "moov/trak/edts")
    clip[at + 4 : at + 8] = b"free"
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

    with pytest.raises(UnsafeFile, match=r"not a regular file|a symbolic link"):
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

    with pytest.raises(FileChanged, match="the file was removed or renamed"):
        probe(source)
    with pytest.raises(FileChanged, match="the file was removed or renamed"):
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

    with pytest.raises(
        FileChanged, match="the file was written or replaced while it was being read"
    ):
        probe(source)
    with pytest.raises(
        FileChanged, match="the file was written or replaced while it was being read"
    ):
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

    with pytest.raises(
        FileChanged, match="the file was written or replaced while it was being read"
    ):
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

    with pytest.raises(VideoError, match=r"a playlist|a text file, not a video"):
        probe(source_of(path))
