"""What is erased is deleted from every file of a home, for good."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from portraitd.model.errors import ConfigError
from portraitd.service.control_files import ControlFiles, ControlRequest
from portraitd.service.erasure_stage import REQUEST, find, parse_date
from portraitd.store.database import Database
from portraitd.store.erasure.eraser import Eraser
from support.byte_search import secrets_of, surviving, traces
from support.home import START_S, Home, assert_sound, connect, dump, person_folders


@pytest.fixture(scope="module")
def worked_on(
    tmp_path_factory: pytest.TempPathFactory, two_people: Path, photographs: list[Path]
) -> Path:
    """A home with two people: one in a clip and on a photo, the other in the clip."""
    home = Home(tmp_path_factory.mktemp("worked-on"))
    home.drop(two_people, "clip.mp4")
    home.drop(photographs[0], "photo.jpg")
    home.run()
    return home.settings.home_dir


@pytest.fixture
def home(tmp_path: Path, worked_on: Path) -> Home:
    """A copy of it."""
    folder = tmp_path / "home"
    shutil.copytree(worked_on, folder)
    home = Home(folder, inbox={"quiet_s": 0.0})
    home.steady_s = 500.0
    # A copy has other inodes: every file is read again, and recognised.
    home.run()
    return home


def forget(home: Home, kind: str, word: str) -> None:
    """As the command does where no service runs; then the service works until it is idle."""
    ControlFiles(home.settings.requests_dir).leave(ControlRequest(REQUEST, arguments=(kind, word)))
    home.run()


def test_the_search_finds_what_is_there(home: Home) -> None:
    """Before an erasure, faces are in the database, the matrix, and the tree."""
    found = surviving(home, secrets_of(home, "true"))

    assert {"state/portraitd.sqlite3", "state/tracks.f32"} <= found.keys()
    assert any(path.startswith("people/person-") for path in found)


def test_no_byte_of_a_forgotten_person_is_left(home: Home) -> None:
    """Neither in the database or its journal, nor in the tree, in a copy, or in a cache."""
    secrets, others = secrets_of(home, "person_id = 1"), secrets_of(home, "person_id = 2")
    (folder, *_) = person_folders(home.people)
    portrait = next(folder.glob("[0-9]*.jpg"))
    (home.people / "my favourites").mkdir()
    shutil.copyfile(portrait, home.people / "my favourites" / "her.jpg")
    portrait.write_bytes(portrait.read_bytes() + b"touched up")
    shutil.copyfile(
        home.settings.state_dir / "portraitd.sqlite3",
        home.settings.state_dir / "portraitd.sqlite3.old-2026",
    )

    forget(home, "person", "1")

    assert {} == surviving(home, secrets)
    assert {} != surviving(home, others)
    assert not folder.exists()
    assert 1 not in {row["person_id"] for row in home.rows("faces")}
    assert_sound(home.settings)


def test_no_byte_of_a_forgotten_video_is_left(home: Home) -> None:
    """The person who is also on the photo stays, with the photo alone."""
    secrets = secrets_of(home, "faces.video_id = (select id from videos where kind = 'video')")
    kept = secrets_of(home, "faces.video_id = (select id from videos where kind = 'photo')")

    forget(home, "video", "clip.mp4")

    assert {} == surviving(home, secrets - kept)
    assert {} != surviving(home, kept)
    assert {"clip.mp4": "forgotten", "photo.jpg": "done"} == home.states()
    assert 1 == len(home.rows("faces"))
    assert_sound(home.settings)


def test_whatever_came_before_a_day_is_forgotten(home: Home) -> None:
    """All of it here; and what was taken up later stays."""
    secrets = secrets_of(home, "true")

    forget(home, "before", "2001-01-01")
    assert {} != surviving(home, secrets)
    forget(home, "before", "2002-01-01")

    assert {} == surviving(home, secrets)
    assert [] == home.rows("faces")
    assert [] == person_folders(home.people)


def test_what_is_kept_for_some_days_is_forgotten_after_them(home: Home) -> None:
    """Retention looks once a day; a day too early nothing happens."""
    keeping = Home(home.settings.home_dir, privacy={"keep_days": 3.0})
    keeping.steady_s = 2 * 86_400.0
    with keeping.opened() as service:
        keeping.run_until_idle(service)
        early = len(keeping.rows("faces"))
        keeping.steady_s += 1.5 * 86_400.0
        keeping.run_until_idle(service)

    assert 0 < early
    assert [] == keeping.rows("faces")


def test_the_same_file_dropped_again_is_refused(home: Home, two_people: Path) -> None:
    """Under another name; and the reason says why."""
    forget(home, "video", "clip.mp4")
    home.drop(two_people, "again.mp4")
    home.run()

    assert "forgotten" == home.states()["again.mp4"]
    assert "erased with `portraitd forget`" in home.reasons()["again.mp4"]
    assert 1 == len(home.rows("videos"))


def test_or_it_is_taken_without_what_was_forgotten(home: Home, two_people: Path) -> None:
    """Also with twice the sampling rate: the faces in between are near enough."""
    forget(home, "video", "clip.mp4")
    skipping = Home(
        home.settings.home_dir,
        privacy={"dropped_again": "skip-faces"},
        sampling={"fps": 1.0},
        inbox={"quiet_s": 0.0},
    )
    skipping.steady_s = home.steady_s + 100.0
    skipping.drop(two_people, "again.mp4")
    skipping.run()

    # The detector takes a sleeve for a face in frames between; that one was not erased.
    video_id = next(
        row["video_id"] for row in skipping.rows("files") if row["path"] == b"again.mp4"
    )
    faces = [row for row in skipping.rows("faces") if row["video_id"] == video_id]
    assert "done" == skipping.states()["again.mp4"]
    assert [] == [row["t_s"] for row in faces if row["box_top"] < 300]


def test_a_forgotten_person_stays_out_of_the_same_video(home: Home, two_people: Path) -> None:
    """Reprocessed, it gives the other person alone."""
    with home.opened() as service:
        before = dump(home.settings).faces
        eraser = service.erasure
        eraser.erase(find(_store(service), "person", "1"), START_S + 900.0)
        home.run_until_idle(service)
        after = dump(home.settings).faces
        video = next(row for row in home.rows("videos") if row["kind"] == "video")
        known = next(row for row in home.rows("files") if row["video_id"] == video["id"])
        with service.files._db.transaction():
            service.files._db.execute("delete from videos where id = ?", (video["id"],))
            service.files._db.execute(
                "update files set state = 'ready', video_id = null where id = ?", (known["id"],)
            )
        home.run_until_idle(service)

    assert after.keys() < before.keys()
    assert after == dump(home.settings).faces


def test_a_name_goes_with_its_person(home: Home) -> None:
    """The name is found whatever its case, and nothing of it stays."""
    with home.opened() as service:
        service.people._db.execute("update people set name = 'Ann Archer' where id = 1")
    forget(home, "person", "ann archer")

    assert {} == traces(home.settings.home_dir, {b"Ann Archer", b"ann archer"})


def test_an_unknown_person_video_or_date_is_refused(home: Home) -> None:
    """With a message that repeats the word."""
    with home.opened() as service:
        store = _store(service)
        for kind, word in (
            ("person", "Nobody"),
            ("person", "77"),
            ("video", "missing.mp4"),
            ("video", "abc"),
            ("before", "yesterday"),
            ("month", "May"),
        ):
            with pytest.raises(ConfigError, match=r"there is no|is not a date|forget month"):
                find(store, kind, word)


def test_a_video_is_found_by_its_path_or_its_hash(home: Home) -> None:
    """By its path in the inbox, its full path, and the start of its SHA-256."""
    (video,) = (row for row in home.rows("videos") if row["kind"] == "video")
    with home.opened() as service:
        store = _store(service)
        ids = [store.video(word).video_ids for word in ("clip.mp4", video["sha256"][:12])]

    assert [(video["id"],)] * 2 == ids


def test_a_tree_that_is_away_delays_the_end(home: Home) -> None:
    """The database is clean at once; the tree when it is back, also after a restart."""
    secrets = secrets_of(home, "person_id = 1")
    away = home.people.rename(home.people.with_name("elsewhere"))
    with home.opened() as service:
        service.erasure.erase(find(_store(service), "person", "1"), START_S + 900.0)
        home.tick(service)
        assert service.erasure.pending
        state = traces(home.settings.state_dir, secrets)
    away.rename(home.people)
    home.run()

    assert {} == state
    assert {} == surviving(home, secrets)


def test_a_reader_delays_the_end_and_nothing_else(home: Home) -> None:
    """A reader keeps old pages in the journal: it is emptied when the reader has finished."""
    secrets = secrets_of(home, "person_id = 1")
    with home.opened() as service:
        with closing(connect(home.settings.state_dir)) as reader:
            reader.execute("begin")
            reader.execute("select count(*) from faces").fetchone()
            service.erasure.erase(find(_store(service), "person", "1"), START_S + 900.0)
            service.files._db.execute("pragma busy_timeout = 1")
            home.tick(service)
            waiting = service.erasure.pending
        home.run_until_idle(service)

    assert waiting
    assert {} == surviving(home, secrets)


def test_a_day_begins_where_people_live() -> None:
    """A date is its first moment; with an hour and a zone it is exact."""
    assert 86_400.0 == parse_date("1970-01-02T00:00:00+00:00")
    assert parse_date("2026-03-31") == parse_date("2026-03-31 00:00")


def _store(service: object) -> Eraser:
    store = service.erasure._eraser  # type: ignore[attr-defined]
    assert isinstance(store, Eraser)
    return store


# --- Who is meant.


@pytest.fixture
def eraser(tmp_path: Path) -> Iterator[Eraser]:
    """A database of people who are called like numbers, and almost like each other."""
    names = [None, "1", "\u0661", "Ann", "Ann", "ann", "Zoe\u0308", "BOB", "999"]
    with closing(Database.open(tmp_path)) as database:
        for number, name in enumerate(names, 1):
            database.execute(
                "insert into people (id, name, created_at) values (?, ?, 1.0)", (number, name)
            )
        yield Eraser(database)


@pytest.mark.parametrize(
    ("word", "people"),
    [
        ("1", (1,)),
        ("01", (1,)),
        ("\u0661", (3,)),
        ("Ann", (4, 5)),
        ("ann", (6,)),
        ("Zo\u00eb", (7,)),
        ("zo\u00eb", (7,)),
        ("bob", (8,)),
    ],
)
def test_a_word_of_digits_is_a_number_and_no_name(
    eraser: Eraser, word: str, people: tuple[int, ...]
) -> None:
    """A name is meant exactly; in another case only if that leaves one spelling."""
    assert people == eraser.person(word).person_ids


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("999", "no person with the number 999; person 9 has this name"),
        ("1" * 5000, "no person with the number 111"),
        ("\u00b2", "no person '\u00b2'"),
        ("ANN", "give a number: 4, 5, 6"),
        ("", "no person ''"),
        ("%", "no person '%'"),
    ],
)
def test_nobody_is_guessed(eraser: Eraser, word: str, hint: str) -> None:
    """An error says what to write."""
    with pytest.raises(ConfigError, match=re.escape(hint)):
        eraser.person(word)
