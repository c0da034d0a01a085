"""People, and the grouping runs that found them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Literal

from portraitd.model.person import CarriedOver
from portraitd.model.suggestion import SHOWN_PROBABILITY, Suggestion
from portraitd.store.database import Database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Unit = Literal["faces", "tracks"]
"""What a grouping treats as one item."""


@dataclass(frozen=True, slots=True)
class GroupingRun:
    """One grouping of all faces, with its figures.

    Attributes:
        id: Rising.
        parameters: The settings it used.
        last_id: The newest face or track it included.
        faces, tracks: How many it included.
        people: People with a face.
        unassigned: Faces without a person.
        churn: Faces that had a person and have another one now, or none.
        names_lost: People with a name who have no face left; must be 0.
        violations: Faces of one person in one frame, beyond the first; must be 0.
        seconds: How long it took.
        finished_at: When.
        snapshot: Name of the file that the next grouping continues from.
        ledger_id: The newest ledger entry it applied.
        forced: As violations, but where edits put both faces there.
        indistinct_faces: Faces of people whom the model cannot tell apart; most have no person.
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
    indistinct_faces: int = 0

    @property
    def unit(self) -> Unit:
        """What ``last_id`` is the id of: a face or a track."""
        # A rebuild clears the parameters of the grouping run that it made obsolete; the first
        # versions wrote other ones.
        parameters = json.loads(self.parameters) if self.parameters else []
        method = parameters[0] if isinstance(parameters, list) and parameters else ""
        return "faces" if method == "dbscan" else "tracks"


@dataclass(frozen=True, slots=True, eq=False)
class PersonAssignment:
    """Result of a grouping: the person of each face or track.

    Attributes:
        unit: Whether ``ids`` are those of faces or of tracks.
        ids: Shape ``(n,)``, rising.
        carried: The person of each, and what became of people.
        parameters: The settings it used.
        snapshot: Name of the file that the next grouping continues from.
        suggestions: Pairs of people who may be one person.
        ledger_id: The newest ledger entry it applied.
        is_pinned: Shape ``(n,)``; which of them an edit assigned. None for none.
        indistinct_people: People whom the model cannot tell from others.
        indistinct_faces: How many faces were kept apart for that reason, with or without a person.
        near_misses: Tracks without a person, each with whom it may show and the probability.
        newcomers: Tracks without a person that probably show someone new, each with the number of
            its group.
    """

    unit: Unit
    ids: NDArray[np.int64]
    carried: CarriedOver
    parameters: str
    snapshot: str = ""
    suggestions: Sequence[Suggestion] = ()
    ledger_id: int = 0
    is_pinned: NDArray[np.bool_] | None = None
    indistinct_people: Sequence[int] = ()
    indistinct_faces: int = 0
    near_misses: Sequence[tuple[int, int, float]] = ()
    newcomers: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Faces and edits that no grouping with these parameters has included.

    Attributes:
        stale: Whether there are any, or the grouping included faces that are deleted.
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
    """Reads people, and records groupings."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def last_grouping_run(self) -> GroupingRun | None:
        """Return the current grouping; None if there is none."""
        row = self._db.read_row("select * from grouping_runs order by id desc limit 1")
        return _grouping_run(row) if row else None

    def arrivals(self, parameters: str, unit: Unit) -> Arrivals:
        """Return what is new since the last grouping; everything, if it used other parameters."""
        grouping_run = self.last_grouping_run()
        since = (
            grouping_run.last_id if grouping_run and grouping_run.parameters == parameters else 0
        )
        known = grouping_run and (grouping_run.faces if unit == "faces" else grouping_run.tracks)
        newer = {
            "faces": """
                select min(added_at) as oldest, max(added_at) as newest,
                    (select count(*) from grouped_faces) as total
                from grouped_faces where id > ?
                """,
            "tracks": """
                select min(added_at) as oldest, max(added_at) as newest,
                    (select count(*) from grouped_tracks) as total
                from (
                    -- One that is being processed has new tracks since its last slice.
                    select coalesce(videos.finished_at,
                        (select max(finished_at) from slices where video_id = videos.id)
                    ) as added_at
                    from grouped_tracks as tracks join videos on videos.id = video_id
                    where tracks.id > ?
                )
                """,
        }
        row = self._db.read_row(newer[unit], (since,))
        edits = self._db.read_row(
            "select min(at) as oldest, max(at) as newest from ledger where id > ?",
            (grouping_run.ledger_id if grouping_run else 0,),
        )
        # Fewer than the grouping included: a video was erased, or a face excluded.
        stale = row["total"] < (known or 0)
        times = [one for one in (*row[:2], *edits) if one is not None]
        return Arrivals(stale or bool(times), min(times, default=0.0), max(times, default=0.0))

    def next_id(self) -> int:
        """Return the lowest id that no person ever had."""
        row = self._db.execute("select seq from sqlite_sequence where name = 'people'").fetchone()
        return (row["seq"] if row else 0) + 1

    def kept(self) -> list[int]:
        """Return the people who must not disappear: named, locked or ignored ones."""
        rows = self._db.execute(
            """
            select id from people
            where (name is not null or locked or ignored) and merged_into is null
            """
        )
        return [row["id"] for row in rows]

    def ignored(self) -> set[int]:
        """Return the ignored people."""
        return {row["id"] for row in self._db.execute("select id from people where ignored")}

    def record(self, grouped: PersonAssignment, seconds: float, now_s: float) -> GroupingRun:
        """Make a grouping the current one, in one transaction.

        Args:
            grouped: Its result.
            seconds: How long it took.
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
            self._db.execute("drop table assigned")
            self._db.execute("delete from merge_candidates")
            self._db.executemany(
                "insert into merge_candidates values (?, ?, ?, ?)",
                [astuple(suggestion) for suggestion in grouped.suggestions],
            )
            self._db.execute("delete from near_misses")
            self._db.executemany(
                "insert into near_misses select ?1, ?2, ?3 from tracks where id = ?1",
                grouped.near_misses,
            )
            self._db.execute("delete from newcomers")
            self._db.executemany(
                "insert into newcomers select ?1, ?2 from tracks where id = ?1", grouped.newcomers
            )
            self._db.execute("delete from indistinct_people")
            self._db.executemany(
                "insert into indistinct_people values (?)",
                [(person,) for person in grouped.indistinct_people],
            )
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
                    forced, indistinct_faces)
                values (?, ?,
                    coalesce(?, (select count(*) from grouped_faces)),
                    coalesce(?, (select count(*) from grouped_tracks)),
                    (select count(distinct person_id) from faces),
                    (select count(*) from faces where person_id is null and hidden not in (1, 3, 4)
                        and video_id not in (select id from videos where replaces is not null)),
                    ?, ?, ?, ?, ?, ?, ?, ?, ?)
                returning *
                """,
                (
                    grouped.parameters,
                    int(grouped.ids[-1]) if len(grouped.ids) else 0,
                    # The number it included: an erasure in the meantime makes it stale.
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
                    grouped.indistinct_faces,
                ),
            ).fetchone()
        return _grouping_run(row)

    def _move(self, grouped: PersonAssignment) -> None:
        """Give every face its person; write only where that differs."""
        persons = [person or None for person in grouped.carried.people.tolist()]
        no_edits = [False] * len(persons)
        is_pinned = no_edits if grouped.is_pinned is None else grouped.is_pinned.tolist()
        rows = list(zip(grouped.ids.tolist(), persons, is_pinned, strict=True))
        self._db.execute(
            """
            create temp table assigned
                (id integer primary key, person_id integer, is_pinned integer)
            """
        )
        self._db.executemany("insert into assigned values (?, ?, ?)", rows)
        moves = {
            "faces": """
                update faces set person_id = assigned.person_id from assigned
                where assigned.id = faces.id and faces.person_id is not assigned.person_id
                """,
            "tracks": """
                update faces set person_id = assigned.person_id from assigned
                where assigned.id = faces.track_id and faces.person_id is not assigned.person_id
                """,
        }
        self._db.execute(moves[grouped.unit])

    def _twice_in_a_frame(self, unit: Unit) -> tuple[int, int]:
        """Return how many faces are not the first of their person in a frame, and how many
        of those were pinned there.
        """
        joins = {
            "faces": "left join assigned on assigned.id = faces.id",
            "tracks": "left join assigned on assigned.id = faces.track_id",
        }
        row = self._db.execute(
            f"""
            select coalesce(sum(n - 1), 0), coalesce(sum(max(0, pinned - 1)), 0) from (
                select count(*) as n, total(is_pinned) as pinned from faces {joins[unit]}
                where faces.person_id is not null
                group by video_id, t_s, faces.person_id having n > 1)
            """  # noqa: S608 - one of two constants
        ).fetchone()
        return int(row[0]), int(row[1])

    def suggestions(self, least: float = SHOWN_PROBABILITY) -> list[Suggestion]:
        """Return pairs of people who may be one person, the most likely first.

        Args:
            least: Without less likely pairs.
        """
        rows = self._db.execute(
            """
            select lower_id, higher_id, distance, probability from merge_candidates
            where probability >= ? order by probability desc, distance, lower_id, higher_id
            """,
            (least,),
        )
        return [Suggestion(*row) for row in rows]

    def indistinct(self) -> set[int]:
        """Return the people whom the model cannot tell from others."""
        rows = self._db.execute("select person_id from indistinct_people")
        return {row["person_id"] for row in rows}

    def empty(self) -> set[int]:
        """Return people without a face: all of theirs were assigned elsewhere or excluded."""
        rows = self._db.execute(
            """
            select id from people
            where not exists (select 1 from faces where person_id = people.id)
            """
        )
        return {row["id"] for row in rows}

    def count(self) -> int:
        """Return how many people have at least one face in a recording."""
        sql = """
            select count(*) from people
            where exists (select 1 from faces where person_id = people.id and hidden <> 3)
            """
        return int(self._db.execute(sql).fetchone()[0])

    def known_only(self) -> list[Person]:
        """Return the people whom reference pictures show, and no recording does, by id."""
        rows = self._db.execute(
            """
            select distinct people.id, name from faces join people on people.id = faces.person_id
            where faces.video_id in (select id from videos where is_reference)
                and not exists (select 1 from faces as other
                    where other.person_id = people.id and other.hidden <> 3)
            order by people.id
            """
        )
        return [Person(row["id"], row["name"]) for row in rows]

    def present(self) -> list[Person]:
        """Return the people who have at least one face, by id."""
        rows = self._db.execute(
            """
            select id, name from people
            where exists (select 1 from faces where person_id = people.id) order by id
            """
        )
        return [Person(row["id"], row["name"]) for row in rows]


def _grouping_run(row: sqlite3.Row) -> GroupingRun:
    return GroupingRun(**{key: row[key] for key in GroupingRun.__dataclass_fields__})
