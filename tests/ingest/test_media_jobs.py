"""The pure functions that run in workers: the same values in, the same values out."""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from portraitd.clustering import grouping_jobs
from portraitd.clustering.grouping_jobs import ClusteringRequest
from portraitd.faces.interface import EncoderSpec
from portraitd.ingest import media_jobs
from portraitd.ingest.media_jobs import EncodeOptions
from portraitd.model.errors import FileChanged
from portraitd.model.face import DetectedFace, SliceFaces
from portraitd.model.grouping_rules import DbscanRule
from portraitd.model.media_file import MediaKind, Slice
from support.media import source_of
from support.store import embedding


def settings(tmp_path: Path, reuse_unchanged: bool = True) -> EncodeOptions:
    encoder = EncoderSpec(tmp_path, kind="dlib", detector="hog", upsample=0, mirror=False)
    return EncodeOptions(0.5, False, reuse_unchanged, encoder, portrait_width_px=400)


def encode(
    path: Path,
    how: EncodeOptions,
    start_s: float = 0.0,
    stop_s: float = math.inf,
    kind: MediaKind = MediaKind.VIDEO,
) -> SliceFaces:
    return media_jobs.encode(Slice(source_of(path), kind, start_s, stop_s), how)


def values(detections: list[DetectedFace]) -> list[tuple[object, ...]]:
    """Everything that is stored of each face."""
    return [
        (
            one.t_s,
            one.face.box,
            one.face.score,
            one.face.landmarks,
            one.face.quality,
            hashlib.sha256(one.face.embedding).hexdigest(),
            one.portrait.area,
            hashlib.sha256(one.portrait.jpeg).hexdigest(),
        )
        for one in detections
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, two_people: Path) -> SliceFaces:
    """The clip of two people in one piece."""
    return encode(two_people, settings(tmp_path_factory.mktemp("models")))


@pytest.mark.parametrize("cuts", [[10.0], [3.3, 3.4, 13.37], [1.999, 2.0, 2.001]])
def test_cutting_differently_finds_the_same_faces(
    tmp_path: Path, two_people: Path, whole: SliceFaces, cuts: list[float]
) -> None:
    """To the last bit: time, box, landmarks, embedding and portrait."""
    edges = [0.0, *cuts, math.inf]

    pieces = [encode(two_people, settings(tmp_path), a, b) for a, b in pairwise(edges)]

    assert values(list(whole.detections)) == values(
        [one for piece in pieces for one in piece.detections]
    )
    assert whole.sampled == sum(piece.sampled for piece in pieces)
    assert whole.decoded == sum(piece.decoded for piece in pieces)


def test_a_slice_tells_what_it_read(whole: SliceFaces) -> None:
    """Ten frames looked at of 240, to the end."""
    assert (10, 240) == (whole.sampled, whole.decoded)
    assert 19.9 == round(whole.ended_s or 0, 1)
    assert 0 < whole.seconds


def test_a_face_is_a_vector_and_a_picture(whole: SliceFaces) -> None:
    """128 float32 and a JPEG of the width asked for."""
    for one in whole.detections:
        picture = cv2.imdecode(np.frombuffer(one.portrait.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert ((128,), np.float32) == (one.face.embedding.shape, one.face.embedding.dtype)
        assert picture is not None
        assert 400 == picture.shape[1]


def test_a_still_is_looked_at_once_and_found_as_often(
    tmp_path: Path, photographs: list[Path]
) -> None:
    """Reusing what was found in an equal frame gives what looking again would."""
    clip = tmp_path / "still.avi"
    picture = cv2.imread(str(photographs[0]))
    # Key frames alone: each picture is encoded the same.
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 1.0, (512, 512))
    for _ in range(8):
        writer.write(picture)
    writer.release()

    reused = encode(clip, settings(tmp_path))
    looked_again = encode(clip, settings(tmp_path, reuse_unchanged=False))

    assert {0.0, 2.0, 4.0, 6.0} == {one.t_s for one in reused.detections}
    assert values(list(looked_again.detections)) == values(list(reused.detections))


def test_a_photo_is_one_frame(tmp_path: Path, photographs: list[Path]) -> None:
    """At time 0."""
    found = encode(photographs[0], settings(tmp_path), kind=MediaKind.PHOTO)

    assert [0.0] == [one.t_s for one in found.detections]
    assert (1, 1, 0.0) == (found.sampled, found.decoded, found.ended_s)


def test_a_changed_file_gives_no_faces(tmp_path: Path, nobody: Path) -> None:
    """Not even those that were found before it was noticed."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(nobody.read_bytes())
    piece = Slice(source_of(clip), MediaKind.VIDEO, 0.0, math.inf)
    clip.write_bytes(nobody.read_bytes() + b"more")

    with pytest.raises(FileChanged):
        media_jobs.encode(piece, settings(tmp_path))


# --- Clustering.


def clustered(tmp_path: Path, vectors: list[np.ndarray], min_samples: int) -> list[int]:
    matrix = tmp_path / "matrix"
    matrix.write_bytes(b"".join(vector.astype("<f4").tobytes() for vector in vectors))
    return grouping_jobs.cluster(
        ClusteringRequest(matrix, 128, DbscanRule(0.5, min_samples))
    ).tolist()


def moved(seed: int, distance: float) -> np.ndarray:
    """A vector at this distance of that of the seed."""
    vector = embedding(seed)
    vector[0] += distance
    return vector


def test_neighbours_are_a_cluster(tmp_path: Path) -> None:
    """A point belongs to it if it is near to any core point of it, through others too."""
    chain = [moved(1, 0.4 * step) for step in range(5)]
    alone = moved(2, 0)

    assert [0, 0, 0, 0, 0, -1] == clustered(tmp_path, [*chain, alone], 3)
    assert [-1] * 6 == clustered(tmp_path, [*chain, alone], 4)


def test_what_is_farther_than_eps_is_noise(tmp_path: Path) -> None:
    """The distance is Euclidean, and of the vectors as they are."""
    assert [0, 0] == clustered(tmp_path, [moved(1, 0), moved(1, 0.49)], 2)
    assert [-1, -1] == clustered(tmp_path, [moved(1, 0), moved(1, 0.51)], 2)


def test_no_faces_are_no_clusters(tmp_path: Path) -> None:
    """An empty matrix is a matrix."""
    assert [] == clustered(tmp_path, [], 5)
