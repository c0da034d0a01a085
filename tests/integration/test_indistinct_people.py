"""People whom the model cannot tell apart: what the pages and the commands say about them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from portraitd.cli.check import grouping_findings
from portraitd.cli.model_advice import ADD_RECOMMENDED, describe_indistinct
from portraitd.cli.status_output import print_json, print_table
from portraitd.faces.models.cards import DLIB, MOBILEFACENET
from portraitd.model.stage import Now
from portraitd.people.pages.status_page import StatusView, render_status_page
from portraitd.people.pages.words import load_words
from portraitd.service.status import read_status
from portraitd.store.database import Database
from portraitd.store.snapshot import SnapshotReader
from support.gallery import GalleryFixture
from support.home import Home
from support.store import Store, embedding


def record(home: Home, people: list[int], faces: int) -> None:
    """Record a grouping of three people, some of whom cannot be told apart."""
    with Database.open(home.settings.state_dir) as database:
        store = Store(database)
        store.see(*(embedding(seed) for seed in range(3)))
        grouped = replace(
            store.grouped([0, 1, 2]), indistinct_people=people, indistinct_faces=faces
        )
        run = store.people.record(grouped, 1.0, 9.0)
        assert run.indistinct_faces == faces
        assert store.people.indistinct() == set(people)


@pytest.mark.parametrize(("faces", "is_said"), [(16, True), (0, False)])
def test_status_and_check_say_how_many_faces_and_which_command_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], faces: int, is_said: bool
) -> None:
    """They say nothing while everybody can be told apart."""
    home = Home(tmp_path)
    record(home, [2] if faces else [], faces)
    out = io.StringIO()
    print_table(read_status(home.settings), Console(file=out, width=250))
    print_json(read_status(home.settings))
    found = {one.what: one for one in grouping_findings(home.settings)}
    line = describe_indistinct(faces, DLIB.name)

    assert json.loads(capsys.readouterr().out)["indistinct_faces"] == faces
    assert bool(line) is is_said
    assert (ADD_RECOMMENDED in line) is is_said
    assert found["people who cannot be told apart"].sound
    assert found["people who cannot be told apart"].detail == (line or "none")
    assert ("cannot tell" in out.getvalue()) is is_said


def test_no_command_is_named_with_the_recommended_model() -> None:
    """It cannot help any further."""
    assert ADD_RECOMMENDED not in describe_indistinct(5, MOBILEFACENET.name)


def test_the_status_page_says_it(tmp_path: Path) -> None:
    """It names the command unless the recommended model is in use."""
    home = Home(tmp_path)
    record(home, [], 16)
    with Database.open(home.settings.state_dir) as database:
        snapshot = SnapshotReader(database, home.settings).read(Now(10.0, 10.0))
    view = StatusView.of("idle", snapshot)
    recommended = replace(view, has_better_model=False)

    assert view.indistinct_faces == 16
    for key in ("indistinct_faces", "add_recommended"):
        assert f'data-text="{key}"'.encode() in render_status_page(view, 10.0)
    assert b'data-text="add_recommended"' not in render_status_page(recommended, 10.0)


def read_data(fixture: GalleryFixture, name: str) -> dict[str, object]:
    text = (fixture.root / "gallery" / "data" / name).read_text()
    found: dict[str, object] = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    return found


def test_the_index_and_the_pages_of_these_people_say_it(tmp_path: Path) -> None:
    """The page of another person does not, and a changed verdict rewrites the page."""
    fixture = GalleryFixture(Database.open(tmp_path), tmp_path / "people")
    fixture.show("a.mp4", [(1, 0.0), (2, 1.0)])
    fixture.grouping_run()
    fixture.publish(10.0)
    assert read_data(fixture, "summary.js")["indistinct"] == 0
    assert read_data(fixture, "person-000002.js")["indistinct"] == 0

    fixture.grouping_run(indistinct=[2], now_s=3000.0)
    fixture.publish(20.0)
    assert read_data(fixture, "summary.js")["indistinct"] == 1
    assert read_data(fixture, "summary.js")["better_model"] == 1
    page = read_data(fixture, "person-000002.js")
    assert (page["indistinct"], page["better_model"]) == (1, 1)
    assert read_data(fixture, "person-000001.js")["indistinct"] == 0


def test_a_forgotten_person_is_forgotten_here_too(tmp_path: Path) -> None:
    """The others stay listed."""
    from portraitd.store.erasure.redaction import Redaction

    home = Home(tmp_path)
    record(home, [1, 2], 9)
    with Database.open(home.settings.state_dir) as database:
        Redaction(database).erase_people([1])
        assert Store(database).people.indistinct() == {2}


def test_every_language_has_the_lines() -> None:
    """And the command is the same in each."""
    for language, words in load_words().items():
        for key in ("indistinct_faces.one", "indistinct_faces.other", "indistinct_person"):
            assert words[key], language
        assert "portraitd models add recommended" in words["add_recommended"]
