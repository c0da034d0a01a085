"""Face fingerprints: content hash, time and box, and which face each one matches today."""

from __future__ import annotations

import sqlite3

from portraitd.model.face import Box
from portraitd.store.database import Database

STEP_SQL = """
    (select iif(sum(sampled) > 1, max(ended_s) / (sum(sampled) - 1), 0.0)
     from slices where slices.video_id = videos.id)
"""
"""Seconds between the samples of a video."""

CONTENT_SQL = """
    coalesce((select old.sha256 from videos as old where old.id = videos.replaces), videos.sha256)
"""
"""The content of a video; of one that is being reprocessed, the content it will replace."""

CONTENTS_SQL = f"""
    select {CONTENT_SQL} from videos where id = ?1 union
    select partial_copies.sha256 from videos join partial_copies
        on partial_copies.video_id = coalesce(videos.replaces, videos.id)
    where videos.id = ?1 union
    select 'pictures ' || origin.picture_hash from videos join videos as origin
        on origin.id = coalesce(videos.replaces, videos.id)
    where videos.id = ?1 and origin.picture_hash <> ''
"""  # noqa: S608 - both are constants of this module
"""All contents of a video: its own, those of its partial copies, and its pictures.

The last one stands for every content that differs in nothing but metadata.
"""


_REFERENCE = "reference "


def reference_key(sha256: str) -> str:
    """Return what stands, among contents, for a picture that is a reference.

    The same picture can be in the inbox as well; that is another recording.
    """
    return f"{_REFERENCE}{sha256}"


def without_reference_key(content: str) -> str:
    """Return the SHA-256 of a content, also of a reference picture."""
    return content.removeprefix(_REFERENCE)


def pictures_key(picture_hash: str) -> str:
    """Return what stands, among contents, for the pictures of a video."""
    return f"pictures {picture_hash}"


def box_of(row: sqlite3.Row) -> Box:
    """Return the box in a row of ``faces`` or ``face_fingerprints``."""
    return Box(row["box_left"], row["box_top"], row["box_right"], row["box_bottom"])


class FingerprintStore:
    """Fingerprints of faces. All writes happen within the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def fingerprint_of(self, face_id: int) -> int:
        """Return the id of a face's fingerprint; add one if the face has none."""
        known = self._db.execute(
            "select fingerprint_id from fingerprint_matches where face_id = ?", (face_id,)
        ).fetchone()
        if known:
            return int(known["fingerprint_id"])
        face = self._db.execute("select * from faces where id = ?", (face_id,)).fetchone()
        fingerprint_id = self.fingerprint_at(face["video_id"], face["t_s"], box_of(face))
        self.match(fingerprint_id, face_id)
        return fingerprint_id

    def fingerprint_at(self, video_id: int, t_s: float, box: Box) -> int:
        """Return the id of the fingerprint of a place in a video; add one if there is none."""
        facts = self._db.execute(
            f"""
            select {CONTENT_SQL} as sha256, coalesce({STEP_SQL}, 0.0) as step_s
            from videos where id = ?
            """,  # noqa: S608 - both are constants of this module
            (video_id,),
        ).fetchone()
        place = (facts["sha256"], t_s, *box)
        self._db.execute(
            """
            insert into face_fingerprints
                (sha256, t_s, box_left, box_top, box_right, box_bottom, step_s)
            values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing
            """,
            (*place, facts["step_s"]),
        )
        found = self._db.execute(
            """
            select id from face_fingerprints where sha256 = ? and t_s = ? and box_left = ?
                and box_top = ? and box_right = ? and box_bottom = ?
            """,
            place,
        ).fetchone()
        return int(found["id"])

    def match(self, fingerprint_id: int, face_id: int) -> None:
        """Record that a face is what a fingerprint says."""
        self._db.execute(
            "insert or replace into fingerprint_matches values (?, ?)", (fingerprint_id, face_id)
        )

    def match_of(self, fingerprint_id: int) -> int | None:
        """Return the face that a fingerprint matches today; None for none."""
        row = self._db.execute(
            "select face_id from fingerprint_matches where fingerprint_id = ?", (fingerprint_id,)
        ).fetchone()
        return row and int(row["face_id"])

    def rematch(self, video_id: int) -> bool:
        """Match a video's fingerprints to its present faces. Return whether it has any."""
        matches = self.matches(video_id)
        self._db.executemany(
            "delete from fingerprint_matches where fingerprint_id = ?", [(one,) for one in matches]
        )
        self._db.executemany(
            "insert into fingerprint_matches values (?, ?)",
            [(one, face_id) for one, face_id in matches.items() if face_id is not None],
        )
        return bool(matches)

    def matches(self, video_id: int) -> dict[int, int | None]:
        """Return the face that each fingerprint of a video's contents matches; None for none."""
        fingerprints = self._db.execute(
            f"select * from face_fingerprints where sha256 in ({CONTENTS_SQL}) order by id",  # noqa: S608
            (video_id,),
        ).fetchall()
        if not fingerprints:
            return {}
        faces = self._db.execute(
            f"""
            select faces.*, {STEP_SQL} as step_s from faces join videos on videos.id = video_id
            where video_id = ? order by faces.id
            """,  # noqa: S608
            (video_id,),
        ).fetchall()
        # A drawn face is what its fingerprint says; a detector never finds it, only one beside it.
        drawn = {(one["t_s"], box_of(one)): one["id"] for one in faces if one["is_drawn"]}
        matches = {row["id"]: drawn.get((row["t_s"], box_of(row))) for row in fingerprints}
        known = [
            row
            for row in fingerprints
            if matches[row["id"]] is None and not self._is_drawn(row["id"])
        ]
        others = [one for one in faces if not one["is_drawn"]]
        for row, at in zip(known, match_rows(known, others), strict=True):
            matches[row["id"]] = others[at]["id"] if at >= 0 else None
        return matches

    def _is_drawn(self, fingerprint_id: int) -> bool:
        row = self._db.execute(
            "select 1 from ledger_faces where fingerprint_id = ? and role = 'drawn' limit 1",
            (fingerprint_id,),
        )
        return row.fetchone() is not None


def match_rows(known: list[sqlite3.Row], faces: list[sqlite3.Row]) -> list[int]:
    """Match known faces to the faces of one video; see ``match_fingerprints``.

    Args:
        known: Rows of ``face_fingerprints``, or of faces with their ``step_s``.
        faces: As ``known``.

    Returns:
        For each known face the index of its match, -1 for none.
    """
    # numpy is loaded with it, and most commands match nothing.
    from portraitd.store.corrections.fingerprint_matching import Fingerprints, match_fingerprints

    one, other = (Fingerprints.of(list(map(_facts_of, rows))) for rows in (known, faces))
    found: list[int] = match_fingerprints(one, other).tolist()
    return found


def _facts_of(row: sqlite3.Row) -> tuple[float, float, float, float, float, float]:
    """Return time, box and step, as ``Fingerprints.of`` takes them."""
    box = row["box_left"], row["box_top"], row["box_right"], row["box_bottom"]
    return row["t_s"], *box, row["step_s"] or 0.0
