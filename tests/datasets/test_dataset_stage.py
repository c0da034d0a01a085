"""Sets that are refreshed by the service: when, and when not."""

from __future__ import annotations

import json
from pathlib import Path

from portraitd.datasets.output import held
from portraitd.datasets.writer import DatasetSummary
from portraitd.service.control import BUILD_DATASET
from portraitd.service.control_files import ControlFiles, ControlRequest
from support.dataset_home import SECTIONS, below, name_two, with_photos
from support.home import Home

AUTO = SECTIONS | {
    "dataset": {"auto": True, "near_duplicate": 0.0, "formats": ("coco", "chips150")}
}


def photo_home(folder: Path, photographs: list[Path], auto: bool = True) -> Home:
    home = Home(folder / "home", **(AUTO if auto else SECTIONS))
    with_photos(home, photographs, count=4)
    home.run()
    return home


def test_nothing_is_made_of_people_without_names(tmp_path: Path, photographs: list[Path]) -> None:
    """Not even the folder."""
    home = photo_home(tmp_path, photographs)

    assert not home.settings.dataset_dir.exists()


def test_naming_somebody_makes_a_set_and_more_faces_renew_it(
    tmp_path: Path, photographs: list[Path]
) -> None:
    """The service is idle when it is there; a turn without news writes nothing."""
    home = photo_home(tmp_path, photographs)
    name_two(home)
    home.run()
    first = below(home.settings.dataset_dir)
    assert [path for path in first if path.startswith("coco/val")]

    home.run()
    assert first == below(home.settings.dataset_dir)

    with_photos(home, photographs, count=6)
    home.run()
    assert len(below(home.settings.dataset_dir)) > len(first)


def test_without_auto_nothing_is_made_unasked(tmp_path: Path, photographs: list[Path]) -> None:
    """A request is answered."""
    home = photo_home(tmp_path, photographs, auto=False)
    name_two(home)
    home.run()
    assert not home.settings.dataset_dir.exists()

    requests = ControlFiles(home.settings.requests_dir)
    name = requests.leave(ControlRequest(BUILD_DATASET))
    home.run()

    text, is_built = requests.answer_to(name) or ("", False)
    assert is_built
    assert 2 == DatasetSummary.from_json(text).people
    assert {} == requests.waiting()
    assert json.loads((home.settings.dataset_dir / "class_index.json").read_text())


def test_a_build_that_fails_is_tried_again_later(tmp_path: Path, photographs: list[Path]) -> None:
    """The service goes on meanwhile."""
    home = photo_home(tmp_path, photographs)
    name_two(home)
    with home.opened() as service:
        with held(home.settings.dataset_dir):
            for _ in range(5):
                home.tick(service)
        assert service.dataset.pending
        assert not (home.settings.dataset_dir / "coco").exists()
        home.steady_s += 60
        home.run_until_idle(service)

    assert (home.settings.dataset_dir / "coco").is_dir()
