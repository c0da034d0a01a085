"""Exemplars: faces that represent a person, and keep them who they are whatever comes later."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from portraitd.model.face import EMBEDDING_SIZE
from portraitd.model.track import l2_normalised
from portraitd.store.database import Database

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
            select max(faces.id) as id, embedding from faces
            where person_id = ? and hidden = 0 and coalesce(rank, 0) = 0
            group by coalesce(track_id, -id)
            order by size_px * (0.1 + frontal) * (0.1 + confidence) * min(sharpness, 50.0) desc, id
            limit ?
            """,
            (person_id, MAX_CANDIDATES),
        ).fetchall()
        rows = [row for row in rows if row["id"] not in without]
        if not rows:
            return []
        joined = np.frombuffer(b"".join(row["embedding"] for row in rows), "<f4")
        vectors = l2_normalised(joined.reshape(-1, EMBEDDING_SIZE)).astype(np.float64)
        distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
        # The middle of the densest half.
        density = np.sort(distances, axis=1)[:, : len(rows) // 2 + 1].mean(axis=1)
        order = np.argsort(distances[int(np.argmin(density))], kind="stable")
        return sorted(int(rows[at]["id"]) for at in order[:MAX_EXEMPLARS].tolist())

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
