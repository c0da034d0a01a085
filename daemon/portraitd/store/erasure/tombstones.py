"""Tombstones: keyed hashes that recognise erased contents and faces, and tell nothing else."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import secrets
from collections.abc import Iterable, Iterator, Sequence

from portraitd.model.face import Box, DetectedFace
from portraitd.store.database import Database

KEY_BYTES = 32

TIME_CELL_S = 1.0
GRID = 8
"""An erased face is recognised within one cell of time and place: a second, and an eighth of the
frame. Another sampling finds the same face a little earlier, and a little to the side."""


class Tombstones:
    """Recognises contents, faces and people that were erased.

    The keys are in the same database: a restored backup must be able to recognise them as well.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def set_content(self, sha256: str, now_s: float) -> None:
        """Refuse this content from now on. Within the caller's transaction."""
        key_id, key = self._newest_key()
        self._set(_digest(key, sha256), "content", key_id, now_s)

    def set_face(
        self, sha256: str, t_s: float, box: Box, size_px: tuple[int, int], now_s: float
    ) -> None:
        """Refuse this face of this content from now on. Within the caller's transaction."""
        key_id, key = self._newest_key()
        cell = _cell(t_s, box, size_px)
        self._set(_digest(key, sha256, *cell), "face", key_id, now_s)
        self._set(_digest(key, sha256, cell[0]), "moment", key_id, now_s)

    def set_person(self, person_id: int, created_s: float, now_s: float) -> None:
        """Refuse this person's name after a restore. Within the caller's transaction."""
        key_id, key = self._newest_key()
        self._set(_digest(key, person_id, repr(created_s)), "person", key_id, now_s)

    def has_person(self, person_id: int, created_s: float) -> bool:
        """Return whether this person was erased.

        After a restore, ids are given again. The time of creation tells people apart.
        """
        digests = [_digest(key, person_id, repr(created_s)) for key in self._keys()]
        return self._any(digests, "person")

    def has_moment(self, sha256: str, t_s: float, within_s: float = TIME_CELL_S) -> bool:
        """Return whether a face was erased so near to this moment, anywhere in the frame."""
        keys = self._keys()
        first, last = ((t_s + step) // TIME_CELL_S for step in (-within_s, within_s))
        seconds = range(int(first), int(last) + 1)
        return self._any(
            [_digest(key, sha256, second) for key in keys for second in seconds], "moment"
        )

    def has_content(self, sha256: str) -> bool:
        """Return whether this content was erased as a whole."""
        return self._any([_digest(key, sha256) for key in self._keys()], "content")

    def has_face(
        self, sha256: str, t_s: float, box: Box, size_px: tuple[int, int], nearby: bool = True
    ) -> bool:
        """Return whether a face was erased in this cell or, with ``nearby``, in one next to it."""
        here = _cell(t_s, box, size_px)
        cells = list(_around(here)) if nearby else [here]
        digests = [_digest(key, sha256, *cell) for key in self._keys() for cell in cells]
        return self._any(digests, "face")

    def without_erased(
        self, sha256: str, size_px: tuple[int, int], detections: Sequence[DetectedFace]
    ) -> list[DetectedFace]:
        """Return the detections that may be stored."""
        if not self._keys():
            return list(detections)
        return [
            one for one in detections if not self.has_face(sha256, one.t_s, one.face.box, size_px)
        ]

    def adopt(self, other: Database) -> int:
        """Copy the tombstones of another database. Return how many were new.

        Raises:
            StoreError: The other database cannot be read.
        """
        numbers = {}
        for row in other.execute("select id, key from tombstone_keys order by id").fetchall():
            self._db.execute(
                "insert into tombstone_keys (key) values (?) on conflict do nothing", (row["key"],)
            )
            known = self._db.execute("select id from tombstone_keys where key = ?", (row["key"],))
            numbers[row["id"]] = known.fetchone()["id"]
        before = self._count()
        self._db.executemany(
            "insert into tombstones values (?, ?, ?, ?) on conflict do nothing",
            [
                (row["digest"], row["kind"], numbers[row["key_id"]], row["at"])
                for row in other.execute("select * from tombstones").fetchall()
            ],
        )
        return self._count() - before

    def _count(self) -> int:
        return int(self._db.execute("select count(*) from tombstones").fetchone()[0])

    def _keys(self) -> list[bytes]:
        rows = self._db.execute("select key from tombstone_keys order by id")
        return [bytes(row["key"]) for row in rows]

    def _newest_key(self) -> tuple[int, bytes]:
        row = self._db.execute("select * from tombstone_keys order by id desc limit 1").fetchone()
        if row is None:
            row = self._db.execute(
                "insert into tombstone_keys (key) values (?) returning *",
                (secrets.token_bytes(KEY_BYTES),),
            ).fetchone()
        return row["id"], bytes(row["key"])

    def _set(self, digest: bytes, kind: str, key_id: int, now_s: float) -> None:
        self._db.execute(
            "insert into tombstones values (?, ?, ?, ?) on conflict do nothing",
            (digest, kind, key_id, now_s),
        )

    def _any(self, digests: Iterable[bytes], kind: str) -> bool:
        return any(
            self._db.execute(
                "select 1 from tombstones where digest = ? and kind = ?", (digest, kind)
            ).fetchone()
            for digest in digests
        )


Cell = tuple[int, int, int]


def _cell(t_s: float, box: Box, size_px: tuple[int, int]) -> Cell:
    """Return the cell of a face's centre."""
    width_px, height_px = (max(side, 1) for side in size_px)
    across = (box.left + box.right) * GRID // (2 * width_px)
    down = (box.top + box.bottom) * GRID // (2 * height_px)
    return int(t_s // TIME_CELL_S), across, down


def _around(cell: Cell) -> Iterator[Cell]:
    """Return a cell and its neighbours."""
    for steps in itertools.product((0, -1, 1), repeat=3):
        yield cell[0] + steps[0], cell[1] + steps[1], cell[2] + steps[2]


def _digest(key: bytes, *parts: str | int) -> bytes:
    return hmac.digest(key, "\0".join(map(str, parts)).encode(), hashlib.sha256)
