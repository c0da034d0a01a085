"""What ``status`` says about people who may be one person."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from portraitd.cli.status_output import MAX_SUGGESTIONS, print_json, print_table
from portraitd.model.suggestion import Suggestion
from portraitd.service.status import read_status
from portraitd.store.database import Database
from support.home import Home
from support.store import Store, embedding


def suggest(folder: Path, *suggestions: Suggestion) -> Home:
    home = Home(folder)
    store = Store(Database.open(home.settings.state_dir))
    count = max((one.higher_id for one in suggestions), default=0)
    store.see(*(embedding(seed) for seed in range(count)))
    grouped = replace(store.grouped(list(range(count))), suggestions=suggestions)
    store.people.record(grouped, 1.0, 9.0)
    store.database.close()
    return home


def test_status_says_how_likely_people_are_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In words for people, in figures for scripts; the most likely first."""
    home = suggest(tmp_path, Suggestion(1, 3, 0.56, 0.61), Suggestion(1, 2, 0.52, 0.8))
    out = io.StringIO()
    print_table(read_status(home.settings), Console(file=out, width=200))
    print_json(read_status(home.settings))

    assert "1 and 2 (very likely), 1 and 3 (maybe)" in out.getvalue()
    assert "0.52" not in out.getvalue()
    pairs = json.loads(capsys.readouterr().out)["merge_candidates"]
    assert [[1, 2, 0.52, 0.8], [1, 3, 0.56, 0.61]] == pairs


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "2 people, 0 of 2 faces unassigned"),
        (
            {"churn": 1, "names_lost": 1, "violations": 1},
            "2 people, 0 of 2 faces unassigned, 1 face has another person than before or none, "
            "1 person with a name has no face left, 1 face too many of a person in one frame",
        ),
        (
            {"churn": 20, "names_lost": 2, "violations": 3},
            "2 people, 0 of 2 faces unassigned, 20 faces have another person than before or none, "
            "2 people with a name have no face left, 3 faces too many of a person in one frame",
        ),
    ],
)
def test_status_says_what_the_last_grouping_changed(
    tmp_path: Path, facts: dict[str, int], said: str
) -> None:
    """In sentences that count, and only what happened."""
    status = read_status(suggest(tmp_path, Suggestion(1, 2, 0.5, 0.9)).settings)
    assert status.snapshot.grouping is not None
    grouping = replace(status.snapshot.grouping, **facts)
    out = io.StringIO()

    print_table(
        replace(status, snapshot=replace(status.snapshot, grouping=grouping)),
        Console(file=out, width=400),
    )

    (line,) = [one for one in out.getvalue().splitlines() if "last grouping" in one]
    assert said == line.split(maxsplit=2)[2].rstrip()


def test_status_lists_a_few_suggestions(tmp_path: Path) -> None:
    """And says how many more there are."""
    many = [Suggestion(1, other, 0.5, 0.9) for other in range(2, MAX_SUGGESTIONS + 4)]
    out = io.StringIO()
    print_table(read_status(suggest(tmp_path, *many).settings), Console(file=out, width=400))

    assert "1 and 9 (very likely), 2 more" in out.getvalue()
