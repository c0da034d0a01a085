"""Tags leave the hash of the pictures as it is; another picture, or another turn, does not."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from portraitd.media.photo import PhotoFormat
from portraitd.media.picture_hash import hash_photo
from portraitd.media.video import probe
from portraitd.model.errors import VideoError
from portraitd.model.media_file import MediaKind
from support.media import source_of
from support.tags import RATED, needs_exiftool, needs_ffmpeg, remux, write_tags

NO_EXIF = ("-XMP:Rating=4",)
LONG = f"-XMP:Description={'long ' * 20_000}"
FORMATS = ["jpg", "png", "webp", "tif", "avif", "gif", "jp2"]


def drawn(seed: int = 1) -> Pillow.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)
    return Pillow.fromarray(pixels).resize((128, 96))


def saved(folder: Path, suffix: str, seed: int = 1, **options: object) -> Path:
    path = folder / f"{seed}.{suffix}"
    drawn(seed).save(path, **options)  # type: ignore[arg-type]
    return path


def picture_hash(path: Path) -> str:
    found = probe(source_of(path)).picture_hash
    assert 64 == len(found)
    return found


@needs_exiftool
@pytest.mark.parametrize("tags", [RATED, NO_EXIF, ("-XMP:Title=a", LONG)])
@pytest.mark.parametrize("suffix", FORMATS)
def test_tags_leave_it_as_it_is(tmp_path: Path, suffix: str, tags: tuple[str, ...]) -> None:
    """Whatever is written; and another picture has another hash."""
    path = saved(tmp_path, suffix)
    before, content = picture_hash(path), path.read_bytes()

    write_tags(path, *tags)

    assert content != path.read_bytes()
    assert before == picture_hash(path)
    assert before != picture_hash(saved(tmp_path, suffix, seed=2))


@needs_exiftool
@pytest.mark.media
def test_tags_of_a_phones_photo_too(tmp_path: Path, media_dir: Path) -> None:
    """A grid of tiles; exiftool writes its own item among them."""
    path = tmp_path / "photo.heic"
    shutil.copy(media_dir.parent / "faults/media/iphone_grid.heic", path)
    before, content = picture_hash(path), path.read_bytes()

    write_tags(path, *RATED, "-EXIF:DateTimeOriginal=2019:07:14 15:16:17")

    assert content != path.read_bytes()
    assert before == picture_hash(path)
    facts = probe(source_of(path))
    assert facts.recorded
    assert "2019-07-14T15:16:17" == facts.recorded.iso()


@needs_exiftool
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_turned_photo_is_another_one(tmp_path: Path, suffix: str) -> None:
    """Its faces are elsewhere in the upright picture. What says upright says nothing."""
    path = saved(tmp_path, suffix)
    before = picture_hash(path)

    write_tags(path, "-n", "-EXIF:Orientation=1")
    upright = picture_hash(path)
    write_tags(path, "-n", "-EXIF:Orientation=6")

    assert before == upright
    assert before != picture_hash(path)


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"restart_marker_rows": 1}, {"subsampling": 0}]
)
def test_every_scan_of_a_jpeg_counts(tmp_path: Path, options: dict[str, object]) -> None:
    """One changed byte anywhere in the coded picture is another picture."""
    data = saved(tmp_path, "jpg", quality=95, **options).read_bytes()
    start = data.index(b"\xff\xda") + 20
    before = hash_photo(data, PhotoFormat.JPEG, 1, None)

    for at in random.Random(1).sample(range(start, len(data) - 3), 40):
        if data[at] in (0xFF, 0x7F) or data[at - 1] == 0xFF:
            continue
        changed = data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1 :]
        assert before != hash_photo(changed, PhotoFormat.JPEG, 1, None)


def test_a_jpeg_that_is_cut_short_is_another_one(tmp_path: Path) -> None:
    """Even if nothing but the end marker is missing: it is said to be cut short."""
    data = saved(tmp_path, "jpg").read_bytes()

    assert hash_photo(data, PhotoFormat.JPEG, 1, None) != hash_photo(
        data[:-2], PhotoFormat.JPEG, 1, None
    )


def test_a_jpeg_ends_at_its_end(tmp_path: Path) -> None:
    """What cameras append, such as a film of the moment before, is not its picture."""
    data = saved(tmp_path, "jpg").read_bytes()

    assert hash_photo(data, PhotoFormat.JPEG, 1, None) == hash_photo(
        data + b"\xff\xd8 film", PhotoFormat.JPEG, 1, None
    )


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "avif", "jp2"])
def test_damage_ends_in_a_hash_or_in_none(tmp_path: Path, suffix: str) -> None:
    """Whatever the structure claims: within the time of a test, and without another error."""
    path = saved(tmp_path, suffix)
    data, chance = path.read_bytes(), random.Random(7)
    form = {"jpg": "JPEG", "webp": "WebP", "jp2": "JPEG 2000"}.get(suffix, suffix.upper())

    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(2, len(damaged))] = chance.randrange(256)
        cut = bytes(damaged[: chance.randint(16, len(damaged))])
        assert len(hash_photo(cut, PhotoFormat(form), 1, None)) in (0, 64)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["title.mp4", "start.mp4", "other.mkv", "other.mov"])
def test_a_copy_of_the_streams_has_the_same_pictures(
    tmp_path: Path, two_people: Path, name: str
) -> None:
    """With a title, with its index first, in another container."""
    options = ("-metadata", "title=Beach") if name == "title.mp4" else ()
    options += ("-movflags", "+faststart") if name == "start.mp4" else ()

    copy = remux(two_people, tmp_path / name, *options)

    one, other = probe(source_of(two_people)), probe(source_of(copy))
    assert one.sha256 != other.sha256
    assert one.picture_hash == other.picture_hash
    assert one.duration_s == pytest.approx(other.duration_s, abs=0.05)


@needs_exiftool
def test_tags_of_a_video_leave_it_as_it_is(tmp_path: Path, two_people: Path) -> None:
    """They are in boxes beside the streams."""
    path = tmp_path / "clip.mp4"
    shutil.copy(two_people, path)
    before = picture_hash(path)

    write_tags(path, *RATED, "-QuickTime:Title=Beach")

    assert two_people.read_bytes() != path.read_bytes()
    assert before == picture_hash(path)


@needs_ffmpeg
def test_another_cut_and_another_turn_of_a_video_are_others(
    tmp_path: Path, two_people: Path
) -> None:
    """Other packets, or another display matrix."""
    turned, cut = tmp_path / "turned.mp4", tmp_path / "cut.mp4"
    remux(two_people, cut, "-t", "5")
    data = bytearray(two_people.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    for offset in (0, 16):
        data[at + offset : at + offset + 4] = (-65536).to_bytes(4, "big", signed=True)
    turned.write_bytes(data)

    assert 3 == len({picture_hash(path) for path in (two_people, turned, cut)})


@needs_exiftool
@pytest.mark.parametrize("suffix", ["webp", "gif", "png", "avif"])
def test_tags_of_an_animation_leave_it_as_it_is(tmp_path: Path, suffix: str) -> None:
    """Another order of the frames does not."""
    frames = [drawn(seed) for seed in range(3)]
    paths = [tmp_path / f"{name}.{suffix}" for name in ("plain", "reversed")]
    for path, chosen in zip(paths, (frames, frames[::-1]), strict=True):
        chosen[0].save(path, save_all=True, append_images=chosen[1:], duration=100)
    before, content = picture_hash(paths[0]), paths[0].read_bytes()

    write_tags(paths[0], "-XMP:Rating=4", "-XMP:Subject=beach")

    assert content != paths[0].read_bytes()
    assert MediaKind.VIDEO is probe(source_of(paths[0])).kind
    assert before == picture_hash(paths[0])
    assert before != picture_hash(paths[1])


def test_what_cannot_be_decoded_has_none(tmp_path: Path) -> None:
    """It fails as before."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))

    with pytest.raises(VideoError):
        probe(source_of(path))
