"""The versions of the gallery that were published."""

from __future__ import annotations

from typing import NamedTuple

from portraitd.store.database import Database

UNKNOWN_LAST_ID = -1
"""Stands for the newest face or track between a rebuild and the next grouping run."""


class GalleryVersion(NamedTuple):
    """A version of the gallery.

    Attributes:
        last_id: The newest face or track of the grouping run that was current then.
        written_at: When these faces were first published.
    """

    last_id: int
    written_at: float


class GallerySources(NamedTuple):
    """What the gallery is made from.

    Attributes:
        published_at: When the people tree was last published; 0 if never.
        described_at: When the name or date of a recording changed last; 0 if never.
    """

    published_at: float
    described_at: float


class GalleryHistory:
    """Remembers which publication of the people tree the gallery shows, and what was new in it."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def sources(self) -> GallerySources:
        """Return what the gallery should show."""
        row = self._db.read_row(
            """
            select coalesce((select finished_at from publications), 0.0),
                coalesce((select max(described_at) from videos), 0.0)
            """
        )
        return GallerySources(*row)

    def latest(self) -> tuple[float, str] | None:
        """Return the publication time and render version of the latest gallery version."""
        row = self._db.read_row(
            "select published_at, render_version from gallery_versions order by id desc limit 1"
        )
        return row and (row["published_at"], row["render_version"])

    def previous(self, last_id: int) -> GalleryVersion | None:
        """Return the version before the faces up to this one appeared; None for the first.

        A publication without a new face, such as after an edit, does not count: what was new
        stays new until more faces arrive.
        """
        row = self._db.execute(
            """
            select last_id, written_at from gallery_versions
            where last_id not in (?, ?) and published_at > 0 order by id desc limit 1
            """,
            (last_id, UNKNOWN_LAST_ID),
        ).fetchone()
        return GalleryVersion(row["last_id"], row["written_at"]) if row else None

    def record(self, published_at: float, render_version: str, last_id: int, now_s: float) -> None:
        """Record that the gallery now shows this publication."""
        with self._db.transaction():
            updated = self._db.execute(
                """
                update gallery_versions set published_at = ?, render_version = ?
                where id = (select max(id) from gallery_versions) and last_id = ?
                """,
                (published_at, render_version, last_id),
            )
            if updated.rowcount == 0:
                self._db.execute(
                    """
                    insert into gallery_versions (published_at, render_version, last_id, written_at)
                    values (?, ?, ?, ?)
                    """,
                    (published_at, render_version, last_id, now_s),
                )
            # Two are enough: the current version and the one before it.
            self._db.execute(
                "delete from gallery_versions where id < (select max(id) from gallery_versions) - 1"
            )
