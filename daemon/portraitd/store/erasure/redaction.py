"""Redaction of append-only rows: names, ledger faces, class holders and splits.

These tables are append-only, except for erasure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from portraitd.model.fingerprints import split_key_parts
from portraitd.model.reasons import ReasonCode
from portraitd.store.database import Database


class Redaction:
    """Removes people and contents from append-only tables, in the caller's transaction.

    Ledger entries and class numbers stay, so that the others keep their meaning. What tells whose
    face was where is deleted.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def erase_faces(self, face_ids: Sequence[int]) -> None:
        """Delete the fingerprints of faces; call this before the faces are deleted."""
        fingerprints = [
            row["fingerprint_id"]
            for face in face_ids
            for row in self._db.execute(
                "select fingerprint_id from fingerprint_matches where face_id = ?", (face,)
            )
        ]
        self._delete_fingerprints(fingerprints)

    def erase_contents(self, contents: Sequence[str]) -> None:
        """Delete the fingerprints and splits of contents."""
        for sha256 in contents:
            rows = self._db.execute("select id from face_fingerprints where sha256 = ?", (sha256,))
            self._delete_fingerprints([row["id"] for row in rows.fetchall()])
            for table in ("splits", "split_edits"):
                self._db.execute(
                    f"delete from {table} where instr(key, ?) or instr(key, ?)",  # noqa: S608
                    split_key_parts(sha256),
                )

    def erase_moments(self, stems: Sequence[str]) -> None:
        """Delete the splits of tracks that start at these frames."""
        self._db.executemany(
            "delete from splits where instr(key, ?)", [(f"track {stem}-",) for stem in stems]
        )

    def erase_people(self, person_ids: Sequence[int]) -> None:
        """Delete people's names, and fingerprints of theirs that match no face today."""
        for person in person_ids:
            self._db.execute(
                "update people set name = null, locked = 0, ignored = 0 where id = ?", (person,)
            )
            self._db.execute(
                "delete from merge_candidates where ?1 in (lower_id, higher_id)", (person,)
            )
            self._db.execute("delete from near_misses where person_id = ?", (person,))
            self._db.execute("delete from indistinct_people where person_id = ?", (person,))
            rows = self._db.execute(
                """
                select distinct fingerprint_id
                from ledger_faces join ledger on ledger.id = ledger_id
                where fingerprint_id not in (select fingerprint_id from fingerprint_matches)
                    and ?1 in (ledger_faces.person_id,
                        iif(role in ('moved', 'drawn'), ledger.person_id, 0))
                """,
                (person,),
            ).fetchall()
            self._delete_fingerprints([row["fingerprint_id"] for row in rows])
            # Any of them may name the person; what is still true is noticed again.
            self._db.execute(
                "delete from review_notices where code <> ?", (ReasonCode.PORTRAITS_DISAPPEARED,)
            )
            with self._guards_lifted():
                self._db.execute(
                    "update ledger set name = null where ?1 in (person_id, into_id)", (person,)
                )
                # The number is never given again: trained models know it.
                self._db.execute(
                    "update class_holders set name = '', person_id = null where person_id = ?",
                    (person,),
                )

    def _delete_fingerprints(self, fingerprint_ids: Sequence[int]) -> None:
        rows = [(one,) for one in fingerprint_ids]
        with self._guards_lifted():
            self._db.executemany("delete from fingerprint_matches where fingerprint_id = ?", rows)
            self._db.executemany("delete from ledger_faces where fingerprint_id = ?", rows)
            self._db.executemany("delete from face_fingerprints where id = ?", rows)

    @contextmanager
    def _guards_lifted(self) -> Iterator[None]:
        """Allow changes of append-only tables; other connections never see them allowed."""
        self._db.execute("insert into erasure_in_progress values (1)")
        yield
        self._db.execute("delete from erasure_in_progress")
