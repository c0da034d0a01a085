"""Appearances: faces joined to time ranges, and the queries of the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.model.appearance import format_clock, join_appearances
from portraitd.model.media_file import FileState
from portraitd.store.appearances import Appearances
from portraitd.store.database import Database
from support.gallery import GalleryFixture


@pytest.fixture
def fixture(tmp_path: Path) -> GalleryFixture:
    """Two people in two videos; the first of them in both."""
    fixture = GalleryFixture(Database.open(tmp_path), tmp_path / "people")
    fixture.show("a.mp4", [(1, 3.0), (2, 3.0), (1, 4.0), (1, 20.0)], at_s=100.0)
    fixture.show("b.mp4", [(1, 7.0)], at_s=200.0)
    fixture.grouping_run()
    return fixture


def test_faces_close_in_time_are_one_appearance() -> None:
    """It starts with the first face and ends with the sampled frame after the last."""
    assert [(3.0, 6.0, 3), (20.0, 21.0, 1)] == join_appearances([3.0, 4.0, 5.0, 20.0], step_s=1.0)


def test_looking_away_is_not_leaving() -> None:
    """Gaps of up to three seconds, or two sampling steps, are bridged."""
    assert [(0.0, 4.0, 2)] == join_appearances([0.0, 3.0], step_s=1.0)
    assert [(0.0, 1.0, 1), (3.5, 4.5, 1)] == join_appearances([0.0, 3.5], step_s=1.0)
    assert [(0.0, 30.0, 2)] == join_appearances([0.0, 20.0], step_s=10.0)


def test_an_appearance_ends_with_the_video() -> None:
    """Unless a face was found after the declared end."""
    assert [(58.0, 60.0, 2)] == join_appearances([58.0, 59.5], step_s=1.0, duration_s=60.0)
    assert [(61.0, 61.0, 1)] == join_appearances([61.0], step_s=1.0, duration_s=60.0)


@given(st.lists(st.integers(0, 500), max_size=40), st.sampled_from([0.2, 1.0, 5.0]))
def test_every_face_is_in_one_appearance(times: list[int], step_s: float) -> None:
    """Appearances are sorted, do not overlap, and count every face."""
    found = join_appearances(sorted(times), step_s)

    assert len(times) == sum(one.faces for one in found)
    edges = [edge for one in found for edge in (one.start_s, one.stop_s)]
    assert sorted(edges) == edges
    for time in times:
        assert 1 == sum(one.start_s <= time < one.stop_s for one in found)


def test_a_clock_counts_hours_and_milliseconds() -> None:
    """The time is rounded once, so that seconds never reach sixty."""
    assert "01:02:05.400" == format_clock(3725.4)
    assert "00:01:00.000" == format_clock(59.9999)
    assert "00:00:00.000" == format_clock(0.0)


def test_people_are_counted_by_video(fixture: GalleryFixture) -> None:
    """The result has the number of faces and the first and last time."""
    count_by_person = Appearances(fixture.database).count_by_person()

    seen = {person: [tuple(one[:4]) for one in clips] for person, clips in count_by_person.items()}
    assert {1: [(1, 3, 3.0, 20.0), (2, 1, 7.0, 7.0)], 2: [(1, 1, 3.0, 3.0)]} == seen


def test_unassigned_faces_are_in_no_query(fixture: GalleryFixture) -> None:
    """This also holds for excluded faces."""
    fixture.person_of[-1] = 0
    fixture.grouping_run()
    store = Appearances(fixture.database)

    assert [1] == [one.clip_id for one in store.count_by_person()[1]]
    assert [(1, 1), (2, 1)] == [(person, clip) for person, clip, _ in store.times()]
    assert 3 == len(store.faces(1).ids)
    assert 1 == len(store.tracks(1)[0])


def test_counting_reads_no_embeddings(fixture: GalleryFixture) -> None:
    """A covering index counts a million faces in a second."""
    fixture.database.execute("analyze")
    plan = fixture.database.execute(
        """
        explain query plan select person_id, video_id, count(*), min(t_s), max(t_s),
            sum(id * (1 + id % 31) + coalesce(track_id, 0))
        from faces where person_id is not null
        group by person_id, video_id order by person_id, video_id
        """
    )

    assert ["SEARCH faces USING COVERING INDEX faces_by_appearance (person_id>?)"] == [
        row["detail"] for row in plan
    ]


def test_a_video_has_the_name_that_people_gave_it(fixture: GalleryFixture) -> None:
    """Moving it to processed/ does not change its name."""
    file = next(iter(fixture.files.below(b"").values()))
    fixture.files.rename(file.id, Path("processed/a.mp4"))
    clips = Appearances(fixture.database).clips()

    assert ["a.mp4", "b.mp4"] == [clip.name for clip in clips.values()]
    assert [(60.0, 1.0, 100.0), (60.0, 1.0, 200.0)] == [
        (clip.duration_s, clip.step_s, clip.added_at) for clip in clips.values()
    ]


def test_a_video_without_a_file_is_named_by_its_number(fixture: GalleryFixture) -> None:
    """Its faces are still in the store."""
    fixture.files.note(b"", Path("a.mp4"), fixture.file("other").stamp, FileState.READY, 3.0)

    assert "video 1" == Appearances(fixture.database).clips()[1].name


def test_new_faces_are_counted(fixture: GalleryFixture) -> None:
    """They are counted by tracks or faces, like the grouping run."""
    store = Appearances(fixture.database)

    assert {1: 1} == store.count_since(2, "tracks")
    assert {1: 2} == store.count_since(3, "faces")
    assert {} == store.count_since(99, "tracks")


def test_times_and_faces_agree(fixture: GalleryFixture) -> None:
    """Reading all people at once gives the same as reading each."""
    store = Appearances(fixture.database)
    streamed = {(person, clip): times for person, clip, times in store.times()}
    faces = store.faces(1)

    assert {(1, 1): [3.0, 4.0, 20.0], (1, 2): [7.0], (2, 1): [3.0]} == streamed
    assert [3.0, 4.0, 20.0, 7.0] == faces.times_s.tolist()
    assert np.array_equal([1, 1, 1, 2], faces.clip_ids)
