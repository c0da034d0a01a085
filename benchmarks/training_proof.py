"""Train on training sets as a user would, and report accuracy on their held splits.

    python benchmarks/training_proof.py detect SET… [--held SET…] [--epochs 5] [--seed 1]
    python benchmarks/training_proof.py classify SET… [--held SET…]
    python benchmarks/training_proof.py vectors SET… [--held SET…]

SET is a ``dataset`` folder that ``portraitd dataset build`` wrote, best a copy, because
Ultralytics writes a cache into it. Needs ``torch``, ``torchvision``, ``ultralytics`` and
``scikit-learn`` (`uv sync --group yolo`), and nothing of portraitd. Only the train split is
learnt from. Each SET is measured on val of each ``--held`` set (by default of the first SET), so
sets of one home that were built with different settings are compared on the same pictures: a
recording stays in its split. For that, build the first set before you copy the home.

``detect`` trains the smallest YOLO from its description, without pretrained weights, to find the
class ``face`` of ``yolo_face``. ``classify`` names the people of ``chips112`` by principal
components of the pixels (Turk and Pentland, 1991) and logistic regression. ``vectors`` fits
logistic regression, and the nearest mean, to ``embeddings.npz``. The last two count only people who
are in train of every SET.

Prints one JSON line for each SET and held set.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

BATCH = 32
CHIP_PX = 48
COMPONENTS = 150


def detect(
    sets: Sequence[Path], held: Sequence[Path], options: argparse.Namespace
) -> Iterator[Any]:
    """Yield mAP and recall of a detector for each set and held set."""
    # Read when the package is imported: settings and caches of the user stay as they are.
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(YOLO_CONFIG_DIR=folder, YOLO_OFFLINE="true")
        import torch
        from ultralytics import YOLO

        torch.set_num_threads(options.threads)
        names = {root: Path(folder) / f"{place}.yaml" for place, root in enumerate([*sets, *held])}
        for root, path in names.items():
            images = root.resolve() / "yolo_face" / "images"
            text = {"train": str(images / "train"), "val": str(images / "val"), "names": ["face"]}
            path.write_text(json.dumps(text))
        shared = {"imgsz": options.image_px, "batch": BATCH, "device": "cpu", "workers": 0,
                  "plots": False, "project": folder, "verbose": False}  # fmt: skip
        for root in sets:
            start_s = time.process_time()
            model = YOLO(f"{options.model}.yaml")
            model.train(data=names[root], epochs=options.epochs, val=False, seed=options.seed,
                        warmup_epochs=1.0, close_mosaic=options.epochs // 3, **shared)  # fmt: skip
            taken_s = time.process_time() - start_s
            for other in held:
                # Read again: measuring fuses layers, and then a model measures worse.
                found = YOLO(model.trainer.best).val(data=names[other], **shared)
                yield {
                    "set": str(root),
                    "held": str(other),
                    "train_images": len(list((root / "yolo_face/images/train").iterdir())),
                    "held_images": len(list((other / "yolo_face/images/val").iterdir())),
                    "mAP50": round(float(found.box.map50), 3),
                    "mAP50_95": round(float(found.box.map), 3),
                    "precision": round(float(found.box.mp), 3),
                    "recall": round(float(found.box.mr), 3),
                    "cpu_s": round(taken_s),
                }


def classify(
    sets: Sequence[Path], held: Sequence[Path], options: argparse.Namespace
) -> Iterator[Any]:
    """Yield the accuracy of a classifier of aligned faces for each set and held set."""
    import numpy as np
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from torchvision.datasets import ImageFolder

    def read(root: Path, split: str) -> tuple[Any, Any]:
        folder = ImageFolder(root / "chips112" / split)
        shown = []
        for image, _ in folder:
            grey = np.asarray(image.convert("L").resize((CHIP_PX, CHIP_PX)), np.float32).ravel()
            shown.append((grey - grey.mean()) / max(float(grey.std()), 1.0))
        return np.array(shown), np.array([folder.classes[number] for number in folder.targets])

    trains = [read(root, "train") for root in sets]
    common = sorted(set.intersection(*(set(names) for _, names in trains)))
    for root, (known, names) in zip(sets, trains, strict=True):
        start_s = time.process_time()
        model = make_pipeline(
            PCA(COMPONENTS, whiten=True, random_state=options.seed),
            LogisticRegression(C=0.1, max_iter=500),
        ).fit(np.vstack([known, flip(known)]), np.tile(names, 2))
        taken_s = time.process_time() - start_s
        for other in held:
            shown, true = read(other, "val")
            counts = np.isin(true, common)
            right = model.predict(shown[counts]) == true[counts]
            yield {
                "set": str(root), "held": str(other), "people": len(common),
                "train_faces": len(known), "held_faces": len(right),
                "accuracy": round(float(right.mean()), 3), "cpu_s": round(taken_s, 1),
            }  # fmt: skip


def flip(faces: Any) -> Any:
    """Return mirror images."""
    return faces.reshape(-1, CHIP_PX, CHIP_PX)[:, :, ::-1].reshape(len(faces), -1)


def vectors(sets: Sequence[Path], held: Sequence[Path], _: argparse.Namespace) -> Iterator[Any]:
    """Yield the accuracy of logistic regression on stored vectors for each set and held set."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    def read(root: Path, splits: Sequence[str]) -> tuple[Any, Any, Any]:
        with np.load(root / "embeddings/embeddings.npz") as arrays:
            chosen = np.isin(arrays["split"], splits)
            names = arrays["class_names"][arrays["class_id"][chosen]]
            return arrays["vectors"][chosen], names, str(arrays["model"])

    common = set.intersection(*(set(read(root, ["train"])[1]) for root in sets))
    for root in sets:
        known, names, model = read(root, ["train"])
        start_s = time.process_time()
        fitted = LogisticRegression(C=100.0, max_iter=500).fit(known, names)
        people = np.unique(names)
        means = np.array([known[names == one].mean(axis=0) for one in people])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        taken_s = time.process_time() - start_s
        for other in held:
            shown, true, other_model = read(other, ["val"])
            if other_model != model:
                continue
            counts = np.isin(true, list(common))
            shown, true = shown[counts], true[counts]
            nearest = people[(shown @ means.T).argmax(axis=1)]
            yield {
                "set": str(root), "held": str(other), "model": model, "people": len(common),
                "train_faces": len(known), "held_faces": len(true),
                "logistic_regression": round(float((fitted.predict(shown) == true).mean()), 3),
                "nearest_mean": round(float((nearest == true).mean()), 3),
                "cpu_s": round(taken_s, 1),
            }  # fmt: skip


def main() -> None:
    """Print the figures of one task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["detect", "classify", "vectors"])
    parser.add_argument("sets", type=Path, nargs="+", metavar="SET")
    parser.add_argument("--held", type=Path, nargs="+", metavar="SET")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--model", default="yolo26n", help="of Ultralytics")
    parser.add_argument("--image-px", type=int, default=160)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1, help="of training and components")
    options = parser.parse_args()
    task = {"detect": detect, "classify": classify, "vectors": vectors}[options.task]
    figures = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        for line in task(options.sets, options.held or options.sets[:1], options):
            print(json.dumps(line), file=figures, flush=True)


if __name__ == "__main__":
    main()
