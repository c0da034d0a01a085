"""A box that a person drew is read from its video, and stays what the person said."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from portraitd.ingest.media_jobs import read_frame_times
from portraitd.model.edit import DrawFaces, DrawnBox, UndoEntry
from portraitd.model.face import Box
from portraitd.model.media_file import MediaKind, Source, Stamp
from portraitd.service.pipeline import Service
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.corrections.ledger import Ledger
from support.home import Home, assert_sound, connect
from support.reviews import copied, ledger


@pytest.fixture
def home(two_found: Home, tmp_path: Path) -> Home:
    """Two people of a clip, each with a folder; to be changed."""
    return copied(two_found, tmp_path)


def box_of(row: dict[str, Any]) -> Box:
    return Box(row["box_left"], row["box_top"], row["box_right"], row["box_bottom"])


def record(service: Service, *edits: Any) -> None:
    """Record edits that were not made in the tree."""
    recorder = EditRecorder(service.database, Ledger(service.database), None, whole_tracks=False)
    recorder.record(edits, 5.0)


def draw(home: Home, drawn: DrawnBox, person_id: int | None) -> None:
    with home.opened() as service:
        record(service, DrawFaces((drawn,), person_id))
        home.run_until_idle(service)


def undo(home: Home, entry_id: int) -> None:
    with home.opened() as service:
        record(service, UndoEntry(entry_id))
        home.run_until_idle(service)


def frame_after(home: Home, t_s: float) -> float:
    """Return the time of a frame that was not sampled."""
    clip = home.inbox / "clip.mp4"
    times_s = read_frame_times(Source(clip, Stamp.of(clip.stat())), MediaKind.VIDEO)
    return float(times_s[times_s > t_s][3])


def in_clip(home: Home) -> list[dict[str, Any]]:
    (clip,) = (row["id"] for row in home.rows("videos") if row["kind"] == "video")
    return [row for row in home.rows("faces") if row["video_id"] == clip]


def drawn_faces(home: Home) -> list[dict[str, Any]]:
    return [row for row in home.rows("faces") if row["is_drawn"]]


def rebuild(home: Home, **sections: dict[str, Any]) -> Home:
    """Reprocess everything, with other settings."""
    again = Home(home.settings.home_dir, grouping={"method": "people"}, **sections)
    with again.opened() as service:
        service.reprocessing.begin(again.now.wall_s)
        again.run_until_idle(service)
    assert_sound(again.settings)
    return again


def redraw_first(home: Home, person_id: int | None = None) -> dict[str, Any]:
    """Draw the box of the first face of a person in the clip anew; return that face."""
    face = next(row for row in in_clip(home) if row["person_id"])
    box = box_of(face).shifted(6, 4)
    draw(home, DrawnBox(face["video_id"], face["t_s"], box, face["id"]), person_id)
    return face


def test_a_corrected_box_takes_the_place_of_the_one_that_was_found(home: Home) -> None:
    """It has the same person, a track and a portrait."""
    face = redraw_first(home)

    (drawn,) = drawn_faces(home)
    assert box_of(face).shifted(6, 4) == box_of(drawn)
    assert (face["video_id"], face["t_s"], 0) == (drawn["video_id"], drawn["t_s"], drawn["hidden"])
    assert face["person_id"] == drawn["person_id"]
    assert drawn["track_id"]
    old = next(row for row in home.rows("faces") if row["id"] == face["id"])
    assert (4, None, None) == (old["hidden"], old["person_id"], old["track_id"])
    assert ["redraw"] == ledger(home)
    assert_sound(home.settings)


def test_an_undo_brings_the_box_back_that_was_found(home: Home) -> None:
    """And an undo of the undo, the drawn one."""
    face = redraw_first(home)

    undo(home, 1)

    (drawn,) = drawn_faces(home)
    assert (4, None, None) == (drawn["hidden"], drawn["person_id"], drawn["track_id"])
    old = next(row for row in home.rows("faces") if row["id"] == face["id"])
    assert (0, face["person_id"]) == (old["hidden"], old["person_id"])
    assert old["track_id"]
    assert_sound(home.settings)

    undo(home, 2)

    (drawn,) = drawn_faces(home)
    assert (0, face["person_id"]) == (drawn["hidden"], drawn["person_id"])
    assert ["redraw", "undo", "undo"] == ledger(home)


def test_a_face_that_was_missed_is_read_and_is_who_the_person_says(home: Home) -> None:
    """In a frame that was not sampled."""
    face = next(row for row in in_clip(home) if row["person_id"] == 1)
    place = Box(4, 4, 64, 64)

    t_s = frame_after(home, face["t_s"])

    draw(home, DrawnBox(face["video_id"], t_s, place), 2)

    (drawn,) = drawn_faces(home)
    assert (place, 2) == (box_of(drawn), drawn["person_id"])
    assert len(face["embedding"]) == len(drawn["embedding"])
    assert any(row["face_id"] == drawn["id"] for row in portraits(home))
    undo(home, 1)
    (drawn,) = drawn_faces(home)
    assert (4, None) == (drawn["hidden"], drawn["person_id"])


def portraits(home: Home) -> list[dict[str, Any]]:
    with closing(connect(home.settings.state_dir)) as connection:
        return [dict(row) for row in connection.execute("select face_id from portraits")]


@pytest.mark.slow
@pytest.mark.parametrize("sections", [{}, {"sampling": {"fps": 1.0}, "encoder": {"mirror": False}}])
def test_drawn_boxes_are_there_after_a_rebuild(
    home: Home, sections: dict[str, dict[str, Any]]
) -> None:
    """Also with other samples and another encoder; they can still be undone."""
    face = redraw_first(home)
    place = Box(4, 4, 64, 64)
    draw(home, DrawnBox(face["video_id"], frame_after(home, face["t_s"]), place), 2)

    again = rebuild(home, **sections)

    drawn = {box_of(row): row for row in drawn_faces(again)}
    assert {place, box_of(face).shifted(6, 4)} == drawn.keys()
    assert {0} == {row["hidden"] for row in drawn.values()}
    assert (2, face["person_id"]) == (
        drawn[place]["person_id"],
        drawn[box_of(face).shifted(6, 4)]["person_id"],
    )
    here = [
        row
        for row in in_clip(again)
        if row["t_s"] == face["t_s"] and box_of(row).iou(box_of(face)) > 0.5
    ]
    assert [0, 4] == sorted(row["hidden"] for row in here)
    undo(again, 1)
    undo(again, 2)
    here = [
        row
        for row in in_clip(again)
        if row["t_s"] == face["t_s"] and box_of(row).iou(box_of(face)) > 0.5
    ]
    assert {True: 4, False: 0} == {bool(row["is_drawn"]): row["hidden"] for row in here}
    assert_sound(again.settings)


def test_a_box_waits_while_its_video_is_away(home: Home) -> None:
    """Until the drawn box was read, the one that was found stays."""
    face = next(row for row in in_clip(home) if row["person_id"])
    clip = home.inbox / "clip.mp4"
    away = clip.rename(home.settings.home_dir / "away.mp4")
    box = box_of(face).shifted(6, 4)

    draw(home, DrawnBox(face["video_id"], face["t_s"], box, face["id"]), None)

    old = next(row for row in home.rows("faces") if row["id"] == face["id"])
    assert (0, face["person_id"]) == (old["hidden"], old["person_id"])
    assert [] == drawn_faces(home)
    away.rename(clip)
    home.run()
    assert [box] == [box_of(row) for row in drawn_faces(home)]
