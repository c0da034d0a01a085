"""Files that are not for portraitd, and failures that a person dismissed."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from portraitd.ingest.refusal import state_of_refused
from portraitd.model.errors import ConfigError
from portraitd.model.media_file import FileState
from portraitd.model.reasons import Reason, ReasonCode
from support.home import Home
from support.inbox_fixture import InboxFixture


@pytest.fixture
def fixture(tmp_path: Path) -> InboxFixture:
    return InboxFixture(tmp_path)


@pytest.mark.parametrize(
    ("name", "code", "state"),
    [
        ("film.srt", ReasonCode.TEXT_FILE, FileState.IGNORED),
        ("film.NFO", ReasonCode.TEXT_FILE, FileState.IGNORED),
        ("film.sub", ReasonCode.UNKNOWN_FORMAT, FileState.IGNORED),
        ("empty.txt", ReasonCode.EMPTY, FileState.IGNORED),
        ("photos.zip", ReasonCode.OTHER_FILE_TYPE, FileState.IGNORED),
        ("README", ReasonCode.TEXT_FILE, FileState.IGNORED),
        ("song.mp3", ReasonCode.SOUND_ONLY, FileState.IGNORED),
        ("film.mp4", ReasonCode.TEXT_FILE, FileState.FAILED),
        ("film.mp4", ReasonCode.OTHER_FILE_TYPE, FileState.FAILED),
        ("film", ReasonCode.UNKNOWN_FORMAT, FileState.FAILED),
        ("film.srt", ReasonCode.CANNOT_READ, FileState.FAILED),
        ("film.srt", ReasonCode.SYMBOLIC_LINK, FileState.FAILED),
        ("photo.jpg", ReasonCode.EMPTY, FileState.FAILED),
    ],
)
def test_what_is_not_for_portraitd_did_not_fail(
    name: str, code: ReasonCode, state: FileState
) -> None:
    """By its content and its name: a text that is called a video failed."""
    assert state is state_of_refused(Path(name), Reason(code, ""))


def test_subtitles_and_archives_are_ignored_quietly(tmp_path: Path) -> None:
    """They are counted; a text that is called a video is named."""
    home = Home(tmp_path / "home")
    home.drop(b"1\n00:00:01,000 --> 00:00:02,000\nHello\n", "film.srt")
    home.drop(b"PK\x03\x04" + b"\0" * 100, "photos.zip")
    home.drop(b"no film", "film.mp4")
    with capture_logs() as logs:
        home.run()

    assert {"film.srt": "ignored", "photos.zip": "ignored", "film.mp4": "failed"} == home.states()
    assert ["film.mp4"] == [
        line["path"] for line in logs if line["log_level"] == "warning" and "path" in line
    ]


def test_a_failure_of_an_earlier_version_that_is_none_is_ignored(fixture: InboxFixture) -> None:
    """Without another look into the file."""
    fixture.write("notes.txt")
    fixture.settle()
    text = Reason.of(ReasonCode.TEXT_FILE)
    fixture.files.move_on(fixture.known("notes.txt").id, FileState.FAILED, 1.0, text)

    fixture.look()

    assert (FileState.IGNORED, text) == (
        fixture.state("notes.txt"),
        fixture.known("notes.txt").reason,
    )


def test_a_failure_can_be_dismissed(fixture: InboxFixture) -> None:
    """By its path; only a change of the file tries it again."""
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        fixture.write(name)
    fixture.settle()
    damaged = Reason.of(ReasonCode.INDEX_DAMAGED)
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        fixture.files.move_on(fixture.known(name).id, FileState.FAILED, 1.0, damaged)

    with pytest.raises(ConfigError, match=r"not among the failed files: other\.mp4; nothing"):
        fixture.files.dismiss(["a.mp4", "other.mp4"], 2.0)
    assert ["a.mp4"] == fixture.files.dismiss(["a.mp4"], 2.0)
    assert ["b.mp4"] == fixture.files.dismiss([str(fixture.inbox / "b.mp4")], 2.0)
    assert 1 == fixture.files.retry(3.0)
    fixture.look()
    assert {"a.mp4": "ignored", "b.mp4": "ignored", "c.mp4": "ready"} == fixture.states()
    assert damaged == fixture.known("a.mp4").reason
    fixture.write("a.mp4", b"another content")
    fixture.settle()

    assert FileState.READY is fixture.state("a.mp4")
