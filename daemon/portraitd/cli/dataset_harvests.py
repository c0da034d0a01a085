"""Implements ``portraitd dataset harvest``: look for faces that the card of a person lacks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from portraitd.cli.client import ask, require_same_settings
from portraitd.cli.console import make_console
from portraitd.cli.dataset_rules import read_rule
from portraitd.cli.people_reading import read_people
from portraitd.cli.progress import ProgressBar
from portraitd.config import Settings
from portraitd.datasets.annotations import DatasetRule
from portraitd.datasets.coverage import judge_filling
from portraitd.datasets.harvest_jobs import survey_person
from portraitd.datasets.harvest_requests import Survey, SurveyRequest
from portraitd.datasets.harvest_stage import describe_search, find_person
from portraitd.faces.models.model_registry import require_rules
from portraitd.ingest.dispatcher import encode_options
from portraitd.model.wording import counted, escape_unprintable
from portraitd.service import daemon, log_setup
from portraitd.service.control import HARVEST
from portraitd.service.control_files import ControlRequest
from portraitd.service.pools import make_workers
from portraitd.store.database import Database, StoreLock
from portraitd.store.dataset_store import DatasetStore
from portraitd.store.files import Files
from portraitd.store.harvests import HarvestStore, count_harvested


def preview(settings: Settings, word: str) -> Iterator[str]:
    """Yield the card of a person, and what would be searched, as lines for people.

    Raises:
        ConfigError: No person in the set has this name.
        StoreError: Nothing has been processed in this home yet.
    """
    read_people(settings)
    with Database.open_to_read(settings.state_dir) as database:
        datasets = DatasetStore(database, Files(database, settings.inbox_dir))
        rule = read_rule(settings)
        person_id, name = find_person(datasets, rule, word)
        gap_s = require_rules(datasets.embedder()).tracking.max_gap_s
        slices = HarvestStore(database).slices_with(person_id, gap_s)
        survey = _survey(settings, rule, person_id)
    yield from format_card(survey, rule.min_cell_faces)
    if not any(count < rule.min_cell_faces for count in survey.counts.values()):
        yield "Every cell is full, so nothing would be searched."
    elif slices:
        yield escape_unprintable(describe_search(name, slices)).replace("Searching", "To search:")
    else:
        yield "There is nothing to search: this person is in no video for longer than a moment."


def harvest(settings: Settings, word: str) -> str:
    """Look for more faces of a person, or let the running service do it; return a sentence.

    Raises:
        ConfigError: No person in the set has this name.
    """
    require_same_settings(settings)
    answer = ask(settings, ControlRequest(HARVEST, arguments=(word,)))
    if answer is not None:
        return answer
    read_people(settings)
    with StoreLock(settings.state_dir), Database.open(settings.state_dir) as database:
        before = count_harvested(database)
    log_setup.quiet()
    with ProgressBar(make_console(stderr=True)) as bar:
        daemon.process(settings, [], bar.follow, harvest=word)
    with Database.open_to_read(settings.state_dir) as database:
        found = counted(count_harvested(database) - before, "face")
    return f"Found {found}; `portraitd dataset build` includes them."


def format_card(survey: Survey, min_cell_faces: int) -> Iterator[str]:
    """Return a coverage card as lines for people."""
    for row, group in groupby(survey.counts.items(), key=lambda one: one[0].row):
        cells = (
            f"{cell.name} {count:,} {judge_filling(count, min_cell_faces)}" for cell, count in group
        )
        yield f"{row:<10} {', '.join(cells)}"


def _survey(settings: Settings, rule: DatasetRule, person_id: int) -> Survey:
    executor = make_workers(settings, encode_options(settings).encoder, loads=False)
    try:
        request = SurveyRequest(settings.state_dir, settings.inbox_dir, rule, person_id)
        return executor.submit(survey_person, request).result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
