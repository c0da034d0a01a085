"""The faces that were found, as they come back."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from portraitd.model.face import Box
from portraitd.model.media_file import FileState, Stamp
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.store.database import Database
from portraitd.store.files import INBOX
from support.store import ENCODER, Store, embedding, slice_faces, video_facts


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database.open(tmp_path))


@settings(max_examples=30)
@given(
    st_numpy.arrays(np.float32, (3, 128), elements=st.floats(width=32, allow_nan=True)),
)
def test_embeddings_survive_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, vectors: np.ndarray
) -> None:
    """Not a digit is lost, whatever the vector."""
    store = Store(Database.open(tmp_path_factory.mktemp("store")))
    store.see(*vectors)

    (block,) = store.faces.embeddings()

    assert np.float32 == block.dtype
    assert vectors.tobytes() == block.tobytes()
    store.database.close()


def test_embeddings_are_stored_as_little_endian_floats(store: Store) -> None:
    """So that any program on any machine can read them: 128 times four bytes."""
    vector = embedding(1)
    store.see(vector.astype(">f4"))

    (row,) = store.database.execute("select embedding from faces").fetchall()

    assert vector.astype("<f4").tobytes() == row["embedding"]
    assert 512 == len(row["embedding"])


def test_embeddings_come_in_the_order_of_ids(store: Store) -> None:
    """In blocks of some thousands; together they are all."""
    vectors = np.stack([embedding(seed) for seed in range(5000)])
    ids = store.see(*vectors)

    blocks = list(store.faces.embeddings())

    assert len(blocks) > 1
    assert vectors.tobytes() == np.concatenate(blocks).tobytes()
    assert ids == store.faces.ids().tolist()
    assert vectors[[7, 3]].tobytes() == store.faces.embeddings_of([ids[7], ids[3]]).tobytes()


def test_no_faces_are_no_rows(store: Store) -> None:
    """Empty, whatever their size would be."""
    assert [] == list(store.faces.embeddings())
    assert (0,) == store.faces.ids().shape
    assert (0,) == store.faces.persons().shape
    assert (0, 0) == store.faces.embeddings_of([]).shape
    assert [] == list(store.faces.listing())


def test_a_portrait_comes_back_as_it_was_cut(store: Store) -> None:
    """The bytes of the JPEG; a face that is not there has none."""
    (face_id,) = store.see(embedding(1))

    assert b"jpeg of 0.000000" == store.faces.portrait(face_id)
    with pytest.raises(KeyError):
        store.faces.portrait(face_id + 1)


def test_a_larger_sharper_more_frontal_face_is_better(store: Store) -> None:
    """Each of the three counts."""
    ids = store.see(*(embedding(seed) for seed in range(4)))
    changes = ["size_px = 200", "sharpness = 500", "frontal = 1.0"]
    for face_id, change in zip(ids[1:], changes, strict=True):
        store.database.execute(f"update faces set {change} where id = ?", (face_id,))

    plain, *better = store.faces.portrait_rank(ids).tolist()

    assert all(quality > plain for quality in better)


def test_the_listing_says_where_and_who(store: Store) -> None:
    """By video and time, with the name under which the content was read."""
    file = store.video("a/clip.mp4", sha256="same")
    copy = store.file("copy.mp4")
    store.slice_queue.admit(copy, video_facts(sha256="same"), 60.0, 3.0)
    claimed = store.slice_queue.claim()
    assert claimed
    store.slice_queue.record(claimed, slice_faces(embedding(1), embedding(2)), ENCODER, 4.0)
    store.group([0, -1])

    first, second = store.faces.listing()

    assert (file.path, "same", 0.0, Box(10, 20, 110, 130), 1.25, 1, None) == (
        first.source, first.sha256, first.t_s, first.box, first.score, first.person_id, first.name
    )  # fmt: skip
    assert (file.path, 1.0, None) == (second.source, second.t_s, second.person_id)


def test_the_listing_shows_the_part_of_a_face_inside_the_frame(store: Store) -> None:
    """A face at the edge is no larger than what is seen of it; what was found stays stored."""
    (face_id,) = store.see(embedding(1))
    store.database.execute("update faces set box_left = -40, box_bottom = 600")

    (face,) = store.faces.listing()

    assert (face_id, Box(0, 20, 110, 480)) == (face.id, face.box)
    (row,) = store.database.execute("select box_left, box_bottom from faces")
    assert (-40, 600) == tuple(row)


def test_the_listing_knows_names_that_are_not_utf8(store: Store) -> None:
    """The very bytes."""
    path = Path(os.fsdecode(b"caf\xe9.mp4"))
    file_id = store.files.note(INBOX, path, Stamp(1, 2, 3), FileState.PROBING, 1.0)
    store.slice_queue.admit(store.files.get(file_id), video_facts(), 60.0, 2.0)
    claimed = store.slice_queue.claim()
    assert claimed
    store.slice_queue.record(claimed, slice_faces(embedding(1)), ENCODER, 4.0)

    (face,) = store.faces.listing()

    assert b"caf\xe9.mp4" == os.fsencode(face.source)


def test_ids_of_faces_are_never_used_again(store: Store) -> None:
    """A portrait is named by its face's number: another face must not take it."""
    store.video()
    claimed = store.slice_queue.claim()
    assert claimed
    store.slice_queue.record(claimed, slice_faces(embedding(1), embedding(2)), ENCODER, 4.0)
    before = store.faces.ids().tolist()
    store.slice_queue.discard_changed(claimed, FileState.GONE, Reason.of(ReasonCode.REMOVED), 5.0)

    after = store.see(embedding(1), embedding(2))

    assert [1, 2] == before
    assert [3, 4] == after
