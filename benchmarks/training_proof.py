"""Train on training sets as a user would, and report accuracy on their held splits.

    python benchmarks/training_proof.py detect SET… [--held SET…] [--epochs 6] [--image-px 192]
    python benchmarks/training_proof.py classify SET… [--held SET…] [--epochs 12]
    python benchmarks/training_proof.py vectors SET… [--held SET…]

SET is a ``dataset`` folder that ``portraitd dataset build`` wrote, best a copy, because
Ultralytics writes a cache into it. Needs ``torch``, ``torchvision``, ``ultralytics`` and
``scikit-learn`` (`uv sync --group yolo`), and nothing of portraitd. Only the train split is
learnt from. Each SET is measured on val of each ``--held`` set (by default of the first SET), so
sets of one home that were built with different settings are compared on the same pictures: a
recording stays in its split.

``detect`` trains the smallest YOLO from its description, without pretrained weights, to find the
class ``face`` of ``yolo_face``. ``classify`` trains ResNet-18 from scratch to name the people of
``chips112``. ``vectors`` fits logistic regression, and the nearest mean, to
``embeddings.npz``. The last two count only people who are in train of every SET.

Prints one JSON line for each SET and held set.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SEED = 1
BATCH = 32


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
            model.train(data=names[root], epochs=options.epochs, val=False, seed=SEED,
                        warmup_epochs=1.0, close_mosaic=options.epochs // 3, **shared)  # fmt: skip
            taken_s = time.process_time() - start_s
            for other in held:
                found = model.val(data=names[other], **shared)
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
    """Yield the accuracy of a network on aligned faces for each set and held set."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.models import resnet18
    from torchvision.transforms import v2

    torch.set_num_threads(options.threads)
    scaled = [v2.ToImage(), v2.Resize(options.chip_px), v2.ToDtype(torch.float32, scale=True)]
    shown = v2.Compose([*scaled, v2.Normalize([0.5] * 3, [0.25] * 3)])
    varied = v2.Compose([v2.RandomHorizontalFlip(), v2.ColorJitter(0.2, 0.2), shown])
    common = set.intersection(*(set(list_people(root)) for root in [*sets, *held]))
    for root in sets:
        torch.manual_seed(SEED)
        start_s = time.process_time()
        train = ImageFolder(root / "chips112/train", varied)
        model = resnet18(num_classes=len(train.classes))
        steps = options.epochs * len(loader := DataLoader(train, BATCH, shuffle=True))
        optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, steps)
        loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
        model.train()
        for _ in range(options.epochs):
            for images, numbers in loader:
                optimiser.zero_grad()
                loss_of(model(images), numbers).backward()
                optimiser.step()
                schedule.step()
        taken_s = time.process_time() - start_s
        model.eval()
        for other in held:
            val = ImageFolder(other / "chips112/val", shown)
            right, total = 0, 0
            with torch.inference_mode():
                for images, numbers in DataLoader(val, BATCH):
                    best = model(images).argmax(1).tolist()
                    for guess, number in zip(best, numbers.tolist(), strict=True):
                        name = val.classes[number]
                        if name in common:
                            total += 1
                            right += train.classes[guess] == name
            yield {
                "set": str(root), "held": str(other), "people": len(common),
                "train_faces": len(train), "held_faces": total,
                "accuracy": round(right / total, 3), "cpu_s": round(taken_s),
            }  # fmt: skip


def list_people(root: Path) -> list[str]:
    """Return the people who have folders of aligned faces."""
    return [path.name for path in (root / "chips112/train").iterdir()]


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
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--model", default="yolo26n", help="of Ultralytics")
    parser.add_argument("--image-px", type=int, default=192)
    parser.add_argument("--chip-px", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    options.epochs = options.epochs or {"detect": 6, "classify": 12}.get(options.task)
    task = {"detect": detect, "classify": classify, "vectors": vectors}[options.task]
    for line in task(options.sets, options.held or options.sets[:1], options):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
