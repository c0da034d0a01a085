"""The report on a set: figures and contact sheets, as a page that opens from the share."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import groupby
from urllib.parse import quote

from portraitd.datasets.annotations import (
    FACE_FOLDER_FORMATS,
    SPLITS,
    ClassLabel,
    Plan,
    PlannedCrop,
)
from portraitd.datasets.content import AvailableFrames, RenderedFile, SetFiles, TextFile
from portraitd.datasets.coverage import CoverageCell, MeasuredFace, count_cells, judge_filling
from portraitd.datasets.formats.imagefolder import select_folder_crops
from portraitd.datasets.quality_floor import describe_left_out, list_left_out
from portraitd.datasets.split_units import hash_to_fraction
from portraitd.model.reasons import LEFT_OUT
from portraitd.model.wording import counted

MAX_TILES = 96
"""Maximum number of faces on a contact sheet; of more faces a sample is shown."""

_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1d1c1a; --quiet: #5f5b55; --line: #ddd8d0;
  --well: #f1eee9; --warn: #7a4200; --warn-soft: #fbe9d2;
  --train: #1f6a96; --val: #b95a00; --test: #2e7d46; --full: #d5ebdb; --full-ink: #1c5230 }
@media (prefers-color-scheme: dark) { :root { --paper: #141517; --ink: #eceae6; --quiet: #a5a29c;
  --line: #34373c; --well: #26292d; --warn: #f0bd7d; --warn-soft: #3a2a15;
  --train: #6db7e3; --val: #f0a050; --test: #7cc995; --full: #1d3d29; --full-ink: #a5e0ba } }
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100% }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; padding: 1rem;
  color: var(--ink); background: var(--paper); overflow-wrap: anywhere }
h1 { font-size: 1.6rem; margin: .5rem 0 } h2 { font-size: 1.25rem; margin: 2rem 0 .25rem }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .25rem; padding-top: 1rem;
  border-top: 1px solid var(--line) }
p { margin: .35rem 0; max-width: 46rem } .quiet { color: var(--quiet) }
table { border-collapse: collapse; margin: .5rem 0; max-width: 100% }
td, th { padding: .3rem .5rem; text-align: right; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; vertical-align: top }
td, th { white-space: nowrap }
td.reason, th.reason { text-align: left; white-space: normal }
td:first-child, th:first-child { text-align: left; padding-left: 0; white-space: normal }
img { max-width: 100%; height: auto; display: block; margin: .5rem 0 }
code { font-size: .9em; background: var(--well); padding: .05rem .3rem; border-radius: 4px }
.warning { background: var(--warn-soft); color: var(--warn); padding: .6rem 1rem; max-width: none;
  border-left: 4px solid currentColor }
.train { color: var(--train) } .val { color: var(--val) } .test { color: var(--test) }
.shares { display: flex; gap: 2px; height: .6rem; margin: .5rem 0; max-width: 46rem }
.shares span { background: currentColor; border-radius: 2px }
.card { margin: .75rem 0; max-width: 46rem } .card div { display: flex; gap: 3px; margin: 3px 0 }
.card i { flex: 0 0 5.2rem; font-style: normal; color: var(--quiet); font-size: .85rem;
  align-self: center }
.cell { flex: 1 1 0; min-width: 0; padding: .15rem .2rem; border-radius: 4px; text-align: center;
  font-size: .75rem; line-height: 1.3; border: 1px solid transparent }
.cell b { display: block; font-size: .95rem; font-variant-numeric: tabular-nums }
.full { background: var(--full); color: var(--full-ink) }
.thin { background: var(--warn-soft); color: var(--warn) }
.empty { border: 1px dashed var(--quiet); color: var(--quiet) }
.key { display: inline-block; padding: 0 .4rem; font-size: .85rem }
"""


@dataclass(frozen=True, slots=True)
class ClassStatistics:
    """The figures of one class.

    Attributes:
        found: Number of faces that were found.
        left_out: How many of these are left out, by code of ``reasons.LEFT_OUT``.
        faces: Faces in the face folders, by split.
        labels: Faces in the frames of the detection sets, by split.
        sizes_px: Shorter sides of the faces, ascending.
        cells: How many of the used faces are in each cell of the coverage card.
    """

    label: ClassLabel
    found: int
    left_out: Mapping[str, int]
    faces: Counter[str]
    labels: Counter[str]
    sizes_px: tuple[float, ...]
    cells: Mapping[CoverageCell, int]


def compute_statistics(
    available: AvailableFrames, measured: Sequence[MeasuredFace]
) -> list[ClassStatistics]:
    """Return the figures by class number, without empty classes.

    Args:
        available: The frames that are in the cache.
        measured: What the coverage cards need of each of the used faces.
    """
    plan = available.plan
    faces: defaultdict[int, Counter[str]] = defaultdict(Counter)
    labels: defaultdict[int, Counter[str]] = defaultdict(Counter)
    sizes: defaultdict[int, list[float]] = defaultdict(list)
    for crop in select_folder_crops(plan.crops):
        faces[crop.class_id][crop.split] += 1
    kinds: defaultdict[int, list[MeasuredFace]] = defaultdict(list)
    for crop, face in zip(plan.crops, measured, strict=True):
        sizes[crop.class_id].append(crop.face.size_px)
        kinds[crop.class_id].append(face)
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
                    counts.left_out if counts else {},
                    faces[one.id],
                    labels[one.id],
                    tuple(sorted(sizes[one.id])),
                    count_cells(kinds[one.id]),
                )
            )
    return found


def count_left_out(plan: Plan) -> dict[str, int]:
    """Return how many faces of people in the set are left out, by code."""
    total: Counter[str] = Counter()
    for counts in plan.counts.values():
        total.update(counts.left_out)
    return {code.value: total[code] for code in LEFT_OUT if total[code]}


def find_warnings(
    available: AvailableFrames, rows: Sequence[ClassStatistics], crop_warnings: Sequence[str]
) -> list[str]:
    """Return what the user should know before training, one sentence each.

    Args:
        available: The frames that are in the cache.
        rows: The figures of each class.
        crop_warnings: Images that could not be cropped, in sentences.
    """
    plan, found = available.plan, []
    if not plan.counts and plan.consents:
        found.append("The set is empty, because no person has a consent that holds.")
    elif not plan.counts:
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
    refused = [f"{one.name} ({one.reason})" for one in plan.consents if one.code]
    if refused:
        found.append(f"Without a consent, these people are left out: {', '.join(refused)}.")
    found += _find_split_warnings(plan, rows)
    if plan.frames_left_out:
        found.append(
            f"Left out because of unknown faces: {counted(plan.frames_left_out, 'frame')}."
        )
    return found + list(crop_warnings)


def _find_split_warnings(plan: Plan, rows: Sequence[ClassStatistics]) -> list[str]:
    """Return warnings about people with few faces in train, and with more outside it."""
    found = []
    few, outside, untested = [], [], []
    tested = {crop.class_id for crop in plan.crops if crop.split == "test"}
    for row in rows:
        faces = row.faces or row.labels
        held = faces.total() - faces["train"]
        label = row.label.label
        if row.label.kind == "person" and faces:
            if faces["train"] < plan.rule.min_train_faces:
                few.append(f"{label} ({faces['train']})")
            if held > faces["train"]:
                outside.append(f"{label} ({held} of {faces.total()})")
            if row.faces and row.label.id not in tested:
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
    rows: Sequence[ClassStatistics],
    warnings: Sequence[str],
    draw_sheet: Callable[[Sequence[PlannedCrop]], bytes],
) -> SetFiles:
    """Yield ``report/index.html`` and a PNG for each class with faces.

    Args:
        available: The frames that are in the cache.
        rows: The figures of each class.
        warnings: What the user should know before training, in sentences.
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
        yield path, RenderedFile(TextFile(identity).identity, partial(draw_sheet, sample))
    yield "report/index.html", TextFile(_render_page(available, rows, warnings, sheets))


def _render_page(
    available: AvailableFrames,
    rows: Sequence[ClassStatistics],
    warnings: Sequence[str],
    sheets: Mapping[int, str],
) -> str:
    plan = available.plan
    left_out = count_left_out(plan)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark"><title>Training set</title>',
        f"<style>{_STYLE}</style></head><body><h1>Training set</h1>",
        *(f'<p class="warning">{escape(sentence)}</p>' for sentence in warnings),
        "<h2>What is in it</h2>",
        "<p>Models learn from <b class=train>train</b> and are compared on <b class=val>val</b>"
        + (", and measured once on <b class=test>test</b>" if "test" in plan.splits else "")
        + ". No shot is in two of these unless a warning above says so.</p>",
        *_render_totals(available, rows),
    ]
    parts += _render_consents(plan)
    if left_out:
        found = sum(row.found for row in rows)
        parts += [
            "<h2>What was left out</h2>",
            f"<p>Of {counted(found, 'face')} of these people, {sum(left_out.values()):,} are not "
            "used. The first reason that applies counts. In a frame that is used for another "
            "face, they are labelled all the same.</p>",
            "<table><tr><th>reason</th><th>faces</th></tr>",
            *(
                f"<tr><td>{escape(describe_left_out(code, plan.rule))}<br><code>{code}</code></td>"
                f"<td>{count:,}</td></tr>"
                for code, count in left_out.items()
            ),
            "</table>",
        ]
    if any(row.faces or row.labels for row in rows):
        parts += [
            "<h2>People</h2>",
            f"<p>{escape(describe_balance(rows))}.</p>",
            '<p class="quiet">The bar shows how the faces of a person are divided, and the border '
            "of a picture shows where it is: <b class=train>blue</b> in train, <b class=val>orange"
            "</b> in val, <b class=test>green</b> in test. Of a person with more than "
            f"{MAX_TILES} faces, the sheet shows some at random.</p>",
            *_explain_cards(plan.rule.min_cell_faces),
        ]
    for row in rows:
        parts += _render_class(row, plan, sheets.get(row.label.id, ""))
    parts.append("</body></html>")
    return "\n".join(parts) + "\n"


def _render_consents(plan: Plan) -> list[str]:
    """Return the section about consents; nothing if none is required."""
    if not plan.consents:
        return []
    rows = (
        f"<tr><td>{escape(one.name)}</td><td class=reason>"
        + (f"{escape(one.reason)}<br><code>{one.code}</code>" if one.code else "yes")
        + f"</td><td>{one.until}</td></tr>"
        for one in sorted(plan.consents, key=lambda one: (one.code == "", one.name))
    )
    return [
        "<h2>Consent</h2>",
        "<p>Only people with a consent that has not expired are in the set "
        "(<code>dataset.consent</code>). In their frames, all other faces are made "
        "unrecognisable.</p>",
        "<table><tr><th>person</th><th class=reason>in the set</th><th>until</th></tr>",
        *rows,
        "</table>",
    ]


def _render_totals(available: AvailableFrames, rows: Sequence[ClassStatistics]) -> list[str]:
    splits = available.plan.splits
    backgrounds = {
        split: sum(not frame.labels for frame in available.frames[split]) for split in splits
    }
    heads = "".join(f"<th class={split}>{split}</th>" for split in splits)
    counts = {
        "frames, for detectors": [len(available.frames[split]) for split in splits],
        "– of these without a face": [backgrounds[split] for split in splits],
        "– labelled faces in them": [sum(row.labels[one] for row in rows) for one in splits],
        "faces cut out, for recognition": [sum(row.faces[one] for row in rows) for one in splits],
        "people with such faces": [sum(row.faces[one] > 0 for row in rows) for one in splits],
    }
    return [
        f"<table><tr><th></th>{heads}</tr>",
        *(
            f"<tr><td>{name}</td>" + "".join(f"<td>{value:,}</td>" for value in values) + "</tr>"
            for name, values in counts.items()
        ),
        "</table>",
    ]


def _render_class(row: ClassStatistics, plan: Plan, sheet: str) -> list[str]:
    """Return the section of one class."""
    name = escape(row.label.label)
    parts = [f"<h3>{name}</h3>", f'<p class="quiet">Class number {row.label.id}.']
    if row.label.kind == "unknown":
        parts.append("Faces without a name, in frames that show people of the set.")
    if row.found:
        reasons = list_left_out(row.left_out)
        parts.append(
            f"{counted(row.found, 'face')} found"
            + (f", not used: {reasons}" if reasons else ", all used")
            + "."
        )
    if row.sizes_px:
        parts.append(
            f"The used faces are {row.sizes_px[0]:.0f} to {row.sizes_px[-1]:.0f} px in size, "
            f"{statistics.median(row.sizes_px):.0f} in the median."
        )
    parts.append("</p>")
    for what, counts in (("Faces cut out", row.faces), ("Faces in frames", row.labels)):
        if counts:
            listed = ", ".join(
                f"<span class={split}>{counts[split]:,} in {split}</span>" for split in plan.splits
            )
            parts.append(f"<p>{what}: {listed}.</p>")
    bar = row.faces or row.labels
    if bar:
        spans = "".join(
            f'<span class={split} style="flex: {bar[split]}"></span>'
            for split in plan.splits
            if bar[split]
        )
        parts.append(f'<div class="shares" aria-hidden="true">{spans}</div>')
    parts += _render_card(row.cells, plan.rule.min_cell_faces)
    if sheet:
        parts.append(f'<img loading="lazy" alt="Faces of {name} in the set" src="{quote(sheet)}">')
    return parts


def _explain_cards(min_cell_faces: int) -> list[str]:
    return [
        '<p class="quiet">The card of a person shows how many of their used faces are of each '
        'kind: <span class="cell full key">full</span> from '
        f"{counted(min_cell_faces, 'face')} on (<code>dataset.min_cell_faces</code>), "
        '<span class="cell thin key">thin</span> with fewer, '
        '<span class="cell empty key">empty</span> with none. Left and right are those of the '
        "picture, light is how bright the face itself is, and size is the shorter side of its box "
        "in the video. "
        "<code>portraitd dataset harvest NAME</code> looks for more faces of a person where the "
        "card is thin or empty.</p>",
    ]


def _render_card(cells: Mapping[CoverageCell, int], min_cell_faces: int) -> list[str]:
    """Return the coverage card of a person; nothing without a face."""
    if not cells:
        return []
    parts = ['<div class="card">']
    for row, group in groupby(cells.items(), key=lambda one: one[0].row):
        boxes = "".join(
            f'<span class="cell {judge_filling(count, min_cell_faces)}">{escape(cell.name)}'
            f"<b>{count:,}</b></span>"
            for cell, count in group
        )
        parts.append(f"<div><i>{escape(row)}</i>{boxes}</div>")
    return [*parts, "</div>"]


def describe_balance(rows: Sequence[ClassStatistics]) -> str:
    """Return a sentence that compares the largest and the smallest person."""
    counts = sorted((sum(row.faces.values()), row.label.label) for row in rows if row.faces)
    if not counts:
        return "There are no face folders"
    (least, last), (most, first) = counts[0], counts[-1]
    most_faces, least_faces = counted(most, "face"), counted(least, "face")
    ratio = f"{most / least:.1f} to 1"
    return f"{first} has {most_faces} and {last} has {least_faces}, a ratio of {ratio}"
