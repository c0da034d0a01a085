"""Commands that depend on names read the tree first while no service runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.cli_runner import RunCommand, make_runner
from support.drawn_home import make_drawn_home
from support.home import Home
from support.reviews import ledger


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Three people; one folder was renamed just now, and no service runs."""
    made = make_drawn_home(tmp_path, people=3, portraits=3)
    (made.people / "person-0001").rename(made.people / "Anna")
    return made


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    home: Home,
) -> RunCommand:
    runner = make_runner(monkeypatch, capsys, tmp_path)
    # What the service of the fixture has logged.
    capsys.readouterr()
    ending = ("--home", home.settings.home_dir, "--set", "review.settle_s=0")
    return lambda *arguments: runner(*arguments, *ending)


def test_a_person_is_exported_by_a_new_name(run: RunCommand, home: Home, tmp_path: Path) -> None:
    """The folder was renamed after the service had ended."""
    answer = run("export", "person", "Anna", "--to", tmp_path / "anna.zip")

    assert (0, "") == (answer.returncode, answer.stderr)
    assert (tmp_path / "anna.zip").exists()
    assert ["name"] == ledger(home)


def test_a_person_is_erased_by_a_new_name(run: RunCommand, home: Home) -> None:
    """With everything that is in the folder."""
    answer = run("forget", "person", "Anna", "--yes")

    assert (0, "") == (answer.returncode, answer.stderr)
    assert {2, 3} == {row["person_id"] for row in home.rows("faces")}


def test_no_page_and_no_card_names_an_erased_person(run: RunCommand, home: Home) -> None:
    """Nor a notice; the service writes the pages again."""
    (home.people / "Anna").rename(home.people / "Zofia")
    (home.people / "person-0002").rename(home.people / "Bo")
    home.run()
    (home.people / "Zofia").rename(home.people / "person-0077")
    home.run()
    assert files_with(home, b"Zofia") >= {"STATUS.html", "status.js", ".portraitd-cards"}

    assert 0 == run("forget", "person", "Zofia", "--yes").returncode

    assert set() == files_with(home, b"Zofia")
    home.run()
    assert set() == files_with(home, b"Zofia")
    assert files_with(home, b"Bo") >= {"STATUS.html", "status.js"}


def files_with(home: Home, name: bytes) -> set[str]:
    """Return the files below the tree, and the database, that contain a name."""
    paths = [*home.people.rglob("*"), *home.settings.state_dir.glob("*.sqlite3*")]
    return {
        path.name
        for path in paths
        if name in path.name.encode() or (path.is_file() and name in path.read_bytes())
    }


def test_status_shows_an_edit_made_just_now(run: RunCommand) -> None:
    """And what was not understood."""
    answer = run("status", "--json")

    facts = json.loads(answer.stdout)
    assert ["person-0001 was named Anna"] == [one["text"] for one in facts["last_edits"]]
    assert facts["publication_pending"]


def test_the_edit_made_just_now_is_undone(run: RunCommand, home: Home) -> None:
    """Not the one before it, which is the last in the ledger until the tree is read."""
    assert 0 == run("status").returncode
    (home.people / "person-0002").rename(home.people / "Bob")

    answer = run("undo")

    assert 0 == answer.returncode
    assert ["name", "name", "undo"] == ledger(home)
    assert 2 == home.rows("ledger")[-1]["undoes"]
    home.run()
    assert (home.people / "Anna").is_dir()
    assert (home.people / "person-0002").is_dir()


def test_a_tree_that_cannot_be_read_is_mentioned(
    run: RunCommand, home: Home, tmp_path: Path
) -> None:
    """The command continues with what is recorded."""
    home.people.rename(home.people.with_name("away"))
    home.people.mkdir()

    answer = run("export", "person", "1", "--to", tmp_path / "one.zip")

    assert 0 == answer.returncode
    assert "note: edits in people/ were not read" in answer.stderr
    assert "the share may not be mounted" in answer.stderr
