"""What the store says about somebody besides their faces: names, decisions, classes, sides.

All of it is only ever added to, in every other case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from portraitd.model.fingerprints import split_key_parts
from portraitd.store.database import Database


class Redaction:
    """Takes people and contents out of what is only added to.

    Rows of the ledger and numbers of classes stay, so that nothing else comes to mean something
    new; what would tell whose face was where goes. Within the caller's transaction.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def let_go_of_faces(self, face_ids: Sequence[int]) -> None:
        """The keys by which the ledger knows these faces. Before the faces themselves go."""
        keys = [
            row["fingerprint_id"]
            for face in face_ids
            for row in self._db.execute(
                "select fingerprint_id from fingerprint_matches where face_id = ?", (face,)
            )
        ]
        self._let_go_of_keys(keys)

    def let_go_of_contents(self, contents: Sequence[str]) -> None:
        """Everything that is known by the hash of a content."""
        for sha256 in contents:
            rows = self._db.execute("select id from face_fingerprints where sha256 = ?", (sha256,))
            self._let_go_of_keys([row["id"] for row in rows.fetchall()])
            self._db.execute(
                "delete from splits where instr(key, ?) or instr(key, ?)",
                split_key_parts(sha256),
            )

    def let_go_of_moments(self, stems: Sequence[str]) -> None:
        """The sides that were given to tracks which begin with a face of these pictures."""
        self._db.executemany(
            "delete from splits where instr(key, ?)", [(f"track {stem}-",) for stem in stems]
        )

    def let_go_of_people(self, person_ids: Sequence[int]) -> None:
        """Names, and keys that say of a face which is in the store no more that it was theirs."""
        for person in person_ids:
            self._db.execute(
                "update people set name = null, locked = 0, ignored = 0 where id = ?", (person,)
            )
            self._db.execute(
                "delete from merge_candidates where ?1 in (lower_id, higher_id)", (person,)
            )
            keys = self._db.execute(
                """
                select distinct fingerprint_id from ledger_faces join ledger on ledger.id = ledger_id
                where fingerprint_id not in (select fingerprint_id from fingerprint_matches)
                    and ?1 in (ledger_faces.person_id, iif(role = 'moved', ledger.person_id, 0))
                """,
                (person,),
            ).fetchall()
            self._let_go_of_keys([row["fingerprint_id"] for row in keys])
            with self._allowed():
                self._db.execute(
                    "update ledger set name = null where ?1 in (person_id, into_id)", (person,)
                )
                # The number stays taken for ever: a trained model knows it.
                self._db.execute(
                    "update class_holders set name = '', person_id = null where person_id = ?",
                    (person,),
                )

    def _let_go_of_keys(self, key_ids: Sequence[int]) -> None:
        rows = [(key,) for key in key_ids]
        with self._allowed():
            self._db.executemany("delete from fingerprint_matches where fingerprint_id = ?", rows)
            self._db.executemany("delete from ledger_faces where fingerprint_id = ?", rows)
            self._db.executemany("delete from face_fingerprints where id = ?", rows)

    @contextmanager
    def _allowed(self) -> Iterator[None]:
        """Lift the guards of what is only added to; no other connection ever sees them lifted."""
        self._db.execute("insert into erasure_in_progress values (1)")
        yield
        self._db.execute("delete from erasure_in_progress")
