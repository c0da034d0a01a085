"""The tree fails in part, is hostile, or is older or newer than the database: the service copes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from portraitd.model.reasons import ReasonCode
from portraitd.store.erasure.eraser import Eraser
from portraitd.store.maintenance.backup import back_up, restore
from support.fuzz_runs import parametrize_runs
from support.home import START_S, Home
from support.hostile_tree import HostileTree, make_home_with_people
from support.permissions import permissions_count


@pytest.fixture
def home(memory_path: Path) -> Home:
    """Six people in a tree that is up to date."""
    return make_home_with_people(memory_path / "home")


def work(home: Home, seconds: float = 30.0) -> None:
    """Start the service, and let it work until it is idle, after that time."""
    home.steady_s += seconds
    home.run()


def rename(home: Home, number: int, name: str) -> None:
    (home.people / f"person-{number:04d}").rename(home.people / name)
    work(home)
    assert "names" not in home.blocked_stages()


def names(home: Home) -> dict[int, str | None]:
    return {row["id"]: row["name"] for row in home.rows("people")}


def folders(home: Home) -> set[str]:
    own = {"gallery", "_unsorted", "_ignored"}
    return {path.name for path in home.people.iterdir() if path.is_dir()} - own


def test_a_folder_that_cannot_be_written_is_named_and_stops_no_other(home: Home) -> None:
    """In status and on the pages; it is brought up to date when it can be written again."""
    shutil.rmtree(home.people / "gallery")
    (home.people / "person-0002").chmod(0o500)
    (home.people / "person-0003").rename(home.people / "Carl")
    (home.people / "person-0002").rename(home.people / "Bob")

    with permissions_count():
        work(home)
    page = (home.people / "STATUS.html").read_text()

    assert "1 folder of" in home.blocked_stages()["folders"]
    assert "Bob (Permission denied)" in home.blocked_stages()["folders"]
    assert "Bob (Permission denied)" in page
    assert {"Bob", "Carl", "person-0001"} <= folders(home)
    assert {2: "Bob", 3: "Carl"}.items() <= names(home).items()
    assert "Carl" in (home.people / "gallery/data/people-0001.js").read_text()
    (home.people / "Bob").chmod(0o770)
    work(home, 100.0)
    assert {} == home.blocked_stages()
    assert "Permission denied" not in (home.people / "STATUS.html").read_text()


def test_a_faulty_folder_with_a_strange_name_is_named_in_plain_text(home: Home) -> None:
    """One that no text can hold, and that would change the terminal or the direction of text."""
    name = os.fsdecode(b"\xff\x1b[2J\xe2\x80\xae\n<b>")
    (home.people / name).mkdir()
    (home.people / "person-0002").rename(home.people / name / "person-0002")
    (home.people / name).chmod(0)

    with permissions_count():
        work(home)
    (home.people / name).chmod(0o700)

    assert r"\udcff\x1b[2J\u202e\x0a<b> (Permission denied)" in home.blocked_stages()["folders"]
    page = (home.people / "STATUS.html").read_text()
    assert r"\udcff\x1b[2J\u202e\x0a&lt;b&gt; (Permission denied)" in page
    work(home, 100.0)
    assert {} == home.blocked_stages()


def test_a_folder_that_cannot_be_read_stops_no_other_erasure(home: Home) -> None:
    """It is named. As it may show anyone, no erasure is finished before it can be read."""
    (home.people / "person-0001").chmod(0)

    home.steady_s += 30.0
    with home.opened() as service, permissions_count():
        home.tick(service)
        for person in ("1", "2"):
            service.erasure.answer("person", person, home.now.wall_s)
        home.tick(service)
        blocked = service.blocked
        assert 2 == len(Eraser(service.database).pending_erasures())

    assert ReasonCode.FOLDERS_UNAVAILABLE is blocked.code
    assert "person-0001 (Permission denied)" in blocked.text
    assert not (home.people / "person-0002").exists()
    (home.people / "person-0001").chmod(0o700)
    work(home, 100.0)
    assert not (home.people / "person-0001").exists()
    assert {} == home.blocked_stages()


def test_an_older_tree_is_brought_up_to_date(home: Home, tmp_path: Path) -> None:
    """When a backup of people/ is put back, without any new grouping."""
    shutil.copytree(home.people, tmp_path / "older")
    rename(home, 1, "Ann")
    before = names(home)
    shutil.rmtree(home.people)
    shutil.copytree(tmp_path / "older", home.people)

    work(home)

    assert before == names(home)
    assert "Ann" in folders(home)
    assert "person-0001" not in folders(home)


def test_names_that_only_the_tree_has_are_adopted(home: Home, tmp_path: Path) -> None:
    """After a restore of an older database: of known people, and of one whom it does not know."""
    backup = tmp_path / "backup"
    back_up(home.settings.state_dir, backup, START_S)
    rename(home, 1, "Ann")
    (home.people / "Zoe").mkdir()
    (home.people / "person-0002/000004.jpg").rename(home.people / "Zoe/000004.jpg")
    work(home)
    ids = {name: number for number, name in names(home).items()}
    assert {"Ann", "Zoe"} <= ids.keys()

    restore(home.settings.state_dir, backup, START_S)
    work(home)

    assert {"Ann", "Zoe"} <= set(names(home).values())
    assert {"Ann", "Zoe"} <= folders(home)
    assert (home.people / "Zoe/000004.jpg").is_file()


@pytest.mark.parametrize("place", ["gallery", "gallery/data", "gallery/appearances"])
def test_no_page_is_written_through_a_link(home: Home, tmp_path: Path, place: str) -> None:
    """It is moved aside, and what is behind it stays; the pages are written into a new folder."""
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.rmtree(home.people / place)
    (home.people / place).symlink_to(outside)
    (home.people / "person-0001").rename(home.people / "Ann")

    home.steady_s += 30.0
    with home.opened() as service:
        for _ in range(8):
            home.tick(service)
        blocked = service.blocked

    assert [] == os.listdir(outside)
    assert not blocked
    (aside,) = (home.people / place).parent.glob(f"{Path(place).name} *")
    assert str(outside) == os.readlink(aside)
    assert "Ann" in names(home).values()
    assert "Ann" in (home.people / "gallery/data/people-0001.js").read_text()
    assert (home.people / place).is_dir()
    assert not (home.people / place).is_symlink()


def make_full_folder(place: Path) -> None:
    place.mkdir()
    (place / "mine.txt").write_text("mine")


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, make_full_folder, lambda place: place.write_bytes(b'{"inode": 1e999')],
    ids=["pipe", "folder", "broken"],
)
def test_a_new_home_starts_whatever_its_marker_is(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    """Where no tree can be made, the service says so, and goes on."""
    home = Home(tmp_path / "home")
    make(home.people / ".portraitd-root")

    with home.opened() as service:
        home.tick(service)

    assert (home.people / "STATUS.html").exists() is not (home.people / ".portraitd-root").is_dir()


@parametrize_runs(80, many=1500, timeout_s=1200)
def test_hostile_hands_in_the_tree_end_nothing(memory_path: Path, count: int, seed: int) -> None:
    """A sample of what ``python -m support.hostile_tree 10000`` does."""
    hostile = HostileTree(memory_path, seed)

    hostile.run(count, swaps=True)

    hostile.heal()
