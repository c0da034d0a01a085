"""Files of CVAT are read within limits, and interpolated as CVAT does it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from portraitd.datasets.box_import.annotation_file import read_annotations
from portraitd.datasets.box_import.coco_reading import read_coco
from portraitd.datasets.box_import.cvat_reading import read_cvat
from portraitd.datasets.box_import.imported_boxes import ImportedFile
from portraitd.model.errors import ConfigError
from portraitd.model.reasons import ReasonCode

META = """<meta><task><start_frame>0</start_frame><stop_frame>99</stop_frame>
<source>gala.mp4</source><frame_filter>step=2</frame_filter>
<original_size><width>640</width><height>480</height></original_size></task></meta>"""


def box(frame: int, left: int, outside: int = 0, keyframe: int = 1, key: str = "") -> str:
    attribute = f'<attribute name="face">{key}</attribute>' if key else ""
    return (
        f'<box frame="{frame}" keyframe="{keyframe}" outside="{outside}" occluded="0" '
        f'xtl="{left}" ytl="10" xbr="{left + 50}" ybr="60">{attribute}</box>'
    )


def read(tmp_path: Path, body: str, meta: str = META) -> ImportedFile:
    path = tmp_path / "annotations.xml"
    path.write_text(
        f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>{meta}{body}'
        "</annotations>"
    )
    (found,) = read_cvat(path)
    return found


def test_a_track_is_interpolated_between_keyframes(tmp_path: Path) -> None:
    """Not while it is outside; after the last one it stays."""
    marks = box(10, 100, key="k") + box(20, 200) + box(30, 200, outside=1) + box(40, 400)
    (track,) = read(tmp_path, f'<track id="0" label="Ann">{marks}</track>').tracks

    lefts = {
        frame: one and (one.corners[0], one.is_drawn, one.key)
        for frame in (9, 10, 15, 20, 25, 30, 35, 40, 99)
        if (one := track.box_at(frame)) or True
    }
    assert {
        9: None,
        10: (100.0, True, "k"),
        15: (150.0, False, "k"),
        20: (200.0, True, ""),
        25: (200.0, False, ""),
        30: None,
        35: None,
        40: (400.0, True, ""),
        99: (400.0, False, ""),
    } == lefts


def test_what_cvat_interpolated_is_not_drawn(tmp_path: Path) -> None:
    """CVAT exports every frame of a track."""
    marks = box(10, 100) + box(11, 110, keyframe=0) + box(12, 120)
    (track,) = read(tmp_path, f'<track id="0" label="Ann">{marks}</track>').tracks

    between = track.box_at(11)
    assert between
    assert (110.0, False) == (between.corners[0], between.is_drawn)


def test_meta_says_what_a_file_is_about(tmp_path: Path) -> None:
    """The video, its size, and which frames are shown."""
    found = read(tmp_path, f'<track id="0" label="Ann">{box(0, 1)}</track>')

    assert ("gala.mp4", (640, 480)) == (found.source, found.size_px)
    assert found.coverage
    assert [True, False, True, False] == [found.coverage.has(one) for one in (0, 1, 98, 100)]


def test_images_have_boxes(tmp_path: Path) -> None:
    """Other shapes and turned boxes are listed."""
    found = read(
        tmp_path,
        '<image id="0" name="a/frame.jpg" width="640" height="480">'
        '<box label="Ann" xtl="1" ytl="2" xbr="30.5" ybr="40"/>'
        '<box label="Ann" rotation="30" xtl="1" ytl="2" xbr="30.5" ybr="40"/>'
        '<box label="Ann" outside="1" xtl="1" ytl="2" xbr="30.5" ybr="40"/>'
        '<polygon label="Ann" points="1,2;3,4;5,6"/></image>'
        '<image id="7" name="frame_000007.PNG" width="640" height="480"></image>',
    )

    assert found.coverage is None
    assert [("a/frame.jpg", None, 1), ("frame_000007.PNG", 7, 0)] == [
        (one.name, one.number, len(one.boxes)) for one in found.images
    ]
    assert [ReasonCode.SHAPE_NOT_READ] * 2 == [code for code, _ in found.left_out]


DEEP = "<a>" * 20 + "</a>" * 20


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "a document type"),
        ("<annotations><version>1.0</version></annotations>", "version 1.0, not 1.1"),
        ("<annotations></annotations>", "no version"),
        ("<html/>", "instead of <annotations>"),
        ("<annotations><version>1.1</version>", "no element found"),
        (f"<annotations><version>1.1</version>{DEEP}</annotations>", "within more than"),
        (
            '<annotations><version>1.1</version><track id="0" label="a">'
            '<box frame="1" xtl="nan" ytl="1" xbr="2" ybr="2"/></track></annotations>',
            "a box without a place",
        ),
        (
            '<annotations><version>1.1</version><track id="0" label="a">'
            '<box frame="x" xtl="1" ytl="1" xbr="2" ybr="2"/></track></annotations>',
            "invalid literal",
        ),
        (
            "<annotations><version>1.1</version><meta><project><tasks><task/><task/></tasks>"
            "</project></meta></annotations>",
            "several tasks",
        ),
        ("", "no element found"),
        ('{"categories": []}', "not well-formed"),
    ],
)
def test_what_is_no_annotation_of_cvat_is_refused(tmp_path: Path, text: str, why: str) -> None:
    """In one line that says why."""
    path = tmp_path / "a.xml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=why):
        read_cvat(path)


def test_another_encoding_hides_no_document_type(tmp_path: Path) -> None:
    """Only UTF-8 is read."""
    path = tmp_path / "a.xml"
    path.write_bytes('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>'.encode("utf-16"))

    with pytest.raises(ConfigError, match="not UTF-8"):
        read_cvat(path)


def archive_of(**members: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


def test_archives_are_unpacked_within_a_limit(tmp_path: Path) -> None:
    """Of one file, and of all of them."""
    path = tmp_path / "task.zip"
    for members in ({"a.xml": 5_000_000}, {"a.xml": 600_000, "b/c.XML": 600_000}):
        path.write_bytes(archive_of(**{name: " " * size for name, size in members.items()}))
        with pytest.raises(ConfigError, match="unpacks to more than 1 MB"):
            read_annotations(path, ".xml", 1 << 20)
    path.write_bytes(b" " * (2 << 20))
    with pytest.raises(ConfigError, match="larger than 1 MB"):
        read_annotations(path, ".xml", 1 << 20)


def test_archives_without_annotations_are_refused(tmp_path: Path) -> None:
    """Also damaged ones, and those that are not there."""
    path = tmp_path / "task.zip"
    for content, why in (
        (archive_of(**{"readme.txt": "x"}), r"no \.xml file"),
        (b"PK\x03\x04 damaged", "cannot be unpacked"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=why):
            read_cvat(path)
    with pytest.raises(ConfigError, match="No such file"):
        read_cvat(tmp_path / "nothing.zip")


COCO = """{"categories": [{"id": 1, "name": "Ann"}],
"images": [{"id": 5, "file_name": "a.jpg", "width": 640, "height": 480},
           {"id": 6, "file_name": "b.jpg"}],
"annotations": [
  {"id": 1, "image_id": 5, "category_id": 1, "bbox": [10, 20, 30, 40.5],
   "attributes": {"face": "k", "export": "9"}},
  {"id": 2, "image_id": 5, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 1}]}"""


def test_annotations_of_coco_are_read(tmp_path: Path) -> None:
    """With the attributes of its boxes; crowds are listed."""
    path = tmp_path / "coco.json"
    path.write_text(COCO)

    (found,) = read_coco(path)

    first, second = found.images
    assert ("a.jpg", (640, 480), "b.jpg", None) == (
        first.name,
        first.size_px,
        second.name,
        second.size_px,
    )
    (one,) = first.boxes
    assert ("Ann", (10.0, 20.0, 40.0, 60.5), "k", "9") == one[:4]
    assert [(ReasonCode.SHAPE_NOT_READ, "annotation 2")] == found.left_out


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        "null",
        "x",
        COCO.replace("40.5", '"a"'),
        COCO.replace("40.5", "NaN"),
        COCO.replace('"image_id": 5', '"image": 5'),
        COCO.replace('"image_id": 5', '"image_id": 7'),
        COCO.replace('"category_id": 1', '"category_id": 3'),
        "[" * 100_000,
    ],
)
def test_what_is_no_coco_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever is the matter with it."""
    path = tmp_path / "coco.json"
    path.write_text(text)

    with pytest.raises(ConfigError, match="no annotations of COCO"):
        read_coco(path)
