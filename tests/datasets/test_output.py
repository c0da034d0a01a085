"""The folder of a training set keeps the format of portraitd 0.1.0."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from portraitd.datasets.content import CachedImage, FileContent, RenderedFile, TextFile
from portraitd.datasets.output import (
    SET_MANIFEST,
    OutputChanges,
    finish_set,
    lock_set,
    publish_set,
    read_set_manifest,
)
from portraitd.datasets.set_erasure import erase_sets
from portraitd.model.errors import PublishError
from support.tree import make_sparse


def refuse() -> bytes:
    raise AssertionError("this image is up to date")


def test_a_set_of_0_1_0_is_not_written_again(tmp_path: Path) -> None:
    """Its manifest lists identity, size and time of each file, without a hash."""
    root, image = tmp_path / "set", tmp_path / "video" / "frames" / "1.jpg"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"image")
    (root / "yolo").mkdir(parents=True)
    contents: dict[str, tuple[bytes, FileContent]] = {
        "yolo/a.jpg": (b"image", CachedImage(image)),
        "yolo/a.txt": (b"0 1\n", TextFile("0 1\n")),
        "sheet.jpg": (b"sheet", RenderedFile("v1", refuse)),
    }
    listed = {}
    for path, (data, content) in contents.items():
        (root / path).write_bytes(data)
        facts = (root / path).stat()
        listed[path] = [content.identity, facts.st_size, facts.st_mtime_ns]
    manifest = {"fingerprint": "f", "summary": {"people": 2}, "files": dict(sorted(listed.items()))}
    text = json.dumps(manifest, ensure_ascii=False)
    (root / SET_MANIFEST).write_text(text, encoding="utf-8")

    done = publish_set(root, {path: content for path, (_, content) in contents.items()})
    finish_set(root, "f", {"people": 2})

    assert OutputChanges(unchanged=3) == done
    assert text == (root / SET_MANIFEST).read_text(encoding="utf-8")


def test_an_unfinished_set_has_no_fingerprint(tmp_path: Path) -> None:
    """So that it is built again, and only what is missing is written."""
    publish_set(tmp_path, {"a.txt": TextFile("a")})

    manifest = read_set_manifest(tmp_path)

    assert manifest is not None
    assert ("", {}, ["a.txt"]) == (manifest.fingerprint, manifest.summary, list(manifest.files))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with a file of others, under a path that the set has too."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "a.txt").write_text("mine")
    return folder


def replace_by_link(place: Path, outside: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.symlink_to(outside)


def test_nothing_is_written_through_a_link(tmp_path: Path, outside: Path) -> None:
    """The folder of a format, or of what was put aside."""
    root = tmp_path / "set"
    root.mkdir()
    (root / "yolo").symlink_to(outside)
    with pytest.raises(PublishError, match=r"yolo.*is not a folder"):
        publish_set(root, {"yolo/b.txt": TextFile("b"), "yolo/labels/c.txt": TextFile("c")})
    (root / "_changed").symlink_to(outside)
    (root / "b.txt").write_text("by others")
    with pytest.raises(PublishError, match=r"_changed is not a folder"):
        publish_set(root, {"b.txt": TextFile("b")})

    assert ["a.txt"] == os.listdir(outside)
    assert "by others" == (root / "b.txt").read_text()


def test_nothing_is_removed_through_a_link(tmp_path: Path, outside: Path) -> None:
    """Neither what the set no longer holds, nor when it is erased."""
    root, state = tmp_path / "set", tmp_path / "state"
    state.mkdir()
    publish_set(root_of(root), {"yolo/a.txt": TextFile("mine"), "b.txt": TextFile("b")})
    times = (root / "yolo/a.txt").stat()
    os.utime(outside / "a.txt", ns=(times.st_atime_ns, times.st_mtime_ns))
    replace_by_link(root / "yolo", outside)

    publish_set(root, {"b.txt": TextFile("b")})
    publish_set(root, {"b.txt": TextFile("b"), "c/a.txt": TextFile("mine")})
    replace_by_link(root / "c", outside)
    erase_sets(state, root, ["a"])

    assert "mine" == (outside / "a.txt").read_text()
    assert not (root / "b.txt").exists()


def root_of(root: Path) -> Path:
    root.mkdir()
    return root


@pytest.mark.parametrize(
    "path", ["../a.txt", "/etc/a.txt", "yolo/../../a.txt", "", "a//b", "\0", "\ud800"]
)
def test_a_manifest_leads_nowhere_else(tmp_path: Path, path: str) -> None:
    """A path in it stays below the folder of the set, or is left out."""
    content = {"fingerprint": "f", "summary": {}, "files": {path: ["a", 1, 1], "b": ["b", 1, 1]}}
    (tmp_path / SET_MANIFEST).write_text(json.dumps(content))

    manifest = read_set_manifest(tmp_path)

    assert manifest is not None
    assert ["b"] == list(manifest.files)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[" * 100_000, b'{"fingerprint": 1e999, "summary": [], "files": {}}', b"\xff",
        b'{"fingerprint": "", "summary": {}, "files": {"a": ["a", NaN, 1]}}',
        b'{"fingerprint": "", "summary": {}, "files": {"a": 7}}', b"null", b"7",
    ],
)  # fmt: skip
def test_a_broken_manifest_is_none(tmp_path: Path, data: bytes) -> None:
    """So is one of a terabyte, or one that is a folder or a pipe."""
    (tmp_path / SET_MANIFEST).write_bytes(data)

    assert read_set_manifest(tmp_path) is None


def test_what_is_no_manifest_is_not_read(tmp_path: Path) -> None:
    """A sparse file, a pipe, a folder, a link."""
    place = tmp_path / SET_MANIFEST
    make_sparse(place)
    assert read_set_manifest(tmp_path) is None
    place.unlink()
    os.mkfifo(place)
    assert read_set_manifest(tmp_path) is None
    place.unlink()
    place.mkdir()
    assert read_set_manifest(tmp_path) is None


def test_only_the_group_reads_a_set(tmp_path: Path) -> None:
    """Whatever the umask; a set that an earlier version left open to all is closed once."""
    root = tmp_path / "set"
    before = os.umask(0o000)
    try:
        with lock_set(root):
            publish_set(root, {"yolo/a.txt": TextFile("a")})
    finally:
        os.umask(before)

    assert {0o750} == {modes_of(root), modes_of(root / "yolo")}
    assert {0o640} == {modes_of(root / "yolo/a.txt"), modes_of(root / SET_MANIFEST)}
    root.chmod(0o755)
    (root / SET_MANIFEST).chmod(0o644)
    with lock_set(root):
        publish_set(root, {"yolo/a.txt": TextFile("a")})
    assert 0o750 == modes_of(root)
    root.chmod(0o755)
    with lock_set(root):
        assert 0o755 == modes_of(root), "an operator opened it on purpose"


def modes_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
