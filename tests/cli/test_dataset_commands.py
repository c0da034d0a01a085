"""``portraitd dataset`` as people and scripts run it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from portraitd.store.database import Database
from support.dataset_home import with_photos
from support.home import Home
from support.processes import environment, make_home, portraitd, wait_until

SETTINGS = """
[dataset]
near_duplicate = 0.0
formats = ["yolo", "imagefolder"]
"""


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory, photographs: list[Path]) -> Path:
    """A home with photographs of two people, who have no names yet."""
    home = make_home(tmp_path_factory.mktemp("processed") / "home")
    with (home / "config.toml").open("a") as config:
        config.write(SETTINGS)
    with_photos(Home(home), photographs, count=4)
    answer = portraitd("process", home / "inbox", "--home", home)
    assert 0 == answer.returncode, answer.stderr
    return home


@pytest.fixture
def home(processed: Path, tmp_path: Path) -> Path:
    """A copy of it, in which both have names."""
    copy = tmp_path / "home"
    shutil.copytree(processed, copy)
    database = Database.open(copy / "state")
    database.execute("update people set name = 'Person ' || id")
    # The photographs were processed where they lay; here they lie elsewhere.
    database.execute("update files set root = ?", (str(copy / "inbox").encode(),))
    for path in (copy / "inbox").iterdir():
        facts = path.stat()
        database.execute(
            "update files set inode = ?, mtime_ns = ? where path = ?",
            (facts.st_ino, facts.st_mtime_ns, path.name.encode()),
        )
    database.close()
    return copy


def test_without_names_the_command_says_what_to_do(processed: Path) -> None:
    """And makes no folder of a person."""
    answer = portraitd("dataset", "build", "--home", processed)

    assert 0 == answer.returncode, answer.stderr
    assert "No person has a name yet" in answer.stdout
    assert not list((processed / "dataset").glob("imagefolder/*/*"))


def test_build_then_check(home: Path) -> None:
    """Numbers for people, a line for each format, and code 0."""
    built = portraitd("dataset", "build", "--home", home)
    assert 0 == built.returncode, built.stderr
    checked = portraitd("dataset", "check", "--home", home)
    again = portraitd("dataset", "build", "--home", home)

    assert "report/index.html" in built.stdout
    assert 2 == checked.stdout.count("dropped images: 0")
    assert 0 == checked.returncode, checked.stdout
    assert "files   0 written, 0 removed" in again.stdout


def test_folders_that_were_renamed_just_now_are_names(home: Path) -> None:
    """No service has read them: the command does it before it builds."""
    database = Database.open(home / "state")
    database.execute("update people set name = null")
    database.close()
    for number, name in ((1, "Ann"), (2, "Béa")):
        (home / f"people/person-000{number}").rename(home / "people" / name)

    built = portraitd("dataset", "build", "--home", home)

    assert 0 == built.returncode, built.stderr
    assert "" == built.stderr
    assert {"Ann", "Béa"} == {path.name for path in home.glob("dataset/imagefolder/*/*")}


def test_check_fails_if_a_picture_would_be_dropped(home: Path) -> None:
    """And names it."""
    portraitd("dataset", "build", "--home", home)
    label = next(home.glob("dataset/yolo/labels/train/*.txt"))
    label.write_text("99 0.5 0.5 0.1 0.1\n")

    answer = portraitd("dataset", "check", "--home", home)

    assert 1 == answer.returncode
    assert "dropped images: 1" in answer.stdout
    assert label.stem in answer.stdout


def test_check_before_build_says_what_to_do(processed: Path, tmp_path: Path) -> None:
    """As does a home in which nothing was processed."""
    elsewhere = f"paths.dataset={tmp_path / 'none'}"
    answer = portraitd("dataset", "check", "--home", processed, "--set", elsewhere)
    (tmp_path / "new").mkdir()
    nothing = portraitd("dataset", "build", "--home", tmp_path / "new")

    assert "run `portraitd dataset build`" in answer.stderr
    assert "nothing has been processed" in nothing.stderr
    assert answer.returncode != 0 != nothing.returncode


def test_splits_are_shown_and_changed(home: Path) -> None:
    """A recording is given by its path in the inbox, or by any other path to it."""
    portraitd("dataset", "build", "--home", home)
    place = str(home / "inbox" / "0-0.jpg")
    moved = portraitd("dataset", "split", "--move", place, "test", "--rebuild", "--home", home)
    shown = portraitd("dataset", "split", "--home", home)
    answer = portraitd("dataset", "split", "--json", "--home", home)

    assert 0 == moved.returncode, moved.stderr
    assert "0-0.jpg is now in test" in moved.stdout
    assert "assigns 8 recordings again" in moved.stdout
    assert re.search(r"test +1 face +moved by you +0-0\.jpg", shown.stdout)
    assert "Person 1" in shown.stdout
    recordings = {one["name"]: one for one in json.loads(answer.stdout)["recordings"]}
    assert "moved" == recordings["0-0.jpg"]["origin"]
    assert {"new"} == {one["origin"] for name, one in recordings.items() if name != "0-0.jpg"}


def test_versions_are_frozen_listed_and_compared(home: Path) -> None:
    """Code 1 if a file of a version was changed."""
    portraitd("dataset", "build", "--home", home)
    frozen = portraitd("dataset", "freeze", "v1", "--home", home)
    assert 0 == frozen.returncode, frozen.stderr
    portraitd("dataset", "split", "--move", "0-0.jpg", "test", "--home", home)
    portraitd("dataset", "build", "--home", home)
    compared = portraitd("dataset", "compare", "v1", "--home", home)
    (home / "dataset/_frozen/v1/yolo/data.yaml").unlink()
    listed = portraitd("dataset", "list", "--verify", "--home", home)
    missing = portraitd("dataset", "compare", "v2", "--home", home)

    assert "pictures " in compared.stdout
    assert "to test" in compared.stdout
    assert 1 == listed.returncode
    assert "changed or removed: yolo/data.yaml" in listed.stdout
    assert "there is no version 'v2'" in missing.stderr


def test_a_running_service_builds_what_is_asked_for(home: Path) -> None:
    """The command waits for it and prints what came of it."""
    with subprocess.Popen(
        [sys.executable, "-m", "portraitd", "run", "--home", home],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    ) as service:
        try:
            lock, number = home / "state" / "lock", str(service.pid)
            wait_until(lambda: lock.read_text().strip() == number, "the service")
            moved = portraitd("dataset", "split", "--move", "0-0.jpg", "val", "--home", home)
            again = portraitd("dataset", "split", "--move", "none.jpg", "val", "--home", home)
            answer = portraitd("dataset", "build", "--home", home)
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(60)

    assert 0 == answer.returncode, answer.stderr
    assert "0-0.jpg is now in val" in moved.stdout
    assert "there is no video 'none.jpg'" in again.stderr
    assert "people  " in answer.stdout
    assert (home / "dataset" / "yolo" / "data.yaml").is_file()
    assert not (home / "state" / "dataset.wanted").exists()


def test_watch_builds_again_when_a_person_is_named(home: Path) -> None:
    """Until it is stopped."""
    yaml = home / "dataset" / "yolo" / "data.yaml"
    with subprocess.Popen(
        [sys.executable, "-m", "portraitd", "dataset", "watch", "--every", "0.2", "--home", home],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    ) as watching:
        try:
            wait_until(yaml.is_file, "the first set")
            database = Database.open(home / "state")
            database.execute("update people set name = 'Zoë' where id = 1")
            database.close()
            wait_until(lambda: "Zoë" in yaml.read_text(), "the second set")
        finally:
            watching.send_signal(signal.SIGINT)
            watching.wait(60)

    assert 130 == watching.returncode
