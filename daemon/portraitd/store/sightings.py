"""What workers saw, as rows: faces and their portraits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from portraitd.model import SliceFaces
from portraitd.store.database import Database
from portraitd.store.recognition import CONTENT_SQL
from portraitd.store.tombstones import Tombstones


class Sightings:
    """Writes faces, without those that were forgotten.

    Args:
        database: Where they go.
        tombstones: What was forgotten.
    """

    def __init__(self, database: Database, tombstones: Tombstones) -> None:
        self._db = database
        self._tombstones = tombstones

    def put(
        self, video_id: int, job_id: int, result: SliceFaces, encoder: str, now_s: float
    ) -> None:
        """Store what one slice shows, inside the caller's transaction.

        Args:
            video_id: The video or photo.
            job_id: The slice of it.
            result: What a worker found there.
            encoder: The space in which its embeddings lie.
            now_s: The time.
        """
        video = self._db.execute(
            f"select {CONTENT_SQL} as content, * from videos where id = ?",  # noqa: S608
            (video_id,),
        ).fetchone()
        size_px = (video["width_px"], video["height_px"])
        remembered = self._tombstones.without_forgotten(video["content"], size_px, result.sightings)
        for sighting in remembered:
            face, portrait = sighting.face, sighting.portrait
            face_id = self._db.execute(
                """
                insert into faces (video_id, job_id, t_s, box_left, box_top, box_right,
                    box_bottom, score, landmarks, size_px, sharpness, frontal, confidence,
                    encoder, embedding, added_at)
                values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
                (
                    video_id,
                    job_id,
                    sighting.t_s,
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


def _packed(landmarks: Sequence[tuple[float, float]] | None) -> bytes | None:
    return None if landmarks is None else np.asarray(landmarks, "<f4").tobytes()
