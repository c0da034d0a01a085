"""People and the grouping_runs that found them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from portraitd.model.person import CarriedOver
from portraitd.store.database import Database

Unit = Literal["faces", "tracks"]
"""What a grouping counts as one."""


@dataclass(frozen=True, slots=True)
class GroupingRun:
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
        snapshot: Name of the file that the next grouping goes on from.
        ledger_id: The newest row of the ledger it knew.
        forced: As violations, but because somebody put both there.
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
    snapshot: str
    ledger_id: int = 0
    forced: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class PersonAssignment:
    """Who everybody is, as a grouping says.

    Attributes:
        unit: Whether ``ids`` are those of faces or of tracks.
        ids: Shape ``(n,)``, rising.
        carried: The person of each, and what became of people.
        parameters: What it was grouped with.
        snapshot: Name of the file that the next grouping goes on from.
        close: Two people, and the distance between them, who may be one.
        ledger_id: The newest row of the ledger it knew.
        told: Shape ``(n,)``; which of them somebody placed. None for none.
    """

    unit: Unit
    ids: NDArray[np.int64]
    carried: CarriedOver
    parameters: str
    snapshot: str = ""
    close: Sequence[tuple[int, int, float]] = ()
    ledger_id: int = 0
    told: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Faces that no grouping with these parameters has seen.

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

    def last_grouping_run(self) -> GroupingRun | None:
        """The grouping in force."""
        row = self._db.execute("select * from grouping_runs order by id desc limit 1").fetchone()
        return _census(row) if row else None

    def arrivals(self, parameters: str, unit: Unit) -> Arrivals:
        """What has come since the last grouping; everything, if it used other parameters."""
        grouping_run = self.last_grouping_run()
        since = (
            grouping_run.last_id if grouping_run and grouping_run.parameters == parameters else 0
        )
        known = grouping_run and (grouping_run.faces if unit == "faces" else grouping_run.tracks)
        # The two statements differ in their table; both are written out to be read.
        newer = {
            "faces": """
                select min(added_at) as oldest, max(added_at) as newest,
                    (select count(*) from grouped_faces) as total
                from grouped_faces where id > ?
                """,
            "tracks": """
                select min(videos.finished_at) as oldest, max(videos.finished_at) as newest,
                    (select count(*) from grouped_tracks) as total
                from grouped_tracks as tracks join videos on videos.id = video_id
                where tracks.id > ?
                """,
        }
        row = self._db.execute(newer[unit], (since,)).fetchone()
        said = self._db.execute(
            "select min(at) as oldest, max(at) as newest from ledger where id > ?",
            (grouping_run.ledger_id if grouping_run else 0,),
        ).fetchone()
        # Fewer than the grouping knew: a video was forgotten, or a face excluded.
        stale = row["total"] < (known or 0)
        times = [one for one in (*row[:2], *said) if one is not None]
        return Arrivals(stale or bool(times), min(times, default=0.0), max(times, default=0.0))

    def next_id(self) -> int:
        """The lowest id that no person ever had."""
        row = self._db.execute("select seq from sqlite_sequence where name = 'people'").fetchone()
        return (row["seq"] if row else 0) + 1

    def kept(self) -> list[int]:
        """People who have a name, are locked or are ignored."""
        rows = self._db.execute(
            """
            select id from people
            where (name is not null or locked or ignored) and merged_into is null
            """
        )
        return [row["id"] for row in rows]

    def ignored(self) -> set[int]:
        """People who were put out of sight."""
        return {row["id"] for row in self._db.execute("select id from people where ignored")}

    def record(self, grouped: PersonAssignment, seconds: float, now_s: float) -> GroupingRun:
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
            twice, forced = self._twice_in_a_frame(grouped.unit)
            self._db.execute("drop table wanted")
            self._db.execute("delete from merge_candidates")
            self._db.executemany("insert into merge_candidates values (?, ?, ?)", grouped.close)
            self._db.execute(
                """
                update people set merged_into = null where merged_into is not null
                    and exists (select 1 from faces where person_id = people.id)
                """
            )
            row = self._db.execute(
                """
                insert into grouping_runs (parameters, last_id, faces, tracks, people, unassigned,
                    churn, names_lost, violations, seconds, finished_at, snapshot, ledger_id,
                    forced)
                values (?, ?,
                    coalesce(?, (select count(*) from grouped_faces)),
                    coalesce(?, (select count(*) from grouped_tracks)),
                    (select count(distinct person_id) from faces),
                    (select count(*) from faces where person_id is null and hidden <> 1
                        and video_id not in (select id from videos where replaces is not null)),
                    ?, ?, ?, ?, ?, ?, ?, ?)
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
                    twice - forced,
                    seconds,
                    now_s,
                    grouped.snapshot,
                    grouped.ledger_id,
                    forced,
                ),
            ).fetchone()
        return _census(row)

    def _move(self, grouped: PersonAssignment) -> None:
        """Give every face the person it belongs to now; write only where that differs."""
        persons = [person or None for person in grouped.carried.people.tolist()]
        told = grouped.told if grouped.told is not None else np.zeros(len(grouped.ids), np.bool_)
        rows = list(zip(grouped.ids.tolist(), persons, told.tolist(), strict=True))
        self._db.execute(
            "create temp table wanted (id integer primary key, person_id integer, told integer)"
        )
        self._db.executemany("insert into wanted values (?, ?, ?)", rows)
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

    def _twice_in_a_frame(self, unit: Unit) -> tuple[int, int]:
        """Faces of one person in one frame, beyond the first; and those that were put there."""
        told = {
            "faces": "left join wanted on wanted.id = faces.id",
            "tracks": "left join wanted on wanted.id = faces.track_id",
        }
        row = self._db.execute(
            f"""
            select coalesce(sum(n - 1), 0), coalesce(sum(max(0, placed - 1)), 0) from (
                select count(*) as n, total(told) as placed from faces {told[unit]}
                where faces.person_id is not null
                group by video_id, t_s, faces.person_id having n > 1)
            """  # noqa: S608 - one of two constants
        ).fetchone()
        return int(row[0]), int(row[1])

    def close(self) -> list[tuple[int, int, float]]:
        """Pairs of people who may be one, and the distance between them, the nearest first."""
        rows = self._db.execute("select * from merge_candidates order by distance")
        return [tuple(row) for row in rows]

    def empty(self) -> set[int]:
        """People who hold no face now: everything of theirs was placed elsewhere or hidden."""
        rows = self._db.execute(
            """
            select id from people where not exists (select 1 from faces where person_id = people.id)
            """
        )
        return {row["id"] for row in rows}

    def count(self) -> int:
        """Return how many people have at least one face."""
        sql = """
            select count(*) from people
            where exists (select 1 from faces where person_id = people.id)
            """
        return int(self._db.execute(sql).fetchone()[0])

    def present(self) -> list[Person]:
        """People who have at least one face, by id."""
        rows = self._db.execute(
            """
            select id, name from people
            where exists (select 1 from faces where person_id = people.id) order by id
            """
        )
        return [Person(row["id"], row["name"]) for row in rows]


def _census(row: sqlite3.Row) -> GroupingRun:
    return GroupingRun(**{key: row[key] for key in GroupingRun.__dataclass_fields__})
