"""People and the censuses that found them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portraitd.store.database import Database


@dataclass(frozen=True, slots=True)
class Census:
    """What one grouping of all faces came to."""

    id: int
    parameters: str
    last_face: int
    faces: int
    people: int
    unassigned: int
    churn: int
    seconds: float
    finished_at: float


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Faces that no census with these parameters has seen.

    Attributes:
        stale: Whether anything is new at all.
        oldest_s, newest_s: When the first and the last of them were stored.
    """

    stale: bool
    oldest_s: float
    newest_s: float


@dataclass(frozen=True, slots=True)
class Person:
    """A person who has faces."""

    id: int
    name: str | None


class People:
    """Who was found."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def last_census(self) -> Census | None:
        """The census in force."""
        row = self._db.execute("select * from censuses order by id desc limit 1").fetchone()
        return Census(**{key: row[key] for key in row.keys()}) if row else None  # noqa: SIM118

    def arrivals(self, parameters: str) -> Arrivals:
        """What has come since the last census; everything, if it used other parameters."""
        census = self.last_census()
        since = census.last_face if census and census.parameters == parameters else 0
        count = census.faces if census else 0
        row = self._db.execute(
            "select min(added_at) as oldest, max(added_at) as newest from faces where id > ?",
            (since,),
        ).fetchone()
        total = self._db.execute("select count(*) from faces").fetchone()[0]
        # Fewer faces than the census knew: a video was forgotten.
        stale = row["newest"] is not None or total < count
        return Arrivals(stale, row["oldest"] or 0.0, row["newest"] or 0.0)

    def record(
        self,
        face_ids: NDArray[np.int64],
        labels: NDArray[np.int32],
        persons: Mapping[int, int],
        parameters: str,
        seconds: float,
        now_s: float,
    ) -> Census:
        """Put a grouping in force, in one transaction.

        Args:
            face_ids: Shape ``(n,)``, rising.
            labels: Shape ``(n,)``; the cluster of each face, -1 for noise.
            persons: Known person by cluster; other clusters become new people.
            parameters: What it was grouped with.
            seconds: What the grouping took.
            now_s: When.
        """
        with self._db.transaction():
            person_of = dict(persons)
            for label in np.unique(labels[labels >= 0]).tolist():
                if label not in person_of:
                    row = self._db.execute(
                        "insert into people (created_at) values (?) returning id", (now_s,)
                    ).fetchone()
                    person_of[label] = row["id"]
            wanted = np.array([person_of.get(label, 0) for label in labels.tolist()], np.int64)
            present = {
                row["id"]: row["person_id"] or 0
                for row in self._db.execute("select id, person_id from faces")
            }
            moved = [
                (person or None, face)
                for face, person in zip(face_ids.tolist(), wanted.tolist(), strict=True)
                # A face that was forgotten while the census ran is not brought back.
                if face in present and present[face] != person
            ]
            self._db.executemany("update faces set person_id = ? where id = ?", moved)
            churn = sum(1 for person, face in moved if present[face] and person)
            row = self._db.execute(
                """
                insert into censuses (parameters, last_face, faces, people, unassigned, churn,
                    seconds, finished_at)
                values (?, ?, ?, ?, ?, ?, ?, ?) returning *
                """,
                (
                    parameters,
                    int(face_ids[-1]) if len(face_ids) else 0,
                    len(face_ids),
                    len(set(person_of.values())),
                    int((wanted == 0).sum()),
                    churn,
                    seconds,
                    now_s,
                ),
            ).fetchone()
        return Census(**{key: row[key] for key in row.keys()})  # noqa: SIM118

    def present(self) -> list[Person]:
        """People who have at least one face, by id."""
        rows = self._db.execute(
            """
            select id, name from people
            where exists (select 1 from faces where person_id = people.id) order by id
            """
        )
        return [Person(row["id"], row["name"]) for row in rows]

    def last_publication(self) -> tuple[int, str]:
        """The census and the look that the people tree was last made from; (0, "") if never."""
        row = self._db.execute("select census_id, look from publications").fetchone()
        return (row["census_id"], row["look"]) if row else (0, "")

    def note_publication(self, census_id: int, look: str, now_s: float) -> None:
        """The people tree now shows this census."""
        self._db.execute(
            """
            insert into publications values (1, ?, ?, ?) on conflict (id) do update set
                census_id = excluded.census_id, look = excluded.look,
                finished_at = excluded.finished_at
            """,
            (census_id, look, now_s),
        )
