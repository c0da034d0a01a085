"""In whichever order files are dropped, the people are the same."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest

from portraitd.store.database import Database
from support.executors import CachingExecutor
from support.home import Home, SeenFace, assert_sound, dump
from support.media import as_jpeg


@pytest.fixture(scope="module")
def recalling() -> CachingExecutor:
    return CachingExecutor()


def name_everybody(home: Home) -> None:
    """As somebody would who tells people apart: each who has no name yet gets one."""
    database = Database.open(home.settings.state_dir)
    database.execute("update people set name = 'name of ' || id where name is null")
    database.close()


def faces_by_name(home: Home) -> dict[str, set[SeenFace]]:
    """The faces of each person who has a name."""
    names = {row["id"]: row["name"] for row in home.rows("people") if row["name"]}
    sha256 = {row["id"]: row["sha256"] for row in home.rows("videos")}
    found: dict[str, set[SeenFace]] = {name: set() for name in names.values()}
    for row in home.rows("faces"):
        if row["person_id"] in names:
            box = (row["box_left"], row["box_top"], row["box_right"], row["box_bottom"])
            seen = SeenFace(sha256[row["video_id"]], row["t_s"], box)
            found[names[row["person_id"]]].add(seen)
    return found


ORDERS = list(itertools.permutations(["clip.mp4", "first.png", "second.jpg", "first again.jpg"]))


@pytest.mark.parametrize("order", ORDERS[::3], ids=" ".join)
def test_in_whichever_order_files_come_the_people_are_the_same(
    tmp_path: Path,
    two_people: Path,
    photographs: list[Path],
    recalling: CachingExecutor,
    order: tuple[str, ...],
) -> None:
    """One by one, each person named as soon as there is one: names keep all their faces."""
    sources: dict[str, Path | bytes] = {
        "clip.mp4": two_people,
        "first.png": photographs[0],
        "second.jpg": photographs[1],
        "first again.jpg": as_jpeg(photographs[0]),
    }
    home = Home(tmp_path)
    known: dict[str, set[SeenFace]] = {}
    for name in order:
        home.drop(sources[name], name)
        with home.opened(executor=recalling) as service:
            home.run_until_idle(service)
        named = faces_by_name(home)
        for one, faces in known.items():
            assert faces <= named[one]
        assert_sound(home.settings)
        name_everybody(home)
        known = faces_by_name(home)

    found = dump(home.settings)
    first, second = sorted(found.people, key=len, reverse=True)
    clip, photo, other, again = (
        next(row["sha256"] for row in home.rows("videos") if row["id"] == 1 + order.index(name))
        for name in sources
    )
    assert {clip: 5, photo: 1, again: 1} == Counter(face.sha256 for face in first)
    assert {clip: 5, other: 1} == Counter(face.sha256 for face in second)
    assert {0.0, 2.0, 4.0, 6.0, 8.0} == {face.t_s for face in first}
    assert {0.0, 10.0, 12.0, 14.0, 16.0, 18.0} == {face.t_s for face in second}
    assert 0 == sum(row["churn"] + row["names_lost"] for row in home.rows("grouping_runs"))
    assert 2 == len(home.rows("people"))
