"""Who stands for a person: faces that keep them who they are, whatever comes later."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from portraitd.model.face import EMBEDDING_SIZE
from portraitd.model.track import l2_normalised
from portraitd.store.database import Database

MAX_EXEMPLARS = 9
MAX_CANDIDATES = 200


class Exemplars:
    """Chooses faces that stand for people."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of(self, person_id: int, without: Collection[int] = ()) -> list[int]:
        """Up to nine faces from the middle of a person: one a track, good, and like the others.

        What was moved in by mistake lies at the edge and is not chosen, so a person is held
        together by those that are surely theirs.
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
        # The one with the nearest neighbours, in the middle of where most are.
        gaps = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
        near = np.sort(gaps, axis=1)[:, : len(rows) // 2 + 1].mean(axis=1)
        order = np.argsort(gaps[int(np.argmin(near))], kind="stable")
        return sorted(int(rows[at]["id"]) for at in order[:MAX_EXEMPLARS].tolist())

    def all_of(self, person_id: int) -> list[int]:
        """One face of each of a person's tracks."""
        rows = self._db.execute(
            """
            select min(id) as id from faces where person_id = ?
            group by coalesce(track_id, -id) order by 1
            """,
            (person_id,),
        )
        return [row["id"] for row in rows]
