"""What a database keeps of people and contents that were erased."""

from __future__ import annotations

from pathlib import Path

from portraitd.datasets.annotations import DatasetRule
from portraitd.datasets.backgrounds import plan_backgrounds
from portraitd.datasets.split_assignment import SplitAssignment
from portraitd.model.media_file import FileState
from portraitd.store.database import Database
from portraitd.store.dataset_store import DatasetStore
from portraitd.store.erasure.eraser import Eraser, ErasureScope
from portraitd.store.erasure.tombstones import Tombstones
from portraitd.store.faces import FaceWriter
from support.home import START_S
from support.store import ENCODER, Store, embedding, slice_faces, video_facts


def test_where_somebody_was_forgotten_is_no_background(tmp_path: Path) -> None:
    """No face is known there any more, and one is seen all the same."""
    store = Store(Database.open(tmp_path))
    faces = store.see(*(embedding(number) for number in range(8)))
    eraser = Eraser(store.database)
    eraser.erase(ErasureScope("person", tuple(faces)), START_S)

    sets = DatasetStore(store.database, store.files)
    rule = DatasetRule((), "named", "class", 0.2, 0.0, 1.0, 1.0)
    found = plan_backgrounds(sets, SplitAssignment([], {}, 0.2), set(), 100, rule)

    assert [12.5, 17.5] == sorted(frame.t_s for frame in found)[:2]
    store.database.close()


def test_a_copy_that_was_broken_off_is_forgotten_with_its_whole(tmp_path: Path) -> None:
    """Dropped again it is refused; and a face of it is known in the whole."""
    store = Store(Database.open(tmp_path))
    (face,) = store.see(embedding(1))
    store.see(embedding(2))
    eraser = Eraser(store.database)
    eraser.erase(ErasureScope("person", (face,)), START_S)
    store.database.execute(
        """
        insert into partial_copies (sha256, video_id, content_size, duration_s, fps, reason)
        values
            ('sha 0', 1, 10, 5.0, 25.0, ''), ('sha 1b', 2, 9, 5.0, 25.0, '')
        """
    )
    store.database.execute("update videos set sha256 = 'whole' where id = 1")
    again = slice_faces(embedding(1))
    job = store.database.execute("select id from slices where video_id = 1").fetchone()[0]
    FaceWriter(store.database, Tombstones(store.database)).add(1, job, again, ENCODER, 9.0)
    eraser.erase(ErasureScope("video", (), (2,)), START_S)

    assert [] == store.database.execute("select id from faces where video_id = 1").fetchall()
    assert FileState.FORGOTTEN is store.slice_queue.admit(
        store.file("again.mp4"), video_facts(60.0, "sha 1b"), 60.0, 9.0
    )
    store.database.close()


def test_a_moved_recording_leaves_no_trace(tmp_path: Path) -> None:
    """What the user moved to a split is stored by the hash of its content."""
    store = Store(Database.open(tmp_path))
    video = store.video()
    sets = DatasetStore(store.database, store.files)
    sets.move_recording(f"sha of {video.path}", "val", START_S)
    assert {"video sha of clip.mp4": "val"} == sets.moved_splits()

    eraser = Eraser(store.database)
    eraser.erase(eraser.video("clip.mp4"), START_S)

    assert {} == sets.moved_splits()
    assert [] == store.database.execute("select * from split_edits").fetchall()
