"""Find a video or photo by what a user writes: a path, or the start of its SHA-256."""

from __future__ import annotations

import os

from portraitd.model.errors import ConfigError
from portraitd.store.database import Database


def find_video(database: Database, word: str) -> int:
    """Return the id of a video or photo.

    Args:
        database: The store.
        word: Its path in the inbox, its absolute path, or the start of its SHA-256.

    Raises:
        ConfigError: No video, or more than one, matches.
    """
    rows = database.execute(
        """
        select distinct video_id as id from files
        where video_id is not null and (path = ?1 or root || x'2f' || path = ?1)
        """,
        (os.fsencode(word),),
    ).fetchall()
    if not rows and len(word) >= 8:
        rows = database.execute(
            """
            select id from videos where replaces is null and (substr(sha256, 1, ?1) = ?2
                or id in (select video_id from files where substr(content_sha256, 1, ?1) = ?2))
            """,
            (len(word), word.lower()),
        ).fetchall()
    if not rows:
        raise ConfigError(
            f"there is no video {word!r}; write its path as `portraitd faces` shows it, or "
            "the start of its SHA-256"
        )
    if len(rows) > 1:
        raise ConfigError(f"{word!r} may be {len(rows)} videos; write more of the SHA-256")
    return int(rows[0]["id"])


def find_by_content(database: Database, start: str) -> list[int]:
    """Return the videos and photos whose SHA-256 starts like this, without reference pictures."""
    rows = database.execute(
        """
        select id from videos where replaces is null and not is_reference
            and substr(sha256, 1, ?) = ?
        """,
        (len(start), start),
    )
    return [row["id"] for row in rows]


def find_by_file_name(database: Database, name: str) -> list[int]:
    """Return the videos and photos with a file of this name.

    Args:
        database: The store.
        name: A path in the inbox, or the end of one; whole names of files and folders.
    """
    rows = database.execute(
        """
        select distinct video_id, path from files
        where video_id is not null and not is_reference and state <> 'duplicate'
        """
    ).fetchall()
    wanted = os.fsencode(name.replace("\\", "/").lstrip("/"))
    exact = {row["video_id"] for row in rows if bytes(row["path"]) == wanted}
    ends = {row["video_id"] for row in rows if bytes(row["path"]).endswith(b"/" + wanted)}
    return sorted(exact or ends)
