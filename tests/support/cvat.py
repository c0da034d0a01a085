"""Tasks of CVAT: a file is uploaded, corrected and exported, as CVAT does it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from portraitd.model.face import Box

Corners = tuple[float, float, float, float]


@dataclass
class Shape:
    """A keyframe of a track."""

    corners: Corners
    outside: bool = False
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass
class Track:
    """A track: its keyframes, by frame."""

    label: str
    keyframes: dict[int, Shape]

    def shape_at(self, frame: int) -> Shape | None:
        """Return what CVAT shows in a frame: interpolated between two keyframes."""
        before = [number for number in self.keyframes if number <= frame]
        after = [number for number in self.keyframes if number > frame]
        if not before:
            return None
        left = self.keyframes[max(before)]
        if left.outside or not after or frame in self.keyframes:
            return left
        right, share = (
            self.keyframes[min(after)],
            (frame - max(before)) / (min(after) - max(before)),
        )
        pairs = zip(left.corners, right.corners, strict=True)
        a, b, c, d = (one + (other - one) * share for one, other in pairs)
        return Shape((a, b, c, d), False, left.attributes)


@dataclass
class Task:
    """A task with a video."""

    frames: int
    size: tuple[int, int]
    tracks: list[Track]

    @classmethod
    def upload(cls, path: Path) -> Task:
        """Read annotations as the importer for "CVAT for video 1.1"."""
        document = ET.parse(path).getroot()
        tracks = []
        for track in document.iter("track"):
            keyframes = {
                int(box.attrib["frame"]): Shape(
                    _corners(box),
                    box.attrib["outside"] == "1",
                    {one.attrib["name"]: one.text or "" for one in box.iter("attribute")},
                )
                for box in track.iter("box")
                if box.attrib["keyframe"] == "1"
            }
            tracks.append(Track(track.attrib["label"], keyframes))
        size = tuple(
            int(document.findtext(f"meta/task/original_size/{side}") or 0)
            for side in ("width", "height")
        )
        return cls(int(document.findtext("meta/task/size") or 0), (size[0], size[1]), tracks)

    def export(self, path: Path, source: str = "") -> Path:
        """Write "CVAT for video 1.1": each frame of each track, in a zip archive."""
        root = ET.Element("annotations")
        ET.SubElement(root, "version").text = "1.1"
        task = ET.SubElement(ET.SubElement(root, "meta"), "task")
        facts = {"size": self.frames, "mode": "interpolation", "start_frame": 0}
        facts |= {"stop_frame": self.frames - 1, "source": source}
        for name, value in facts.items():
            ET.SubElement(task, name).text = str(value)
        size = ET.SubElement(task, "original_size")
        for name, value in zip(("width", "height"), self.size, strict=True):
            ET.SubElement(size, name).text = str(value)
        for number, track in enumerate(self.tracks):
            facts = {"id": str(number), "label": track.label, "source": "manual"}
            element = ET.SubElement(root, "track", facts)
            for frame in range(min(track.keyframes), self.frames):
                shape = track.shape_at(frame)
                is_keyframe = frame in track.keyframes
                if shape is None or (shape.outside and not is_keyframe):
                    continue
                edges = zip(("xtl", "ytl", "xbr", "ybr"), shape.corners, strict=True)
                box = ET.SubElement(element, "box", {
                    "frame": str(frame), "keyframe": str(int(is_keyframe)),
                    "outside": str(int(shape.outside)), "occluded": "0", "z_order": "0",
                } | {name: f"{edge:.2f}" for name, edge in edges})  # fmt: skip
                for name, value in shape.attributes.items():
                    ET.SubElement(box, "attribute", {"name": name}).text = value
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("annotations.xml", ET.tostring(root, "unicode"))
        return path

    # --- What people do.

    def find(self, box: Box, frame: int) -> tuple[Track, Shape]:
        """Return the keyframe with a box."""
        return next(
            (track, shape)
            for track in self.tracks
            if (shape := track.keyframes.get(frame)) and _rounded(shape.corners) == tuple(box)
        )

    def move(self, box: Box, frame: int, to: Box) -> None:
        """Drag a box to another place."""
        _, shape = self.find(box, frame)
        left, top, right, bottom = map(float, to)
        shape.corners = left, top, right, bottom

    def delete(self, box: Box, frame: int) -> None:
        """Switch a face off in one frame."""
        _, shape = self.find(box, frame)
        shape.outside = True

    def relabel(self, box: Box, frame: int, label: str) -> None:
        """Split a track around a face, and give the part with it another label."""
        track, shape = self.find(box, frame)
        track.keyframes[frame] = Shape(shape.corners, True, {})
        end = Shape(shape.corners, True, {})
        self.tracks.append(Track(label, {frame: shape, frame + 1: end}))

    def draw(self, box: Box, frame: int, label: str) -> None:
        """Draw a box around a face that was missed."""
        left, top, right, bottom = map(float, box)
        corners = left, top, right, bottom
        keyframes = {frame: Shape(corners), frame + 1: Shape(corners, True)}
        self.tracks.append(Track(label, keyframes))


def _corners(box: ET.Element) -> Corners:
    left, top, right, bottom = (float(box.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
    return left, top, right, bottom


def _rounded(corners: Corners) -> tuple[int, ...]:
    return tuple(map(round, corners))
