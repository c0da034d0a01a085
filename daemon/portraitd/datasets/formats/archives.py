"""Faces in archives: vectors in an NPZ file, and samples in the shards of WebDataset."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from portraitd.datasets.annotations import Plan, PlannedCrop
from portraitd.datasets.content import RenderedFile, SetFiles, hash_texts
from portraitd.datasets.formats.imagefolder import portrait_identity
from portraitd.datasets.split_units import hash_to_fraction
from portraitd.model.face import Embeddings

SAMPLES_PER_SHARD = 1000

_START_OF_ZIP = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a ZIP file can hold; equal content is equal byte for byte."""


def make_embedding_files(
    plan: Plan, model: str, read: Callable[[Sequence[int]], Embeddings]
) -> SetFiles:
    """Yield ``embeddings/embeddings.npz``; docs/datasets.md describes its arrays.

    Args:
        plan: The faces.
        model: Name of the embedding space.
        read: Returns the vectors of faces, given their ids.
    """
    crops = sorted(plan.crops, key=lambda crop: crop.stem)
    if not crops:
        return
    identity = hash_texts(
        [model, *(label.label for label in plan.classes)]
        + [f"{crop.face.id} {crop.stem} {crop.class_id} {crop.split}" for crop in crops]
    )
    yield (
        "embeddings/embeddings.npz",
        RenderedFile(
            f"embeddings {identity}", lambda: _pack_arrays(_make_arrays(plan, crops, model, read))
        ),
    )


def _make_arrays(
    plan: Plan,
    crops: Sequence[PlannedCrop],
    model: str,
    read: Callable[[Sequence[int]], Embeddings],
) -> dict[str, NDArray[np.generic]]:
    vectors = read([crop.face.id for crop in crops])
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    classes = np.array([crop.class_id for crop in crops], np.int64)
    # Of train only: a mean is what a model would have learnt.
    in_train = np.array([crop.split == "train" for crop in crops])
    with_mean = np.unique(classes[in_train])
    means = np.array(
        [vectors[in_train & (classes == number)].mean(axis=0) for number in with_mean]
    ).reshape(len(with_mean), vectors.shape[1])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    faces = [crop.face for crop in crops]
    return {
        "vectors": vectors.astype(np.float32),
        "class_id": classes,
        "class_names": np.array([label.label for label in plan.classes]),
        "split": np.array([crop.split for crop in crops]),
        "recording": np.array([plan.recordings[face.video_id].sha256 for face in faces]),
        "time_s": np.array([face.t_s for face in faces], np.float64),
        "box": np.array([tuple(face.box) for face in faces], np.int64).reshape(-1, 4),
        "quality": np.array(
            [(face.size_px, face.sharpness, face.frontal, face.confidence) for face in faces],
            np.float32,
        ),
        "file_stem": np.array([crop.stem for crop in crops]),
        "mean_vectors": means.astype(np.float32),
        "mean_class_id": with_mean,
        "model": np.array(model),
    }


def _pack_arrays(arrays: dict[str, NDArray[np.generic]]) -> bytes:
    """Return an NPZ file that holds no pickles."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            part = io.BytesIO()
            np.lib.format.write_array(part, array, allow_pickle=False)
            archive.writestr(
                zipfile.ZipInfo(f"{name}.npy", _START_OF_ZIP),
                part.getvalue(),
                zipfile.ZIP_DEFLATED,
            )
    return data.getvalue()


def make_shard_files(plan: Plan, make: Callable[[PlannedCrop], bytes]) -> SetFiles:
    """Yield ``webdataset/train-000000.tar`` and so on, with the samples in random order.

    A sample has the portrait (``jpg``), the class number (``cls``), and ``json``.
    """
    for split in plan.splits:
        crops = sorted(
            (crop for crop in plan.crops if crop.split == split),
            key=lambda crop: hash_to_fraction(crop.stem),
        )
        for number, start in enumerate(range(0, len(crops), SAMPLES_PER_SHARD)):
            samples = crops[start : start + SAMPLES_PER_SHARD]
            identity = hash_texts(
                f"{portrait_identity(crop)} {plan.classes[crop.class_id]}" for crop in samples
            )
            yield (
                f"webdataset/{split}-{number:06d}.tar",
                RenderedFile(
                    f"shard {identity}",
                    lambda samples=samples: _pack_samples(plan, samples, make),  # type: ignore[misc]
                ),
            )


def _pack_samples(
    plan: Plan, samples: Sequence[PlannedCrop], make: Callable[[PlannedCrop], bytes]
) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for crop in samples:
            face = crop.face
            facts = {
                "name": plan.classes[crop.class_id].label,
                "class": crop.class_id,
                "recording": plan.recordings[face.video_id].sha256,
                "time_s": face.t_s,
                "box": list(face.box),
                "size_px": face.size_px,
                "sharpness": face.sharpness,
                "frontal": face.frontal,
                "confidence": face.confidence,
            }
            parts = {
                "jpg": make(crop),
                "cls": str(crop.class_id).encode(),
                "json": json.dumps(facts, ensure_ascii=False).encode(),
            }
            for suffix, content in parts.items():
                member = tarfile.TarInfo(f"{crop.stem}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return data.getvalue()
