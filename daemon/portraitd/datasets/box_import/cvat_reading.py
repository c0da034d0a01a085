"""Read annotations of CVAT: "CVAT for video 1.1" and "CVAT for images 1.1".

The format is described at https://docs.cvat.ai/docs/manual/advanced/xml_format/. CVAT writes every
frame of a track and marks keyframes; portraitd writes keyframes only. Both are read.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from portraitd.datasets.box_import.annotation_file import read_annotations
from portraitd.datasets.box_import.imported_boxes import (
    EXPORT_ATTRIBUTE,
    FACE_ATTRIBUTE,
    MAX_BOXES,
    Corners,
    Coverage,
    ImportedBox,
    ImportedFile,
    ImportedImage,
    ImportedTrack,
    TrackMark,
)
from portraitd.model.errors import ConfigError
from portraitd.model.reasons import ReasonCode

MAX_DEPTH = 16

_CHUNK = 1 << 20

_SHAPES = frozenset({"polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton"})

_FRAME_NAME = re.compile(r"frame_(\d{6,9})(?:\.\w+)?")
"""How CVAT names the frames of a video when it exports them as images."""

_STEP = re.compile(r"\s*step\s*=\s*(\d{1,9})\s*")


def read_cvat(path: Path) -> list[ImportedFile]:
    """Return what each XML file says.

    Args:
        path: An XML file, or a zip archive as CVAT exports it.

    Raises:
        ConfigError: It cannot be read, or is no such file.
    """
    found = []
    for name, text in read_annotations(path, ".xml"):
        try:
            found.append(_Reader().read(text))
        except (ET.ParseError, ValueError, KeyError, OverflowError) as error:
            raise ConfigError(f"{path}: {name}: no annotations of CVAT: {error}") from error
    return found


class _Reader:
    """Reads one file, element by element."""

    def __init__(self) -> None:
        self._tracks: list[ImportedTrack] = []
        self._images: list[ImportedImage] = []
        self._left_out: list[tuple[ReasonCode, str]] = []
        self._boxes = 0
        self._source = ""
        self._size_px: tuple[int, int] | None = None
        self._coverage: Coverage | None = None

    def read(self, text: str) -> ImportedFile:
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise ValueError("it has a document type, which CVAT does not write")
        is_known = False
        for element in _iterate(text):
            if element.tag == "version":
                if (element.text or "").strip() != "1.1":
                    raise ValueError(f"version {element.text}, not 1.1")
                is_known = True
            elif element.tag == "meta":
                self._read_meta(element)
            elif element.tag == "track":
                self._read_track(element)
            elif element.tag == "image":
                self._read_image(element)
        if not is_known:
            raise ValueError("it has no version")
        return ImportedFile(
            self._source,
            self._size_px,
            self._coverage if self._tracks or not self._images else None,
            self._tracks,
            self._images,
            self._left_out,
        )

    def _read_meta(self, meta: ET.Element) -> None:
        if len(meta.findall(".//tasks/task")) > 1:
            raise ValueError("it has several tasks; export each task by itself")
        parts = map(meta.find, ("job", "task", ".//tasks/task"))
        part = next((one for one in parts if one is not None), None)
        if part is None:
            return
        self._source = (part.findtext("source") or meta.findtext("source") or "").strip()
        width, height = (
            part.findtext(f"original_size/{side}") or meta.findtext(f"original_size/{side}")
            for side in ("width", "height")
        )
        if width and height:
            self._size_px = int(width), int(height)
        first, last = part.findtext("start_frame"), part.findtext("stop_frame")
        if first and last:
            step = _STEP.fullmatch(part.findtext("frame_filter") or "")
            self._coverage = Coverage(int(first), int(last), max(1, int(step[1])) if step else 1)

    def _read_track(self, element: ET.Element) -> None:
        place = f"track {element.get('id', '?')}"
        marks: dict[int, TrackMark] = {}
        for child in element:
            if child.tag in _SHAPES or (child.tag == "box" and _is_turned(child)):
                if child.get("keyframe") != "0":
                    self._leave_out(f"{place}, frame {child.get('frame')}")
            elif child.tag == "box":
                attributes = _read_attributes(child)
                frame = int(child.attrib["frame"])
                marks[frame] = TrackMark(
                    frame,
                    self._read_corners(child),
                    child.get("outside") == "1",
                    child.get("keyframe", "1") == "1",
                    attributes.get(FACE_ATTRIBUTE, ""),
                    attributes.get(EXPORT_ATTRIBUTE, ""),
                )
        if marks:
            order = [marks[frame] for frame in sorted(marks)]
            self._tracks.append(ImportedTrack(element.get("label", ""), order, place))

    def _read_image(self, element: ET.Element) -> None:
        name = element.attrib["name"]
        boxes = []
        for number, child in enumerate(element, 1):
            place = f"{name}, box {number}"
            # Datumaro also writes where a track is not visible.
            if child.get("outside") == "1":
                continue
            if child.tag in _SHAPES or (child.tag == "box" and _is_turned(child)):
                self._leave_out(place)
            elif child.tag == "box":
                attributes = _read_attributes(child)
                boxes.append(
                    ImportedBox(
                        child.get("label", ""),
                        self._read_corners(child),
                        attributes.get(FACE_ATTRIBUTE, ""),
                        attributes.get(EXPORT_ATTRIBUTE, ""),
                        True,
                        place,
                    )
                )
        frame = _FRAME_NAME.fullmatch(name)
        size = element.get("width"), element.get("height")
        size_px = (int(size[0]), int(size[1])) if size[0] and size[1] else None
        self._images.append(ImportedImage(name, frame and int(frame[1]), size_px, boxes))

    def _read_corners(self, box: ET.Element) -> Corners:
        self._boxes += 1
        if self._boxes > MAX_BOXES:
            raise ValueError(f"more than {MAX_BOXES:,} boxes")
        left, top, right, bottom = (
            float(box.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr")
        )
        if not all(map(math.isfinite, (left, top, right, bottom))):
            raise ValueError("a box without a place")
        return left, top, right, bottom

    def _leave_out(self, place: str) -> None:
        self._left_out.append((ReasonCode.SHAPE_NOT_READ, place))


def _is_turned(box: ET.Element) -> bool:
    return float(box.get("rotation", "0")) % 360 != 0


def _read_attributes(element: ET.Element) -> dict[str, str]:
    return {
        child.get("name", ""): (child.text or "").strip()
        for child in element
        if child.tag == "attribute"
    }


def _iterate(text: str) -> Iterator[ET.Element]:
    """Yield each element below ``annotations`` when it is complete, and drop it afterwards."""
    # The text is decoded already, so no declaration can make it mean something else.
    parser: Any = ET.XMLPullParser(("start", "end"))
    depth, root = 0, None
    for start in range(0, len(text), _CHUNK):
        parser.feed(text[start : start + _CHUNK])
        for event, element in parser.read_events():
            if event == "start":
                depth += 1
                if depth > MAX_DEPTH:
                    raise ValueError(f"elements within more than {MAX_DEPTH} others")
                if depth == 1:
                    root = element
                    if element.tag != "annotations":
                        raise ValueError(f"<{element.tag}> instead of <annotations>")
                continue
            depth -= 1
            if depth == 1:
                yield element
                if root is not None:
                    root.clear()
    parser.close()
    if depth:
        raise ValueError("the end is missing")
