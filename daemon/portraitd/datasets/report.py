"""The report on a set: figures and contact sheets, as a page that opens from the share."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from urllib.parse import quote

from portraitd.datasets.annotations import (
    FACE_FOLDER_FORMATS,
    SPLITS,
    ClassLabel,
    PlannedCrop,
)
from portraitd.datasets.content import AvailableFrames, RenderedImage, SetFiles, TextFile
from portraitd.datasets.split_units import hash_to_fraction
from portraitd.model.wording import counted

MAX_TILES = 96
"""Maximum number of faces on a contact sheet; of more faces a sample is shown."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #ddd }
th { position: sticky; top: 0; background: #fff }
td:first-child, th:first-child, td.text { text-align: left }
img { max-width: 100%; height: auto }
.warning { background: #fff3d6; padding: .6rem 1rem; border-left: 4px solid #e09020 }
.train { color: #286e96 } .val { color: #c86400 } .test { color: #3c8c50 }
.bar { display: inline-block; height: .7em; background: #286e96 }
"""


@dataclass(frozen=True, slots=True)
class ClassStatistics:
    """The figures of one class.

    Attributes:
        faces: Faces in the face folders, by split.
        labels: Faces in the frames of the detection sets, by split.
        sizes_px: Shorter sides of the faces, ascending.
    """

    label: ClassLabel
    found: int
    near_duplicates: int
    faces: Counter[str]
    labels: Counter[str]
    sizes_px: tuple[float, ...]


def compute_statistics(available: AvailableFrames) -> list[ClassStatistics]:
    """Return the figures by class number, without empty classes."""
    plan = available.plan
    faces: defaultdict[int, Counter[str]] = defaultdict(Counter)
    labels: defaultdict[int, Counter[str]] = defaultdict(Counter)
    sizes: defaultdict[int, list[float]] = defaultdict(list)
    for crop in plan.crops:
        faces[crop.class_id][crop.split] += 1
        sizes[crop.class_id].append(crop.face.size_px)
    for split in plan.splits:
        for frame in available.frames[split]:
            for label in frame.labels:
                labels[label.class_id][split] += 1
    found = []
    for one in plan.classes:
        counts = plan.counts.get(one.id)
        if counts or labels[one.id]:
            found.append(
                ClassStatistics(
                    one,
                    counts.found if counts else 0,
                    counts.near_duplicates if counts else 0,
                    faces[one.id],
                    labels[one.id],
                    tuple(sorted(sizes[one.id])),
                )
            )
    return found


def find_warnings(available: AvailableFrames, crop_warnings: Sequence[str]) -> list[str]:
    """Return what the user should know before training, one sentence each."""
    plan, found = available.plan, []
    if not plan.counts:
        found.append(
            "No person has a name yet. Rename a person's folder, or set dataset.people to all."
        )
    elif plan.frames and not available.frames["val"]:
        found.append(
            "The val split is empty because every person appears in one shot only. "
            "Add a second video."
        )
    if plan.splits_by_time:
        found.append(
            "The val split comes from the same shots as train because there are no others, so "
            "scores will be too optimistic. Add a second video."
        )
    if plan.unsplittable:
        found.append(
            "These people have no face folder because their faces come from a single shot and "
            f"cannot be divided into train and val: {', '.join(plan.unsplittable)}."
        )
    found += _find_split_warnings(available)
    if plan.frames_left_out:
        found.append(
            f"Left out because of unknown faces: {counted(plan.frames_left_out, 'frame')}."
        )
    return found + list(crop_warnings)


def _find_split_warnings(available: AvailableFrames) -> list[str]:
    """Return warnings about people with few faces in train, and with more outside it."""
    plan, found = available.plan, []
    few, outside, untested = [], [], []
    for row in compute_statistics(available):
        faces = row.faces or row.labels
        held = faces.total() - faces["train"]
        label = row.label.label
        if row.label.kind == "person" and faces:
            if faces["train"] < plan.rule.min_train_faces:
                few.append(f"{label} ({faces['train']})")
            if held > faces["train"]:
                outside.append(f"{label} ({held} of {faces.total()})")
            if row.faces and not row.faces["test"]:
                untested.append(label)
    if few:
        number = counted(plan.rule.min_train_faces, "face")
        found.append(f"These people have fewer than {number} in train: {', '.join(few)}.")
    if outside:
        found.append(
            f"These people have more faces outside train than in it: {', '.join(outside)}. "
            "`portraitd dataset split --show` shows why, and --move moves a video."
        )
    has_folders = any(form in plan.rule.formats for form in FACE_FOLDER_FORMATS)
    if "test" in plan.splits and untested and has_folders:
        found.append(
            "The face folders have no test split, because these people have no face in it: "
            f"{', '.join(untested)}. The detection sets have one."
        )
    return found


def make_report_files(
    available: AvailableFrames,
    crop_warnings: Sequence[str],
    draw_sheet: Callable[[Sequence[PlannedCrop]], bytes],
) -> SetFiles:
    """``report/index.html`` and a PNG for each class with faces.

    Args:
        available: The frames that are in the cache.
        crop_warnings: Images that could not be cropped, in sentences.
        draw_sheet: Draws a contact sheet.
    """
    of_class: defaultdict[int, list[PlannedCrop]] = defaultdict(list)
    for crop in available.plan.crops:
        of_class[crop.class_id].append(crop)
    sheets = {}
    for number, crops in of_class.items():
        # A random but reproducible sample, train before val, by recording and time.
        sample = sorted(crops, key=lambda crop: hash_to_fraction(crop.stem))[:MAX_TILES]
        sample.sort(key=lambda crop: (SPLITS.index(crop.split), crop.stem))
        identity = "\n".join(f"{crop.split} {crop.stem} {len(crop.hidden)}" for crop in sample)
        path = f"report/{number:04d}-{available.plan.classes[number].label}.png"
        sheets[number] = path.removeprefix("report/")
        yield path, RenderedImage(TextFile(identity).identity, partial(draw_sheet, sample))
    page = _render_page(
        available, compute_statistics(available), find_warnings(available, crop_warnings), sheets
    )
    yield "report/index.html", TextFile(page)


def _render_page(
    available: AvailableFrames,
    rows: Sequence[ClassStatistics],
    warnings: Sequence[str],
    sheets: dict[int, str],
) -> str:
    plan, splits = available.plan, available.plan.splits
    heads = "".join(f"<th class={split}>{split}</th>" for split in plan.splits)
    backgrounds = Counter(f.split for split in plan.splits for f in available.frames[split]
                          if not f.labels)  # fmt: skip
    most = max((sum(row.faces.values()) for row in rows), default=1) or 1
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width"><title>Training set</title>',
        f"<style>{_STYLE}</style></head><body><h1>Training set</h1>",
        *(f'<p class="warning">{escape(sentence)}</p>' for sentence in warnings),
        f"<table><tr><th></th>{heads}</tr>",
        _render_row("frames", *(len(available.frames[split]) for split in splits)),
        _render_row("of these, backgrounds", *(backgrounds[split] for split in splits)),
        _render_row("faces in frames", *(sum(row.labels[s] for row in rows) for s in splits)),
        _render_row("faces in face folders", *(sum(row.faces[s] for row in rows) for s in splits)),
        _render_row(
            "people with a face folder", *(sum(row.faces[s] > 0 for row in rows) for s in splits)
        ),
        f"</table><p>Balance: {escape(describe_balance(rows))}.</p><table>",
        "<tr><th>class</th><th>number</th><th>faces found</th><th>near-duplicates</th>"
        + heads
        + "".join(f"<th class={split}>frames {split}</th>" for split in plan.splits)
        + "<th>face size in px (min – median – max)</th><th></th></tr>",
    ]
    for row in rows:
        bar = f'<span class="bar" style="width: {sum(row.faces.values()) / most * 8:.2f}em"></span>'
        parts.append(
            f'<tr><td class="text">{escape(row.label.label)}</td><td>{row.label.id}</td>'
            f"<td>{row.found}</td><td>{row.near_duplicates}</td>"
            + "".join(f"<td>{row.faces[split]}</td>" for split in plan.splits)
            + "".join(f"<td>{row.labels[split]}</td>" for split in plan.splits)
            + f"<td>{_format_sizes(row.sizes_px)}</td><td class=text>{bar}</td></tr>"
        )
    parts.append("</table>")
    parts += [
        f"<h2>{escape(plan.classes[number].label)}</h2>"
        f'<img loading="lazy" alt="Contact sheet of {escape(plan.classes[number].label)}" '
        f'src="{quote(name)}">'
        for number, name in sorted(sheets.items())
    ]
    parts.append(
        "<p>On the contact sheets, <b class=train>blue</b> borders mark train and "
        "<b class=val>orange</b> borders mark val, and <b class=test>green</b> borders test. A "
        "sheet shows a sample if a class has more than "
        f"{MAX_TILES} faces.</p></body></html>"
    )
    return "\n".join(parts) + "\n"


def describe_balance(rows: Sequence[ClassStatistics]) -> str:
    """Return a sentence that compares the largest and the smallest person."""
    counts = sorted((sum(row.faces.values()), row.label.label) for row in rows if row.faces)
    if not counts:
        return "there are no face folders"
    (least, last), (most, first) = counts[0], counts[-1]
    most_faces, least_faces = counted(most, "face"), counted(least, "face")
    ratio = f"{most / least:.1f} to 1"
    return f"{first} has {most_faces} and {last} has {least_faces}, a ratio of {ratio}"


def _render_row(name: str, *values: int) -> str:
    return f"<tr><td>{name}</td>" + "".join(f"<td>{value:,}</td>" for value in values) + "</tr>"


def _format_sizes(sizes_px: Sequence[float]) -> str:
    if not sizes_px:
        return ""
    return f"{sizes_px[0]:.0f} – {statistics.median(sizes_px):.0f} – {sizes_px[-1]:.0f}"
