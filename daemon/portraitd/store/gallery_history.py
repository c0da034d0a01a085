"""What the gallery has shown, and when."""

from __future__ import annotations

from typing import NamedTuple

from portraitd.store.database import Database

UNKNOWN_LAST_ID = -1
"""In place of the newest face or track: between a rebuild and the grouping that follows it."""


class GalleryVersion(NamedTuple):
    """What the gallery showed at one time.

    Attributes:
        last_id: The newest face or track that the grouping in force knew.
        written_at: When these faces came into sight.
    """

    last_id: int
    written_at: float


class GalleryHistory:
    """The gallery's own memory: of which publication it is, and what was new in it."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def published_at(self) -> float:
        """When the people tree was last published; 0 if never."""
        row = self._db.execute("select finished_at from publications").fetchone()
        return float(row["finished_at"]) if row else 0.0

    def last(self) -> tuple[float, str] | None:
        """The publication and the render_version that the gallery was last made from."""
        row = self._db.execute(
            "select published_at, render_version from gallery_versions order by id desc limit 1"
        ).fetchone()
        return row and (row["published_at"], row["render_version"])

    def before(self, last_id: int) -> GalleryVersion | None:
        """What was shown before faces came into sight up to this one; None at the first time.

        A publication that brings no new face, such as after a word of a human, does not count:
        what was new stays new until more comes.
        """
        row = self._db.execute(
            """
            select last_id, written_at from gallery_versions
            where last_id not in (?, ?) and published_at > 0 order by id desc limit 1
            """,
            (last_id, UNKNOWN_LAST_ID),
        ).fetchone()
        return GalleryVersion(row["last_id"], row["written_at"]) if row else None

    def note(self, published_at: float, render_version: str, last_id: int, now_s: float) -> None:
        """The gallery now shows this publication."""
        with self._db.transaction():
            known = self._db.execute(
                """
                update gallery_versions set published_at = ?, render_version = ?
                where id = (select max(id) from gallery_versions) and last_id = ?
                """,
                (published_at, render_version, last_id),
            )
            if known.rowcount == 0:
                self._db.execute(
                    """
                    insert into gallery_versions (published_at, render_version, last_id, written_at)
                    values (?, ?, ?, ?)
                    """,
                    (published_at, render_version, last_id, now_s),
                )
            # Two are enough: what is shown, and what was shown before.
            self._db.execute(
                "delete from gallery_versions where id < (select max(id) from gallery_versions) - 1"
            )
