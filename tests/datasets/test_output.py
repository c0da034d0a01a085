"""The folder of a training set keeps the format of portraitd 0.1.0."""

from __future__ import annotations

import json
from pathlib import Path

from portraitd.datasets.content import CachedImage, FileContent, RenderedImage, TextFile
from portraitd.datasets.output import (
    SET_MANIFEST,
    OutputChanges,
    finish_set,
    publish_set,
    read_set_manifest,
)


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
        "sheet.jpg": (b"sheet", RenderedImage("v1", refuse)),
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
