"""Writes a planned set in every format, from the images in the frame cache. Runs in a worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from portraitd.datasets.annotations import FACE_FOLDER_FORMATS, Plan, PlannedCrop, make_chip_name
from portraitd.datasets.content import AvailableFrames, CachedImage, FileContent, SetFiles, TextFile
from portraitd.datasets.formats.archives import make_embedding_files, make_shard_files
from portraitd.datasets.formats.captions import make_caption_files
from portraitd.datasets.formats.cvat import make_cvat_files
from portraitd.datasets.formats.detection import (
    make_coco_files,
    make_darknet_files,
    make_face_files,
    make_pose_files,
    make_yolo_files,
)
from portraitd.datasets.formats.imagefolder import (
    find_overlapping,
    make_chip_files,
    make_class_index,
    make_folds,
    make_portrait_files,
    select_folder_crops,
)
from portraitd.datasets.formats.lfw_pairs import make_pair_files
from portraitd.datasets.formats.voc import make_voc_files
from portraitd.datasets.output import finish_set, lock_set, publish_set
from portraitd.datasets.report import (
    compute_statistics,
    count_left_out,
    find_warnings,
    make_report_files,
)
from portraitd.model.dataset_format import Format
from portraitd.store.database import Database
from portraitd.store.dataset_store import DatasetStore
from portraitd.store.files import Files
from portraitd.store.frame_cache import FrameCache
from portraitd.workers.job_results import returns

README = """portraitd writes this folder and updates it whenever people change. Do not edit it.
Correct people in the people folder, and boxes with the files in cvat/. Only the formats of
dataset.formats are there.

yolo/         Ultralytics: yolo detect train data=yolo/data.yaml
yolo_face/    the same with one class for all faces
yolo_pose/    the same with five points: yolo pose train data=yolo_pose/data.yaml
darknet/      Darknet: run it in this folder with obj.data
coco/         annotations/instances_train.json and instances_val.json
voc/          Pascal VOC 2012
imagefolder/  one folder of portraits per person, in train and val
chips150/     the same faces as dlib chips of 150 x 150 pixels
chips112/     the same faces as ArcFace chips of 112 x 112 pixels
pairs/        pairs.txt as in Labeled Faces in the Wild, to measure verification
embeddings/   embeddings.npz: a vector for each face, and the mean of each person
webdataset/   shards of portraits
captions/     portraits with a text beside each
cvat/         CVAT for video 1.1: tracks for manual correction
report/       index.html: figures and contact sheets
class_index.json  the number of each person in each format
folds.json    with dataset.folds: the fold of each video
"""


class WriteRequest(NamedTuple):
    """What to write, and where.

    Attributes:
        crop_warnings: Images that could not be cropped, in sentences.
        keeps_frames: Whether the frame cache keeps frames that no set needs.
    """

    plan: Plan
    state_dir: Path
    inbox_dir: Path
    dataset_dir: Path
    crop_warnings: tuple[str, ...]
    keeps_frames: bool


class DatasetSummary(NamedTuple):
    """The summary of a build.

    Attributes:
        frames, backgrounds, faces: Their number by split.
        people: Number of people with faces.
        left_out: Number of faces that were left out, by code of ``reasons.LEFT_OUT``.
        written, removed, unchanged, put_aside: Number of files.
        warnings: What the user should know before training, in sentences.
        consents: The last day of each consent that the set depends on, by name of the person.
    """

    frames: dict[str, int]
    backgrounds: dict[str, int]
    faces: dict[str, int]
    people: int
    left_out: dict[str, int]
    written: int
    removed: int
    unchanged: int
    put_aside: int
    warnings: tuple[str, ...]
    consents: dict[str, str]

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Restore a summary from the JSON of its ``_asdict``."""
        facts = json.loads(text)
        return cls(**(facts | {"warnings": tuple(facts["warnings"])}))


@returns("portraitd.datasets.dataset_results:SUMMARY")
def write_dataset(request: WriteRequest) -> DatasetSummary:
    """Write the set to its folder, only where it differs.

    Raises:
        PublishError: The set cannot be written.
        AlreadyRunning: Another process is building it.
        StoreError: The portraits cannot be read.
    """
    from portraitd.datasets.contact_sheet import blur_in_portrait, draw_contact_sheet
    from portraitd.datasets.face_light import measure_face

    plan = request.plan
    cache = FrameCache(request.state_dir)
    sha256 = {one.id: one.sha256 for one in plan.recordings.values()}
    names = {video_id: cache.names(digest) for video_id, digest in sha256.items()}
    available = AvailableFrames.of(
        plan,
        lambda video_id, name: name in names[video_id],
        lambda video_id, name: cache.path(sha256[video_id], name),
    )
    with Database.open_to_read(request.state_dir) as database:
        store = DatasetStore(database, Files(database, request.inbox_dir))

        def portrait(crop: PlannedCrop) -> bytes:
            area, jpeg = store.portrait(crop.face.id)
            beside = find_overlapping(area, crop.hidden)
            return blur_in_portrait(jpeg, area, crop.face.box, beside) if beside else jpeg

        def sheet(crops: Sequence[PlannedCrop]) -> bytes:
            jpegs = [portrait(crop) for crop in crops]
            return draw_contact_sheet(jpegs, [crop.split for crop in crops])

        def cached(crop: PlannedCrop, name: str) -> CachedImage | None:
            video_id = crop.face.video_id
            return (
                CachedImage(cache.path(sha256[video_id], name)) if name in names[video_id] else None
            )

        makers: dict[Format, Callable[[], SetFiles]] = {
            "imagefolder": lambda: make_portrait_files(plan, portrait),
            "chips150": lambda: make_chip_files(plan, 150, cached),
            "chips112": lambda: make_chip_files(plan, 112, cached),
            "pairs": lambda: make_pair_files(plan, portrait),
            "embeddings": lambda: make_embedding_files(
                plan, store.embedder().space, store.embeddings_of
            ),
            "webdataset": lambda: make_shard_files(plan, portrait),
            "captions": lambda: make_caption_files(plan, portrait),
            "yolo": lambda: make_yolo_files(available),
            "yolo_face": lambda: make_face_files(available),
            "yolo_pose": lambda: make_pose_files(available),
            "darknet": lambda: make_darknet_files(available),
            "coco": lambda: make_coco_files(available),
            "voc": lambda: make_voc_files(available),
            "cvat": lambda: make_cvat_files(plan, store.frame_times),
        }
        wanted: dict[str, FileContent] = {}
        for form, make_files in makers.items():
            if form in plan.rule.formats:
                wanted.update(make_files())
        wanted.update(make_folds(plan))
        wanted.update(make_class_index(plan, _find_labels_by_format(wanted)))
        measured = [
            measure_face(store, crop.face, plan.recordings[crop.face.video_id].year)
            for crop in plan.crops
        ]
        rows = compute_statistics(available, measured)
        warnings = find_warnings(available, rows, request.crop_warnings)
        wanted.update(make_report_files(available, rows, warnings, sheet))
        wanted["README.txt"] = TextFile(README)
        with lock_set(request.dataset_dir):
            changes = publish_set(request.dataset_dir, wanted)
            kept_recordings = store.content_hashes() if request.keeps_frames else set()
            cache.sweep(_list_needed_images(plan), kept_recordings)
            summary = DatasetSummary(
                frames={split: len(available.frames[split]) for split in plan.splits},
                backgrounds={
                    split: sum(not frame.labels for frame in available.frames[split])
                    for split in plan.splits
                },
                faces={
                    split: sum(crop.split == split for crop in select_folder_crops(plan.crops))
                    for split in plan.splits
                },
                people=len(plan.counts),
                left_out=count_left_out(plan),
                written=changes.written,
                removed=changes.removed,
                unchanged=changes.unchanged,
                put_aside=changes.put_aside,
                warnings=tuple(warnings),
                consents={one.name: one.until for one in plan.consents if not one.code},
            )
            finish_set(request.dataset_dir, plan.fingerprint, summary._asdict())
            return summary


def _find_labels_by_format(wanted: dict[str, FileContent]) -> dict[Format, set[str]]:
    """Return the labels that have a folder, by format."""
    found: dict[Format, set[str]] = {form: set() for form in FACE_FOLDER_FORMATS}
    for path in wanted:
        form, *rest = path.split("/")
        for known, labels in found.items():
            if form == known:
                labels.add(rest[1])
    return found


def _list_needed_images(plan: Plan) -> set[tuple[str, str]]:
    """Return recording and name of every image in the frame cache that a plan needs."""
    names = set()
    for frame in plan.frames:
        names.add((plan.recordings[frame.video_id].sha256, frame.cache_name))
    for crop in plan.crops:
        digest = plan.recordings[crop.face.video_id].sha256
        if "chips150" in plan.rule.formats:
            names.add((digest, make_chip_name(crop.stem, 150)))
        if "chips112" in plan.rule.formats:
            names.add((digest, make_chip_name(crop.stem, 112)))
    return names
