"""A store of an older portraitd is brought up to date with everything in it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from portraitd.clustering.grouping_methods import make_method
from portraitd.config import GroupingSettings
from portraitd.faces.models.cards import DLIB
from portraitd.model.media_file import FileState, VideoState
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.store import database as database_module
from portraitd.store.announcements import Announcements
from portraitd.store.database import APPLICATION_ID, FILE_NAME, Database, newest_schema
from portraitd.store.publications import Publication, Publications
from portraitd.workers.pool import InlineExecutor
from support.old_schemas import COPIED, column_of_today, first_store, table_of_today
from support.store import ENCODER, Store, embedding, slice_faces

DIED = Reason(ReasonCode.WORKER_DIED, "died")


def content(path: Path) -> dict[str, list[dict[str, object]]]:
    """Every row of the first schema, by table; without the columns that came later."""
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        new = {"track_id", "tracked", "locked", "split_from", "hidden", "rank", "ignored"}
        new |= {"ledger_id", "replaces", "frozen", "confidence", "priority", "content_size"}
        new |= {"reason_code", "recorded_at", "recorded_offset_min", "picture_hash"}
        new |= {"described_at", "content_sha256", "earlier_video_id", "interruptions"}
        new |= {"is_reference", "announced", "harvested", "is_drawn"}
        present = {row[0] for row in db.execute("select name from sqlite_master")}
        return {
            table: [
                {column_of_today(table, key): row[key] for key in set(row.keys()) - new}
                for row in db.execute(f"select * from {name} order by 1")
            ]
            for table in COPIED
            for name in [table if table in present else table_of_today(table)]
        }


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with a database of schema 1: two people, an unknown face, a failed video."""
    today, folder = tmp_path / "today", tmp_path / "old"
    today.mkdir()
    folder.mkdir()
    store = Store(Database.open(today))
    ann, bob = embedding(1), embedding(2)
    store.see(ann, bob)
    store.see(ann, embedding(3))
    store.group([0, 1, 0, -1])
    store.database.execute("update people set name = 'Ann' where id = 1")
    Publications(store.database).record(Publication(7, 0, "1"), {}, 100.0)
    for name in ("failed.mp4", "half.mp4"):
        store.video(name, slices=2)
        first, second = store.slice_queue.claim(), store.slice_queue.claim()
        assert first
        assert second
        store.slice_queue.record(first, slice_faces(bob), ENCODER, 50.0)
        if name == "failed.mp4":
            store.slice_queue.lose(second, DIED, 1, 51.0)
    store.file("text.txt", FileState.FAILED)
    store.database.execute("pragma wal_checkpoint(truncate)")
    store.database.close()
    first_store(folder, today)
    return folder


def test_nothing_is_lost(old: Path) -> None:
    """Every row is what it was, and the file is sound."""
    before = content(old / FILE_NAME)

    Database.open(old).close()

    after = content(old / FILE_NAME)
    assert 6 == len(before["faces"])
    for row in before["jobs"]:
        # Attempts of what is not finished were counted in another way.
        row["attempts"] = 0 if row["state"] in ("queued", "running") else row["attempts"]
    assert before == after
    database = Database.open_to_read(old)
    assert [] == database.problems()
    assert newest_schema() == database.execute("pragma user_version").fetchone()[0]


def test_a_store_made_anew_has_the_same_schema(old: Path, tmp_path: Path) -> None:
    """Whichever way it got there."""

    def schema(database: Database) -> list[tuple[str, str]]:
        rows = database.execute("select name, sql from sqlite_master order by name")
        return [(row["name"], row["sql"]) for row in rows]

    (tmp_path / "new").mkdir()

    assert schema(Database.open(tmp_path / "new")) == schema(Database.open(old))


@pytest.mark.parametrize("has_table", [True, False])
def test_questions_are_announced_in_every_store_of_schema_23(
    tmp_path: Path, has_table: bool
) -> None:
    """Some of them were made with the table, and some without."""
    scripts = sorted((Path(database_module.__file__).parent / "migrations").glob("*.sql"))
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db:
        for script in scripts[:23]:
            db.executescript(script.read_text(encoding="utf-8"))
        if has_table:
            db.execute("create table announced_questions (key text primary key) strict")
        db.execute(f"pragma application_id = {APPLICATION_ID}")
        db.execute("pragma user_version = 23")
        db.commit()

    announcements = Announcements(Database.open(tmp_path))
    announcements.mark_questions({"a"})

    assert {"a"} == announcements.questions()


def test_the_last_grouping_is_kept(old: Path) -> None:
    """With the figures it had then; it had no tracks."""
    last = Store(Database.open(old)).people.last_grouping_run()

    assert last
    assert (7, '{"eps": 0.5}', 6) == (last.id, last.parameters, last.last_id)
    assert (6, 0, 2, 1, 0, 0) == (
        last.faces, last.tracks, last.people, last.unassigned, last.names_lost, last.violations
    )  # fmt: skip
    assert (99.0, "") == (last.finished_at, last.snapshot)


def test_finished_videos_wait_for_their_tracks(old: Path) -> None:
    """Also the failed one; not the one that is still worked on."""
    store = Store(Database.open(old))
    assert [0] * 4 == [
        row[0] for row in store.database.execute("select tracked from videos order by id")
    ]

    store.track()

    assert [1, 1, 1, 0] == [
        row[0] for row in store.database.execute("select tracked from videos order by id")
    ]
    assert [1, 2, 3, 4, 5] == store.tracks.rows().ids.tolist()
    assert [1, 2, 1, 0, 0] == store.tracks.rows().persons.tolist()


@pytest.mark.parametrize("method", ["people", "dbscan"])
def test_people_keep_their_numbers_and_names(old: Path, method: str) -> None:
    """The next grouping, in whichever way, calls the same people by the same numbers."""
    store = Store(Database.open(old))
    store.track()
    settings = GroupingSettings.model_validate({"method": method, "min_samples": 2})
    grouping_run = make_method(
        settings,
        DLIB,
        store.faces,
        store.tracks,
        store.people,
        store.ledger,
        InlineExecutor(),
        old,
    )
    assert grouping_run.arrivals().stale

    answer = grouping_run.begin(store.people.last_grouping_run()).result()
    taken = store.people.record(grouping_run.finish(answer), 1.0, 200.0)

    # Of the video that is half done there are no tracks yet.
    half = 2 if method == "dbscan" else 0
    assert [1, 2, 1, 0, 2, half] == store.faces.persons().tolist()
    assert [(1, "Ann"), (2, None)] == [(one.id, one.name) for one in store.people.present()]
    assert (8, 0, 0) == (taken.id, taken.churn, taken.names_lost)
    assert not grouping_run.arrivals().stale


def test_jobs_in_flight_go_on(old: Path) -> None:
    """Whatever was counted against them: earlier versions counted each kill of the service."""
    with closing(sqlite3.connect(old / FILE_NAME)) as db:
        db.execute("update jobs set attempts = 7 where state = 'running'")
        probing = "update files set state = 'probing', attempts = 7 where path = ?"
        db.execute(probing, (b"text.txt",))
        db.commit()

    store = Store(Database.open(old))
    store.files.reclaim()
    assert 1 == store.slice_queue.reclaim()

    claimed, file = store.slice_queue.claim(), store.slice_queue.claim_file(60.0)
    assert claimed
    assert file
    assert (1, 1) == (claimed.attempts, claimed.interruptions)
    assert (1, 1) == (file.file.attempts, file.file.interruptions)
    outcome = store.slice_queue.record(claimed, slice_faces(), ENCODER, 61.0)
    assert outcome
    assert VideoState.DONE is outcome.state
