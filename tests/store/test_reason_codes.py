"""Reasons that version 0.1.0 stored as sentences alone get their codes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest

from portraitd.model.media_file import FileState
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.store.blocked_stages import BlockedStages
from portraitd.store.database import APPLICATION_ID, FILE_NAME, Database
from portraitd.store.files import INBOX, Files
from portraitd.store.media_history import History
from support.store import Store

LAST_WITHOUT_CODES = 10

SENTENCES = {
    "": ReasonCode.NONE,
    "still being written?": ReasonCode.STILL_CHANGING,
    "another program still has it open for writing": ReasonCode.OPEN_FOR_WRITING,
    "nobody can say here whether it is still being written": ReasonCode.CANNOT_TELL_IF_OPEN,
    "not whole yet: empty so far": ReasonCode.EMPTY,
    "not whole yet: space was set aside for it, and most of it was not filled yet": (
        ReasonCode.PREALLOCATED
    ),
    "not whole yet: it begins with nothing but zeros": ReasonCode.ONLY_ZEROS,
    "not whole yet: its index, which comes last, is missing": ReasonCode.INDEX_MISSING,
    "not whole yet: 1,234 bytes are missing at the end": ReasonCode.BYTES_MISSING,
    "the file is empty": ReasonCode.EMPTY,
    "nothing but zeros: the copy was begun and never finished": ReasonCode.ONLY_ZEROS,
    "cut off: its index, which comes last, is missing": ReasonCode.INDEX_MISSING,
    "cut off: 408 bytes are missing at the end": ReasonCode.BYTES_MISSING,
    "a symbolic link; links are not followed": ReasonCode.SYMBOLIC_LINK,
    "a symbolic link; portraitd reads regular files only": ReasonCode.SYMBOLIC_LINK,
    "a pipe": ReasonCode.PIPE,
    "a socket": ReasonCode.SOCKET,
    "a device": ReasonCode.DEVICE,
    "not a regular file": ReasonCode.NOT_A_REGULAR_FILE,
    "cannot be read: Permission denied": ReasonCode.CANNOT_READ,
    "cannot be opened: Permission denied": ReasonCode.CANNOT_READ,
    "cannot be listed: Permission denied": ReasonCode.CANNOT_LIST,
    "ignored by its name": ReasonCode.IGNORED_NAME,
    "no such file": ReasonCode.NO_SUCH_FILE,
    "no longer in the inbox": ReasonCode.REMOVED,
    "removed before it could be read": ReasonCode.REMOVED,
    "removed before it could be sent": ReasonCode.REMOVED,
    "written or replaced while it was read": ReasonCode.CHANGED_WHILE_READ,
    "written or replaced while it was sent": ReasonCode.CHANGED_WHILE_READ,
    "became shorter while it was sent": ReasonCode.CHANGED_WHILE_READ,
    "text, not a video or photo": ReasonCode.TEXT_FILE,
    "a ZIP archive, not a video or photo": ReasonCode.OTHER_FILE_TYPE,
    "a program, not a video or photo": ReasonCode.OTHER_FILE_TYPE,
    "a Git LFS pointer, not the file it stands for, not a video or photo": (
        ReasonCode.OTHER_FILE_TYPE
    ),
    "a playlist that points to other files; drop the video itself": ReasonCode.PLAYLIST,
    "sound without pictures": ReasonCode.SOUND_ONLY,
    "damaged at its beginning, or of a kind that portraitd does not read": (
        ReasonCode.UNKNOWN_FORMAT
    ),
    "its pictures are encrypted; drop a copy without protection": ReasonCode.ENCRYPTED,
    "no pictures were found in it: only sound or text, or its index is damaged": (
        ReasonCode.NO_PICTURES
    ),
    "its index is damaged, or its pictures are in a format that cannot be decoded": (
        ReasonCode.INDEX_DAMAGED
    ),
    "no frame could be decoded (av01): it is encrypted, damaged, or in a format for which there "
    "is no decoder here; try re-encoding it": ReasonCode.NO_FRAME_DECODED,
    "no frame could be decoded; try re-encoding it": ReasonCode.NO_FRAME_DECODED,
    "a photo that cannot be decoded (damaged, or too large)": ReasonCode.PHOTO_NOT_DECODED,
    "frames of 133 megapixels; the limit is 50": ReasonCode.TOO_MANY_PIXELS,
    "only 12.9 s of 20.0 s could be decoded": ReasonCode.PARTLY_DECODED,
    "same content as a.mp4": ReasonCode.DUPLICATE_OF,
    "the beginning of whole.mp4": ReasonCode.PARTIAL_COPY_OF,
    "forgotten on 2026-11-24": ReasonCode.ERASED,
    "this content was forgotten at somebody's word; privacy.dropped_again says more": (
        ReasonCode.ERASED_EARLIER
    ),
    "the worker ran out of memory": ReasonCode.OUT_OF_MEMORY,
    "the worker took more than 600 s and was ended": ReasonCode.TIMEOUT,
    "the worker took more than 60 s to begin and was ended": ReasonCode.TIMEOUT,
    "the worker computed for longer than its limit and was ended": ReasonCode.CPU_LIMIT,
    "no answer from tcp://10.0.0.2:4000 within 1260 s": ReasonCode.TIMEOUT,
    "the worker was ended by SIGSEGV": ReasonCode.WORKER_KILLED,
    "the worker ended without an answer (exit code 1)": ReasonCode.WORKER_EXITED,
    "the worker does not end: the system holds it": ReasonCode.WORKER_DIED,
    "no worker could be begun: Cannot allocate memory": ReasonCode.WORKER_DIED,
    "the workers were ended": ReasonCode.WORKER_DIED,
    "the file sent is gone again": ReasonCode.WORKER_DIED,
    "the worker's answer is not believed: os.system is no value": ReasonCode.INVALID_RESULT,
    "the worker's answer makes no sense: a portrait": ReasonCode.INVALID_RESULT,
    "the job ended without an answer that can be sent: x": ReasonCode.INVALID_RESULT,
    "the worker does not take the file": ReasonCode.FILE_REFUSED,
    "4 workers were lost while they had it, the last one: a was lost": ReasonCode.WORKERS_LOST,
    "unexpected RuntimeError: pool is broken": ReasonCode.UNEXPECTED_ERROR,
    "its faces belong to nobody, no tracks: WorkerDied: x": ReasonCode.TRACKING_FAILED,
    "something nobody ever wrote": ReasonCode.OTHER,
    "%_*[?]'\"\n\\": ReasonCode.OTHER,
    "not": ReasonCode.OTHER,
}


@pytest.fixture
def old(tmp_path: Path) -> sqlite3.Connection:
    """A store of the last schema without codes, empty."""
    folder = resources.files("portraitd.store") / "migrations"
    scripts = sorted(one.name for one in folder.iterdir() if one.name.endswith(".sql"))
    database = sqlite3.connect(tmp_path / FILE_NAME)
    for name in scripts[:LAST_WITHOUT_CODES]:
        database.executescript((folder / name).read_text(encoding="utf-8"))
    database.execute(f"pragma user_version = {LAST_WITHOUT_CODES}")
    database.execute(f"pragma application_id = {APPLICATION_ID}")
    return database


def put(database: sqlite3.Connection, name: str, state: str, reason: str) -> None:
    """Insert a file and its video with one slice, all with one reason."""
    with database:
        video = database.execute(
            """
            insert into videos (sha256, kind, duration_s, fps, width_px, height_px, state, reason,
                added_at)
            values (?, 'video', 1, 1, 1, 1, 'failed', ?, 1)
            """,
            (name, reason),
        ).lastrowid
        database.execute(
            """
            insert into slices (video_id, start_s, stop_s, state, reason)
            values (?, 0, 1, 'failed', ?)
            """,
            (video, reason),
        )
        database.execute(
            "insert into partial_copies values (?, ?, 1, 1, 1, ?)", (name, video, reason)
        )
        database.execute(
            """
            insert into files (root, path, size, mtime_ns, inode, state, reason, video_id, seen_at,
                changed_at)
            values (x'', cast(? as blob), 1, 1, 1, ?, ?, ?, 1, 1)
            """,
            (name, state, reason, video),
        )


def test_every_sentence_of_the_first_version_gets_its_code(
    old: sqlite3.Connection, tmp_path: Path
) -> None:
    """In each table; the sentence stays as it is, and an odd one is no error."""
    with closing(old):
        for number, reason in enumerate(SENTENCES):
            put(old, f"{number}.mp4", "waiting", reason)

    database = Database.open(tmp_path)

    expected = [(reason, code.value) for reason, code in SENTENCES.items()]
    for table in ("files", "videos", "slices", "file_steps", "partial_copies"):
        order = "video_id" if table == "partial_copies" else "id"
        rows = database.execute(f"select reason, reason_code from {table} order by {order}")
        assert expected == [tuple(row) for row in rows], table
    database.close()


def test_a_content_that_had_failed_before_has_a_code_of_its_own(
    old: sqlite3.Connection, tmp_path: Path
) -> None:
    """The sentence begins like that of a duplicate."""
    reason = "same content as a.mp4, which failed: the file is empty"
    with closing(old):
        put(old, "b.mp4", "failed", reason)

    database = Database.open(tmp_path)

    known = Files(database, tmp_path).below(INBOX)[Path("b.mp4")]
    expected = Reason(ReasonCode.DUPLICATE_OF_FAILED, reason)
    assert expected == known.reason
    assert [expected] == [step.reason for step in History(database).of_file(known.id)]


def test_a_blocked_stage_keeps_its_reason(old: sqlite3.Connection, tmp_path: Path) -> None:
    """Only one kind of reason was stored there."""
    reason = (
        "/srv/people: 30 of 40 portraits are gone; the share may be away. If they were deleted on "
        "purpose, run `portraitd accept`"
    )
    with closing(old), old:
        old.execute("insert into blocked_stages values ('review', ?, 1)", (reason,))

    blocked = BlockedStages(Database.open(tmp_path)).all()

    assert {"review": Reason(ReasonCode.PORTRAITS_DISAPPEARED, reason)} == blocked


def test_the_history_says_the_code_of_each_step(tmp_path: Path) -> None:
    """Also when a file is seen for the first time, and of a state without a reason."""
    store = Store(Database.open(tmp_path))
    file = store.file("clip.mp4", FileState.READY)
    pipe = Reason.of(ReasonCode.PIPE)

    store.files.move_on(file.id, FileState.FAILED, 2.0, pipe)

    steps = History(store.database).of_file(file.id)
    assert [("ready", NO_REASON), ("failed", pipe)] == [(one.state, one.reason) for one in steps]


def test_a_code_of_a_later_version_is_read_as_other(tmp_path: Path) -> None:
    """A sentence is enough for people, and nothing is decided by it."""
    store = Store(Database.open(tmp_path))
    file = store.file("clip.mp4", FileState.FAILED)
    store.database.execute("update files set reason_code = 'of_tomorrow', reason = 'because'")

    assert Reason(ReasonCode.OTHER, "because") == store.files.get(file.id).reason
