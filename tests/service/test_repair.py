"""Each thing that ``check --repair`` looks at is damaged here, found, and set right."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from portraitd.model.errors import AlreadyRunning, StoreError
from portraitd.service.repair import faults, repair
from portraitd.store.database import FILE_NAME, StoreLock
from support.home import Home, assert_sound, dump, person_folders


@pytest.fixture(scope="module")
def sound(
    tmp_path_factory: pytest.TempPathFactory, two_people: Path, photographs: list[Path]
) -> Path:
    """A home with two people in it."""
    home = Home(tmp_path_factory.mktemp("sound"))
    home.drop(two_people, "clip.mp4")
    home.run()
    return home.settings.home_dir


@pytest.fixture
def home(tmp_path: Path, sound: Path) -> Home:
    shutil.copytree(sound, tmp_path / "home")
    home = Home(tmp_path / "home", workers={"count": 1, "nice": 0})
    # A copy has other inodes: a publish makes its notes those of this tree.
    sql(home, "update publications set render_version = ''")
    home.run()
    return home


def sql(home: Home, statement: str) -> None:
    with closing(sqlite3.connect(home.settings.state_dir / FILE_NAME)) as db:
        db.execute(statement)
        db.commit()


def state_file(home: Home, pattern: str) -> Path:
    (path,) = home.settings.state_dir.glob(pattern)
    return path


def lose_note(home: Home) -> None:
    (person_folders(home.people)[0] / ".person.json").unlink()


def empty_portrait(home: Home) -> None:
    """As a power cut leaves what was not synced yet."""
    os.truncate(next(person_folders(home.people)[0].glob("[0-9]*.jpg")), 0)


def lose_montage(home: Home) -> None:
    (person_folders(home.people)[0] / "montage.jpg").unlink()


def leave_unfinished(home: Home) -> None:
    (person_folders(home.people)[0] / ".portraitd-new-000001.jpg").write_bytes(b"half")


def leave_half_a_grouping_run(home: Home) -> None:
    for name in (
        "faces.f32",
        ".grouping-1.npz",
        ".new-grouping-1.npz",
        "grouping-2.npz",
        f".{FILE_NAME}.new-restore",
        f".new-{FILE_NAME}",
    ):
        path = home.settings.state_dir / name
        path.write_bytes(b"half")
        path.chmod(0o600)


def cut_matrix(home: Home) -> None:
    os.truncate(home.settings.state_dir / "tracks.f32", 700)


def change_matrix(home: Home) -> None:
    path = home.settings.state_dir / "tracks.f32"
    path.write_bytes(b"\1" * 512 + path.read_bytes()[512:])


def damage_memory(home: Home) -> None:
    path = state_file(home, "grouping-*.npz")
    data = bytearray(path.read_bytes())
    data[200:220] = b"x" * 20
    path.write_bytes(data)


def open_state(home: Home) -> None:
    home.settings.state_dir.chmod(0o755)
    (home.settings.state_dir / FILE_NAME).chmod(0o644)


def drop_index(home: Home) -> None:
    sql(home, "drop index faces_by_person")


def break_index(home: Home) -> None:
    """An index that has lost its entries: the table's pages are whole."""
    with closing(sqlite3.connect(home.settings.state_dir / FILE_NAME)) as db:
        (text,) = db.execute(
            "select sql from sqlite_master where name = 'faces_by_track'"
        ).fetchone()
        db.execute("drop index faces_by_track")
        db.execute("create index faces_by_track on faces (track_id) where id < 0")
        db.execute("pragma writable_schema = on")
        db.execute("update sqlite_master set sql = ? where name = 'faces_by_track'", (text,))
        db.commit()


def claim_rows(home: Home) -> None:
    sql(home, "update files set state = 'probing'")


def lose_tracks(home: Home) -> None:
    sql(home, "update faces set track_id = null where id = 1")


DAMAGES: list[tuple[Callable[[Home], None], str]] = [
    (lose_note, "manifest"),
    (empty_portrait, "people"),
    (lose_montage, "montage"),
    (leave_unfinished, "people"),
    (leave_half_a_grouping_run, "leftover"),
    (cut_matrix, "tracks.f32"),
    (change_matrix, "tracks.f32"),
    (damage_memory, "grouping snapshot"),
    (open_state, "modes"),
    (drop_index, "schema"),
    (break_index, "database"),
    (lose_tracks, "tracks"),
]


def test_a_sound_home_has_no_fault(home: Home) -> None:
    """Looking changes nothing."""
    assert [] == faults(home.settings)


@pytest.mark.parametrize(
    ("damage", "what"), DAMAGES, ids=lambda value: getattr(value, "__name__", "")
)
def test_each_damage_is_found_and_set_right(
    home: Home, damage: Callable[[Home], None], what: str
) -> None:
    """Afterwards the home holds what it held, and nothing is left to complain of."""
    before = dump(home.settings)
    damage(home)
    wrong = faults(home.settings)
    done = repair(home.settings, wrong)

    assert what in {fault.what for fault in wrong}
    assert len(done) == len(wrong)
    assert [] == [(fault.what, fault.detail) for fault in faults(home.settings)]
    after = dump(home.settings)
    assert before.faces == after.faces
    assert before.people == after.people
    assert_sound(home.settings)


def test_what_people_took_away_is_no_fault(home: Home) -> None:
    """It is their word, and the service reads it at its next start."""
    first, second = person_folders(home.people)
    next(first.glob("[0-9]*.jpg")).unlink()
    shutil.rmtree(second)

    assert [] == faults(home.settings)


def test_a_portrait_that_somebody_changed_is_no_fault(home: Home) -> None:
    """It is theirs now, and stays as they made it."""
    portrait = next(person_folders(home.people)[0].glob("[0-9]*.jpg"))
    portrait.write_bytes(b"retouched")
    repair(home.settings, faults(home.settings))

    assert b"retouched" == portrait.read_bytes()


def test_damage_of_rows_is_for_a_backup(home: Home) -> None:
    """Nothing is repaired, and the command that helps is named."""
    path = home.settings.state_dir / FILE_NAME
    data = bytearray(path.read_bytes())
    pages = range(5 * 4096, len(data) - 4096, 4096)
    for at in pages:
        data[at : at + 64] = bytes(64)
    path.write_bytes(data)

    with pytest.raises(StoreError, match="portraitd restore"):
        faults(home.settings)
    with pytest.raises(StoreError, match="portraitd restore"), home.opened():
        pass


def test_damage_that_only_a_look_finds_is_for_a_backup_too(home: Home) -> None:
    """A row that lost its video: SQLite reads it without complaint."""
    sql(home, "delete from videos")
    (fault,) = (one for one in faults(home.settings) if one.what == "database")

    assert "portraitd restore" in fault.detail
    assert fault.repair is None


def test_a_marker_that_is_gone_is_for_a_person(home: Home) -> None:
    """The share may be away: nothing is made in its place."""
    (home.people / ".portraitd-root").unlink()
    (fault,) = faults(home.settings)

    assert "portraitd init" in fault.detail
    assert fault.repair is None


def test_nothing_is_repaired_beside_a_running_service(home: Home) -> None:
    """It holds the lock; what it is just writing is no leftover."""
    leave_half_a_grouping_run(home)
    open_state(home)
    with StoreLock(home.settings.state_dir):
        wrong = faults(home.settings)
        with pytest.raises(AlreadyRunning):
            repair(home.settings, wrong)

    assert {"modes"} == {fault.what for fault in wrong}


def test_rows_that_nobody_works_on_are_named(home: Home) -> None:
    """The next start takes them up."""
    claim_rows(home)

    assert ["claimed"] == [fault.what for fault in faults(home.settings)]
