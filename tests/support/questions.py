"""A home that asks its reviewers, and what they do with the pictures."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from portraitd.people.tree.card_folder import find_key
from support.home import Home, connect


def leave_open(
    home: Home,
    pairs: dict[tuple[int, int], float],
    misses: dict[int, int] | None = None,
    newcomer: Collection[int] = (),
) -> None:
    """Have the last grouping leave pairs of people open, faces by the person they may show, and
    faces that may show someone new.
    """
    with closing(sqlite3.connect(home.settings.state_dir / "portraitd.sqlite3")) as db, db:
        for (one, other), probability in pairs.items():
            row = (one, other, 0.5, probability)
            db.execute("insert or replace into merge_candidates values (?, ?, ?, ?)", row)
        for face, person in (misses or {}).items():
            db.execute(
                """
                insert or replace into near_misses
                select track_id, ?, 0.9 from faces where id = ?
                """,
                (person, face),
            )
        for face in newcomer:
            db.execute(
                "insert or replace into newcomers select track_id, 1 from faces where id = ?",
                (face,),
            )


def unsorted_faces(home: Home) -> list[int]:
    """Return the best face of each track without a person."""
    with closing(connect(home.settings.state_dir)) as db:
        rows = db.execute(
            """
            select best_face_id from tracks join faces on faces.id = best_face_id
            where person_id is null order by 1
            """
        )
        return [row[0] for row in rows]


def questions_dir(home: Home) -> Path:
    return home.people / "_questions"


def cards(home: Home) -> list[Path]:
    """Return the pictures in the folder, in the order of their names."""
    return sorted(questions_dir(home).glob("*.jpg"))


def answered(home: Home) -> list[Path]:
    """Return what is in the two folders for answers."""
    return sorted(path for path in questions_dir(home).glob("*/*") if path.is_file())


def deferred(home: Home) -> list[str]:
    """Return the questions that were put off."""
    with closing(connect(home.settings.state_dir)) as db:
        return [row[0] for row in db.execute("select key from deferred_questions order by key")]


def read_key(home: Home, card: Path) -> str:
    """Return the key of a question from its picture."""
    with closing(connect(home.settings.state_dir)) as db:
        (store,) = db.execute("select name from store_name").fetchone()
    return find_key(card.read_bytes(), store) or ""
