"""CVAT for video 1.1: the tracks of a video, to correct boxes manually.

Create a CVAT task with the same video, then upload the file as annotations in this format.
"""

from __future__ import annotations

import math
from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

from portraitd.datasets.annotations import UNKNOWN_NAME, ClassLabel, Plan, PlannedTrack
from portraitd.datasets.content import SetFiles, TextFile, join_lines
from portraitd.model.face import Box
from portraitd.people.names import folder_name
from portraitd.store.dataset_store import Recording

LONGEST_GAP_S = 3.0
"""After this long without a detection, a track ends instead of being interpolated."""

FALLBACK_FPS = 25.0


def make_cvat_files(plan: Plan) -> SetFiles:
    """Yield ``cvat/<video>.xml`` for every video with a person of the set."""
    for video_id, tracks in plan.tracks.items():
        recording = plan.recordings[video_id]
        name = recording.sources[0].path.stem if recording.sources else "video"
        safe = folder_name(video_id, name.encode("utf-8", "replace").decode())
        path = f"cvat/{safe[:60]}-{recording.sha256[:12]}.xml"
        yield path, TextFile(format_annotations(recording, tracks, plan.classes))


def format_annotations(
    recording: Recording, tracks: tuple[PlannedTrack, ...], classes: tuple[ClassLabel, ...]
) -> str:
    """Return the annotations of a video as an XML document.

    There is a box at each processed frame; CVAT interpolates between them. Frame numbers follow
    from the time and the declared frame rate, so they can be off by some frames in a video with
    a variable rate.
    """
    fps = recording.fps or FALLBACK_FPS
    last = max((t_s for track in tracks for t_s, _ in track.faces), default=0.0)
    length_s = recording.duration_s if math.isfinite(recording.duration_s) else last + 1.0
    frames = max(math.floor(length_s * fps + 0.5), to_frame_number(last, fps) + 1)
    names = {label.id: label.label for label in classes}
    used = sorted({names.get(track.class_id, UNKNOWN_NAME) for track in tracks})
    labels = [f"<label><name>{escape(name)}</name><attributes></attributes></label>"
              for name in used]  # fmt: skip
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
                    number, track, names.get(track.class_id, UNKNOWN_NAME), fps, frames
                )
            ),
            "</annotations>",
        ]
    )


def to_frame_number(t_s: float, fps: float) -> int:
    """Return the number of a frame in its video, from 0."""
    return math.floor(t_s * fps + 0.5)


def _format_track(
    number: int, track: PlannedTrack, label: str, fps: float, frames: int
) -> list[str]:
    """Return one track; an outside box marks its end and the start of each long gap."""
    found = [f'  <track id="{number}" label={quoteattr(label)} source="auto">']
    boxes = {to_frame_number(t_s, fps): (t_s, box) for t_s, box in track.faces}
    order = sorted(boxes)
    steps = sorted(later - earlier for earlier, later in pairwise(order))
    step = steps[len(steps) // 2] if steps else max(1, round(fps / 2))
    for frame, following in zip(order, [*order[1:], None], strict=True):
        t_s, box = boxes[frame]
        found.append(_format_box(frame, box, outside=False))
        is_gap = following is None or boxes[following][0] - t_s > LONGEST_GAP_S
        end_frame = frame + min(step, max(1, (following or frames) - frame - 1))
        if is_gap and end_frame < frames and end_frame != following:
            found.append(_format_box(end_frame, box, outside=True))
    found.append("  </track>")
    return found


def _format_box(frame: int, box: Box, outside: bool) -> str:
    corners = zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)
    places = " ".join(f'{name}="{place:.2f}"' for name, place in corners)
    return (
        f'    <box frame="{frame}" keyframe="1" outside="{int(outside)}" occluded="0" '
        f'{places} z_order="0"></box>'
    )
