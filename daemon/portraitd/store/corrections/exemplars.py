"""Exemplars: faces that represent a person, and keep them who they are whatever comes later."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

import numpy as np

from portraitd.model.face import Embeddings, stack_embeddings
from portraitd.model.face_quality import QualityRule, portrait_rank
from portraitd.model.track import l2_normalised
from portraitd.store.database import Database
from portraitd.store.embedding_space import stored_quality_rule

MAX_EXEMPLARS = 9
MAX_CANDIDATES = 200


class Exemplars:
    """Chooses the faces that represent people."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def choose(self, person_id: int, without: Collection[int] = ()) -> list[int]:
        """Return up to nine typical faces of a person: good ones, and at most one per track.

        A face that was moved in by mistake is at the edge of a person and is not chosen.

        Args:
            person_id: The person.
            without: Faces not to choose.
        """
        rows = self._db.execute(
            """
            select max(id) as id, size_px, sharpness, frontal, confidence, embedding from faces
            where person_id = ? and hidden in (0, 3) and coalesce(rank, 0) = 0
                and encoder = (select encoder from faces where person_id = ?
                    group by encoder order by count(*) desc limit 1)
            group by coalesce(track_id, -id)
            """,
            (person_id, person_id),
        ).fetchall()
        rule = stored_quality_rule(self._db)
        face_ids = [face_id for face_id in _best_first(rows, rule) if face_id not in without]
        if not face_ids:
            return []
        face_ids = face_ids[:MAX_CANDIDATES]
        vectors = l2_normalised(self._embeddings(face_ids)).astype(np.float64)
        distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
        # The middle of the densest half.
        density = np.sort(distances, axis=1)[:, : len(face_ids) // 2 + 1].mean(axis=1)
        order = np.argsort(distances[int(np.argmin(density))], kind="stable")
        return sorted(face_ids[at] for at in order[:MAX_EXEMPLARS].tolist())

    def one_per_track(self, person_id: int) -> list[int]:
        """Return one face of each of a person's tracks."""
        rows = self._db.execute(
            """
            select min(id) as id from faces where person_id = ?
            group by coalesce(track_id, -id) order by 1
            """,
            (person_id,),
        )
        return [row["id"] for row in rows]

    def _embeddings(self, face_ids: list[int]) -> Embeddings:
        rows = [
            self._db.execute("select embedding from faces where id = ?", (face_id,)).fetchone()
            for face_id in face_ids
        ]
        return stack_embeddings([row["embedding"] for row in rows])


def _best_first(rows: list[sqlite3.Row], rule: QualityRule) -> list[int]:
    """Return face ids by quality; many are equally good to recognise, so then by looks."""
    size_px, sharpness, frontal, confidence = (
        np.array([row[name] for row in rows], np.float64)
        for name in ("size_px", "sharpness", "frontal", "confidence")
    )
    face_ids = np.array([row["id"] for row in rows], np.int64)
    vectors = stack_embeddings([row["embedding"] for row in rows])
    looks = portrait_rank(size_px, sharpness, frontal, confidence)
    quality = rule.measure(size_px, sharpness, frontal, confidence, vectors)
    order = np.lexsort((face_ids, -looks, -quality))
    return [int(face_id) for face_id in face_ids[order]]
