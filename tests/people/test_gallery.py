"""The pages are brought up to date: what is written when, and what it says."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from portraitd.model.errors import PublishError
from portraitd.store.database import Database
from portraitd.store.publications import Publication
from portraitd.store.reprocess import ReprocessQueue
from support.clock import at
from support.gallery import HOSTILE, Exhibition, drawn_montage
from support.tree import Snapshot, snapshot

Value = Any


@pytest.fixture
def exhibition(memory_path: Path) -> Exhibition:
    return Exhibition(Database.open(memory_path), memory_path / "people")


def some_people(exhibition: Exhibition, count: int = 3, now_s: float = 3000.0) -> None:
    """People of whom each is seen three times in one video."""
    seen = [(person, 10.0 * person + t) for person in range(1, count + 1) for t in range(3)]
    exhibition.show("a.mp4", seen, duration_s=60.0 + 10 * count, at_s=1000.0)
    exhibition.grouping_run()
    exhibition.publish(now_s)


def read(exhibition: Exhibition, name: str) -> Value:
    """What a script of data hands to the page."""
    text = (exhibition.root / "gallery/data" / name).read_text("ascii")
    return json.loads(text[text.index("(") + 1 : text.rindex(")")])


def cards(exhibition: Exhibition, block: int = 1) -> dict[int, dict[str, Value]]:
    names = (
        "id", "name", "named", "folder", "picture", "full", "portraits", "faces", "clips", "first",
        "last", "fresh", "doubtful", "close",
    )  # fmt: skip
    rows = read(exhibition, f"people-{block:04d}.js")
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows}


def person(exhibition: Exhibition, number: int) -> Value:
    return read(exhibition, f"person-{number:06d}.js")


def changed(before: Snapshot, after: Snapshot) -> set[str]:
    """Paths that were written or removed, portraitd's own notes left out."""
    paths = {path for path in before | after if before.get(path) != after.get(path)}
    return {path for path in paths if ".portraitd-" not in path and path.startswith("gallery")}


def test_before_anybody_is_found_there_is_a_page(exhibition: Exhibition) -> None:
    """It says so; and everything it names is there."""
    exhibition.gallery.tick(at(1.0))

    assert not exhibition.gallery.pending
    assert {"people": 0, "clips": 0, "since": 0, "new_people": 0, "new_faces": 0, "at": 0} == read(
        exhibition, "summary.js"
    )
    assert "people-0001.js" not in (exhibition.root / "index.html").read_text()
    assert (exhibition.root / "gallery/person.html").exists()


def test_everybody_has_a_card(exhibition: Exhibition) -> None:
    """With what one wants to know at one glance."""
    exhibition.montages = {2: drawn_montage(1)}
    exhibition.show("a.mp4", [(1, 3.0), *[(2, float(t)) for t in range(30)]], at_s=100.0)
    exhibition.show("b.mp4", [(2, 7.0)], at_s=200.0)
    exhibition.grouping_run()
    exhibition.publish(3000.0)

    assert {
        "id": 2, "name": "person-0002", "named": 0, "folder": "person-0002",
        "picture": "montage.jpg", "full": 5, "portraits": 31, "faces": 31, "clips": 2,
        "first": 100, "last": 200, "fresh": 0, "doubtful": 0, "close": 0,
    } == cards(exhibition)[2]  # fmt: skip
    assert (0, "000004.jpg") == (cards(exhibition)[1]["full"], cards(exhibition)[1]["picture"])
    assert (2, 2) == (
        read(exhibition, "summary.js")["people"],
        read(exhibition, "summary.js")["clips"],
    )


def test_a_page_says_where_somebody_is_seen(exhibition: Exhibition) -> None:
    """Videos with their stretches, and each portrait with its video and time."""
    exhibition.show("a.mp4", [(1, 3.0), (1, 4.0), (1, 20.0)], at_s=100.0)
    exhibition.show("b.mp4", [(1, 7.0)], duration_s=30.0, at_s=200.0)
    exhibition.grouping_run()
    exhibition.publish(3000.0)
    found = person(exhibition, 1)

    assert [
        ["a.mp4", 0, 60.0, 100, [[3.0, 5.0, 2], [20.0, 21.0, 1]]],
        ["b.mp4", 0, 30.0, 200, [[7.0, 8.0, 1]]],
    ] == found["videos"]
    assert [[1, 0, 3.0, 0], [2, 0, 4.0, 0], [3, 0, 20.0, 0], [4, 1, 7.0, 0]] == found["portraits"]
    assert ([100, "a.mp4"], [200, "b.mp4"]) == (found["first"], found["last"])


def test_a_second_publish_writes_nothing(exhibition: Exhibition) -> None:
    """Same bytes, same times, notes included."""
    some_people(exhibition)
    before = snapshot(exhibition.root)

    exhibition.publish(4000.0)

    assert before == snapshot(exhibition.root)
    assert not exhibition.gallery.pending


def test_a_new_video_costs_those_it_shows(exhibition: Exhibition) -> None:
    """Five of six hundred people: their files, their blocks, and what counts them all."""
    some_people(exhibition, 600)
    before = snapshot(exhibition.root)
    exhibition.show("b.mp4", [(p, float(p % 50)) for p in (3, 7, 8, 9, 251)], at_s=5000.0)
    exhibition.grouping_run()
    exhibition.publish(6000.0)

    people = (3, 7, 8, 9, 251)
    assert {
        *(f"gallery/data/person-{p:06d}.js" for p in people),
        *(f"gallery/appearances/{p:06d}.csv" for p in people),
        "gallery/data/people-0001.js",
        "gallery/data/people-0002.js",
        "gallery/data/summary.js",
        "gallery/appearances.csv",
    } == changed(before, snapshot(exhibition.root))


def test_what_is_new_is_counted_from_last_time(exhibition: Exhibition) -> None:
    """With the date of that; at the first time nothing is."""
    some_people(exhibition)
    assert 0 == read(exhibition, "summary.js")["since"]
    exhibition.show("b.mp4", [(2, 7.0), (2, 8.0), (4, 9.0)], at_s=5000.0)
    exhibition.grouping_run()
    exhibition.publish(6000.0)

    summary = read(exhibition, "summary.js")
    assert (3000, 1, 3) == (summary["since"], summary["new_people"], summary["new_faces"])
    assert {1: 0, 2: 2, 3: 0, 4: 1} == {n: one["fresh"] for n, one in cards(exhibition).items()}
    assert [0, 0, 0, 1, 1] == [portrait[3] for portrait in person(exhibition, 2)["portraits"]]


def test_what_is_new_stays_new_until_more_comes(exhibition: Exhibition) -> None:
    """A publication after a human's word, or a regroup, brings no faces."""
    some_people(exhibition)
    exhibition.show("b.mp4", [(2, 7.0)], at_s=5000.0)
    exhibition.grouping_run()
    exhibition.publish(6000.0)
    exhibition.grouping_run()
    exhibition.publish(7000.0)
    assert 1 == cards(exhibition)[2]["fresh"]
    exhibition.show("c.mp4", [(3, 7.0)], at_s=8000.0)
    exhibition.grouping_run()
    exhibition.publish(9000.0)

    assert {1: 0, 2: 0, 3: 1} == {n: one["fresh"] for n, one in cards(exhibition).items()}
    assert 6000 == read(exhibition, "summary.js")["since"]


def test_what_was_only_looked_at_again_is_not_new(exhibition: Exhibition) -> None:
    """Neither before the grouping that follows a rebuild, nor after it."""
    some_people(exhibition)
    exhibition.show("b.mp4", [(2, 7.0)], at_s=5000.0)
    exhibition.grouping_run()
    exhibition.publish(6000.0)
    assert 1 == cards(exhibition)[2]["fresh"]
    ReprocessQueue(exhibition.database, exhibition.files, exhibition.tracks).replace()

    exhibition.publish(7000.0)
    assert {1: 0, 2: 0, 3: 0} == {n: one["fresh"] for n, one in cards(exhibition).items()}
    exhibition.grouping_run()
    exhibition.publish(8000.0)
    assert {1: 0, 2: 0, 3: 0} == {n: one["fresh"] for n, one in cards(exhibition).items()}
    exhibition.show("c.mp4", [(3, 7.0)], at_s=8000.0)
    exhibition.grouping_run()
    exhibition.publish(9000.0)

    assert {1: 0, 2: 0, 3: 1} == {n: one["fresh"] for n, one in cards(exhibition).items()}


def test_who_does_not_belong_is_shown_with_a_portrait(exhibition: Exhibition) -> None:
    """The track that looks like somebody else, and how far from the rest it lies."""
    for number in range(6):
        exhibition.show(f"{number}.mp4", [(1, 5.0), (2, 9.0)])
    exhibition.show("odd.mp4", [(1, 30.0)], looks=[9])
    exhibition.grouping_run()
    exhibition.publish(3000.0)
    found = person(exhibition, 1)

    assert (1, 0) == (cards(exhibition)[1]["doubtful"], cards(exhibition)[2]["doubtful"])
    [[index, distance, usual]] = found["outliers"]
    assert "odd.mp4" == found["videos"][found["portraits"][index][1]][0]
    assert distance > 1.0 > usual


def test_people_who_may_be_one_name_each_other(exhibition: Exhibition) -> None:
    """With the distance, and with the folder as it is called now."""
    some_people(exhibition)
    (exhibition.root / "person-0002").rename(exhibition.root / "Anna & Co")
    exhibition.grouping_run([(1, 2, 0.56), (1, 3, 0.58)])
    exhibition.publish(4000.0)

    close = person(exhibition, 1)["close"]
    assert [(2, "Anna & Co", "Anna%20%26%20Co", 0.56), (3, "person-0003", "person-0003", 0.58)] == [
        (*one[:3], one[5]) for one in close
    ]
    assert [2, 1, 1] == [one["close"] for one in cards(exhibition).values()]


def test_a_folder_is_shown_as_humans_call_it(exhibition: Exhibition) -> None:
    """Its pages follow at the next publish, and nothing else does."""
    some_people(exhibition)
    before = snapshot(exhibition.root)
    (exhibition.root / "person-0002").rename(exhibition.root / "Zoë #1")
    exhibition.publish(4000.0)

    card = cards(exhibition)[2]
    assert ("Zoë #1", 1, "Zo%C3%AB%20%231") == (card["name"], card["named"], card["folder"])
    assert {
        "gallery/data/people-0001.js",
        "gallery/data/person-000002.js",
        "gallery/data/summary.js",
        "gallery/appearances.csv",
    } == changed(before, snapshot(exhibition.root))


def test_whoever_is_ignored_is_not_shown(exhibition: Exhibition) -> None:
    """Neither among all nor on a page of their own nor in a table."""
    some_people(exhibition)
    (exhibition.root / "_ignored").mkdir(exist_ok=True)
    (exhibition.root / "person-0002").rename(exhibition.root / "_ignored/person-0002")
    exhibition.publish(4000.0)

    assert [1, 3] == list(cards(exhibition))
    names = os.listdir(exhibition.root / "gallery/data") + os.listdir(
        exhibition.root / "gallery/appearances"
    )
    assert not [name for name in names if "000002" in name]
    assert "person-0002" not in (exhibition.root / "gallery/appearances.csv").read_text("utf-8")


def test_hostile_names_reach_the_pages_as_they_are(exhibition: Exhibition) -> None:
    """And nothing but text comes of them, whatever a script or a table would make of it."""
    some_people(exhibition, len(HOSTILE))
    for number, name in enumerate(HOSTILE, 1):
        (exhibition.root / f"person-{number:04d}").rename(exhibition.root / name)
    exhibition.publish(4000.0)

    assert list(HOSTILE) == [card["name"] for card in cards(exhibition).values()]
    text = (exhibition.root / "gallery/appearances.csv").read_text("utf-8-sig")
    named = {int(row[0]): row[1] for row in list(csv.reader(io.StringIO(text)))[1:]}
    assert {n: "'" + name if name[0] == "=" else name for n, name in enumerate(HOSTILE, 1)} == named


def test_a_name_that_is_no_text_is_shown_somehow(exhibition: Exhibition) -> None:
    """A folder may have bytes for a name; the link leads to it all the same."""
    some_people(exhibition)
    (exhibition.root / "person-0002").rename(exhibition.root / os.fsdecode(b"caf\xe9"))
    exhibition.publish(4000.0)

    card = cards(exhibition)[2]
    assert ("caf\\xe9", "caf%E9") == (card["name"], card["folder"])


def test_a_note_that_was_tampered_with_leads_nowhere(exhibition: Exhibition) -> None:
    """It lies where humans write; faces that are not the person's, or no faces, are not shown."""
    some_people(exhibition)
    note = exhibition.root / "person-0002/.person.json"
    text = note.read_text()
    for old, new in (("portrait 4 ", "portrait x "), ("portrait 5 ", "portrait 1 ")):
        assert old in text
        text = text.replace(old, new)
    note.write_text(text.replace("portrait 6 ", f"portrait {'9' * 5000} "))
    exhibition.note_publication(Publication(1, 0, "2"), 4000.0)
    exhibition.gallery.tick(at(4000.0))

    assert ([], "") == (person(exhibition, 2)["portraits"], person(exhibition, 2)["picture"])
    assert "" == cards(exhibition)[2]["picture"]


def test_tables_lie_where_editors_look(exhibition: Exhibition) -> None:
    """One for each person, and one for all; the same lines."""
    some_people(exhibition)
    folder = exhibition.root / "gallery"
    everybody = (folder / "appearances.csv").read_text("utf-8-sig").splitlines()
    alone = (folder / "appearances/000002.csv").read_text("utf-8-sig").splitlines()

    assert 4 == len(everybody)
    assert ["a.mp4,20.000,23.000,00:00:20.000,00:00:23.000,3"] == alone[1:]
    assert "2,person-0002," + alone[1] == everybody[2]


def test_foreign_files_are_left_alone(exhibition: Exhibition) -> None:
    """A page that a human wrote stays; portraitd's lies beside it."""
    (exhibition.root / "index.html").write_text("my page")
    some_people(exhibition)

    assert "my page" == (exhibition.root / "index.html").read_text()
    assert "portraitd" in (exhibition.root / "index (portraitd).html").read_text()


def test_a_share_that_is_away_is_waited_for(exhibition: Exhibition) -> None:
    """What could not be written is written when it is back."""
    some_people(exhibition)
    marker = exhibition.root / ".portraitd-root"
    marker.rename(exhibition.root.with_name("away"))
    exhibition.note_publication(Publication(1, 0, "2"), 4000.0)

    with pytest.raises(PublishError, match="the share may be away"):
        exhibition.gallery.tick(at(4000.0))
    exhibition.root.with_name("away").rename(marker)
    with pytest.raises(PublishError, match="the share may be away"):
        exhibition.gallery.tick(at(4001.0))
    exhibition.gallery.tick(at(4020.0))

    assert not exhibition.gallery.pending


def test_many_people_are_blocks_that_never_shift(exhibition: Exhibition) -> None:
    """Whose block it is follows from the number, also where somebody is gone."""
    some_people(exhibition, 260)
    exhibition.person_of = [0 if one == 5 else one for one in exhibition.person_of]
    exhibition.grouping_run()
    exhibition.publish(4000.0)

    assert (249, 10) == (len(cards(exhibition, 1)), len(cards(exhibition, 2)))
    assert 251 == min(cards(exhibition, 2))
    index = (exhibition.root / "index.html").read_text()
    assert ("people-0002.js" in index, "people-0003.js" in index) == (True, False)
