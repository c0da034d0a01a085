"""The dataset stage: when the service builds a set, and when not."""

from __future__ import annotations

import json
from pathlib import Path

from portraitd.datasets.output import lock_set
from portraitd.datasets.writer import DatasetSummary
from portraitd.service.control import BUILD_DATASET
from portraitd.service.control_files import ControlFiles, ControlRequest
from support.dataset_home import SECTIONS, file_stats, name_two, with_photos
from support.home import Home

AUTO = SECTIONS | {
    "dataset": {"auto": True, "near_duplicate": 0.0, "formats": ("coco", "chips150")}
}


def photo_home(folder: Path, photographs: list[Path], auto: bool = True) -> Home:
    home = Home(folder / "home", **(AUTO if auto else SECTIONS))
    with_photos(home, photographs, count=4)
    home.run()
    return home


def test_no_set_is_built_without_named_people(tmp_path: Path, photographs: list[Path]) -> None:
    """Not even the folder is created."""
    home = photo_home(tmp_path, photographs)

    assert not home.settings.dataset_dir.exists()


def test_naming_people_builds_a_set_and_more_faces_update_it(
    tmp_path: Path, photographs: list[Path]
) -> None:
    """A tick without a change writes nothing."""
    home = photo_home(tmp_path, photographs)
    name_two(home)
    home.run()
    first = file_stats(home.settings.dataset_dir)
    assert [path for path in first if path.startswith("coco/val")]

    home.run()
    assert first == file_stats(home.settings.dataset_dir)

    with_photos(home, photographs, count=6)
    home.run()
    assert len(file_stats(home.settings.dataset_dir)) > len(first)


def test_without_auto_sets_are_built_on_request(tmp_path: Path, photographs: list[Path]) -> None:
    """The request is answered."""
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


def test_a_failed_build_is_retried_later(tmp_path: Path, photographs: list[Path]) -> None:
    """The service continues meanwhile."""
    home = photo_home(tmp_path, photographs)
    name_two(home)
    with home.opened() as service:
        with lock_set(home.settings.dataset_dir):
            for _ in range(5):
                home.tick(service)
        assert service.dataset.pending
        assert not (home.settings.dataset_dir / "coco").exists()
        home.steady_s += 60
        home.run_until_idle(service)

    assert (home.settings.dataset_dir / "coco").is_dir()
