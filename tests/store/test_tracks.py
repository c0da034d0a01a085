"""Tracks as they are stored: whole videos at a time, and never under an old number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from portraitd.clustering import grouping_jobs
from portraitd.clustering.grouping_jobs import VideoTracks
from portraitd.model.errors import StoreError
from portraitd.model.media_file import FileState
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.model.track import l2_normalised
from portraitd.store.database import Database
from portraitd.store.tracks import Indices
from support.embedding_rules import DLIB_RULES
from support.store import ENCODER, Store, detection, embedding, slice_faces

ANN, BOB, EVE = (embedding(seed) for seed in (1, 2, 3))

DIED = Reason(ReasonCode.WORKER_DIED, "died")
REMOVED = Reason.of(ReasonCode.REMOVED)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database.open(tmp_path))


def found(store: Store, video_id: int = 1) -> tuple[Indices, VideoTracks]:
    """What tracking says of a video."""
    face_ids, faces = store.tracks.faces_of(video_id, DLIB_RULES.quality)
    return face_ids, grouping_jobs.track(faces, DLIB_RULES)


def record(store: Store, face_ids: Indices, tracks: VideoTracks, video_id: int = 1) -> bool:
    return store.tracks.record(
        video_id, face_ids, tracks.tracks, tracks.summary, tracks.cannot_link
    )


def track_ids(store: Store) -> list[int | None]:
    """The track of each face, in the order of ids."""
    return [row[0] for row in store.database.execute("select track_id from faces order by id")]


def together(store: Store) -> None:
    """A finished video in which two people are in one frame."""
    store.video()
    claimed = store.slice_queue.claim()
    assert claimed
    seen = replace(slice_faces(), detections=[detection(ANN, 1.0), detection(BOB, 1.0)])
    store.slice_queue.record(claimed, seen, ENCODER, 5.0)


def test_every_face_gets_its_track(store: Store) -> None:
    """A track says how many faces it has, which is the best, and what they look like."""
    store.see(ANN, BOB, ANN)
    store.database.execute("update faces set size_px = 20 where id = 1")

    store.track()

    assert [1, 2, 1] == track_ids(store)
    rows = store.tracks.rows()
    assert [1, 2] == rows.ids.tolist()
    assert [2, 1] == rows.faces.tolist()
    assert [1.0, 1.0] == rows.quality.tolist()
    assert [0, 0] == rows.persons.tolist()
    assert np.allclose(0.0, rows.variances, atol=1e-9)
    best = store.database.execute("select best_face_id from tracks order by id").fetchall()
    assert [3, 2] == [row[0] for row in best]
    ((ids, embeddings),) = store.tracks.embeddings(0, 128)
    assert [1, 2] == ids.tolist()
    assert np.allclose(
        l2_normalised(np.stack([ANN, BOB]), DLIB_RULES.vector_length), embeddings, atol=1e-6
    )


def test_what_tracking_reads_is_what_was_seen(store: Store) -> None:
    """In the order of time, whichever slice was stored first."""
    store.video(slices=2)
    first, second = store.slice_queue.claim(), store.slice_queue.claim()
    assert first
    assert second
    late = replace(slice_faces(), detections=[detection(BOB, 70.0)])
    store.slice_queue.record(second, late, ENCODER, 5.0)
    store.slice_queue.record(first, slice_faces(ANN), ENCODER, 6.0)

    face_ids, faces = store.tracks.faces_of(1, DLIB_RULES.quality)

    assert [2, 1] == face_ids.tolist()
    assert [0.0, 70.0] == faces.times_s.tolist()
    assert np.stack([ANN, BOB]).tobytes() == faces.embeddings.tobytes()
    assert [[10, 20, 110, 130]] * 2 == faces.boxes.tolist()
    quality = (np.full(2, 100.0), np.full(2, 55.5), np.full(2, 0.75), np.ones(2))
    assert DLIB_RULES.quality.measure(*quality, faces.embeddings).tolist() == faces.quality.tolist()


def test_a_video_is_tracked_when_all_of_it_was_looked_at(store: Store) -> None:
    """Not while a slice is missing; a failed one counts for what it has; and once only."""
    store.video(slices=2)
    first, second = store.slice_queue.claim(), store.slice_queue.claim()
    assert first
    assert second
    store.slice_queue.record(first, slice_faces(ANN), ENCODER, 5.0)
    assert store.tracks.untracked() is None
    store.slice_queue.lose(second, DIED, 1, 6.0)
    assert 1 == store.tracks.untracked()

    store.track()

    assert store.tracks.untracked() is None
    assert [1] == track_ids(store)


def test_videos_may_be_passed_over(store: Store) -> None:
    """One that makes trouble must not hold up the others."""
    for seed in range(3):
        store.see(embedding(seed))

    assert 2 == store.tracks.untracked({1})
    assert 3 == store.tracks.untracked({1, 2})
    assert store.tracks.untracked({1, 2, 3}) is None


def test_a_video_without_faces_has_no_tracks(store: Store) -> None:
    """And is asked about once."""
    store.see()
    assert 1 == store.tracks.untracked()

    store.track()

    assert store.tracks.untracked() is None
    assert [] == store.tracks.rows().ids.tolist()
    assert (0, 2) == store.tracks.cannot_link().shape
    assert [] == list(store.tracks.embeddings(0, 128))
    assert 0 == store.tracks.last_id()


def test_people_of_one_frame_are_apart(store: Store) -> None:
    """The lower id first; tracks of another video may be linked with any."""
    store.see(EVE)
    store.track()
    together(store)
    store.track()

    assert [[2, 3]] == store.tracks.cannot_link().tolist()
    store.database.execute("delete from tracks where id = 3")
    assert (0, 2) == store.tracks.cannot_link().shape


def test_tracks_of_faces_that_are_no_longer_the_same_are_refused(store: Store) -> None:
    """More faces, fewer, or none: it is done again for those there are."""
    store.see(ANN, ANN)
    face_ids, tracks = found(store)
    store.database.execute("delete from faces where id = 2")

    assert not record(store, face_ids, tracks)
    assert [None] == track_ids(store)
    assert [] == store.tracks.rows().ids.tolist()
    assert 1 == store.tracks.untracked()
    store.track()
    assert [1] == store.tracks.rows().faces.tolist()


def test_tracks_of_a_forgotten_video_are_refused(store: Store) -> None:
    """It was removed while they were made."""
    store.see(ANN)
    face_ids, tracks = found(store)
    store.database.execute("delete from videos")

    assert not record(store, face_ids, tracks)
    assert [] == store.tracks.rows().ids.tolist()


def retried(store: Store) -> None:
    """A video that failed in its second slice, has tracks, and is worked on once more."""
    store.video(slices=2)
    first, second = store.slice_queue.claim(), store.slice_queue.claim()
    assert first
    assert second
    store.slice_queue.record(first, slice_faces(ANN, BOB), ENCODER, 5.0)
    store.slice_queue.lose(second, DIED, 1, 6.0)
    store.track()
    store.slice_queue.retry(7.0)


def test_a_retried_video_is_tracked_again(store: Store) -> None:
    """All of it, when it has ended; until then it keeps the tracks it has."""
    retried(store)
    assert [1, 2] == track_ids(store)
    assert store.tracks.untracked() is None
    claimed = store.slice_queue.claim()
    assert claimed
    more = replace(slice_faces(), detections=[detection(BOB, 2.0)])
    store.slice_queue.record(claimed, more, ENCODER, 8.0)
    assert 1 == store.tracks.untracked()

    store.track()

    # The same track gets another id, so that a grouping includes it again.
    assert [3, 4, 4] == track_ids(store)
    assert [3, 4] == store.tracks.rows().ids.tolist()
    assert [1, 2] == store.tracks.rows().faces.tolist()


def test_faces_that_are_tracked_again_keep_their_person(store: Store) -> None:
    """Faces keep their people until the next grouping."""
    retried(store)
    store.group([0, 1])
    claimed = store.slice_queue.claim()
    assert claimed
    store.slice_queue.record(claimed, slice_faces(), ENCODER, 8.0)

    store.track()

    assert [1, 2] == store.faces.persons().tolist()
    assert [1, 2] == store.tracks.rows().persons.tolist()


def test_ids_of_tracks_are_never_used_again(store: Store) -> None:
    """A track's number is its row in the matrix: another track must not take it."""
    store.see(ANN, BOB)
    store.track()
    store.database.execute("delete from videos")
    assert 2 == store.tracks.last_id()
    assert [] == store.tracks.rows().ids.tolist()

    store.see(ANN)
    store.track()

    assert [3] == store.tracks.rows().ids.tolist()
    assert 3 == store.tracks.last_id()


def test_recording_that_fails_changes_nothing(store: Store) -> None:
    """In one transaction: the old tracks stay, every face with its own."""
    retried(store)
    claimed = store.slice_queue.claim()
    assert claimed
    store.slice_queue.record(claimed, slice_faces(), ENCODER, 8.0)
    face_ids, tracks = found(store)
    # A pair of a track with itself is written twice.
    wrong = tracks._replace(cannot_link=np.array([[0, 1], [0, 1]]))

    with pytest.raises(StoreError, match="UNIQUE"):
        record(store, face_ids, wrong)

    assert [1, 2] == track_ids(store)
    assert [1, 2] == store.tracks.rows().ids.tolist()
    assert 1 == store.tracks.untracked()
    assert record(store, face_ids, tracks)
    assert [3, 4] == track_ids(store)


def test_a_track_goes_with_its_video(store: Store) -> None:
    """And what was known of it."""
    together(store)
    store.see(EVE)
    store.track()
    ticket_video = store.database.execute("select min(id) from videos").fetchone()[0]

    store.database.execute("delete from videos where id = ?", (ticket_video,))

    assert [3] == store.tracks.rows().ids.tolist()
    assert (0, 2) == store.tracks.cannot_link().shape
    assert [] == store.database.problems()


def test_the_next_track_after_one_is_found(store: Store) -> None:
    """Gaps are stepped over."""
    store.see(ANN)
    store.see(BOB)
    store.see(EVE)
    store.track()
    store.database.execute("delete from videos where id = 2")

    after_first = store.tracks.next_after(1, 128)

    assert after_first
    assert 3 == after_first[0]
    assert np.allclose(
        l2_normalised(EVE[None], DLIB_RULES.vector_length)[0], after_first[1], atol=1e-6
    )
    assert store.tracks.next_after(3, 128) is None
    ((ids, _),) = store.tracks.embeddings(1, 128)
    assert [3] == ids.tolist()


def test_a_changed_file_takes_its_tracks_with_it(store: Store) -> None:
    """Nothing found in it counts."""
    store.video(slices=2)
    first, second = store.slice_queue.claim(), store.slice_queue.claim()
    assert first
    assert second
    store.slice_queue.record(first, slice_faces(ANN), ENCODER, 5.0)
    store.slice_queue.lose(second, DIED, 1, 6.0)
    store.track()

    store.slice_queue.discard_changed(first, FileState.GONE, REMOVED, 7.0)

    assert [] == store.tracks.rows().ids.tolist()
    assert store.tracks.untracked() is None
