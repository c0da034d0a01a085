"""STATUS.html: what is being done, kept true and seldom written."""

from __future__ import annotations

from pathlib import Path

import pytest

from portraitd.model.media_file import FileState, JobState
from portraitd.people.pages.status_stage import GAP_S
from portraitd.store.database import Database
from portraitd.store.queue_stats import QueueStats
from support.gallery import Exhibition
from support.store import embedding, slice_faces
from support.tree import snapshot


@pytest.fixture
def exhibition(tmp_path: Path) -> Exhibition:
    return Exhibition(Database.open(tmp_path), tmp_path / "people")


def page(exhibition: Exhibition) -> str:
    return (exhibition.root / "STATUS.html").read_text()


def a_slice(exhibition: Exhibition) -> None:
    """One slice more is done, in two and a half seconds."""
    claimed = exhibition.slice_queue.claim()
    assert claimed
    exhibition.slice_queue.record(claimed, slice_faces(embedding(1)), "e", 3.0)


def test_files_are_shown_as_far_as_they_are(exhibition: Exhibition) -> None:
    """In work with its share, waiting with its reason, failed with why."""
    exhibition.video("half.mp4", slices=4)
    a_slice(exhibition)
    exhibition.slice_queue.claim()
    exhibition.video("next.mp4")
    exhibition.file("new.mp4", FileState.READY)
    broken = exhibition.file("broken.mp4")
    exhibition.files.move_on(broken.id, FileState.FAILED, 9.0, "no frame could be decoded")
    standing = QueueStats(exhibition.database)

    assert [("half.mp4", 0.25)] == standing.running(9)
    assert ([("next.mp4", ""), ("new.mp4", "")], 2) == standing.waiting(9)
    assert ([("next.mp4", "")], 2) == standing.waiting(1)
    assert ([("broken.mp4", "no frame could be decoded")], 1) == standing.failed(9)


def test_the_time_left_follows_from_the_slices_done(exhibition: Exhibition) -> None:
    """A minute of footage took 2.5 s; three are left for two workers."""
    exhibition.video("a.mp4", slices=4)
    before = exhibition.slice_queue.progress()
    a_slice(exhibition)
    after = exhibition.slice_queue.progress()

    assert (None, 3.75) == (before.eta_s(2), after.eta_s(2))
    exhibition.board.write("faces", 10.0)
    assert "4 s" in page(exhibition)


def test_it_is_written_when_something_changed(exhibition: Exhibition) -> None:
    """Every few seconds at most; what did not change is left alone."""
    exhibition.video("a.mp4", slices=4)
    exhibition.board.write("faces", 10.0)
    first = page(exhibition)
    a_slice(exhibition)
    exhibition.board.write("faces", 10.0 + GAP_S / 2)
    assert first == page(exhibition)
    exhibition.board.write("faces", 10.0 + GAP_S)
    assert "25 % of the footage" in page(exhibition)
    before = snapshot(exhibition.root)

    exhibition.board.write("faces", 100.0)

    assert before == snapshot(exhibition.root)


def test_the_end_is_said_at_once(exhibition: Exhibition) -> None:
    """Nobody is to wait for work that is done; a clock set back does not silence it."""
    exhibition.board.write("faces", 10.0)
    exhibition.board.write("idle", 10.1)
    assert "Everything is done" in page(exhibition)
    exhibition.video("a.mp4")
    exhibition.board.write("idle", 2.0)

    assert "a.mp4" in page(exhibition)


def test_the_line_goes_with_the_page(exhibition: Exhibition) -> None:
    """The page of all people reads it."""
    exhibition.board.write("grouping", 10.0)

    line = (exhibition.root / "gallery/data/status.js").read_text()
    assert '"stage":"grouping"' in line
    assert JobState.DONE not in line


def test_the_gallery_leaves_it_alone(exhibition: Exhibition) -> None:
    """Both write to one folder."""
    exhibition.board.write("idle", 10.0)
    exhibition.show("a.mp4", [(1, 3.0)])
    exhibition.grouping_run()
    exhibition.publish(3000.0)

    assert (exhibition.root / "gallery/data/status.js").exists()
    assert (exhibition.root / "STATUS.html").exists()
