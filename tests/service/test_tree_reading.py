"""A command reads the tree first: renaming folders and asking for the names in the next command."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from portraitd.model.reasons import NO_REASON, ReasonCode
from portraitd.service.status import read_status
from portraitd.service.tree_reading import read_tree
from support.drawn_home import make_drawn_home
from support.home import Home
from support.reviews import ledger


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Four people with six portraits; a change settles in an hour."""
    review = {"settle_s": 3600.0, "scan_s": 10.0, "portraits_per_track": 0}
    return make_drawn_home(tmp_path, people=4, portraits=6, review=review)


def age(home: Home, by_s: float = 7200.0) -> None:
    """Let all folders of the tree have been changed as long ago."""
    then = time.time() - by_s
    for folder in [home.people, *(one for one in home.people.rglob("*") if one.is_dir())]:
        os.utime(folder, (then, then))


def rename(home: Home) -> None:
    (home.people / "person-0001").rename(home.people / "Anna")


def test_an_edit_that_has_settled_is_recorded_at_once(home: Home) -> None:
    """By two readings without a wait, and once, however often the tree is read."""
    rename(home)
    age(home)

    assert NO_REASON == read_tree(home.settings) == read_tree(home.settings)

    assert ["name"] == ledger(home)
    assert "Anna" == home.rows("people")[0]["name"]
    assert read_status(home.settings).snapshot.publication_pending
    home.run()
    assert ["name"] == ledger(home)


def test_a_new_edit_is_left_for_later(home: Home) -> None:
    """By a command that does not wait: more may be on its way."""
    rename(home)
    assert NO_REASON == read_tree(home.settings, waits=False)
    assert [] == ledger(home)
    age(home)

    read_tree(home.settings, waits=False)

    assert ["name"] == ledger(home)


def test_the_running_service_reads_the_tree_itself(home: Home) -> None:
    """And is not disturbed."""
    rename(home)
    age(home)
    with home.opened():
        assert NO_REASON == read_tree(home.settings)
    assert [] == ledger(home)


def test_a_tree_that_is_not_mounted_is_said(home: Home) -> None:
    """The command goes on with what was recorded before."""
    home.people.rename(home.people.with_name("away"))
    home.people.mkdir()

    assert ReasonCode.PUBLISHING_FAILED == read_tree(home.settings).code


def test_deletions_of_many_wait_as_ever(home: Home) -> None:
    """Until somebody answers; the names beside them are recorded."""
    rename(home)
    for number in (2, 3, 4):
        for portrait in (home.people / f"person-000{number}").glob("0*.jpg"):
            portrait.unlink()
    for portrait in sorted((home.people / "Anna").glob("0*.jpg"))[:2]:
        portrait.unlink()
    age(home)

    read_tree(home.settings)

    assert ["name"] == ledger(home)
    assert ReasonCode.PORTRAITS_DISAPPEARED in {
        one.code for one in read_status(home.settings).snapshot.blocked_stages.values()
    }
