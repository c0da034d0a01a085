"""What many tests share, made once a session: clips and photographs, and homes that saw them."""

from __future__ import annotations

import support.interpreter  # noqa: F401

# isort: split
import gc
import os
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from portraitd.cli.demo import demo_photographs, make_clip
from support.dataset_home import (
    SECTIONS,
    BuiltHome,
    MakeHome,
    build_set,
    copy_of,
    name_two,
    with_photos,
)
from support.home import Home, person_folders
from support.media import write_pattern_clip
from support.reviews import ANN, BOB

MEDIA_DIR = Path(__file__).absolute().parents[2] / "shared" / "media"
"""Labelled videos and photos beside the repository; never part of it."""

# Shared machines are slow at times; a law does not become false by that.
# A busy machine is no finding.
settings.register_profile("portraitd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("portraitd")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files with slow tests first, so that none runs alone at the end; skip without media."""
    for item in items:
        if item.get_closest_marker("exhaustive"):
            item.add_marker("slow")
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(1800))
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    if MEDIA_DIR.is_dir():
        return
    for item in items:
        if item.get_closest_marker("media"):
            item.add_marker(pytest.mark.skip(reason=f"no media in {MEDIA_DIR}"))


@pytest.fixture(autouse=True)
def _settings_of_the_log() -> Iterator[None]:
    """A command that runs in this process sends the log to a stream that ends with its test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def media_dir() -> Path:
    """Only for tests marked ``media``."""
    return MEDIA_DIR


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """As ``tmp_path``, in memory where that is possible: there fsync costs nothing."""
    shared_memory = Path("/dev/shm")
    above = shared_memory if os.access(shared_memory, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=above, prefix="portraitd-") as folder:
        yield Path(folder)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where a test makes a people tree."""
    return tmp_path / "people"


@pytest.fixture(scope="session")
def photographs() -> list[Path]:
    """Two women, one each, in the public domain; both look at the camera."""
    return demo_photographs()


@pytest.fixture(scope="session")
def samples_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read from, never written to by a test."""
    return tmp_path_factory.mktemp("samples")


@pytest.fixture(scope="session")
def two_people(samples_dir: Path, photographs: list[Path]) -> Path:
    """A clip of 20 s: the first photograph until 10 s, then the second."""
    clip = samples_dir / "two-people.mp4"
    make_clip(photographs, clip)
    return clip


@pytest.fixture(scope="session")
def nobody(samples_dir: Path) -> Path:
    """A clip of 6 s at 10 frames a second, with no face in it."""
    return write_pattern_clip(samples_dir / "nobody.mp4", frames=60)


@pytest.fixture(scope="session")
def two_found(tmp_path_factory: pytest.TempPathFactory, two_people: Path) -> Home:
    """A clip of two people was dropped, and both have a folder; only copies of it are changed."""
    home = Home(tmp_path_factory.mktemp("two-found"), grouping={"method": "people"})
    home.drop(two_people, "clip.mp4")
    home.run()
    assert [ANN, BOB] == [folder.name for folder in person_folders(home.people)]
    return home


@pytest.fixture(scope="session")
def named_home(
    tmp_path_factory: pytest.TempPathFactory,
    two_people: Path,
    photographs: list[Path],
    nobody: Path,
) -> Home:
    """A clip of two people, a clip of nobody, six photographs of each; both have names.

    Read only.
    """
    home = Home(tmp_path_factory.mktemp("named") / "home", **SECTIONS)
    home.drop(two_people, "clip.mp4")
    home.drop(nobody, "nobody.mp4")
    with_photos(home, photographs)
    home.run()
    name_two(home)
    return home


@pytest.fixture(scope="session")
def built(named_home: Home) -> BuiltHome:
    """A set of that home; read only."""
    return BuiltHome(named_home, build_set(named_home))


@pytest.fixture
def copied(named_home: Home, built: BuiltHome, tmp_path: Path) -> MakeHome:
    """Makes a copy of that home and its set that a test may change, with other settings."""
    return partial(copy_of, named_home, tmp_path / "copy")


@pytest.fixture
def given_up_calls() -> Iterator[None]:
    """Of Dask: a call that it gave up while it was made is left to the collector, unclosed.

    Here, so that no test is blamed that comes later.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
