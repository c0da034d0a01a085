"""What is done may be moved away; nothing else is, and nothing is overwritten."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from portraitd.ingest.processed_folder import ProcessedFolder
from portraitd.model.media_file import FileState, Stamp
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


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("x" * 251 + ".mp4", "x" * 247 + " (2).mp4"),
        ("é" * 125 + "y.mp4", "é" * 123 + " (2).mp4"),
        ("a." + "z" * 253, "a." + "z" * 249 + " (2)"),
    ],
)
def test_a_name_that_is_as_long_as_possible_gets_a_number(
    tmp_path: Path, name: str, second: str
) -> None:
    """It is cut before it, by whole characters."""
    folder = ProcessedFolder(tmp_path)
    moved = []
    for content in ("one", "two"):
        (tmp_path / name).write_text(content)
        stamp = Stamp.of((tmp_path / name).stat())
        moved.append(folder.move(Path(name), stamp, lambda path: False).name)

    assert [name, second] == moved
    assert "two" == (tmp_path / "processed" / second).read_text()


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


# --- Folders and links in the place of processed/.


def finished(mover: InboxFixture, name: str = "clip.mp4") -> Path:
    path = mover.write(name)
    mover.settle()
    mover.finish(name)
    return path


@pytest.mark.parametrize("link", ["processed", "processed/holiday"])
def test_a_link_leads_no_file_outside(mover: InboxFixture, tmp_path: Path, link: str) -> None:
    """Neither in the place of the folder nor of one in it; the file stays, and is said once."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (mover.inbox / link).parent.mkdir(exist_ok=True)
    (mover.inbox / link).symlink_to(outside)
    paths = [finished(mover, f"holiday/{number}.mp4") for number in range(3)]
    with capture_logs() as logs:
        mover.look()

    assert [] == list(outside.iterdir())
    assert all(path.exists() for path in paths)
    assert ["file_not_moved"] == [line["event"] for line in logs]
    (mover.inbox / link).unlink()
    mover.look()
    assert not any(path.exists() for path in paths)


def test_a_folder_that_is_swapped_for_a_link_is_not_entered(tmp_path: Path) -> None:
    """While files are moved, another program swaps the folders for links, and back."""
    inbox, outside = tmp_path / "inbox", tmp_path / "outside"
    for folder in (inbox / "holiday", inbox / "processed" / "holiday", outside):
        folder.mkdir(parents=True)
    (outside / "clip.mp4").write_bytes(b"not ours")
    script = (
        "import os, sys\n"
        "inbox, outside = sys.argv[1:]\n"
        "os.chdir(inbox)\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    for name in ('processed', 'processed/holiday'):\n"
        "        try:\n"
        "            os.rename(name, outside + '/aside')\n"
        "            os.symlink(outside, name)\n"
        "            os.unlink(name)\n"
        "            os.rename(outside + '/aside', name)\n"
        "        except OSError:\n"
        "            pass\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, inbox, outside], stdout=subprocess.PIPE
    ) as swapper:
        assert swapper.stdout
        swapper.stdout.readline()
        folder, moved = ProcessedFolder(inbox), 0
        try:
            for _ in range(2000):
                with suppress(OSError):
                    clip = inbox / "holiday" / "clip.mp4"
                    clip.write_bytes(b"ours")
                    stamp = Stamp.of(clip.lstat())
                    folder.move(Path("holiday/clip.mp4"), stamp, lambda path: False)
                    moved += 1
                if moved > 100:
                    break
        finally:
            swapper.kill()

    assert moved
    assert ["clip.mp4"] == [path.name for path in outside.iterdir() if path.name != "aside"]
    assert b"not ours" == (outside / "clip.mp4").read_bytes()


def test_a_folder_that_is_moved_away_meanwhile_gives_the_file_back(
    mover: InboxFixture, tmp_path: Path
) -> None:
    """It was opened where it belongs, and is elsewhere when the file is moved into it."""
    path = finished(mover)
    (mover.inbox / "processed").mkdir()

    def move_away(target: Path) -> bool:
        (mover.inbox / "processed").rename(tmp_path / "elsewhere")
        return False

    with pytest.raises(OSError, match="replaced meanwhile"):
        ProcessedFolder(mover.inbox).move(Path("clip.mp4"), mover.known().stamp, move_away)

    assert path.exists()
    assert [] == list((tmp_path / "elsewhere").iterdir())


def test_many_files_of_one_name_are_moved(mover: InboxFixture) -> None:
    """Each search goes on where the last one ended."""
    folder, asked = ProcessedFolder(mover.inbox), []

    def is_used(path: Path) -> bool:
        asked.append(path)
        return False

    for _ in range(30):
        path = mover.write("clip.mp4")
        folder.move(Path("clip.mp4"), Stamp.of(path.stat()), is_used)

    assert 30 == len(list((mover.inbox / "processed").iterdir())) == len(asked)
