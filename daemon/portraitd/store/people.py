"""People and the censuses that found them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from portraitd.grouping.identity import CarriedOver
from portraitd.store.database import Database

Unit = Literal["faces", "tracks"]
"""What a census counts as one."""


@dataclass(frozen=True, slots=True)
class Census:
    """What one grouping of all faces came to.

    Attributes:
        id: Rising.
        parameters: What it was grouped with.
        last_id: The newest face or track it knew.
        faces, tracks: How many there were.
        people: People with a face.
        unassigned: Faces of nobody.
        churn: Faces that had a person and have another one, or none.
        names_lost: People with a name who have no face any more; must be 0.
        violations: Faces of one person in one frame, beyond the first; must be 0.
        seconds: What it took.
        finished_at: When.
        memory: Name of the file that the next census goes on from.
    """

    id: int
    parameters: str
    last_id: int
    faces: int
    tracks: int
    people: int
    unassigned: int
    churn: int
    names_lost: int
    violations: int
    seconds: float
    finished_at: float
    memory: str


@dataclass(frozen=True, slots=True, eq=False)
class Grouped:
    """Who everybody is, as a census says.

    Attributes:
        unit: Whether ``ids`` are those of faces or of tracks.
        ids: Shape ``(n,)``, rising.
        carried: The person of each, and what became of people.
        parameters: What it was grouped with.
        memory: Name of the file that the next census goes on from.
        close: Two people, and the distance between them, who may be one.
    """

    unit: Unit
    ids: NDArray[np.int64]
    carried: CarriedOver
    parameters: str
    memory: str = ""
    close: Sequence[tuple[int, int, float]] = ()


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
        return _census(row) if row else None

    def arrivals(self, parameters: str, unit: Unit) -> Arrivals:
        """What has come since the last census; everything, if it used other parameters."""
        census = self.last_census()
        since = census.last_id if census and census.parameters == parameters else 0
        known = census and (census.faces if unit == "faces" else census.tracks)
        # The two statements differ in their table; both are written out to be read.
        newer = {
            "faces": """
                select min(added_at) as oldest, max(added_at) as newest,
                    (select count(*) from faces) as total
                from faces where id > ?
                """,
            "tracks": """
                select min(videos.finished_at) as oldest, max(videos.finished_at) as newest,
                    (select count(*) from tracks) as total
                from tracks join videos on videos.id = video_id where tracks.id > ?
                """,
        }
        row = self._db.execute(newer[unit], (since,)).fetchone()
        # Fewer than the census knew: a video was forgotten.
        stale = row["newest"] is not None or row["total"] < (known or 0)
        return Arrivals(stale, row["oldest"] or 0.0, row["newest"] or 0.0)

    def next_id(self) -> int:
        """The lowest id that no person ever had."""
        row = self._db.execute("select seq from sqlite_sequence where name = 'people'").fetchone()
        return (row["seq"] if row else 0) + 1

    def kept(self) -> list[int]:
        """People who have a name or are locked."""
        rows = self._db.execute("select id from people where name is not null or locked")
        return [row["id"] for row in rows]

    def record(self, grouped: Grouped, seconds: float, now_s: float) -> Census:
        """Put a grouping in force, in one transaction.

        Args:
            grouped: Who everybody is.
            seconds: What the grouping took.
            now_s: When.
        """
        carried = grouped.carried
        with self._db.transaction():
            self._db.executemany(
                "insert into people (id, created_at, split_from) values (?, ?, ?)",
                [
                    (person, now_s, carried.split_from.get(person))
                    for person in range(self.next_id(), carried.next_id)
                ],
            )
            self._db.executemany(
                "update people set merged_into = ? where id = ?",
                [(heir, person) for person, heir in carried.merged_into.items()],
            )
            self._move(grouped)
            self._db.execute("delete from close_people")
            self._db.executemany("insert into close_people values (?, ?, ?)", grouped.close)
            self._db.execute(
                """
                update people set merged_into = null where merged_into is not null
                    and exists (select 1 from faces where person_id = people.id)
                """
            )
            row = self._db.execute(
                """
                insert into censuses (parameters, last_id, faces, tracks, people, unassigned,
                    churn, names_lost, violations, seconds, finished_at, memory)
                values (?, ?,
                    coalesce(?, (select count(*) from faces)),
                    coalesce(?, (select count(*) from tracks)),
                    (select count(distinct person_id) from faces),
                    (select count(*) from faces where person_id is null),
                    ?, ?,
                    (select coalesce(sum(n - 1), 0) from (
                        select count(*) as n from faces where person_id is not null
                        group by video_id, t_s, person_id having n > 1)),
                    ?, ?, ?)
                returning *
                """,
                (
                    grouped.parameters,
                    int(grouped.ids[-1]) if len(grouped.ids) else 0,
                    # As many as it knew: what was forgotten meanwhile makes it stale.
                    len(grouped.ids) if grouped.unit == "faces" else None,
                    len(grouped.ids) if grouped.unit == "tracks" else None,
                    carried.churn,
                    len(carried.names_lost),
                    seconds,
                    now_s,
                    grouped.memory,
                ),
            ).fetchone()
        return _census(row)

    def _move(self, grouped: Grouped) -> None:
        """Give every face the person it belongs to now; write only where that differs."""
        persons = [person or None for person in grouped.carried.people.tolist()]
        pairs = list(zip(grouped.ids.tolist(), persons, strict=True))
        self._db.execute("create temp table wanted (id integer primary key, person_id integer)")
        self._db.executemany("insert into wanted values (?, ?)", pairs)
        moves = {
            "faces": """
                update faces set person_id = wanted.person_id from wanted
                where wanted.id = faces.id and faces.person_id is not wanted.person_id
                """,
            "tracks": """
                update faces set person_id = wanted.person_id from wanted
                where wanted.id = faces.track_id and faces.person_id is not wanted.person_id
                """,
        }
        self._db.execute(moves[grouped.unit])
        self._db.execute("drop table wanted")

    def close(self) -> list[tuple[int, int, float]]:
        """Pairs of people who may be one, and the distance between them, the nearest first."""
        rows = self._db.execute("select * from close_people order by distance")
        return [tuple(row) for row in rows]

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


def _census(row: sqlite3.Row) -> Census:
    return Census(**{key: row[key] for key in Census.__dataclass_fields__})
