"""Faces that are surely one person or two: neighbours in a track, and tracks seen in one frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.model.face import StoredPortrait
from portraitd.store.database import Database
from portraitd.store.reembedding import to_portrait


@dataclass(frozen=True, slots=True, eq=False)
class SureSample:
    """Faces of some tracks, by track and time.

    Attributes:
        tracks: Shape ``(n,)``; the track of each face.
        portraits: The portraits.
        cannot_link: Shape ``(m, 2)``; pairs of tracks that were seen in one frame.
    """

    tracks: NDArray[np.int64]
    portraits: list[StoredPortrait]
    cannot_link: NDArray[np.int64]


def read_sure_sample(database: Database, limit: int) -> SureSample:
    """Return the faces of tracks that were seen beside others, and of long tracks.

    Args:
        database: The store.
        limit: Largest number of faces.
    """
    pairs = database.execute(
        """
        select lower_id, higher_id from cannot_link
        join grouped_tracks as one on one.id = lower_id
        join grouped_tracks as other on other.id = higher_id
        order by min(one.quality, other.quality) desc, lower_id, higher_id limit ?
        """,
        (limit,),
    ).fetchall()
    cannot_link = np.array([tuple(pair) for pair in pairs], np.int64).reshape(-1, 2)
    rows = database.execute(
        """
        select faces.*, area_left, area_top, area_right, area_bottom, jpeg
        from faces join portraits on face_id = faces.id
        where track_id in (
            select tracks.id from grouped_tracks as tracks where tracks.faces > 1 or exists (
                select 1 from cannot_link where tracks.id in (lower_id, higher_id))
            order by exists (select 1 from cannot_link where tracks.id in (lower_id, higher_id))
                desc, tracks.quality desc, tracks.id limit ?)
        order by track_id, t_s limit ?
        """,
        (limit, limit),
    ).fetchall()
    return SureSample(
        np.array([row["track_id"] for row in rows], np.int64),
        [to_portrait(row) for row in rows],
        cannot_link,
    )
