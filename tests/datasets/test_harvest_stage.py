"""Harvesting: faces between the sampled frames, where the card of a person lacks some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portraitd.model.errors import ConfigError
from portraitd.model.fingerprints import frame_stem
from portraitd.service.control import HARVEST
from portraitd.service.control_files import ControlFiles, ControlRequest
from portraitd.service.pipeline import Service
from portraitd.store.database import Database
from portraitd.store.erasure.eraser import Eraser
from support.dataset_home import ANN, BEA, ann, build_set, copy_of, with_dataset
from support.home import Home, assert_sound

WANTED = {"formats": ("imagefolder", "coco"), "min_cell_faces": 40, "harvest_fps": 4.0}


@pytest.fixture
def home(tmp_path: Path, named_home: Home) -> Home:
    """The cards of both people lack faces in every cell."""
    home = copy_of(named_home, tmp_path / "home", **WANTED)
    # The copies of the files are found again first.
    home.run()
    return home


def harvest(home: Home, word: str = ANN) -> list[dict[str, Any]]:
    """Harvest in the service; return the faces that it added."""
    before = {row["id"] for row in home.rows("faces")}
    with home.opened() as service:
        service.harvest.begin(word, home.now.wall_s)
        home.run_until_idle(service)
    return [row for row in home.rows("faces") if row["id"] not in before]


def test_harvested_faces_are_between_those_of_a_track(home: Home) -> None:
    """They have its person, and nothing that was known before changes."""
    before = {row["id"]: row for row in home.rows("faces")}

    found = harvest(home)

    assert found
    assert {(1, ann(home))} == {(row["harvested"], row["person_id"]) for row in found}
    after = {row["id"]: row for row in home.rows("faces")}
    assert before == {number: after[number] for number in before}
    for row in found:
        times = [one["t_s"] for one in before.values() if one["track_id"] == row["track_id"]]
        assert min(times) < row["t_s"] < max(times)
    assert_sound(home.settings)


def test_a_second_harvest_finds_nothing_new(home: Home) -> None:
    """Whatever is left is like a face that is there."""
    assert harvest(home)

    assert [] == harvest(home)
    assert [] == home_harvests(home)


def home_harvests(home: Home) -> list[int]:
    """Return who is still waiting."""
    with Database.open_to_read(home.settings.state_dir) as database:
        return [row["person_id"] for row in database.execute("select person_id from harvests")]


def test_a_full_card_needs_no_search(home: Home) -> None:
    """Cells that have enough faces get no more."""
    with_dataset(home, min_cell_faces=1)
    few = harvest(home)
    with_dataset(home, **WANTED)

    assert len(few) < len(harvest(home))


def test_a_set_uses_them_without_a_leak(home: Home) -> None:
    """Each is in the split in which the rest of its track is."""
    build_set(home)
    found = harvest(home)
    build_set(home)

    sha256 = {row["id"]: row["sha256"] for row in home.rows("videos")}

    def split_of(row: dict[str, Any]) -> set[str]:
        stem = frame_stem(sha256[row["video_id"]], row["t_s"])
        pictures = home.settings.dataset_dir.glob(f"imagefolder/*/{ANN}/{stem}*.jpg")
        return {path.parent.parent.name for path in pictures}

    of_track: dict[int, set[str]] = {}
    for row in home.rows("faces"):
        of_track.setdefault(row["track_id"], set()).update(split_of(row))
    assert any(split_of(row) for row in found)
    assert all(len(of_track[row["track_id"]]) == 1 for row in found if split_of(row))


def test_reprocessing_finds_them_again(home: Home) -> None:
    """The same frames are searched in addition to the sampled ones."""
    moments = sorted(row["t_s"] for row in harvest(home))

    with home.opened() as service:
        service.reprocessing.begin(home.now.wall_s)
        home.run_until_idle(service, ticks=400)

    rows = [row for row in home.rows("faces") if row["harvested"]]
    assert moments == sorted(row["t_s"] for row in rows)
    assert {ann(home)} == {row["person_id"] for row in rows}


def test_forgetting_a_person_erases_them_too(home: Home) -> None:
    """No later harvest brings them back."""
    assert harvest(home)
    with Database.open(home.settings.state_dir) as database:
        eraser = Eraser(database)
        eraser.erase(eraser.person(ANN), 6.0)

    assert [] == [row for row in home.rows("faces") if row["harvested"]]
    with pytest.raises(ConfigError, match="no person 'Ann'"):
        harvest(home)


def test_a_hidden_person_stays_hidden_in_harvested_frames(home: Home) -> None:
    """A face beside one that was excluded is excluded as well, or its frame is not taken."""
    with Database.open(home.settings.state_dir) as database:
        database.execute("update faces set hidden = 1 where person_id = ?", (ann(home),))

    with pytest.raises(ConfigError, match="no person 'Ann'"):
        harvest(home)
    others = harvest(home, BEA)
    assert all(row["hidden"] == 0 for row in others)


def test_a_command_asks_the_service(home: Home) -> None:
    """The answer says how much will be searched."""
    requests = ControlFiles(home.settings.requests_dir)
    name = requests.leave(ControlRequest(HARVEST, arguments=("ann",)))
    wrong = requests.leave(ControlRequest(HARVEST, arguments=("nobody",)))
    home.run()

    answer, is_granted = requests.answer_to(name) or ("", False)
    assert is_granted
    assert answer.startswith("Searching ")
    assert "1 video for faces of Ann" in answer
    refused, is_granted = requests.answer_to(wrong) or ("", True)
    assert not is_granted
    assert "no person 'nobody'" in refused
    assert [row for row in home.rows("faces") if row["harvested"]]


def test_without_the_video_a_harvest_ends(home: Home) -> None:
    """It was deleted after it was processed."""
    (home.inbox / "clip.mp4").unlink()

    assert [] == harvest(home)
    assert [] == home_harvests(home)


def test_a_crash_does_not_lose_the_request(home: Home) -> None:
    """The next start begins the harvest again."""
    with home.opened() as service:
        service.harvest.begin(ANN, home.now.wall_s)
        tick_until_searching(home, service)
    assert [ann(home)] == home_harvests(home)

    home.run()

    assert [row for row in home.rows("faces") if row["harvested"]]
    assert [] == home_harvests(home)


def tick_until_searching(home: Home, service: Service) -> None:
    for _ in range(3):
        home.tick(service)
    assert service.harvest.pending
