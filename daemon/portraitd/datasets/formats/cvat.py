"""CVAT for video 1.1: the tracks of a video, to correct boxes manually.

Create a CVAT task with the same video and the labels of ``labels.json``, then upload the file as
annotations in this format. ``datasets.box_import`` reads what CVAT exports.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from portraitd.datasets.annotations import (
    UNKNOWN_NAME,
    ClassLabel,
    Plan,
    PlannedTrack,
    make_box_stem,
)
from portraitd.datasets.box_import.imported_boxes import EXPORT_ATTRIBUTE, FACE_ATTRIBUTE
from portraitd.datasets.content import SetFiles, TextFile, format_json, join_lines
from portraitd.model.face import Box, FrameTimes
from portraitd.people.names import folder_name
from portraitd.store.dataset_store import Recording

LONGEST_GAP_S = 3.0
"""After this long without a detection, a track ends instead of being interpolated."""

FALLBACK_FPS = 25.0

SINGLE_BOX_FRAMES = 12
"""How long a track with a single box is visible."""


ATTRIBUTES = (FACE_ATTRIBUTE, EXPORT_ATTRIBUTE)

ToNumber = Callable[[float], int]
"""Returns the number of the frame at a time."""


def make_cvat_files(
    plan: Plan, find_times: Callable[[Recording], FrameTimes | None] = lambda recording: None
) -> SetFiles:
    """Yield ``cvat/<video>.xml`` for every video with a person of the set, and the labels.

    Args:
        plan: The set.
        find_times: Returns the times of the frames of a video; None if they are not known.
    """
    yield "cvat/labels.json", TextFile(format_json(_make_labels(plan.classes)))
    for video_id, tracks in plan.tracks.items():
        recording = plan.recordings[video_id]
        name = recording.sources[0].path.stem if recording.sources else "video"
        safe = folder_name(video_id, name.encode("utf-8", "replace").decode())
        path = f"cvat/{safe[:60]}-{recording.sha256[:12]}.xml"
        times_s = find_times(recording)
        yield path, TextFile(format_annotations(recording, tracks, plan.classes, times_s))


def format_annotations(
    recording: Recording,
    tracks: tuple[PlannedTrack, ...],
    classes: tuple[ClassLabel, ...],
    times_s: FrameTimes | None = None,
) -> str:
    """Return the annotations of a video as an XML document.

    There is a box at each processed frame; CVAT interpolates between them.

    Args:
        recording: The video.
        tracks: Its tracks.
        classes: All classes.
        times_s: The time of each frame. Without them, frame numbers follow from the declared frame
            rate, so they can be off by some frames in a video with a variable rate.
    """
    fps = recording.fps or FALLBACK_FPS
    last = max((t_s for track in tracks for t_s, _ in track.faces), default=0.0)
    to_number: ToNumber = partial(to_frame_number, fps=fps)
    if times_s is not None and len(times_s):
        to_number = partial(find_frame_number, times_s)
        frames = len(times_s)
    else:
        length_s = recording.duration_s if math.isfinite(recording.duration_s) else last + 1.0
        frames = max(math.floor(length_s * fps + 0.5), to_number(last) + 1)
    names = {label.id: label.label for label in classes}
    # Of everyone: a corrected box may show anyone, and Datumaro needs the same ones in all files.
    people = [label.label for label in classes if label.person_id is not None]
    attributes = "".join(map(_format_attribute, ATTRIBUTES))
    labels = [f"<label><name>{escape(name)}</name><attributes>{attributes}</attributes></label>"
              for name in (*people, UNKNOWN_NAME)]  # fmt: skip
    size = (
        f"<original_size><width>{recording.width_px}</width>"
        f"<height>{recording.height_px}</height></original_size>"
    )
    return join_lines(
        [
            '<?xml version="1.0" encoding="utf-8"?>',
            "<annotations>",
            "  <version>1.1</version>",
            "  <meta>",
            f"    <task><size>{frames}</size><mode>interpolation</mode><overlap>0</overlap>"
            f"<start_frame>0</start_frame><stop_frame>{frames - 1}</stop_frame>"
            f"<frame_filter></frame_filter>{size}",
            "    <labels>",
            *(f"      {label}" for label in labels),
            "    </labels></task>",
            "  </meta>",
            *(
                line
                for number, track in enumerate(tracks)
                for line in _format_track(
                    number,
                    track,
                    names.get(track.class_id, UNKNOWN_NAME),
                    recording.sha256,
                    to_number,
                    frames,
                )
            ),
            "</annotations>",
        ]
    )


def to_frame_number(t_s: float, fps: float) -> int:
    """Return the number of a frame in its video, from 0."""
    return math.floor(t_s * fps + 0.5)


def find_frame_number(times_s: FrameTimes, t_s: float) -> int:
    """Return the number of the frame at a time: the nearest one."""
    at = int(np.searchsorted(times_s, t_s))
    nearest = min(max(at, 1), len(times_s) - 1)
    if nearest < 1:
        return 0
    return nearest - int(t_s - times_s[nearest - 1] <= times_s[nearest] - t_s)


def _make_labels(classes: Sequence[ClassLabel]) -> list[dict[str, Any]]:
    """Return the labels of a task, for CVAT's raw editor of labels."""
    names = [label.label for label in classes if label.person_id is not None]
    attributes = [
        {"name": name, "input_type": "text", "mutable": True, "values": [""], "default_value": ""}
        for name in ATTRIBUTES
    ]
    return [{"name": name, "attributes": attributes} for name in (*names, UNKNOWN_NAME)]


def _format_attribute(name: str) -> str:
    return (
        f"<attribute><name>{name}</name><mutable>True</mutable><input_type>text</input_type>"
        "<default_value></default_value><values></values></attribute>"
    )


def _format_track(
    number: int, track: PlannedTrack, label: str, sha256: str, to_number: ToNumber, frames: int
) -> list[str]:
    """Return one track; an outside box marks its end and the start of each long gap."""
    found = [f'  <track id="{number}" label={quoteattr(label)} source="auto">']
    boxes = {to_number(t_s): (t_s, box) for t_s, box in track.faces}
    order = sorted(boxes)
    steps = sorted(later - earlier for earlier, later in pairwise(order))
    step = steps[len(steps) // 2] if steps else SINGLE_BOX_FRAMES
    for frame, following in zip(order, [*order[1:], None], strict=True):
        t_s, box = boxes[frame]
        key = make_box_stem(sha256, t_s, box)
        found += _format_box(frame, box, False, (key, str(track.newest_face_id)))
        is_gap = following is None or boxes[following][0] - t_s > LONGEST_GAP_S
        end_frame = frame + min(step, max(1, (following or frames) - frame - 1))
        if is_gap and end_frame < frames and end_frame != following:
            found += _format_box(end_frame, box, True, ("", ""))
    found.append("  </track>")
    return found


def _format_box(frame: int, box: Box, outside: bool, values: tuple[str, ...]) -> list[str]:
    """Return a box with the values of ``ATTRIBUTES``."""
    corners = zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)
    places = " ".join(f'{name}="{place:.2f}"' for name, place in corners)
    return [
        f'    <box frame="{frame}" keyframe="1" outside="{int(outside)}" occluded="0" '
        f'{places} z_order="0">',
        *(
            f'      <attribute name="{name}">{value}</attribute>'
            for name, value in zip(ATTRIBUTES, values, strict=True)
        ),
        "    </box>",
    ]
