"""Files and folders that are named to ``process``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from portraitd.ingest.admission import Admission
from portraitd.model.media_file import FileState
from portraitd.store.database import Database
from portraitd.store.files import Files
from support.inbox_fixture import SETTINGS, InboxFixture


@pytest.fixture
def fixture(tmp_path: Path) -> InboxFixture:
    return InboxFixture(tmp_path)


def register(fixture: InboxFixture, *paths: Path) -> dict[str, tuple[str, str]]:
    """State and reason of each row by its source."""
    rows = [fixture.files.get(file_id) for file_id in fixture.admission.register(paths, 1.0)]
    return {str(row.path): (row.state.value, row.reason.text) for row in rows}


def test_a_named_file_is_ready_at_once(tmp_path: Path, fixture: InboxFixture) -> None:
    """Its source is its bare name."""
    clip = tmp_path / "elsewhere" / "clip.mp4"
    clip.parent.mkdir()
    clip.write_bytes(b"video")

    (file_id,) = fixture.admission.register([clip], 1.0)

    known = fixture.files.get(file_id)
    assert (Path("clip.mp4"), FileState.READY) == (known.path, known.state)
    assert clip == fixture.files.place(known)


def test_a_named_folder_is_taken_with_what_is_in_it(tmp_path: Path, fixture: InboxFixture) -> None:
    """Sources are the paths below it; litter is left out, and what is no file has a reason."""
    folder = tmp_path / "videos"
    for name in ("a.mp4", "deep/b.mp4", ".DS_Store", "c.mp4.part"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"video")
    os.mkfifo(folder / "pipe.mp4")

    assert {
        "a.mp4": ("ready", ""),
        "deep/b.mp4": ("ready", ""),
        "pipe.mp4": ("failed", "a pipe, not a regular file"),
    } == register(fixture, folder)


def test_a_name_that_cannot_be_taken_has_a_reason(tmp_path: Path, fixture: InboxFixture) -> None:
    """Missing, litter, a link: each is an answer of its own."""
    (tmp_path / "clip.mp4.part").write_bytes(b"video")
    (tmp_path / "link.mp4").symlink_to("clip.mp4.part")

    assert {
        "missing.mp4": ("failed", "no such file"),
        "nowhere.mp4": ("failed", "no such file"),
        "clip.mp4.part": (
            "failed",
            "ignored because of its name (hidden, temporary or system file)",
        ),
        "link.mp4": ("failed", "a symbolic link; portraitd does not follow links"),
    } == register(
        fixture,
        tmp_path / "missing.mp4",
        tmp_path / "away" / "nowhere.mp4",
        tmp_path / "clip.mp4.part",
        tmp_path / "link.mp4",
    )


def test_a_relative_name_is_meant_from_here(
    tmp_path: Path, fixture: InboxFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for any other program."""
    (tmp_path / "clip.mp4").write_bytes(b"video")
    monkeypatch.chdir(tmp_path)

    (file_id,) = fixture.admission.register([Path("clip.mp4")], 1.0)

    assert tmp_path / "clip.mp4" == fixture.files.place(fixture.files.get(file_id))


def test_a_file_named_again_is_the_same_row(tmp_path: Path, fixture: InboxFixture) -> None:
    """Done stays done; what failed, changed or was gone is tried again."""
    states = (FileState.DONE, FileState.DUPLICATE, FileState.FAILED, FileState.GONE)
    paths = [tmp_path / f"{state}.mp4" for state in (*states, "changed")]
    for path in paths:
        path.write_bytes(b"video")
    ids = fixture.admission.register(paths, 1.0)
    for file_id, state in zip(ids, (*states, FileState.DONE), strict=True):
        fixture.files.move_on(file_id, state, 2.0)
    paths[-1].write_bytes(b"another content")

    again = fixture.admission.register(paths, 3.0)

    assert ids == again
    assert ["done", "duplicate", "ready", "ready", "ready"] == [
        fixture.files.get(file_id).state.value for file_id in again
    ]


def test_naming_a_file_does_not_search_its_folder(tmp_path: Path, fixture: InboxFixture) -> None:
    """``process ~/clip.mp4`` must not walk through the whole home."""
    (tmp_path / "clip.mp4").write_bytes(b"video")
    (tmp_path / "huge" / "tree").mkdir(parents=True)
    opened: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open":
            opened.append(os.fspath(arguments[0]))  # type: ignore[arg-type]

    sys.addaudithook(watch)
    fixture.admission.register([tmp_path / "clip.mp4"], 1.0)
    watching = False

    assert opened
    assert not [path for path in opened if "huge" in str(path)]


class Listening(Database):
    """A store that writes down what it is asked."""

    asked: list[str]

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        self.__dict__.setdefault("asked", []).append(" ".join(sql.split()))
        return super().execute(sql, parameters)


def test_every_named_file_is_looked_up_by_itself(tmp_path: Path) -> None:
    """Not by listing everything below its folder: ten thousand files would take hours."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.mp4").write_bytes(b"video")
    database = Listening.open(tmp_path)
    admission = Admission(Files(database, tmp_path), tmp_path, SETTINGS)

    taken = admission.register([folder, *folder.iterdir()], 1.0)

    assert 60 == len(taken)
    assert [] == [sql for sql in database.asked if sql.endswith("where root = ?")]
