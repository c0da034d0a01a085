"""Videos are looked at again, and people, names and words stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.home import Home, assert_sound
from support.media import as_jpeg
from support.reviews import ANN, BOB, copied, folders, ledger, move


@pytest.fixture
def home(two_found: Home, tmp_path: Path) -> Home:
    """Two people of a clip, each with a folder; to be changed."""
    return copied(two_found, tmp_path)


def test_a_rebuild_keeps_people_names_and_words(home: Home, photographs: list[Path]) -> None:
    """Twice as many samples, another detector's boxes: everybody is who they were."""
    home.drop(as_jpeg(photographs[1]), "later.jpg")
    home.run()
    (home.people / ANN).rename(home.people / "Ann")
    clip = next(row["id"] for row in home.rows("videos") if row["kind"] == "video")
    ours = [row["id"] for row in home.rows("faces") if row["video_id"] != clip]
    move(home.people / BOB / f"{ours[0]:06d}.jpg", home.people / "Ann")
    home.run()
    before = home.rows("faces")

    again = Home(
        home.settings.home_dir,
        grouping={"method": "people"},
        sampling={"fps": 1.0},
        encoder={"mirror": False},
    )
    with again.opened() as service:
        service.reprocessing.begin(again.now.wall_s)
        shown = folders(again)
        for _ in range(6):
            again.tick(service)
            assert shown == folders(again) or not service.reprocessing.pending
    again.run()

    after = again.rows("faces")
    assert len(before) < len(after)
    assert not {row["id"] for row in before} & {row["id"] for row in after}
    assert 1 == len({row["encoder"] for row in after} - {row["encoder"] for row in before})
    later = {row["person_id"] for row in after if row["video_id"] != clip}
    assert {1} == later
    assert {"Ann", BOB} <= set(folders(again))
    assert ["name", "place"] == ledger(again)
    assert_sound(again.settings)


def rebuilt_while_one_comes(home: Home, photograph: Path, name: str) -> set[int]:
    """A photograph is dropped just before all is looked at again. Returns the faces before."""
    before = {row["id"] for row in home.rows("faces")}
    with home.opened() as service:
        home.drop(as_jpeg(photograph), name)
        home.tick(service)
        home.tick(service)
        service.reprocessing.begin(home.now.wall_s)
        home.run_until_idle(service)
    assert "done" == home.states()[name]
    assert_sound(home.settings)
    return before


def test_what_is_dropped_during_a_rebuild_does_not_end_it(
    home: Home, photographs: list[Path]
) -> None:
    """It is looked at as well, and the rebuild goes on."""
    before = rebuilt_while_one_comes(home, photographs[1], "later.jpg")

    assert not before & {row["id"] for row in home.rows("faces")}


def test_a_video_that_is_replaced_during_a_rebuild_keeps_its_people(
    home: Home, photographs: list[Path]
) -> None:
    """Its content can no longer be looked at; what takes its name is another video."""
    before = rebuilt_while_one_comes(home, photographs[1], "clip.mp4")

    assert before <= {row["id"] for row in home.rows("faces")}


def test_a_video_whose_file_is_gone_keeps_its_people(home: Home) -> None:
    """Its portraits give the vectors that its file cannot give any more."""
    before = folders(home)
    (home.inbox / "clip.mp4").unlink()
    again = Home(home.settings.home_dir, grouping={"method": "people"}, encoder={"mirror": False})
    with again.opened() as service:
        begun = service.reprocessing.begin(again.now.wall_s)
        again.run_until_idle(service)

    assert (0, 1) == begun
    assert before == folders(again)
