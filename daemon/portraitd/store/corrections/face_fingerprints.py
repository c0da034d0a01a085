"""Which face of today each key means: the keys of faces, kept in the store."""

from __future__ import annotations

import sqlite3

from portraitd.store.corrections.fingerprint_matching import Fingerprints, match_fingerprints
from portraitd.store.database import Database

STEP_SQL = """
    (select iif(sum(sampled) > 1, max(ended_s) / (sum(sampled) - 1), 0.0)
     from slices where slices.video_id = videos.id)
"""
"""Seconds between the samples of a video."""

CONTENT_SQL = """
    coalesce((select old.sha256 from videos as old where old.id = videos.replaces), videos.sha256)
"""
"""The content of a video, also while it only stands beside the one it will replace."""

CONTENTS_SQL = f"""
    select {CONTENT_SQL} from videos where id = ?1 union
    select partial_copies.sha256 from videos join partial_copies
        on partial_copies.video_id = coalesce(videos.replaces, videos.id)
    where videos.id = ?1
"""  # noqa: S608 - both are constants of this module
"""All contents that a video ever had: copies of it that were broken off are the same video."""


class FingerprintStore:
    """Keys of faces. Everything that writes does so within the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def key(self, face_id: int) -> int:
        """The key by which a face is known, made when it is new."""
        known = self._db.execute(
            "select fingerprint_id from fingerprint_matches where face_id = ?", (face_id,)
        ).fetchone()
        if known:
            return int(known["fingerprint_id"])
        facts = self._db.execute(
            f"""
            select {CONTENT_SQL} as sha256, t_s, box_left, box_top, box_right, box_bottom,
                coalesce({STEP_SQL}, 0.0) as step_s
            from faces join videos on videos.id = faces.video_id where faces.id = ?
            """,  # noqa: S608 - both are constants of this module
            (face_id,),
        ).fetchone()
        self._db.execute(
            """
            insert into face_fingerprints
                (sha256, t_s, box_left, box_top, box_right, box_bottom, step_s)
            values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing
            """,
            tuple(facts),
        )
        fingerprint_id = self._db.execute(
            """
            select id from face_fingerprints where sha256 = ? and t_s = ? and box_left = ?
                and box_top = ? and box_right = ? and box_bottom = ?
            """,
            tuple(facts)[:-1],
        ).fetchone()["id"]
        self._db.execute(
            "insert or replace into fingerprint_matches values (?, ?)", (fingerprint_id, face_id)
        )
        return int(fingerprint_id)

    def rematch(self, video_id: int) -> bool:
        """Recognise the faces of a video anew. Returns whether any key is about it."""
        matched = self.matched(video_id)
        self._db.executemany(
            "delete from fingerprint_matches where fingerprint_id = ?", [(key,) for key in matched]
        )
        self._db.executemany(
            "insert into fingerprint_matches values (?, ?)",
            [(key, face) for key, face in matched.items() if face is not None],
        )
        return bool(matched)

    def matched(self, video_id: int) -> dict[int, int | None]:
        """Every key of a video's contents, and the face it means now; None if there is none."""
        keys = self._db.execute(
            f"select * from face_fingerprints where sha256 in ({CONTENTS_SQL}) order by id",  # noqa: S608
            (video_id,),
        ).fetchall()
        if not keys:
            return {}
        faces = self._db.execute(
            f"""
            select faces.*, {STEP_SQL} as step_s from faces join videos on videos.id = video_id
            where video_id = ? order by faces.id
            """,  # noqa: S608
            (video_id,),
        ).fetchall()
        found = match_fingerprints(fingerprints_of(keys), fingerprints_of(faces)).tolist()
        return {
            key["id"]: faces[face]["id"] if face >= 0 else None
            for key, face in zip(keys, found, strict=True)
        }


def fingerprints_of(rows: list[sqlite3.Row]) -> Fingerprints:
    """Rows of faces or keys, as they are compared."""
    return Fingerprints.of(
        [
            (
                row["t_s"],
                row["box_left"],
                row["box_top"],
                row["box_right"],
                row["box_bottom"],
                row["step_s"] or 0.0,
            )
            for row in rows
        ]
    )
