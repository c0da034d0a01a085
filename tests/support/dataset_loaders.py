"""The real loaders, each in its own process: `python dataset_loaders.py NAME SET` prints JSON.

They print warnings, patch modules and write settings, so they must not run in the test process.
Datumaro needs OpenCV 4, so it cannot be installed beside portraitd: `pip install datumaro pytest`
in an environment of its own, and run this file there.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

INSTALLED_BY = {
    "datumaro": "an environment of its own has it",
    "torchvision": "`uv sync --group yolo` installs it",
    "ultralytics": "`uv sync --group yolo` installs it",
}


def load_set(name: str, root: Path, scratch: Path) -> dict[str, Any]:
    """Load a set with a loader; skip the test if the loader is not installed."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed; {INSTALLED_BY.get(name, '`uv sync` installs it')}")
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, name, str(root)],
        env={**os.environ, "YOLO_CONFIG_DIR": str(scratch), "YOLO_OFFLINE": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == answer.returncode, answer.stderr
    return dict(json.loads(answer.stdout.splitlines()[-1]))


def pycocotools(root: Path) -> dict[str, Any]:
    """Return images, boxes and categories of each split, queried as in an evaluation."""
    from pycocotools.coco import COCO

    found = {}
    for split in ("train", "val"):
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(root / "coco" / "annotations" / f"instances_{split}.json"))
        files = [image["file_name"] for image in coco.loadImgs(coco.getImgIds())]
        boxes = coco.getAnnIds(areaRng=[0, 1e9], iscrowd=False)
        names = [one["name"] for one in coco.loadCats(coco.getCatIds(supNms=["face"]))]
        missing = [name for name in files if not (root / "coco" / split / name).is_file()]
        found[split] = {"images": len(files), "boxes": len(boxes), "missing": missing}
        found["names"] = names
    return found


def supervision(root: Path) -> dict[str, Any]:
    """Return images and boxes of each split, by format."""
    import supervision as sv

    def counts(one: sv.DetectionDataset) -> dict[str, int]:
        boxes = sum(len(detections) for detections in one.annotations.values())
        return {"images": len(one), "boxes": boxes}

    voc_root = root / "voc/VOCdevkit/VOC2012"
    voc = sv.DetectionDataset.from_pascal_voc(
        str(voc_root / "JPEGImages"), str(voc_root / "Annotations")
    )
    found: dict[str, Any] = {"voc": counts(voc)}
    for split in ("train", "val"):
        coco = sv.DetectionDataset.from_coco(
            str(root / "coco" / split),
            str(root / "coco" / "annotations" / f"instances_{split}.json"),
        )
        yolo = sv.DetectionDataset.from_yolo(
            str(root / "yolo" / "images" / split),
            str(root / "yolo" / "labels" / split),
            str(root / "yolo" / "data.yaml"),
        )
        for form, one in (("coco", coco), ("yolo", yolo)):
            found[f"{form} {split}"] = counts(one)
        found["coco names"], found["yolo names"] = coco.classes, yolo.classes
        for form in ("imagefolder", "chips150", "chips112"):
            folders = sv.ClassificationDataset.from_folder_structure(str(root / form / split))
            found[f"{form} {split}"] = {"images": len(folders), "names": folders.classes}
    return found


def torchvision(root: Path) -> dict[str, Any]:
    """Return images and class numbers of the face folders, and images and boxes of COCO and VOC."""
    from torchvision.datasets import CocoDetection, ImageFolder, VOCDetection

    found = {}
    for form in ("imagefolder", "chips150", "chips112"):
        for split in ("train", "val"):
            folder = ImageFolder(root / form / split)
            sizes = {folder[number][0].size for number in range(len(folder))}
            found[f"{form} {split}"] = {
                "images": len(folder),
                "numbers": folder.class_to_idx,
                "sizes": sorted(sizes),
            }
    for split in ("train", "val"):
        voc = VOCDetection(root / "voc", year="2012", image_set=split)
        boxes = sum(
            len(voc[number][1]["annotation"].get("object", [])) for number in range(len(voc))
        )
        found[f"voc {split}"] = {"images": len(voc), "boxes": boxes}
        with contextlib.redirect_stdout(io.StringIO()):
            annotations = root / "coco" / "annotations" / f"instances_{split}.json"
            coco = CocoDetection(root / "coco" / split, str(annotations))
        boxes = sum(len(coco[number][1]) for number in range(len(coco)))
        found[f"coco {split}"] = {"images": len(coco), "boxes": boxes}
    return found


def ultralytics(root: Path) -> dict[str, Any]:
    """Return images and boxes after the scan of Ultralytics."""
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_cls_dataset, check_det_dataset

    def scan(data: dict[str, Any], split: str, task: str = "detect") -> list[dict[str, Any]]:
        """Return the label of each image."""
        found = YOLODataset(img_path=data[split], data=data, task=task, imgsz=64, augment=False)
        return list(found.labels)

    def counts(labels: list[dict[str, Any]]) -> dict[str, int]:
        return {"images": len(labels), "boxes": sum(len(label["cls"]) for label in labels)}

    data = check_det_dataset(str(root / "yolo" / "data.yaml"), autodownload=False)
    found: dict[str, Any] = {"names": list(data["names"].values())}
    for split in ("train", "val"):
        found[split] = counts(scan(data, split))
    for form, task in (("yolo_face", "detect"), ("yolo_pose", "pose")):
        data = check_det_dataset(str(root / form / "data.yaml"), autodownload=False)
        for split in ("train", "val"):
            labels = scan(data, split, task)
            points = [label["keypoints"] for label in labels if task == "pose"]
            found[f"{form} {split}"] = counts(labels) | {
                "points": int(sum((one[..., 2] > 0).sum() for one in points))
            }
    for path in sorted((root / "yolo").glob("fold-*.yaml")):
        data = check_det_dataset(str(path), autodownload=False)
        for split in ("train", "val"):
            found[f"{path.stem} {split}"] = counts(scan(data, split))
    found["classify"] = check_cls_dataset(str(root / "imagefolder"))["nc"]
    return found


def webdataset(root: Path) -> dict[str, Any]:
    """Return samples and classes of each split, decoded."""
    import webdataset as wds

    found = {}
    for split in ("train", "val"):
        shards = [str(path) for path in sorted((root / "webdataset").glob(f"{split}-*.tar"))]
        samples = list(
            wds.WebDataset(shards, shardshuffle=False).decode("rgb").to_tuple("jpg", "cls", "json")
        )
        found[split] = {
            "samples": len(samples),
            "classes": len({number for _, number, _ in samples}),
            "agree": all(number == facts["class"] for _, number, facts in samples),
            "channels": sorted({image.shape[2] for image, _, _ in samples}),
        }
    return found


def datumaro(root: Path) -> dict[str, Any]:
    """Return images, annotations and classes of each subset, by format."""
    from datumaro import AnnotationType, Dataset

    found = {}
    for folder, form in (
        ("yolo", "yolo"),
        ("yolo_face", "yolo"),
        ("darknet", "yolo"),
        ("coco", "mmdet_coco"),
        ("voc/VOCdevkit/VOC2012", "voc"),
        ("cvat", "cvat"),
        ("imagefolder", "imagenet_with_subset_dirs"),
        ("chips112", "imagenet_with_subset_dirs"),
    ):
        dataset = Dataset.import_from(str(root / folder), form)
        names = [label.name for label in dataset.categories()[AnnotationType.label].items]
        for name, subset in dataset.subsets().items():
            found[f"{folder.partition('/')[0]} {name}"] = {
                "images": len(subset),
                "boxes": sum(len(item.annotations) for item in subset),
                "classes": len(names),
            }
    return found


if __name__ == "__main__":
    # Functions here have the names of packages, which this folder must not hide.
    sys.path = [
        entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent
    ]
    loader = {"datumaro": datumaro, "pycocotools": pycocotools, "supervision": supervision,
              "torchvision": torchvision, "ultralytics": ultralytics,
              "webdataset": webdataset}[sys.argv[1]]  # fmt: skip
    print("\n" + json.dumps(loader(Path(sys.argv[2]))))
