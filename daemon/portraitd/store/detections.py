"""What workers saw, as rows: faces and their portraits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from portraitd.model.face import SliceFaces
from portraitd.store.corrections.face_fingerprints import CONTENT_SQL
from portraitd.store.database import Database
from portraitd.store.erasure.tombstones import Tombstones


class Detections:
    """Writes faces, without those that were forgotten.

    Args:
        database: Where they go.
        tombstones: What was forgotten.
    """

    def __init__(self, database: Database, tombstones: Tombstones) -> None:
        self._db = database
        self._tombstones = tombstones

    def put(
        self, video_id: int, slice_id: int, result: SliceFaces, encoder: str, now_s: float
    ) -> None:
        """Store what one slice shows, inside the caller's transaction.

        Args:
            video_id: The video or photo.
            slice_id: The slice of it.
            result: What a worker found there.
            encoder: The space in which its embeddings lie.
            now_s: The time.
        """
        video = self._db.execute("select * from videos where id = ?", (video_id,)).fetchone()
        size_px, remembered = (video["width_px"], video["height_px"]), list(result.detections)
        for sha256 in self.contents(video_id):
            remembered = self._tombstones.without_erased(sha256, size_px, remembered)
        for detection in remembered:
            face, portrait = detection.face, detection.portrait
            face_id = self._db.execute(
                """
                insert into faces (video_id, slice_id, t_s, box_left, box_top, box_right,
                    box_bottom, score, landmarks, size_px, sharpness, frontal, confidence,
                    encoder, embedding, added_at)
                values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
                (
                    video_id,
                    slice_id,
                    detection.t_s,
                    *face.box,
                    face.score,
                    _packed(face.landmarks),
                    face.quality.size_px,
                    face.quality.sharpness,
                    face.quality.frontal,
                    face.quality.confidence,
                    encoder,
                    face.embedding.astype("<f4").tobytes(),
                    now_s,
                ),
            ).lastrowid
            self._db.execute(
                "insert into portraits values (?, ?, ?, ?, ?, ?)",
                (face_id, *portrait.area, portrait.jpeg),
            )

    def contents(self, video_id: int) -> list[str]:
        """What a video is, and what it was while only its beginning had come."""
        rows = self._db.execute(
            f"""
            select {CONTENT_SQL} as sha256 from videos where id = ?1
            union select sha256 from partial_copies where video_id =
                (select coalesce(replaces, id) from videos where id = ?1)
            """,  # noqa: S608 - a constant
            (video_id,),
        )
        return [row["sha256"] for row in rows]


def _packed(landmarks: Sequence[tuple[float, float]] | None) -> bytes | None:
    return None if landmarks is None else np.asarray(landmarks, "<f4").tobytes()
