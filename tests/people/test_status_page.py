"""The status page stage: what STATUS.html shows, and when it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from portraitd.model.media_file import FileState, JobState
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.model.stage import Now
from portraitd.people.pages.status_stage import WRITE_INTERVAL_S, StatusPageStage
from portraitd.people.pages.words import PageText
from portraitd.store.database import Database
from support.clock import at
from support.gallery import GalleryFixture
from support.store import embedding, slice_faces
from support.tree import snapshot


@pytest.fixture
def fixture(tmp_path: Path) -> GalleryFixture:
    return GalleryFixture(Database.open(tmp_path), tmp_path / "people")


def page(fixture: GalleryFixture) -> str:
    return (fixture.root / "STATUS.html").read_text()


def finish_slice(fixture: GalleryFixture) -> None:
    """Finish one more slice, which took two and a half seconds."""
    claimed = fixture.slice_queue.claim()
    assert claimed
    fixture.slice_queue.record(claimed, slice_faces(embedding(1)), "e", 3.0)


def test_files_are_listed_by_state(fixture: GalleryFixture) -> None:
    """Running with its progress, waiting and failed with a reason."""
    fixture.video("half.mp4", slices=4)
    finish_slice(fixture)
    fixture.slice_queue.claim()
    fixture.video("next.mp4")
    fixture.file("new.mp4", FileState.READY)
    broken = fixture.file("broken.mp4")
    broken_reason = Reason(ReasonCode.NO_FRAME_DECODED, "no frame could be decoded")
    fixture.files.move_on(broken.id, FileState.FAILED, 9.0, broken_reason)
    snapshot = fixture.snapshots().read(at(10.0))
    short = fixture.snapshots(limit=1).read(at(10.0))

    assert (("half.mp4", 0.25),) == snapshot.running
    assert (("next.mp4", NO_REASON), ("new.mp4", NO_REASON)) == snapshot.waiting
    assert (("next.mp4", NO_REASON),) == short.waiting
    assert 2 == snapshot.waiting_count == short.waiting_count
    assert (("broken.mp4", broken_reason),) == snapshot.failed
    assert 1 == snapshot.failed_count


def test_the_time_left_follows_from_the_finished_slices(fixture: GalleryFixture) -> None:
    """One minute of footage took 2.5 s; three minutes are left for two workers."""
    fixture.video("a.mp4", slices=4)
    before = fixture.slice_queue.progress()
    finish_slice(fixture)
    after = fixture.slice_queue.progress()

    assert (None, 3.75) == (before.eta_s(2), after.eta_s(2))
    fixture.status_stage.write("faces", at(10.0))
    assert "4 s" in page(fixture)


def test_it_is_written_when_something_changed(fixture: GalleryFixture) -> None:
    """At most every few seconds, and not without a change."""
    fixture.video("a.mp4", slices=4)
    fixture.status_stage.write("faces", at(10.0))
    first = page(fixture)
    finish_slice(fixture)
    fixture.status_stage.write("faces", at(10.0 + WRITE_INTERVAL_S / 2))
    assert first == page(fixture)
    fixture.status_stage.write("faces", at(10.0 + WRITE_INTERVAL_S))
    assert "25% of the footage processed" in page(fixture)
    before = snapshot(fixture.root)

    fixture.status_stage.write("faces", at(100.0))

    assert before == snapshot(fixture.root)


def test_the_end_of_work_is_written_at_once(fixture: GalleryFixture) -> None:
    """Neither the interval nor a clock that was set back delays it."""
    fixture.status_stage.write("faces", at(10.0))
    fixture.status_stage.write("idle", at(10.1))
    assert "Up to date" in page(fixture)
    fixture.video("a.mp4")
    fixture.status_stage.write("idle", Now(2.0, 20.0))

    assert "a.mp4" in page(fixture)


def test_the_status_line_is_written_with_the_page(fixture: GalleryFixture) -> None:
    """The index page loads it."""
    fixture.status_stage.write("grouping", at(10.0))

    line = (fixture.root / "gallery/data/status.js").read_text()
    assert '"stage":"grouping"' in line
    assert JobState.DONE not in line


def test_the_gallery_keeps_the_status_files(fixture: GalleryFixture) -> None:
    """Both stages write to one folder."""
    fixture.status_stage.write("idle", at(10.0))
    fixture.show("a.mp4", [(1, 3.0)])
    fixture.grouping_run()
    fixture.publish(3000.0)

    assert (fixture.root / "gallery/data/status.js").exists()
    assert (fixture.root / "STATUS.html").exists()


def test_missing_models_are_mentioned_once(fixture: GalleryFixture) -> None:
    """The home of the test has none of the recommended ones."""
    fixture.status_stage.write("idle", at(10.0))

    assert 1 == page(fixture).count('data-text="missing_embedder"')
    assert 1 == page(fixture).count("portraitd models add recommended")


def test_questions_are_listed_with_their_pictures(fixture: GalleryFixture) -> None:
    """Names are data, and paths are escaped; without questions there is no such list."""
    name = '<b>"Ann" & Bob</b>'
    asked = [
        (PageText("question_same", {"names": name}), "_questions/01 A #1 & B.jpg"),
        (PageText("question_which", {"n": 3}), "_questions/02 100%.jpg"),
    ]
    StatusPageStage(
        fixture.root, fixture.snapshots().read, lambda: "idle", lambda: NO_REASON, lambda: asked
    ).tick(at(10.0))

    assert '<a href="_questions/01%20A%20%231%20%26%20B.jpg"' in page(fixture)
    assert "&lt;b&gt;&quot;Ann&quot; &amp; Bob&lt;/b&gt;: the same person?" in page(fixture)
    assert "Which of these 3 are right?" in page(fixture)
    assert "<b>" not in page(fixture)
    script = (fixture.root / "gallery/data/status.js").read_text()
    assert '"_questions/02%20100%25.jpg"' in script
    assert "<b>" not in script
    fixture.status_stage.tick(at(20.0))
    assert "_questions" not in page(fixture)
