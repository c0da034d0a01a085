"""Measure embedding models on labelled media, and how much each number of a card may change.

    python benchmarks/models.py --photos FOLDER --clips FOLDER
        [--embedder dlib --embedder mobilefacenet] [--detector yunet]
        [--model yunet=FILE --model mobilefacenet=FILE] [--flat]

``--photos`` is a folder with one folder of photos for each person; the largest face of a photo is
that person. ``--clips`` is a folder with ``NAME.mp4`` and ``NAME.truth.json``::

    {"faces": [{"t": seconds, "box": [top, right, bottom, left], "who": label}]}

A label ``?`` means a face that does not count. Clips whose names differ by a number or a letter
at the end (``talk5``, ``talk20``, ``set_b``) show the same people. Two frames a second are sampled.

Prints one JSON line for each embedder. ``tar`` is the true match rate at three false match rates,
over all pairs of photos. ``photos`` and ``clips`` are the BCubed precision, recall and F of
grouping (Bagga and Baldwin, 1998) with the rules of its card; a face that belongs to no person is
alone. ``mixed`` counts the people with three or more unlabelled faces that are the majority, and
come from different files: mostly different bystanders with poor faces. ``ms_a_face`` is the
processor time of embedding a face and its mirror image. With ``--flat``, one more line for each
number of the card that grouping uses, 5 and 10 % (or one) above and below; all precisions and F.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from portraitd.clustering import grouping_jobs
from portraitd.clustering.agglomeration import TrackTable
from portraitd.clustering.grouping import GroupingState
from portraitd.faces.factory import build_encoder
from portraitd.faces.interface import DetectorName, EncoderSpec
from portraitd.faces.models import model_registry
from portraitd.ingest import media_jobs
from portraitd.ingest.media_jobs import EncodeOptions
from portraitd.model.face import Detection, Face, box_iou
from portraitd.model.grouping_rules import EmbeddingRules
from portraitd.model.media_file import Slice, Source, Stamp
from portraitd.model.track import VideoFaces, l2_normalised

FALSE_MATCH_RATES = {"1e-3": 1e-3, "1e-4": 1e-4, "1e-5": 1e-5}
FPS = 2.0
TIME_TOLERANCE_S = 0.12
SAME_FACE_IOU = 0.3
TIMED_PHOTOS = 40

# Numbers of the rules by their path: distances and qualities are scaled, counts go up and down.
SCALED = (
    "tracking.max_distance",
    "grouping.dbscan.eps",
    "grouping.agglomeration.max_distance",
    "grouping.agglomeration.thin_distance",
    "grouping.assignment.max_distance",
    "grouping.assignment.thin_distance",
    "grouping.assignment.centre_distance",
    "grouping.recording.max_distance",
    "grouping.recording.min_gap",
    "grouping.min_quality",
    "grouping.min_quality_short",
)
COUNTED = (
    "grouping.dbscan.min_samples",
    "grouping.agglomeration.thin_tracks",
    "grouping.assignment.thin_tracks",
    "grouping.assignment.centre_faces",
    "grouping.short_track_faces",
)
FACTORS = (0.9, 0.95, 1.05, 1.1)


@dataclass(frozen=True, eq=False)
class LabelledFaces:
    """The faces of one kind of media.

    Attributes:
        faces: All faces found.
        files: Shape ``(n,)``; the number of each face's file.
        times_s: Shape ``(n,)``.
        labels: The person of each face, None where no one says.
    """

    faces: Sequence[Face]
    files: NDArray[np.int64]
    times_s: NDArray[np.float64]
    labels: Sequence[str | None]

    @cached_property
    def embeddings(self) -> NDArray[np.float32]:
        """Shape ``(n, d)``, as the model gave them."""
        return np.array([face.embedding for face in self.faces], np.float32)

    @cached_property
    def is_labelled(self) -> NDArray[np.bool_]:
        """Shape ``(n,)``."""
        return np.array([label is not None for label in self.labels], np.bool_)

    def group(self, rules: EmbeddingRules) -> NDArray[np.int64]:
        """Return the person of each face, -1 for none; each kind of media is one store."""
        measures = [face.quality for face in self.faces]
        quality = rules.quality.measure(
            np.array([one.size_px for one in measures]),
            np.array([one.sharpness for one in measures]),
            np.array([one.frontal for one in measures]),
            np.array([one.confidence for one in measures]),
            self.embeddings,
        )
        boxes = np.array([face.box for face in self.faces], np.float64)
        track_of = np.empty(len(self.faces), np.int64)
        found, pairs, count = [], [], 0
        for number in np.unique(self.files):
            at = np.flatnonzero(self.files == number)
            video = VideoFaces(self.times_s[at], boxes[at], self.embeddings[at], quality[at])
            tracks = grouping_jobs.track(video, rules)
            track_of[at] = tracks.tracks + count
            pairs.append(tracks.cannot_link + count)
            found.append(tracks.summary)
            count += len(tracks.summary.faces)
        vectors = np.concatenate([one.embeddings for one in found])
        faces = np.concatenate([one.faces for one in found])
        table = TrackTable(
            vectors,
            np.concatenate([one.variances for one in found]),
            np.zeros(count, np.int64),
            np.concatenate(pairs),
        )
        state = GroupingState.empty(vectors.shape[1]).update(
            table,
            np.concatenate([one.quality for one in found]),
            faces,
            np.zeros(count, np.bool_),
            rules.grouping,
        )
        people = state.join_in_recordings(
            state.select_people(faces, rules.grouping),
            table,
            faces,
            np.repeat(np.unique(self.files), [len(one.faces) for one in found]),
            np.zeros(count, np.bool_),
            rules.grouping,
        )
        return people[track_of]

    def score(self, rules: EmbeddingRules) -> dict[str, float]:
        """Group, and return BCubed precision, recall and F, and the number of mixed people."""
        people = self.group(rules)
        known = np.flatnonzero(self.is_labelled)
        alone = -2 - np.arange(len(people))
        found = np.where(people >= 0, people, alone)[known].tolist()
        precision, recall = bcubed([str(self.labels[int(at)]) for at in known], found)
        return {
            "p": round(precision, 4),
            "r": round(recall, 4),
            "f": round(2 * precision * recall / (precision + recall), 4),
            "mixed": self._count_mixed(people),
        }

    def _count_mixed(self, people: NDArray[np.int64]) -> int:
        mixed = 0
        for person in np.unique(people[people >= 0]):
            at = np.flatnonzero(people == person)
            unknown = at[~self.is_labelled[at]]
            files = self.files[unknown]
            several = len(files) >= 3 and len(np.unique(files)) == len(files)
            mixed += int(several and 2 * len(unknown) > len(at))
        return mixed


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="portraitd-") as folder:
        models_dir = Path(folder)
        add_models(arguments.models, models_dir)
        for name in arguments.embedders:
            spec = EncoderSpec(models_dir, embedder=name, detector=arguments.detector)
            measure_model(spec, arguments.photos, arguments.clips, flat=arguments.flat)


def add_models(models: Sequence[tuple[str, Path]], models_dir: Path) -> None:
    """Add models from files."""
    for name, path in models:
        model_registry.add_model(model_registry.find_model(name), models_dir, path)


def measure_model(spec: EncoderSpec, photos: Path, clips: Path, *, flat: bool) -> None:
    """Measure one embedder, and print its lines."""
    card = model_registry.find_embedder(spec.embedder, spec.models_dir)
    rules = model_registry.require_rules(card)
    media = {"photos": read_photos(photos, spec), "clips": read_clips(clips, spec)}
    base = {kind: faces.score(rules) for kind, faces in media.items()}
    line = {
        "embedder": card.name,
        "detector": spec.detector,
        "faces": {kind: len(faces.faces) for kind, faces in media.items()},
        "tar": measure_match_rates(media["photos"], rules),
        **base,
        "ms_a_face": time_embedding(photos, spec),
        "size_bytes": card.size_bytes,
        "licence": card.licence,
    }
    print(json.dumps(line), flush=True)
    for number, value, changed in vary_rules(rules) if flat else ():
        scores = {kind: faces.score(changed) for kind, faces in media.items()}
        short = {f"{kind}_{key}": one[key] for kind, one in scores.items() for key in ("p", "f")}
        print(json.dumps({"embedder": card.name, "number": number, "value": value, **short}))


def vary_rules(rules: EmbeddingRules) -> Iterator[tuple[str, float, EmbeddingRules]]:
    """Yield each number with another value, and the rules with it."""
    for path in SCALED:
        # A model may do without a number.
        for factor in FACTORS if _read(rules, path) is not None else ():
            value = _read(rules, path) * factor
            yield path, round(value, 4), _changed(rules, path.split("."), value)
    for path in COUNTED:
        for step in (-1, 1):
            value = _read(rules, path) + step
            yield path, value, _changed(rules, path.split("."), value)


def _read(rules: Any, path: str) -> Any:
    for name in path.split("."):
        rules = rules and getattr(rules, name)
    return rules


def _changed(rules: Any, path: Sequence[str], value: float) -> Any:
    name, *rest = path
    return replace(rules, **{name: _changed(getattr(rules, name), rest, value) if rest else value})


def bcubed(true: Sequence[str], found: Sequence[int]) -> tuple[float, float]:
    """Return BCubed precision and recall of a partition."""
    both = Counter(zip(true, found, strict=True))
    of_true, of_found = Counter(true), Counter(found)
    precision = sum(n * n / of_found[group] for (_, group), n in both.items())
    recall = sum(n * n / of_true[label] for (label, _), n in both.items())
    return precision / len(true), recall / len(true)


def measure_match_rates(photos: LabelledFaces, rules: EmbeddingRules) -> dict[str, float]:
    """Return the share of pairs of one person at each share of pairs of strangers."""
    known = np.flatnonzero(photos.is_labelled)
    vectors = l2_normalised(photos.embeddings[known], rules.vector_length).astype(np.float64)
    labels = np.array([str(photos.labels[int(at)]) for at in known])
    one, other = np.triu_indices(len(known), 1)
    similar = (vectors @ vectors.T)[one, other]
    same = labels[one] == labels[other]
    strangers = np.sort(similar[~same])[::-1]
    limits = {
        name: strangers[int(rate * len(strangers))] for name, rate in FALSE_MATCH_RATES.items()
    }
    return {
        name: round(float(np.mean(similar[same] >= limit)), 4) for name, limit in limits.items()
    }


def read_photos(folder: Path, spec: EncoderSpec) -> LabelledFaces:
    """Find the faces of all photos; the largest of each is the person of its folder."""
    faces: list[Face] = []
    files: list[int] = []
    labels: list[str | None] = []
    for number, path in enumerate(_files(folder, "*/*")):
        found = [face for _, face in find_faces(path, spec)]
        areas = [_shown_area(face, path) for face in found] if len(found) > 1 else [1.0]
        faces += found
        files += [number] * len(found)
        labels += [path.parent.name if at == np.argmax(areas) else None for at in range(len(found))]
    return LabelledFaces(faces, np.array(files, np.int64), np.zeros(len(faces)), labels)


def _shown_area(face: Face, path: Path) -> float:
    """Return how much of a face is inside the photo, in pixels."""
    height, width = np.asarray(cv2.imread(str(path)), np.uint8).shape[:2]
    shown = face.box.clipped(width, height)
    return float(shown.width * shown.height)


def read_clips(folder: Path, spec: EncoderSpec) -> LabelledFaces:
    """Find the faces of all labelled clips, and their labels."""
    faces: list[Face] = []
    files: list[int] = []
    times: list[float] = []
    labels: list[str | None] = []
    for number, truth in enumerate(_files(folder, "*.truth.json")):
        name = truth.name.removesuffix(".truth.json")
        found = find_faces(truth.with_name(f"{name}.mp4"), spec)
        cast = re.sub(r"(_[a-z]|\d+)$", "", name)
        labels += _match(found, json.loads(truth.read_text())["faces"], cast)
        times += [t_s for t_s, _ in found]
        faces += [face for _, face in found]
        files += [number] * len(found)
    return LabelledFaces(faces, np.array(files, np.int64), np.array(times), labels)


def _match(
    found: Sequence[tuple[float, Face]], truth: Sequence[dict[str, Any]], cast: str
) -> list[str | None]:
    """Return the label of each face: that of the labelled box that it overlaps most."""
    labels: list[str | None] = [None] * len(found)
    times = np.array([t_s for t_s, _ in found])
    boxes = np.array([face.box for _, face in found], np.float64).reshape(-1, 4)
    free = np.ones(len(found), np.bool_)
    for wanted in truth:
        top, right, bottom, left = wanted["box"]
        overlap = box_iou(np.array([left, top, right, bottom], np.float64), boxes)
        overlap[~free | (np.abs(times - wanted["t"]) > TIME_TOLERANCE_S)] = 0.0
        if overlap.max(initial=0.0) < SAME_FACE_IOU:
            continue
        best = int(overlap.argmax())
        free[best] = False
        if wanted["who"] != "?":
            labels[best] = f"{cast}: {wanted['who']}"
    return labels


def find_faces(path: Path, spec: EncoderSpec) -> list[tuple[float, Face]]:
    """Return time and face of everything that portraitd finds in a file."""
    path = path.resolve()
    source = Source(path, Stamp.of(path.stat()))
    kind = media_jobs.probe(source).kind
    options = EncodeOptions(FPS, False, True, spec, 64)
    found = media_jobs.encode(Slice(source, kind, 0.0, float("inf")), options)
    return [(one.t_s, one.face) for one in found.detections]


def time_embedding(photos: Path, spec: EncoderSpec) -> float:
    """Return the processor time of embedding one face and its mirror image, in ms."""
    encoder = build_encoder(spec)
    chips = []
    for path in _files(photos, "*/*")[:TIMED_PHOTOS]:
        image = np.asarray(cv2.imread(str(path)), np.uint8)
        for face in encoder.encode([image], are_photos=True)[0][:1]:
            detection = Detection(face.box, face.score, face.landmarks)
            chips.append(encoder.align(image, detection).chip)
    encoder.embed(chips[:8])
    began = time.process_time()
    encoder.embed(chips)
    return round(1000 * (time.process_time() - began) / max(len(chips), 1), 2)


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--clips", type=Path, required=True, metavar="FOLDER")
    add_model_options(parser)
    parser.add_argument("--flat", action="store_true", help="vary every number of the cards")
    arguments = parser.parse_args()
    arguments.embedders = arguments.embedders or ["dlib"]
    return arguments


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose models, and give files of them."""
    parser.add_argument("--embedder", dest="embedders", action="append", metavar="NAME")
    parser.add_argument("--detector", default="auto", choices=get_args(DetectorName))
    parser.add_argument("--model", dest="models", action="append", type=_model, default=[])


def _model(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    return name, Path(path)


if __name__ == "__main__":
    main()
