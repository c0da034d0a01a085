"""The commands as people and scripts run them: what they print, and their exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from portraitd.store.database import StoreLock
from support.cli_runner import CommandResult, RunCommand, make_runner, stderr_of
from support.home import Home
from support.processes import environment, make_home, portraitd, wait_until

LATIN_PHOTO = os.fsdecode(b"caf\xe9.jpg")


class Processed:
    """A home in which a folder of videos was processed."""

    def __init__(self, folder: Path, two_people: Path, photographs: list[Path]) -> None:
        self.home = make_home(folder / "home")
        self.videos = folder / "videos"
        (self.videos / "holiday").mkdir(parents=True)
        shutil.copyfile(two_people, self.videos / "holiday" / "clip.mp4")
        shutil.copyfile(photographs[0], self.videos / LATIN_PHOTO)
        (self.videos / "text.mp4").write_text("no video\n" * 100)
        self.answer = self.run("process", self.videos)

    def run(self, *arguments: str | Path) -> CommandResult:
        return portraitd(*arguments, "--home", self.home)

    def faces(self) -> list[dict[str, Any]]:
        answer = self.run("faces", "--format", "jsonl")
        assert 0 == answer.returncode, answer.stderr
        return [json.loads(line) for line in answer.stdout.splitlines()]


@pytest.fixture(scope="module")
def processed(
    tmp_path_factory: pytest.TempPathFactory, two_people: Path, photographs: list[Path]
) -> Processed:
    return Processed(tmp_path_factory.mktemp("processed"), two_people, photographs)


@pytest.fixture
def here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> RunCommand:
    """Run a command in this process, as a user without a home folder."""
    return make_runner(monkeypatch, capsys, tmp_path)


# --- process.


def test_process_fails_if_any_file_failed_and_says_why(processed: Processed) -> None:
    """The others are done, and people/ is up to date."""
    assert 1 == processed.answer.returncode
    assert "failed: text.mp4: a text file, not a video or photo" in stderr_of(processed.answer)
    assert "2 of 3 files, 2 people" in stderr_of(processed.answer)
    assert 2 == len(list((processed.home / "people").glob("person-*/montage.jpg")))


def test_process_writes_the_pages(processed: Processed) -> None:
    """They show who was found, what failed and why, and that nothing is left to do."""
    people = processed.home / "people"
    status = (people / "STATUS.html").read_text()

    assert "portraitd is not running" not in status
    assert "Up to date" in status
    assert "a text file, not a video or photo" in status
    assert "people-0001.js" in (people / "index.html").read_text()
    assert "person-0002" in (people / "gallery/data/people-0001.js").read_text()


def test_process_again_finds_everything_done(processed: Processed) -> None:
    """Only good files: exit code 0, and nothing to do."""
    before = processed.faces()

    answer = processed.run("process", processed.videos / "holiday")

    assert 0 == answer.returncode, stderr_of(answer)
    assert before == processed.faces()


def test_process_leaves_the_inbox_alone(processed: Processed) -> None:
    """Files there are for the service."""
    (processed.home / "inbox" / "waiting.mp4").write_text("dropped")

    processed.run("process", processed.videos / "holiday")

    assert "waiting.mp4" not in processed.run("status", "--json").stdout
    (processed.home / "inbox" / "waiting.mp4").unlink()


def test_process_of_a_missing_file_fails(processed: Processed) -> None:
    """With its name and the reason."""
    answer = processed.run("process", processed.videos / "missing.mp4")

    assert 1 == answer.returncode
    assert "failed: missing.mp4: no such file" in stderr_of(answer)


def test_an_interrupted_process_says_how_to_continue(
    tmp_path: Path, photographs: list[Path]
) -> None:
    """Ctrl-C prints no traceback and exits with 130; the second run finishes the work."""
    home = make_home(tmp_path / "home", is_slow=True)
    command = [sys.executable, "-m", "portraitd", "process", photographs[0], "--home", home]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as running:
        wait_until(lambda: _slices(home, "running"), "a slice is being worked on")
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=60)

    assert 130 == running.returncode
    assert "stopped; run the same command again to continue" in stderr
    assert "Traceback" not in stderr
    assert not _slices(home, "running")
    again = portraitd("process", photographs[0], "--home", home)
    assert 0 == again.returncode, stderr_of(again)
    assert not _slices(home, "queued")


def _slices(home: Path, state: str) -> int:
    from contextlib import closing

    from support.home import connect

    if not (home / "state" / "portraitd.sqlite3").exists():
        return 0
    with closing(connect(home / "state")) as db:
        tables = db.execute("select 1 from sqlite_master where name = 'slices'").fetchone()
        if not tables:
            return 0
        found = db.execute("select count(*) from slices where state = ?", (state,)).fetchone()
        return int(found[0])


# --- faces.


def test_faces_are_one_object_a_line(processed: Processed) -> None:
    """With the keys that scripts rely on, and plausible values."""
    found = processed.faces()

    assert 11 <= len(found)
    for face in found:
        assert [
            "face", "source", "sha256", "t", "box", "score", "track", "person", "name", "portrait",
            "date", "date_is",
        ] == list(face)  # fmt: skip
        left, top, right, bottom = face["box"]
        assert left < right
        assert top < bottom
        assert 64 == len(face["sha256"])
        assert isinstance(face["track"], int)
        assert (processed.home / "people" / face["portrait"]).is_file()
        assert face["person"] is None or f"person-{face['person']:04d}/" in face["portrait"]
    assert {"holiday/clip.mp4", "caf\\xe9.jpg"} == {face["source"] for face in found}
    assert {1, 2} <= {face["person"] for face in found}
    assert [0.0] == [face["t"] for face in found if face["source"] == "caf\\xe9.jpg"]


def test_faces_as_csv_say_the_same(processed: Processed) -> None:
    """With the box in four columns."""
    answer = processed.run("faces", "--format", "csv")

    rows = list(csv.DictReader(io.StringIO(answer.stdout)))
    assert [
        (str(face["face"]), face["source"], *map(str, face["box"]), str(face["person"] or ""))
        for face in processed.faces()
    ] == [
        (
            row["face"], row["source"],
            row["left"], row["top"], row["right"], row["bottom"],
            row["person"],
        )
        for row in rows
    ]  # fmt: skip


@pytest.mark.parametrize("what", ["faces", "faces --format csv", "status --json"])
def test_a_pipe_that_closes_is_no_error(processed: Processed, what: str) -> None:
    """``head`` does that, and ``true`` even before anything is written."""
    command = f"{sys.executable} -m portraitd {{}} --home {processed.home} | true"

    answer = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.format(what)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (0, "") == (answer.returncode, stderr_of(answer))


# --- status.


def test_status_is_json_for_scripts(processed: Processed) -> None:
    """Files, videos, faces, people, work left, and what failed with its reason."""
    answer = processed.run("status", "--json")

    found = json.loads(answer.stdout)
    assert 2 == found["files"]["done"]
    assert {"done": 2} == found["videos"]
    assert len(processed.faces()) == found["faces"] == found["grouping"]["faces"]
    assert 2 == found["people"]
    assert (0.0, 0.0) == (found["footage_open_s"], found["eta_s"])
    assert 0 < found["footage_per_work_s"]
    assert {
        "path": "text.mp4",
        "reason_code": "text_file",
        "reason": "a text file, not a video or photo",
    } in found["problems"]


def test_status_is_a_table_for_people(processed: Processed) -> None:
    """The same in words."""
    answer = processed.run("status")

    assert 0 == answer.returncode
    assert "2 done" in answer.stdout
    assert "text.mp4: a text file, not a video or photo" in answer.stdout


@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["faces"]])
def test_a_home_without_a_store_is_reported(
    here: RunCommand, tmp_path: Path, command: list[str]
) -> None:
    """In one line that names the path; nothing is created."""
    (tmp_path / "empty").mkdir()
    answer = here(*command, "--home", tmp_path / "empty")

    assert 74 == answer.returncode
    assert "nothing has been processed in this home yet" in stderr_of(answer)
    assert 1 == len(answer.stderr.splitlines())
    assert [] == list((tmp_path / "empty").iterdir())


# --- init, check, retry.


def test_init_makes_a_home_that_every_command_can_use(here: RunCommand, tmp_path: Path) -> None:
    """It can be repeated, and prints where to drop files and what to start."""
    home = tmp_path / "deep" / "home"
    answer = here("init", "--home", home)
    again = here("init", "--home", home)

    assert 0 == answer.returncode == again.returncode, stderr_of(answer)
    assert str(home / "inbox") in answer.stdout
    assert f"portraitd run --home {home}" in answer.stdout
    assert {"inbox", "people", "state"} == {path.name for path in home.iterdir()}
    for command in (["status", "--json"], ["faces"], ["retry"], ["check"]):
        used = here(*command, "--home", home)
        assert 0 == used.returncode, (command, used.stdout, stderr_of(used))


def test_check_names_what_is_missing(here: RunCommand, tmp_path: Path) -> None:
    """A failed check exits with 1 and names the remedy."""
    answer = here("check", "--home", tmp_path / "nowhere")

    assert 1 == answer.returncode
    assert "BAD  inbox" in answer.stdout
    assert "portraitd init" in answer.stdout
    assert "" == stderr_of(answer)


def test_check_names_a_damaged_database(here: RunCommand, tmp_path: Path) -> None:
    """Without damaging it further."""
    home = make_home(tmp_path / "home")
    here("init", "--home", home)
    (home / "state" / "portraitd.sqlite3").write_bytes(b"damaged" * 1000)

    answer = here("check", "--home", home)

    assert 1 == answer.returncode
    assert "BAD  database" in answer.stdout
    assert "" == stderr_of(answer)


def test_retry_takes_failed_files_up_again(tmp_path: Path) -> None:
    """A file that is still bad fails again."""
    home = make_home(tmp_path / "home")
    (home / "inbox" / "text.mp4").write_text("no video\n" * 100)
    portraitd("run", "--until-idle", "--home", home)

    answer = portraitd("retry", "--home", home)

    assert (0, "1 file to retry; start `portraitd run`\n") == (answer.returncode, answer.stdout)
    status = json.loads(portraitd("status", "--json", "--home", home).stdout)
    assert {"ready": 1} == status["files"]
    portraitd("run", "--until-idle", "--home", home)
    status = json.loads(portraitd("status", "--json", "--home", home).stdout)
    assert {"failed": 1} == status["files"]


def test_processing_in_a_home_that_is_in_use_is_refused(here: RunCommand, tmp_path: Path) -> None:
    """Only one process may write."""
    home = make_home(tmp_path / "home")
    here("init", "--home", home)

    with StoreLock(home / "state"):
        answer = here("process", "--home", home, tmp_path / "clip.mp4")

    assert 75 == answer.returncode
    assert f"process {os.getpid()}" in stderr_of(answer)


def test_dismissed_files_are_no_longer_listed(here: RunCommand, tmp_path: Path) -> None:
    """By their path, or all of them; `retry` leaves them alone."""
    home = Home(tmp_path / "home")
    for name in ("a.mp4", "b.mp4"):
        home.drop(b"no video", name)
    with capture_logs():
        home.run()
    path = tmp_path / "home"

    one = here("dismiss", "--home", path, "a.mp4")
    both = here("dismiss", "--home", path, "--all", "b.mp4")
    status = json.loads(here("status", "--json", "--home", path).stdout)

    assert (0, "Dismissed 1 file. It is processed again only after a change.\n") == (
        one.returncode,
        one.stdout,
    )
    assert "name the files to dismiss, or give --all" in both.stderr
    assert both.returncode
    assert {"ignored": 1, "failed": 1} == status["files"]
    assert ["b.mp4"] == [problem["path"] for problem in status["problems"]]
    assert "1 file to retry" in here("retry", "--home", path).stdout


def test_retry_without_a_home_says_so(here: RunCommand, tmp_path: Path) -> None:
    """It does not create one."""
    answer = here("retry", "--home", tmp_path / "nowhere")

    assert 78 == answer.returncode
    assert f"portraitd init --home {tmp_path / 'nowhere'}" in stderr_of(answer)
    assert not (tmp_path / "nowhere").exists()
