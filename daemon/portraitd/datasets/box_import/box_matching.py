"""Match the boxes of one frame with the faces that are known in it. Nothing is guessed.

A box that was exported says which face it was made for. One that does not is matched by its place.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from portraitd.datasets.box_import.imported_boxes import Corners, ImportedBox
from portraitd.model.face import SAME_FACE_IOU, Box
from portraitd.model.reasons import ReasonCode

MIN_SIDE_PX = 8
"""The shortest side of a box that a face can be read from."""

TIE_IOU = 0.1
"""Two overlaps that differ by less do not tell which of two faces a box is for."""


class FrameFace(NamedTuple):
    """A face that the store has in the frame.

    Attributes:
        key: Stem of its file names.
        box: Clipped to the frame.
        is_hidden: It was deleted or ignored, or its person was.
    """

    id: int
    key: str
    box: Box
    is_hidden: bool


class MatchedBox(NamedTuple):
    """A box and the face that it is for.

    Attributes:
        box: The box, rounded and clipped to the frame.
        is_moved: Whether a person changed the box of the face.
    """

    face: FrameFace
    imported: ImportedBox
    box: Box
    is_moved: bool


@dataclass(slots=True)
class FrameMatch:
    """What the boxes of a frame say about its faces.

    Attributes:
        matched: Faces that have a box.
        new: Boxes of faces that were missed.
        missing: Faces without a box.
        problems: What does not match, with the reason.
    """

    matched: list[MatchedBox] = field(default_factory=list)
    new: list[tuple[ImportedBox, Box]] = field(default_factory=list)
    missing: list[FrameFace] = field(default_factory=list)
    problems: list[tuple[ReasonCode, str]] = field(default_factory=list)


def match_frame(
    faces: Sequence[FrameFace],
    boxes: Sequence[ImportedBox],
    frame_key: str,
    size_px: tuple[int, int],
) -> FrameMatch:
    """Match the boxes of a frame.

    Args:
        faces: All faces of the frame, also those that are hidden.
        boxes: All boxes in it.
        frame_key: What the keys of its faces start with.
        size_px: Width and height of the frame.
    """
    found = FrameMatch()
    usable: list[tuple[ImportedBox, Box]] = []
    for one in boxes:
        box = round_box(one.corners).clipped(*size_px)
        if min(box.width, box.height) >= MIN_SIDE_PX:
            usable.append((one, box))
        elif one.is_drawn:
            found.problems.append((ReasonCode.BOX_UNUSABLE, one.place))
    left_faces = {face.id: face for face in faces if not face.is_hidden}
    left_boxes = dict(enumerate(usable))
    _match_by_key(found, left_faces, left_boxes)
    _match_by_place(found, left_faces, left_boxes)
    has_keys = any(box.key for box in boxes)
    for number, (imported, box) in left_boxes.items():
        if not imported.is_drawn:
            continue
        overlapping = [face for face in left_faces.values() if face.box.iou(box) > 0]
        if overlapping and not has_keys:
            # Moved far, or one face deleted and another drawn.
            found.problems.append((ReasonCode.BOX_AMBIGUOUS, imported.place))
            for face in overlapping:
                left_faces.pop(face.id)
        elif any(face.is_hidden and face.box.iou(box) >= SAME_FACE_IOU for face in faces):
            found.problems.append((ReasonCode.FACE_HIDDEN, imported.place))
        elif imported.key.startswith(frame_key):
            is_used = any(one.face.key == imported.key for one in found.matched)
            code = ReasonCode.BOX_AMBIGUOUS if is_used else ReasonCode.FACE_GONE
            found.problems.append((code, imported.place))
        elif any(
            other.iou(box) >= SAME_FACE_IOU and at < number for at, (_, other) in left_boxes.items()
        ):
            found.problems.append((ReasonCode.BOX_AMBIGUOUS, imported.place))
        else:
            found.new.append((imported, box))
    found.missing = list(left_faces.values())
    return found


def round_box(corners: Corners) -> Box:
    """Return a box in whole pixels."""
    left, top, right, bottom = (round(min(max(edge, -1e6), 1e6)) for edge in corners)
    return Box(left, top, right, bottom)


def _match_by_key(
    found: FrameMatch,
    left_faces: dict[int, FrameFace],
    left_boxes: dict[int, tuple[ImportedBox, Box]],
) -> None:
    """Match boxes that say which face they are for; a copy of a box says the same."""
    of_key = {face.key: face for face in left_faces.values()}
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for number, (imported, _) in left_boxes.items():
        if imported.key in of_key:
            numbers[imported.key].append(number)
    for key, said in numbers.items():
        face, candidates = of_key[key], said
        if len(candidates) > 1:
            unmoved = [at for at in candidates if left_boxes[at][1] == face.box]
            if len(unmoved) != 1:
                found.problems += [
                    (ReasonCode.BOX_AMBIGUOUS, left_boxes.pop(at)[0].place) for at in candidates
                ]
                left_faces.pop(face.id)
                continue
            # The others are copies, with which a person marked other faces.
            for at in set(candidates) - set(unmoved):
                imported, box = left_boxes[at]
                left_boxes[at] = imported._replace(key=""), box
            candidates = unmoved
        _pair(found, left_faces.pop(face.id), *left_boxes.pop(candidates[0]))


def _match_by_place(
    found: FrameMatch,
    left_faces: dict[int, FrameFace],
    left_boxes: dict[int, tuple[ImportedBox, Box]],
) -> None:
    pairs = sorted(
        (
            (face.box.iou(box), face.id, at)
            for face in left_faces.values()
            for at, (_, box) in left_boxes.items()
            if face.box.iou(box) >= SAME_FACE_IOU
        ),
        key=lambda pair: (-pair[0], pair[1:]),
    )
    best: dict[tuple[str, int], float] = {}
    rivals: Counter[tuple[str, int]] = Counter()
    for iou, face_id, at in pairs:
        for side in (("face", face_id), ("box", at)):
            # The best pair comes first, and is its own rival.
            rivals[side] += best.setdefault(side, iou) - iou < TIE_IOU
    for _, face_id, at in pairs:
        if face_id not in left_faces or at not in left_boxes:
            continue
        imported, box = left_boxes.pop(at)
        face = left_faces.pop(face_id)
        if max(rivals["face", face_id], rivals["box", at]) > 1:
            found.problems.append((ReasonCode.BOX_AMBIGUOUS, imported.place))
        else:
            _pair(found, face, imported, box)


def _pair(found: FrameMatch, face: FrameFace, imported: ImportedBox, box: Box) -> None:
    is_moved = imported.is_drawn and box != face.box
    found.matched.append(MatchedBox(face, imported, box, is_moved))
