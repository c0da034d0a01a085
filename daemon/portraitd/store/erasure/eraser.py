"""Erasure of people, videos and everything older than a day, so that no byte of a face stays.

One transaction deletes the rows, writes the tombstones, and lists what is still to be removed
outside the database. That list survives a crash.
"""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from portraitd.model.edit import Hidden
from portraitd.model.errors import ConfigError, StoreError
from portraitd.model.face import Box
from portraitd.model.fingerprints import content_stem, frame_stem, hash_ending
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.store.corrections.face_fingerprints import CONTENT_SQL, CONTENTS_SQL
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database
from portraitd.store.erasure.redaction import Redaction
from portraitd.store.erasure.tombstones import Tombstones
from portraitd.store.files import display_path
from portraitd.store.video_lookup import find_video

MAX_DIGITS = 19
"""Number of digits of the largest integer that SQLite can hold."""


RETENTION = "retention"
"""The scope of videos that are erased because of their age."""


@dataclass(frozen=True, slots=True)
class ErasureScope:
    """What an erasure will delete.

    Attributes:
        what: ``person``, ``video``, ``before``, ``restored`` or ``retention``; never a name, as it
            is logged. What ``retention`` erases may be dropped in again.
        face_ids: Faces, rising.
        video_ids: Whole videos, rising.
        person_ids: People whose names are deleted.
        names: People or paths, as the operator is shown them.
    """

    what: str
    face_ids: tuple[int, ...]
    video_ids: tuple[int, ...] = ()
    person_ids: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.face_ids or self.video_ids or self.person_ids)


@dataclass(frozen=True, slots=True)
class PendingErasure:
    """An erasure that has yet to reach files outside the database.

    Attributes:
        what: As in ``ErasureScope``.
        endings: By face, the hash by which the file of its portrait is recognised.
        stems: Stems of the pictures to remove from training sets and kept frames.
    """

    id: int
    what: str
    endings: dict[int, bytes]
    stems: tuple[str, ...]


class Eraser:
    """Finds what to erase, and deletes it from the database."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._tombstones = Tombstones(database)
        self._redaction = Redaction(database)

    @property
    def database(self) -> Database:
        """Return the store in which it erases."""
        return self._db

    @property
    def store(self) -> str:
        """Name of the database; see ``Database.name``."""
        return self._db.name

    def person(self, word: str) -> ErasureScope:
        """Return the scope of the person with a number, or of all people with a name.

        A word of digits is always a number, never a name.

        Raises:
            ConfigError: No person has this name or number, or a name has two spellings.
        """
        found = self._find_people(word)
        people = [row["id"] for row in found]
        # People who were merged into this one, directly or not, are the same human.
        for merged in self._db.execute(
            "select id, merged_into from people where merged_into is not null order by id desc"
        ).fetchall():
            if merged["merged_into"] in people and merged["id"] not in people:
                people.append(merged["id"])
        faces = [
            row["id"]
            for person in people
            for row in self._db.execute("select id from faces where person_id = ?", (person,))
        ]
        faces += self._excluded_from(frozenset(people))
        names = tuple(row["name"] or f"person {row['id']}" for row in found)
        return ErasureScope("person", tuple(sorted(set(faces))), (), tuple(sorted(people)), names)

    def _find_people(self, word: str) -> list[sqlite3.Row]:
        if word.isascii() and word.isdecimal():
            # A longer number is none that SQLite can hold.
            number = int(word) if len(word) < MAX_DIGITS else 0
            query = "select id, name from people where id = ?"
            found = self._db.execute(query, (number,)).fetchall()
            if found:
                return found
            named = self._people_named(word, _composed)
            hint = f"; person {named[0]['id']} has this name" if named else ""
            raise ConfigError(f"there is no person with the number {word}{hint}")
        found = self._people_named(word, _composed)
        if found:
            return found
        found = self._people_named(word, _caseless)
        if not found:
            raise ConfigError(f"there is no person {word!r}; `portraitd faces` lists them")
        if len({row["name"] for row in found}) > 1:
            numbers = ", ".join(str(row["id"]) for row in found)
            raise ConfigError(f"{word!r} matches several people; give a number: {numbers}")
        return found

    def _people_named(self, word: str, normalize: Callable[[str], str]) -> list[sqlite3.Row]:
        rows = self._db.execute(
            "select id, name from people where name is not null order by id"
        ).fetchall()
        return [row for row in rows if normalize(row["name"]) == normalize(word)]

    def erased_people(self) -> set[int]:
        """Return the numbers of all erased people."""
        return {
            row["id"]
            for row in self._db.execute(
                "select id, created_at from people where name is null"
            ).fetchall()
            if self._tombstones.has_person(row["id"], row["created_at"])
        }

    def erased_classes(self) -> set[int]:
        """Return the class numbers of all erased people; they are never given again."""
        rows = self._db.execute(
            """
            select class_id from class_holders join classes on classes.id = class_id
            where person_id is null and name = '' and kind = 'person'
            """
        )
        return {row["class_id"] for row in rows.fetchall()}

    def video(self, word: str) -> ErasureScope:
        """Return the scope of a video.

        Args:
            word: Its path in the inbox, its absolute path, or the start of its SHA-256.

        Raises:
            ConfigError: No video, or more than one, matches.
        """
        return self._videos("video", [find_video(self._db, word)])

    def before(self, limit_s: float, what: str = "before") -> ErasureScope:
        """Return the scope of all videos that were added before a time, in seconds since 1970."""
        rows = self._db.execute(
            "select id from videos where added_at < ? and replaces is null order by id", (limit_s,)
        )
        return self._videos(what, [row["id"] for row in rows.fetchall()])

    def count_videos(self) -> int:
        """Return the number of videos that ``before`` chooses from."""
        row = self._db.execute("select count(*) from videos where replaces is null").fetchone()
        return int(row[0])

    def newest_s(self) -> float:
        """Return when a file last changed its state, in seconds since 1970; 0 without a file."""
        row = self._db.execute("select max(changed_at) from files").fetchone()
        return float(row[0] or 0.0)

    def restored(self) -> ErasureScope:
        """Return the scope of what an old backup brought back although it was erased."""
        if self._db.execute("select 1 from tombstones limit 1").fetchone() is None:
            return ErasureScope("restored", ())
        rows = self._db.execute("select id, sha256 from videos order by id").fetchall()
        gone = [row["id"] for row in rows if self._tombstones.has_content(row["sha256"])]
        whole = self._videos("restored", gone)
        faces = set(whole.face_ids)
        for row in self._face_rows(""):
            size_px = (row["width_px"], row["height_px"])
            # Exactly the same cells: a face next to them may be another person's.
            face = (row["sha256"], row["t_s"], _box(row), size_px)
            if self._tombstones.has_face(*face, nearby=False):
                faces.add(row["id"])
        people = [
            row["id"]
            for row in self._db.execute("select id, created_at from people").fetchall()
            if self._tombstones.has_person(row["id"], row["created_at"])
        ]
        return ErasureScope(
            "restored", tuple(sorted(faces)), whole.video_ids, tuple(people), whole.names
        )

    def erase(self, scope: ErasureScope, now_s: float, keep_days: float = 0.0) -> int:
        """Delete everything in a scope, in one transaction. Return the erasure's id.

        Args:
            scope: What to erase.
            now_s: The current time.
            keep_days: How long ``retention`` keeps videos.
        """
        with self._db.transaction():
            number = self._begin(scope, now_s)
            is_refused = scope.what != RETENTION
            self._erase_faces(scope.face_ids, number, now_s, is_refused)
            self._erase_faces(self._reprocessed_faces(), number, now_s)
            self._erase_videos(scope, number, now_s, keep_days)
            self._erase_people(scope, now_s)
            # The grouping snapshot was made of these faces too: the next one starts from scratch.
            self._db.execute("update grouping_runs set snapshot = ''")
            # The tree shows these faces: have it published again.
            self._db.execute("update publications set render_version = ''")
        return number

    def pending_erasures(self) -> list[PendingErasure]:
        """Return the erasures that have not reached every file yet, oldest first."""
        numbers = self._db.execute(
            "select id, what from erasures where finished_at is null order by id"
        ).fetchall()
        return [
            PendingErasure(
                row["id"],
                row["what"],
                {
                    entry["face_id"]: bytes(entry["ending"])
                    for entry in self._db.execute(
                        "select face_id, ending from erased_portraits where erasure_id = ?",
                        (row["id"],),
                    ).fetchall()
                },
                tuple(
                    entry["stem"]
                    for entry in self._db.execute(
                        "select stem from erased_pictures where erasure_id = ?", (row["id"],)
                    ).fetchall()
                ),
            )
            for row in numbers
        ]

    @property
    def pending(self) -> bool:
        """Whether an erasure has not reached every file yet."""
        row = self._db.execute("select 1 from erasures where finished_at is null limit 1")
        return row.fetchone() is not None

    def finish(self, number: int, now_s: float) -> None:
        """Record that an erasure has reached every file, and delete its list."""
        with self._db.transaction():
            self._db.execute("delete from erased_portraits where erasure_id = ?", (number,))
            self._db.execute("delete from erased_pictures where erasure_id = ?", (number,))
            self._db.execute("update erasures set finished_at = ? where id = ?", (now_s, number))

    def is_erased(self, sha256: str, t_s: float, box: Box) -> bool:
        """Return whether a portrait shows an erased face, by what its metadata says.

        This recognises copies of portraits that were made before the video was reprocessed and
        the face got another id.
        """
        if self._tombstones.has_content(sha256):
            return True
        video = self._db.execute("select * from videos where sha256 = ?", (sha256,)).fetchone()
        if video is None:
            return False
        size_px = (video["width_px"], video["height_px"])
        return self._tombstones.has_face(sha256, t_s, box, size_px)

    def has_face(self, face_id: int) -> bool:
        """Return whether the database holds a face."""
        found = self._db.execute("select 1 from faces where id = ?", (face_id,))
        return found.fetchone() is not None

    def truncate_journal(self) -> None:
        """Empty the write-ahead log, which holds copies of old pages.

        Raises:
            StoreError: Another process is reading, so the log must stay; try again.
        """
        busy = self._db.execute("pragma wal_checkpoint(truncate)").fetchone()[0]
        if busy:
            raise StoreError("the journal of the database is in use; an erasure waits for it")

    def _videos(self, what: str, video_ids: Sequence[int]) -> ErasureScope:
        faces: list[int] = []
        names: list[str] = []
        for video in video_ids:
            rows = self._db.execute("select id from faces where video_id = ?", (video,))
            faces += [row["id"] for row in rows]
            files = self._db.execute(
                "select path from files where video_id = ? order by state = 'duplicate', id",
                (video,),
            )
            names += [display_path(row["path"]) for row in files] or [f"video {video}"]
        return ErasureScope(what, tuple(sorted(faces)), tuple(video_ids), (), tuple(names))

    def _begin(self, scope: ErasureScope, now_s: float) -> int:
        people = len(scope.person_ids)
        row = self._db.execute(
            """
            insert into erasures (what, faces, videos, people, at) values (?, ?, ?, ?, ?)
            returning id
            """,
            (scope.what, len(scope.face_ids), len(scope.video_ids), people, now_s),
        ).fetchone()
        return int(row["id"])

    def _face_rows(self, condition: str, parameters: Sequence[int] = ()) -> list[sqlite3.Row]:
        columns = "faces.id, video_id, t_s, box_left, box_top, box_right, box_bottom"
        rows = self._db.execute(
            f"select {columns}, {CONTENT_SQL} as sha256, width_px, height_px "  # noqa: S608
            f"from faces join videos on videos.id = video_id {condition}",
            parameters,
        )
        return rows.fetchall()

    def _contents(self, video_id: int) -> list[str]:
        return [row[0] for row in self._db.execute(CONTENTS_SQL, (video_id,)).fetchall()]

    def _contents_of_files(self, video_id: int) -> list[str]:
        rows = self._db.execute(
            """
            select distinct content_sha256 from files
            where ?1 in (video_id, earlier_video_id) and content_sha256 <> ''
            """,
            (video_id,),
        )
        return [row[0] for row in rows.fetchall()]

    def _excluded_from(self, person_ids: frozenset[int]) -> list[int]:
        """Return faces that were excluded from these people's folders: they may be theirs."""
        corrections = Ledger(self._db).corrections()
        return [
            face_id
            for face_id, correction in corrections.by_face.items()
            if correction.hidden is Hidden.EXCLUDED
            and correction.previous_person_id is not None
            and corrections.current_person(correction.previous_person_id) in person_ids
        ]

    def _reprocessed_faces(self) -> list[int]:
        """Return the faces with a tombstone in videos that are being reprocessed."""
        if self._db.execute("select 1 from videos where replaces is not null").fetchone() is None:
            return []
        return [
            row["id"]
            for row in self._face_rows("where replaces is not null")
            if self._tombstones.has_face(
                row["sha256"], row["t_s"], _box(row), (row["width_px"], row["height_px"])
            )
        ]

    def _erase_faces(
        self, face_ids: Sequence[int], number: int, now_s: float, is_refused: bool = True
    ) -> None:
        stems = set()
        face_ids = [*face_ids, *self._replaced_beside(face_ids)]
        for face in face_ids:
            (row,) = self._face_rows("where faces.id = ?", (face,))
            size_px = (row["width_px"], row["height_px"])
            for content in self._contents(row["video_id"]) if is_refused else ():
                self._tombstones.set_face(content, row["t_s"], _box(row), size_px, now_s)
            stems.add(frame_stem(row["sha256"], row["t_s"]))
            portrait = self._db.execute(
                "select jpeg from portraits where face_id = ?", (face,)
            ).fetchone()
            self._db.execute(
                "insert into erased_portraits values (?, ?, ?)",
                (number, face, hash_ending(bytes(portrait["jpeg"]) if portrait else b"")),
            )
        # A track's mean is made of all its faces: it must be tracked again without these.
        self._db.executemany(
            """
            update videos set tracked = 0 where id = (select video_id from faces where id = ?)
                and state <> 'queued'
            """,
            [(face,) for face in face_ids],
        )
        self._redaction.erase_faces(face_ids)
        self._redaction.erase_moments(sorted(stems))
        self._list_pictures(number, stems)
        self._db.executemany(
            "delete from tracks where id = (select track_id from faces where id = ?)",
            [(face,) for face in face_ids],
        )
        self._db.executemany("delete from faces where id = ?", [(face,) for face in face_ids])

    def _replaced_beside(self, face_ids: Sequence[int]) -> list[int]:
        """Return the faces in the frames of these that a drawn box replaced.

        They show the same people, and no longer belong to anybody.
        """
        found = {
            row["id"]
            for face in face_ids
            for row in self._db.execute(
                """
                select other.id from faces join faces as other
                    on other.video_id = faces.video_id and other.hidden = 4
                    and abs(other.t_s - faces.t_s) < 0.001
                where faces.id = ?
                """,
                (face,),
            )
        }
        return sorted(found - set(face_ids))

    def _erase_people(self, scope: ErasureScope, now_s: float) -> None:
        for person in scope.person_ids:
            row = self._db.execute("select * from people where id = ?", (person,)).fetchone()
            self._tombstones.set_person(person, row["created_at"], now_s)
        self._redaction.erase_people(scope.person_ids)

    def _list_pictures(self, number: int, stems: Collection[str]) -> None:
        self._db.executemany(
            "insert or ignore into erased_pictures values (?, ?)",
            [(number, stem) for stem in sorted(stems)],
        )

    def _erase_videos(
        self, scope: ErasureScope, number: int, now_s: float, keep_days: float
    ) -> None:
        day = datetime.fromtimestamp(now_s, UTC).date()
        erased = Reason.of(ReasonCode.ERASED, day=day)
        if scope.what == RETENTION:
            erased = Reason.of(
                ReasonCode.EXPIRED,
                day=day,
                days=f"{keep_days:g} day{'' if keep_days == 1 else 's'}",
            )
        for video in scope.video_ids:
            row = self._db.execute("select sha256 from videos where id = ?", (video,)).fetchone()
            partial_copies = self._db.execute(
                "select sha256 from partial_copies where video_id = ?", (video,)
            )
            # Partial copies are the same video.
            for sha256 in (row["sha256"], *(one["sha256"] for one in partial_copies.fetchall())):
                self._redaction.erase_contents([sha256])
                self._list_pictures(number, [content_stem(sha256)])
            # The same pictures with other metadata are the same recording, too.
            for content in (*self._contents(video), *self._contents_of_files(video)):
                if scope.what != RETENTION:
                    self._tombstones.set_content(content, now_s)
            self._db.execute(
                """
                update files set state = 'forgotten', reason = ?, reason_code = ?, changed_at = ?
                where video_id = ?
                """,
                (erased.text, erased.code, now_s, video),
            )
            self._db.execute(
                "update files set content_sha256 = '' where ?1 in (video_id, earlier_video_id)",
                (video,),
            )
            self._db.execute("delete from videos where id = ?", (video,))


def _composed(name: str) -> str:
    """Return a name as composed characters: systems differ in how they write an accent."""
    return unicodedata.normalize("NFC", name)


def _caseless(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def _box(row: sqlite3.Row) -> Box:
    return Box(*(row[f"box_{side}"] for side in ("left", "top", "right", "bottom")))
