"""Measure embedding models on the pairs of a training set.

    python benchmarks/verification.py SET [--embedder dlib --embedder mobilefacenet]
        [--detector yunet] [--model yunet=FILE --model mobilefacenet=FILE]

SET is a ``dataset`` folder with ``pairs/``, which has faces outside train only. Only its files are
read: in each picture the face nearest to the centre is found, aligned and embedded. As usual for
Labeled Faces in the Wild, pairs are divided into ten parts; the distance that separates nine parts
best decides the tenth. A pair with a picture in which no face is found counts as wrong.

Prints one JSON line for each embedder; ``tar`` is the share of pairs of one person at a distance
that one pair of two people in a hundred has.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from models import add_model_options, add_models, find_faces
from numpy.typing import NDArray

from portraitd.faces.interface import EncoderSpec
from portraitd.faces.models import model_registry
from portraitd.model.track import l2_normalised

PARTS = 10


def read_pairs(folder: Path) -> list[tuple[Path, Path, bool]]:
    """Return both pictures of each pair, and whether they show one person."""
    pairs = []
    for line in (folder / "pairs.txt").read_text(encoding="utf-8").splitlines()[1:]:
        name, number, *rest = line.split()
        other, at = rest if len(rest) == 2 else (name, rest[0])
        left, right = (
            folder / one / f"{one}_{int(place):04d}.jpg"
            for one, place in ((name, number), (other, at))
        )
        pairs.append((left, right, len(rest) == 1))
    return pairs


def embed(path: Path, spec: EncoderSpec) -> NDArray[np.float32] | None:
    """Return the vector of the face in the middle of a picture, if one is found."""
    height, width = np.asarray(cv2.imread(str(path))).shape[:2]
    found = [face for _, face in find_faces(path, spec)]

    def distance(at: int) -> float:
        box = found[at].box
        return abs(box.left + box.right - width) + abs(box.top + box.bottom - height)

    return found[min(range(len(found)), key=distance)].embedding if found else None


def measure(folder: Path, spec: EncoderSpec) -> dict[str, Any]:
    """Return the figures of one embedder."""
    pairs = read_pairs(folder)
    card = model_registry.find_embedder(spec.embedder, spec.models_dir)
    rules = model_registry.require_rules(card)
    vectors = {path: embed(path, spec) for pair in pairs for path in pair[:2]}
    known = {path: vector for path, vector in vectors.items() if vector is not None}
    scaled = l2_normalised(np.array(list(known.values()), np.float32), rules.vector_length)
    place = {path: at for at, path in enumerate(known)}
    same = np.array([pair[2] for pair in pairs])
    distances = np.array(
        [
            np.linalg.norm(scaled[place[left]] - scaled[place[right]])
            if left in place and right in place
            else np.nan
            for left, right, _ in pairs
        ]
    )
    right = np.zeros(len(pairs), np.bool_)
    part = np.random.default_rng(0).permutation(len(pairs)) % PARTS
    for number in range(PARTS):
        rest, here = part != number, part == number
        limits = np.unique(distances[rest & np.isfinite(distances)])
        correct = [((distances[rest] <= limit) == same[rest]).mean() for limit in limits]
        right[here] = (distances[here] <= limits[int(np.argmax(correct))]) == same[here]
    right &= np.isfinite(distances)
    limit = np.nanquantile(distances[~same], 0.01)
    return {
        "embedder": card.name,
        "pairs": len(pairs),
        "pictures": len(vectors),
        "without_face": len(vectors) - len(known),
        "accuracy": round(float(right.mean()), 4),
        "tar": round(float((distances[same] < limit).mean()), 4),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", type=Path, metavar="SET")
    add_model_options(parser)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="portraitd-") as folder:
        add_models(arguments.models, Path(folder))
        for name in arguments.embedders or ["dlib"]:
            spec = EncoderSpec(Path(folder), embedder=name, detector=arguments.detector)
            print(json.dumps(measure(arguments.set / "pairs", spec)), flush=True)


if __name__ == "__main__":
    main()
