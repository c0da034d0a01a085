"""What is done may be moved away; nothing else is, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from portraitd.model.media_file import FileState
from support.inbox_fixture import SETTINGS, InboxFixture


@pytest.fixture
def fixture(tmp_path: Path) -> InboxFixture:
    return InboxFixture(tmp_path)


@pytest.fixture
def mover(tmp_path: Path) -> InboxFixture:
    return InboxFixture(tmp_path, SETTINGS.model_copy(update={"after": "move"}))


def test_a_done_file_stays_where_it_is(fixture: InboxFixture) -> None:
    """Unless it was asked for."""
    path = fixture.write("clip.mp4")
    fixture.settle()
    fixture.finish()

    fixture.look()

    assert path.exists()


def test_a_done_file_is_moved(mover: InboxFixture) -> None:
    """With its folder; what failed stays, so that somebody sees it."""
    mover.write("holiday/clip.mp4")
    mover.write("bad.mp4")
    mover.settle()
    mover.finish("holiday/clip.mp4")
    mover.files.move_on(mover.known("bad.mp4").id, FileState.FAILED, 1.0)

    mover.look()

    assert {"processed/holiday/clip.mp4": "done", "bad.mp4": "failed"} == mover.states()
    assert b"video" == (mover.inbox / "processed/holiday/clip.mp4").read_bytes()
    assert (mover.inbox / "bad.mp4").exists()


def test_what_was_moved_is_not_taken_again(mover: InboxFixture) -> None:
    """processed/ is not looked at."""
    mover.write("clip.mp4")
    mover.settle()
    mover.finish()
    for _ in range(3):
        mover.settle()

    assert {"processed/clip.mp4": "done"} == mover.states()


def test_moving_never_overwrites(mover: InboxFixture) -> None:
    """Whoever put it there."""
    (mover.inbox / "processed").mkdir()
    (mover.inbox / "processed/clip.mp4").write_bytes(b"somebody's")
    (mover.inbox / "processed/clip (2).mp4").symlink_to("nowhere")
    mover.write("clip.mp4")
    mover.settle()
    mover.finish()

    mover.look()

    assert b"somebody's" == (mover.inbox / "processed/clip.mp4").read_bytes()
    assert b"video" == (mover.inbox / "processed/clip (3).mp4").read_bytes()
    assert {"processed/clip (3).mp4": "done"} == mover.states()


def test_the_name_of_a_moved_file_may_come_again(mover: InboxFixture) -> None:
    """A camera numbers from the beginning; the first was removed from processed/ meanwhile."""
    for content in (b"first", b"second"):
        mover.write("clip.mp4", content)
        mover.settle()
        mover.finish()
        mover.look()
        if content == b"first":
            (mover.inbox / "processed/clip.mp4").unlink()

    mover.look()

    assert {"processed/clip.mp4": "done", "processed/clip (2).mp4": "done"} == mover.states()
    assert b"second" == (mover.inbox / "processed/clip (2).mp4").read_bytes()


def test_a_done_file_that_somebody_removed_is_not_missed(mover: InboxFixture) -> None:
    """There is nothing to move, and nothing to complain about at every look."""
    path = mover.write("clip.mp4")
    mover.settle()
    mover.finish()
    path.unlink()
    with capture_logs() as logs:
        for _ in range(3):
            mover.look()

    assert [] == logs
    assert FileState.DONE is mover.state()


def test_a_file_replaced_since_it_was_done_is_not_moved(mover: InboxFixture) -> None:
    """It is another one, which nobody has looked into."""
    mover.write("clip.mp4")
    mover.settle()
    mover.finish()
    mover.write("clip.mp4", b"another content")

    mover.look()

    assert (mover.inbox / "clip.mp4").exists()
    assert FileState.WAITING is mover.state()
