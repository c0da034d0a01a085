"""Pascal VOC 2012, in the folders that torchvision's ``VOCDetection`` reads."""

from __future__ import annotations

from xml.sax.saxutils import escape

from portraitd.datasets.annotations import PlannedFrame
from portraitd.datasets.content import AvailableFrames, SetFiles, TextFile, join_lines

FOLDER = "voc/VOCdevkit/VOC2012"


def make_voc_files(available: AvailableFrames) -> SetFiles:
    """Yield ``labelmap.txt``, ``JPEGImages/``, ``Annotations/``, and lists in ``ImageSets/Main/``.

    CVAT and Datumaro read the classes in ``labelmap.txt``. Without it, they expect those of 2012.
    """
    plan = available.plan
    classes = [f"{label.label}:::" for label in plan.classes]
    head = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    yield f"{FOLDER}/labelmap.txt", TextFile(join_lines([*head, *classes]))
    names = {label.id: label.label for label in plan.classes}
    lists: dict[str, list[str]] = {}
    for split in plan.splits:
        stems = [frame.stem for frame in available.frames[split]]
        lists[split] = stems
        for frame in available.frames[split]:
            yield f"{FOLDER}/Annotations/{frame.stem}.xml", TextFile(_format_frame(frame, names))
            yield f"{FOLDER}/JPEGImages/{frame.stem}.jpg", available.cached_image(frame)
    lists["trainval"] = sorted(lists["train"] + lists["val"])
    for name, stems in lists.items():
        yield f"{FOLDER}/ImageSets/Main/{name}.txt", TextFile(join_lines(stems))


def _format_frame(frame: PlannedFrame, names: dict[int, str]) -> str:
    """Return the annotation of a frame; VOC counts pixels from 1, and both ends are included."""
    objects = [
        f"  <object><name>{escape(names[label.class_id])}</name><pose>Unspecified</pose>"
        "<truncated>0</truncated><difficult>0</difficult>"
        f"<bndbox><xmin>{label.box.left + 1}</xmin><ymin>{label.box.top + 1}</ymin>"
        f"<xmax>{label.box.right}</xmax><ymax>{label.box.bottom}</ymax></bndbox></object>"
        for label in frame.labels
    ]
    return join_lines(
        [
            "<annotation>",
            f"  <folder>VOC2012</folder><filename>{frame.stem}.jpg</filename>",
            "  <source><database>portraitd</database></source>",
            f"  <size><width>{frame.width_px}</width><height>{frame.height_px}</height>"
            "<depth>3</depth></size>",
            "  <segmented>0</segmented>",
            *objects,
            "</annotation>",
        ]
    )
