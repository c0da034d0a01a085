"""The gallery stage: which files it writes when, and their content."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from portraitd.config import PagesSettings
from portraitd.model.appearance import Appearance
from portraitd.model.errors import PublishError
from portraitd.model.suggestion import Suggestion
from portraitd.people.pages.gallery import Gallery
from portraitd.people.pages.subtitles import make_chapters
from portraitd.store.database import Database
from portraitd.store.publications import Publication
from portraitd.store.reprocess import ReprocessQueue
from support.clock import at
from support.gallery import HOSTILE, GalleryFixture, draw_montage
from support.tree import Snapshot, snapshot

Value = Any


@pytest.fixture
def fixture(memory_path: Path) -> GalleryFixture:
    return GalleryFixture(Database.open(memory_path), memory_path / "people")


def some_people(fixture: GalleryFixture, count: int = 3, now_s: float = 3000.0) -> None:
    """Publish people who each appear three times in one video."""
    seen = [(person, 10.0 * person + t) for person in range(1, count + 1) for t in range(3)]
    fixture.show("a.mp4", seen, duration_s=60.0 + 10 * count, at_s=1000.0)
    fixture.grouping_run()
    fixture.publish(now_s)


def read(fixture: GalleryFixture, name: str) -> Value:
    """Return the value that a data script passes to the page."""
    text = (fixture.root / "gallery/data" / name).read_text("ascii")
    return json.loads(text[text.index("(") + 1 : text.rindex(")")])


def cards(fixture: GalleryFixture, block: int = 1) -> dict[int, dict[str, Value]]:
    names = (
        "id", "name", "named", "folder", "cover", "portraits", "faces", "videos",
        "photos", "first", "last", "new_faces", "outliers", "similar", "first_kind", "last_kind",
    )  # fmt: skip
    rows = read(fixture, f"people-{block:04d}.js")
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows}


def person(fixture: GalleryFixture, number: int) -> Value:
    return read(fixture, f"person-{number:06d}.js")


def changed(before: Snapshot, after: Snapshot) -> set[str]:
    """Return the paths that were written or removed, except manifests."""
    paths = {path for path in before | after if before.get(path) != after.get(path)}
    return {path for path in paths if ".portraitd-" not in path and path.startswith("gallery")}


def test_there_is_a_page_before_anyone_is_found(fixture: GalleryFixture) -> None:
    """It is empty, and all files it loads exist."""
    fixture.gallery.tick(at(1.0))

    assert not fixture.gallery.pending
    assert {
        "people": 0,
        "videos": 0,
        "photos": 0,
        "since": 0,
        "new_people": 0,
        "new_faces": 0,
        "at": 0,
        "indistinct": 0,
        "better_model": 0,
        "unsorted": 0,
    } == read(fixture, "summary.js")
    assert "people-0001.js" not in (fixture.root / "index.html").read_text()
    assert (fixture.root / "gallery/person.html").exists()


def test_every_person_has_a_card(fixture: GalleryFixture) -> None:
    """It has an image, counts and dates."""
    fixture.montages = {2: draw_montage(1)}
    fixture.show("a.mp4", [(1, 3.0), *[(2, float(t)) for t in range(30)]], at_s=100.0)
    fixture.show("b.mp4", [(2, 7.0)], at_s=200.0)
    fixture.grouping_run()
    fixture.publish(3000.0)

    assert {
        "id": 2, "name": "person-0002", "named": 0, "folder": "person-0002",
        "cover": "000001.jpg", "portraits": 31, "faces": 31, "videos": 2,
        "photos": 0, "first": 100, "last": 200, "new_faces": 0, "outliers": 0, "similar": 0,
        "first_kind": "d", "last_kind": "d",
    } == cards(fixture)[2]  # fmt: skip
    assert "000004.jpg" == cards(fixture)[1]["cover"]
    summary = read(fixture, "summary.js")
    assert (2, 2, 0) == (summary["people"], summary["videos"], summary["photos"])


def test_photos_are_counted_as_photos(fixture: GalleryFixture) -> None:
    """Cards and totals count videos and photos separately."""
    fixture.show("a.mp4", [(1, 3.0), (2, 3.0)])
    fixture.show("b.jpg", [(1, 0.0)], duration_s=0.0)
    fixture.show("c.jpg", [(1, 0.0), (2, 0.0)], duration_s=0.0)
    fixture.grouping_run()
    fixture.publish(3000.0)

    counts = {n: (card["videos"], card["photos"]) for n, card in cards(fixture).items()}
    assert {1: (1, 2), 2: (1, 1)} == counts
    summary = read(fixture, "summary.js")
    assert (1, 2) == (summary["videos"], summary["photos"])


def test_a_page_lists_the_appearances(fixture: GalleryFixture) -> None:
    """Videos have their appearances, and each portrait its video and time."""
    fixture.show("a.mp4", [(1, 3.0), (1, 4.0), (1, 20.0)], at_s=100.0)
    fixture.show("b.mp4", [(1, 7.0)], duration_s=30.0, at_s=200.0)
    fixture.grouping_run()
    fixture.publish(3000.0)
    found = person(fixture, 1)

    assert [
        ["a.mp4", 0, 60.0, 100, [[3.0, 5.0, 2], [20.0, 21.0, 1]], "d"],
        ["b.mp4", 0, 30.0, 200, [[7.0, 8.0, 1]], "d"],
    ] == found["videos"]
    portraits = [one[:4] for one in found["portraits"]]
    assert [[1, 0, 3.0, 0], [2, 0, 4.0, 0], [3, 0, 20.0, 0], [4, 1, 7.0, 0]] == portraits
    assert ([100, "d", "a.mp4"], [200, "d", "b.mp4"]) == (found["first"], found["last"])


def date(fixture: GalleryFixture, name: str, at_s: float, offset_min: int | None) -> None:
    """Store when a recording was made, as new tags in its file do."""
    fixture.database.execute(
        """
        update videos set recorded_at = ?, recorded_offset_min = ?, described_at = ?
        where id = (select video_id from files where path = ?)
        """,
        (at_s, offset_min, at_s, name.encode()),
    )


def test_first_and_last_seen_is_when_it_was_recorded(fixture: GalleryFixture) -> None:
    """Where that is known: b was dropped later, and made long before."""
    fixture.show("a.mp4", [(1, 3.0)], at_s=5000.0)
    fixture.show("b.mp4", [(1, 7.0)], at_s=6000.0)
    fixture.show("c.jpg", [(1, 0.0)], at_s=7000.0)
    fixture.grouping_run()
    date(fixture, "b.mp4", 4000.0, 0)
    date(fixture, "c.jpg", 6500.0, None)
    fixture.publish(8000.0)

    found = person(fixture, 1)
    assert ([4000, "r", "b.mp4"], [6500, "l", "c.jpg"]) == (found["first"], found["last"])
    assert ["d", "r", "l"] == [video[5] for video in found["videos"]]
    card = cards(fixture)[1]
    assert (4000, "r", 6500, "l") == tuple(
        card[name] for name in ("first", "first_kind", "last", "last_kind")
    )


def test_a_local_date_is_that_of_the_place(fixture: GalleryFixture) -> None:
    """Whatever the reader's time zone is."""
    fixture.show("a.mp4", [(1, 3.0)], at_s=900_000.0)
    fixture.grouping_run()
    date(fixture, "a.mp4", 500_000.0, 330)
    fixture.publish(8000.0)

    assert [500_000 + 330 * 60, "l", "a.mp4"] == person(fixture, 1)["first"]


def test_new_dates_are_shown_without_a_publication(fixture: GalleryFixture) -> None:
    """Once no file is processed: not for each of thousands that get tags."""
    fixture.show("a.mp4", [(1, 3.0)], at_s=5000.0)
    fixture.grouping_run()
    fixture.publish(8000.0)
    busy = [True]
    gallery = Gallery(
        fixture.database, fixture.people, fixture.faces, fixture.root, is_working=lambda: busy[0]
    )
    assert not gallery.pending

    date(fixture, "a.mp4", 4000.0, 0)
    gallery.tick(at(9000.0))
    assert [5000, "d", "a.mp4"] == person(fixture, 1)["first"]
    busy[0] = False
    assert gallery.pending
    gallery.tick(at(9001.0))

    assert not gallery.pending
    assert [4000, "r", "a.mp4"] == person(fixture, 1)["first"]


def test_a_second_publish_writes_nothing(fixture: GalleryFixture) -> None:
    """Content, times and manifests stay the same."""
    some_people(fixture)
    before = snapshot(fixture.root)

    fixture.publish(4000.0)

    assert before == snapshot(fixture.root)
    assert not fixture.gallery.pending


def test_a_new_video_rewrites_only_the_people_in_it(fixture: GalleryFixture) -> None:
    """Five of six hundred people: their files, their blocks, and the totals."""
    some_people(fixture, 600)
    before = snapshot(fixture.root)
    fixture.show("b.mp4", [(p, float(p % 50)) for p in (3, 7, 8, 9, 251)], at_s=5000.0)
    fixture.grouping_run()
    fixture.publish(6000.0)

    people = (3, 7, 8, 9, 251)
    assert {
        *(f"gallery/data/person-{p:06d}.js" for p in people),
        *(f"gallery/appearances/{p:06d}.csv" for p in people),
        "gallery/data/people-0001.js",
        "gallery/data/people-0002.js",
        "gallery/data/summary.js",
        "gallery/appearances.csv",
    } == changed(before, snapshot(fixture.root))


def test_new_faces_are_counted_from_the_previous_version(fixture: GalleryFixture) -> None:
    """The date of that version is included; in the first version nothing is new."""
    some_people(fixture)
    assert 0 == read(fixture, "summary.js")["since"]
    fixture.show("b.mp4", [(2, 7.0), (2, 8.0), (4, 9.0)], at_s=5000.0)
    fixture.grouping_run()
    fixture.publish(6000.0)

    summary = read(fixture, "summary.js")
    assert (3000, 1, 3) == (summary["since"], summary["new_people"], summary["new_faces"])
    assert {1: 0, 2: 2, 3: 0, 4: 1} == {n: one["new_faces"] for n, one in cards(fixture).items()}
    assert [0, 0, 0, 1, 1] == [portrait[3] for portrait in person(fixture, 2)["portraits"]]


def test_new_faces_stay_new_until_more_arrive(fixture: GalleryFixture) -> None:
    """A publication after an edit or a regrouping brings no new faces."""
    some_people(fixture)
    fixture.show("b.mp4", [(2, 7.0)], at_s=5000.0)
    fixture.grouping_run()
    fixture.publish(6000.0)
    fixture.grouping_run()
    fixture.publish(7000.0)
    assert 1 == cards(fixture)[2]["new_faces"]
    fixture.show("c.mp4", [(3, 7.0)], at_s=8000.0)
    fixture.grouping_run()
    fixture.publish(9000.0)

    assert {1: 0, 2: 0, 3: 1} == {n: one["new_faces"] for n, one in cards(fixture).items()}
    assert 6000 == read(fixture, "summary.js")["since"]


def test_reprocessed_faces_are_not_new(fixture: GalleryFixture) -> None:
    """They are new neither before nor after the grouping that follows a rebuild."""
    some_people(fixture)
    fixture.show("b.mp4", [(2, 7.0)], at_s=5000.0)
    fixture.grouping_run()
    fixture.publish(6000.0)
    assert 1 == cards(fixture)[2]["new_faces"]
    ReprocessQueue(fixture.database, fixture.files, fixture.tracks).replace()

    fixture.publish(7000.0)
    assert {1: 0, 2: 0, 3: 0} == {n: one["new_faces"] for n, one in cards(fixture).items()}
    fixture.grouping_run()
    fixture.publish(8000.0)
    assert {1: 0, 2: 0, 3: 0} == {n: one["new_faces"] for n, one in cards(fixture).items()}
    fixture.show("c.mp4", [(3, 7.0)], at_s=8000.0)
    fixture.grouping_run()
    fixture.publish(9000.0)

    assert {1: 0, 2: 0, 3: 1} == {n: one["new_faces"] for n, one in cards(fixture).items()}


def test_portraits_can_be_ordered_by_quality_and_by_doubt(fixture: GalleryFixture) -> None:
    """Each has its place in both orders: the sharpest first, or the least like the others."""
    fixture.show("a.mp4", [(1, float(t)) for t in range(5)], looks=[1, 9, 1, 1, 1])
    fixture.grouping_run()
    fixture.database.execute("update faces set sharpness = 90 where id = 4")
    fixture.database.execute("update faces set sharpness = 1 where id = 3")
    fixture.publish(3000.0)

    portraits = person(fixture, 1)["portraits"]
    by_quality = [one[0] for one in sorted(portraits, key=lambda one: one[4])]
    by_doubt = [one[0] for one in sorted(portraits, key=lambda one: one[5])]
    assert (4, 3) == (by_quality[0], by_quality[-1])
    assert 2 == by_doubt[0]
    assert [1, 2, 3, 4, 5] == sorted(by_doubt) == sorted(by_quality)


def test_unsorted_faces_have_a_page(fixture: GalleryFixture) -> None:
    """By the person they may show, the most likely first, then those like no person."""
    fixture.show("a.mp4", [(1, 3.0), (1, 4.0), (2, 3.5)], at_s=100.0)
    fixture.show("b.jpg", [(0, 0.0)], duration_s=0.0)
    fixture.show("c.mp4", [(0, 5.0)])
    fixture.show("d.mp4", [(0, 6.0)])
    fixture.grouping_run()
    fixture.database.executemany(
        "insert into near_misses values (?, ?, ?)", [(3, 2, 0.625), (4, 1, 0.75), (5, 9, 0.9)]
    )
    fixture.publish(3000.0)

    found = read(fixture, "unsorted.js")
    assert 3 == read(fixture, "summary.js")["unsorted"]
    assert [[5, 1, 5.0, 1, 0.75], [4, 0, 0.0, 2, 0.62], [6, 2, 6.0, 0, 0.0]] == found["portraits"]
    assert ["b.jpg", "c.mp4", "d.mp4"] == [video[0] for video in found["videos"]]
    assert {
        "1": ["person-0001", "person-0001", "000001.jpg"],
        "2": ["person-0002", "person-0002", "000002.jpg"],
    } == found["people"]
    assert "_unsorted" == found["folder"]


def test_videos_have_subtitles_on_request(fixture: GalleryFixture) -> None:
    """They are up to date, readable by others' parsers, and removed when they are not wanted."""
    fixture.show("a/b.mp4", [(1, 3.0), (1, 4.0), (2, 4.0), (2, 9.0), (1, 30.5)], at_s=100.0)
    fixture.show("c.jpg", [(1, 0.0)], duration_s=0.0)
    fixture.grouping_run()
    fixture.publish(3000.0)
    (fixture.root / "person-0002").rename(fixture.root / "A --> B & <i>")
    assert not (fixture.root / "gallery/vtt").exists()
    stores = fixture.database, fixture.people, fixture.faces

    Gallery(*stores, fixture.root, settings=PagesSettings(vtt=True)).tick(at(4000.0))

    folder = fixture.root / "gallery/vtt"
    names = ["000001 a b.mp4.chapters.vtt", "000001 a b.mp4.vtt"]
    assert names == sorted(path.name for path in folder.glob("0*"))
    assert (
        "WEBVTT\n\n00:00:03.000 --> 00:00:05.000\nperson-0001\n\n"
        "00:00:04.000 --> 00:00:05.000\nA --&gt; B &amp; &lt;i&gt;\n\n"
        "00:00:09.000 --> 00:00:10.000\nA --&gt; B &amp; &lt;i&gt;\n\n"
        "00:00:30.500 --> 00:00:31.500\nperson-0001\n"
    ) == (folder / names[1]).read_text()
    Gallery(*stores, fixture.root).tick(at(5000.0))
    assert [] == list(folder.glob("0*"))


def test_a_chapter_has_the_same_people_throughout() -> None:
    """Short changes belong to the chapter before them; a gap ends one."""
    chapters = make_chapters(
        [
            ("Ann", [Appearance(0.0, 10.0, 9), Appearance(20.0, 30.0, 9)]),
            ("Bob", [Appearance(4.0, 5.0, 1), Appearance(6.0, 10.0, 4)]),
        ]
    ).decode()

    titles = [block.splitlines() for block in chapters.split("\n\n")[1:]]
    assert [
        ["00:00:00.000 --> 00:00:06.000", "Ann"],
        ["00:00:06.000 --> 00:00:10.000", "Ann, Bob"],
        ["00:00:20.000 --> 00:00:30.000", "Ann"],
    ] == titles


def test_a_page_leads_to_the_people_before_and_after(fixture: GalleryFixture) -> None:
    """By their number; the first has no person before it."""
    some_people(fixture)
    fixture.person_of = [0 if one == 2 else one for one in fixture.person_of]
    fixture.grouping_run()
    fixture.publish(4000.0)

    assert [0, 3] == person(fixture, 1)["neighbours"]
    assert [1, 0] == person(fixture, 3)["neighbours"]


def test_recordings_are_linked_where_readers_reach_them(fixture: GalleryFixture) -> None:
    """Percent-encoded, and only if the settings name the place."""
    fixture.show("a #1.mp4", [(1, 3.0)], at_s=100.0)
    fixture.grouping_run()
    fixture.publish(3000.0)
    assert 6 == len(person(fixture, 1)["videos"][0])

    stores = fixture.database, fixture.people, fixture.faces
    settings = PagesSettings(recordings="../inbox/")
    Gallery(*stores, fixture.root, settings=settings).tick(at(4000.0))

    found = person(fixture, 1)
    assert ("../inbox", "a%20%231.mp4") == (found["recordings"], found["videos"][0][6])


@pytest.mark.parametrize(
    ("address", "is_valid"),
    [
        ("", True),
        ("../inbox", True),
        ("https://nas.example/inbox", True),
        ("file:///srv/inbox", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ('https://x" onclick="y', False),
    ],
)
def test_the_address_of_recordings_runs_nothing(address: str, is_valid: bool) -> None:
    """It becomes a link on every page."""
    if is_valid:
        assert address == PagesSettings(recordings=address).recordings
    else:
        with pytest.raises(ValidationError):
            PagesSettings(recordings=address)


def test_an_outlier_is_shown_with_its_portrait(fixture: GalleryFixture) -> None:
    """The page names the outlying track and its distance from the others."""
    for number in range(6):
        fixture.show(f"{number}.mp4", [(1, 5.0), (2, 9.0)])
    fixture.show("odd.mp4", [(1, 30.0)], looks=[9])
    fixture.grouping_run()
    fixture.publish(3000.0)
    found = person(fixture, 1)

    assert (1, 0) == (cards(fixture)[1]["outliers"], cards(fixture)[2]["outliers"])
    [[index, distance, median]] = found["outliers"]
    assert "odd.mp4" == found["videos"][found["portraits"][index][1]][0]
    assert distance > 1.0 > median


@pytest.mark.parametrize("count", [3, 6])
def test_a_stranger_is_not_the_cover(fixture: GalleryFixture, count: int) -> None:
    """However large and sharp: the card shows a good face near the person's middle."""
    seen = [(1, float(t)) for t in range(count)]
    fixture.show("a.mp4", seen, looks=[9, *[1] * (count - 1)])
    fixture.grouping_run()
    fixture.database.execute("update faces set size_px = 400, sharpness = 900 where id = 1")
    fixture.database.execute("update faces set sharpness = 60 where id = 3")
    fixture.publish(3000.0)

    card = cards(fixture)[1]
    assert count == card["portraits"]
    assert "000001.jpg" != card["cover"]
    assert count > 3 or "000003.jpg" == card["cover"]


def test_similar_people_refer_to_each_other(fixture: GalleryFixture) -> None:
    """The most likely first, with the current folder; whether it is likely, but no number."""
    some_people(fixture)
    (fixture.root / "person-0002").rename(fixture.root / "Anna & Co")
    fixture.grouping_run([Suggestion(1, 2, 0.56, 0.6), Suggestion(1, 3, 0.58, 0.8)])
    fixture.publish(4000.0)

    close = person(fixture, 1)["similar"]
    assert [(3, "person-0003", "person-0003", 1), (2, "Anna & Co", "Anna%20%26%20Co", 0)] == [
        (*one[:3], one[4]) for one in close
    ]
    assert [2, 1, 1] == [one["similar"] for one in cards(fixture).values()]


def test_a_renamed_folder_is_shown_by_its_name(fixture: GalleryFixture) -> None:
    """The next publication rewrites the files about that person only."""
    some_people(fixture)
    before = snapshot(fixture.root)
    (fixture.root / "person-0002").rename(fixture.root / "Zoë #1")
    fixture.publish(4000.0)

    card = cards(fixture)[2]
    assert ("Zoë #1", 1, "Zo%C3%AB%20%231") == (card["name"], card["named"], card["folder"])
    assert {
        "gallery/data/people-0001.js",
        "gallery/data/person-000002.js",
        "gallery/data/summary.js",
        "gallery/appearances.csv",
    } == changed(before, snapshot(fixture.root))


def test_other_files_in_a_folder_rewrite_no_page(fixture: GalleryFixture) -> None:
    """A page depends only on what it shows."""
    some_people(fixture)
    before = snapshot(fixture.root)
    (fixture.root / "person-0002/notes.txt").write_text("mine")
    fixture.publish(4000.0)

    assert set() == changed(before, snapshot(fixture.root))


def test_an_ignored_person_is_not_shown(fixture: GalleryFixture) -> None:
    """They have no card, no page and no table."""
    some_people(fixture)
    (fixture.root / "_ignored").mkdir(exist_ok=True)
    (fixture.root / "person-0002").rename(fixture.root / "_ignored/person-0002")
    fixture.publish(4000.0)

    assert [1, 3] == list(cards(fixture))
    names = os.listdir(fixture.root / "gallery/data") + os.listdir(
        fixture.root / "gallery/appearances"
    )
    assert not [name for name in names if "000002" in name]
    assert "person-0002" not in (fixture.root / "gallery/appearances.csv").read_text("utf-8")


def test_hostile_names_reach_the_pages_as_they_are(fixture: GalleryFixture) -> None:
    """They stay plain text for scripts and tables."""
    some_people(fixture, len(HOSTILE))
    for number, name in enumerate(HOSTILE, 1):
        (fixture.root / f"person-{number:04d}").rename(fixture.root / name)
    fixture.publish(4000.0)

    assert list(HOSTILE) == [card["name"] for card in cards(fixture).values()]
    text = (fixture.root / "gallery/appearances.csv").read_text("utf-8-sig")
    named = {int(row[0]): row[1] for row in list(csv.reader(io.StringIO(text)))[1:]}
    assert {n: "'" + name if name[0] == "=" else name for n, name in enumerate(HOSTILE, 1)} == named


def test_an_undecodable_name_is_shown_escaped(fixture: GalleryFixture) -> None:
    """The name of a folder may be any bytes; the link works all the same."""
    some_people(fixture)
    (fixture.root / "person-0002").rename(fixture.root / os.fsdecode(b"caf\xe9"))
    fixture.publish(4000.0)

    card = cards(fixture)[2]
    assert ("caf\\xe9", "caf%E9") == (card["name"], card["folder"])


def test_a_manipulated_manifest_has_no_effect(fixture: GalleryFixture) -> None:
    """It is writable by people; entries that are not faces of the person are not shown."""
    some_people(fixture)
    note = fixture.root / "person-0002/.person.json"
    text = note.read_text()
    for old, new in (("portrait 4 ", "portrait x "), ("portrait 5 ", "portrait 1 ")):
        assert old in text
        text = text.replace(old, new)
    note.write_text(text.replace("portrait 6 ", f"portrait {'9' * 5000} "))
    fixture.note_publication(Publication(1, 0, "2"), 4000.0)
    fixture.gallery.tick(at(4000.0))

    assert ([], "") == (person(fixture, 2)["portraits"], person(fixture, 2)["cover"])
    assert "" == cards(fixture)[2]["cover"]


def test_there_is_a_table_for_each_person_and_for_all(fixture: GalleryFixture) -> None:
    """Both have the same rows."""
    some_people(fixture)
    folder = fixture.root / "gallery"
    everybody = (folder / "appearances.csv").read_text("utf-8-sig").splitlines()
    alone = (folder / "appearances/000002.csv").read_text("utf-8-sig").splitlines()

    assert 4 == len(everybody)
    row = "a.mp4,20.000,23.000,00:00:20.000,00:00:23.000,3,1970-01-01T00:16:40Z,dropped"
    assert [row] == alone[1:]
    assert "2,person-0002," + alone[1] == everybody[2]


def test_foreign_files_are_left_alone(fixture: GalleryFixture) -> None:
    """A page that a person wrote stays; the page of portraitd is put beside it."""
    (fixture.root / "index.html").write_text("my page")
    some_people(fixture)

    assert "my page" == (fixture.root / "index.html").read_text()
    assert "portraitd" in (fixture.root / "index (portraitd).html").read_text()


def test_an_unavailable_share_is_retried(fixture: GalleryFixture) -> None:
    """What could not be written is written once the share is available again."""
    some_people(fixture)
    marker = fixture.root / ".portraitd-root"
    marker.rename(fixture.root.with_name("away"))
    fixture.note_publication(Publication(1, 0, "2"), 4000.0)

    with pytest.raises(PublishError, match="the share may not be mounted"):
        fixture.gallery.tick(at(4000.0))
    fixture.root.with_name("away").rename(marker)
    with pytest.raises(PublishError, match="the share may not be mounted"):
        fixture.gallery.tick(at(4001.0))
    fixture.gallery.tick(at(4020.0))

    assert not fixture.gallery.pending


def test_people_never_move_to_another_block(fixture: GalleryFixture) -> None:
    """The block follows from the id, even if people before it are removed."""
    some_people(fixture, 260)
    fixture.person_of = [0 if one == 5 else one for one in fixture.person_of]
    fixture.grouping_run()
    fixture.publish(4000.0)

    assert (249, 10) == (len(cards(fixture, 1)), len(cards(fixture, 2)))
    assert 251 == min(cards(fixture, 2))
    index = (fixture.root / "index.html").read_text()
    assert ("people-0002.js" in index, "people-0003.js" in index) == (True, False)
