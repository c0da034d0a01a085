"""Faces whose person was confirmed: people who have a name, or whom a reviewer corrected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.model.face import Embeddings, StoredPortrait, stack_embeddings
from portraitd.store.database import Database
from portraitd.store.reembedding import to_portrait


@dataclass(frozen=True, slots=True, eq=False)
class ConfirmedSample:
    """Faces of confirmed people, at most one of each track.

    Attributes:
        people: Shape ``(n,)``; the person of each face.
        embeddings: Shape ``(n, d)``; the vectors in use.
        portraits: The portraits.
    """

    people: NDArray[np.int64]
    embeddings: Embeddings
    portraits: list[StoredPortrait]


def read_confirmed_sample(database: Database, space: str, limit: int) -> ConfirmedSample:
    """Return the best face of some tracks of every confirmed person, evenly over the people.

    Args:
        database: The store.
        space: The embedding space in use; faces of other spaces are left out.
        limit: Largest number of faces.
    """
    rows = database.execute(
        """
        with best as (
            select faces.*, row_number() over (
                partition by track_id order by rank is null, rank, faces.id) as in_track
            from visible_faces as faces join people on people.id = person_id
            where track_id is not null and encoder = ?
                and (people.name is not null or people.locked)
                and not people.ignored and people.merged_into is null
        ), numbered as (
            select *, row_number() over (partition by person_id order by id) as in_person
            from best where in_track = 1
        )
        select * from numbered join portraits on face_id = id
        order by in_person, person_id limit ?
        """,
        (space, limit),
    ).fetchall()
    return ConfirmedSample(
        np.array([row["person_id"] for row in rows], np.int64),
        stack_embeddings([row["embedding"] for row in rows]),
        [to_portrait(row) for row in rows],
    )
