"""Which files were seen where, and what became of each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.model.media_file import FileState, Stamp
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.store.database import Database
from portraitd.store.files import INBOX, display_path
from support.store import Store, slice_faces, video_facts

LATIN = Path(os.fsdecode(b"folder/caf\xe9 \xff.mp4"))

EMPTY = Reason.of(ReasonCode.EMPTY)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database.open(tmp_path))


def test_a_noted_file_comes_back_as_it_is(store: Store) -> None:
    """Path, stamp, state and reason."""
    stamp = Stamp(10, 1_700_000_000_123_456_789, 77)
    file_id = store.files.note(INBOX, Path("a/b.mp4"), stamp, FileState.WAITING, 5.0, EMPTY)

    known = store.files.get(file_id)

    assert (Path("a/b.mp4"), stamp, FileState.WAITING, EMPTY, 0, None) == (
        known.path, known.stamp, known.state, known.reason, known.attempts, known.video_id
    )  # fmt: skip
    assert {Path("a/b.mp4"): known} == store.files.below(INBOX)
    assert Path("/inbox/a/b.mp4") == store.files.place(known)


def test_a_file_that_is_not_there_is_a_key_error(store: Store) -> None:
    """No row, no file."""
    with pytest.raises(KeyError):
        store.files.get(1)


def test_a_name_that_is_not_utf8_survives(store: Store) -> None:
    """The very bytes come back, and can be shown."""
    file_id = store.files.note(INBOX, LATIN, Stamp(1, 2, 3), FileState.READY, 1.0)

    known = store.files.get(file_id)

    assert b"folder/caf\xe9 \xff.mp4" == os.fsencode(known.path)
    assert "folder/caf\\xe9 \\xff.mp4" == display_path(known.path)


@pytest.fixture(scope="module")
def lasting_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One for all examples of a law: to make it takes longer than to use it."""
    with Database.open(tmp_path_factory.mktemp("store")) as database:
        yield Store(database)


@given(
    path=st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name),
    size=st.integers(0, 2**63 - 1),
    mtime_ns=st.integers(-(2**62), 2**62),
    inode=st.integers(0, 2**64 - 1),
)
def test_every_path_and_stamp_survives(
    lasting_store: Store, path: bytes, size: int, mtime_ns: int, inode: int
) -> None:
    """Whatever a file system comes up with, 64-bit inodes included."""
    store = lasting_store
    store.database.execute("delete from files")
    given_path, stamp = Path(os.fsdecode(path)), Stamp(size, mtime_ns, inode)

    known = store.files.get(store.files.note(INBOX, given_path, stamp, FileState.READY, 1.0))

    assert (given_path, stamp) == (known.path, known.stamp)


def test_files_outside_of_the_inbox_have_their_root(store: Store) -> None:
    """``process`` may name the same path below another folder."""
    inside = store.files.note(INBOX, Path("a.mp4"), Stamp(1, 2, 3), FileState.READY, 1.0)
    outside = store.files.note(b"/videos", Path("a.mp4"), Stamp(1, 2, 3), FileState.READY, 1.0)

    assert inside != outside
    assert Path("/videos/a.mp4") == store.files.place(store.files.get(outside))


def test_the_oldest_ready_file_is_claimed_and_its_attempt_counted(store: Store) -> None:
    """Before anybody looks into it; then there is none left."""
    first = store.file("first.mp4", FileState.READY)
    second = store.file("second.mp4", FileState.READY)
    store.file("third.mp4", FileState.WAITING)

    claimed = [store.files.claim(2.0), store.files.claim(2.0), store.files.claim(2.0)]

    assert [first.id, second.id, None] == [file and file.id for file in claimed]
    assert (FileState.PROBING, 1) == (
        store.files.get(first.id).state,
        store.files.get(first.id).attempts,
    )


def test_a_released_file_was_not_attempted(store: Store) -> None:
    """The daemon stopped before its turn came."""
    file = store.file(state=FileState.READY)
    store.files.claim(2.0)

    store.files.release(file.id)

    assert (FileState.READY, 0) == (
        store.files.get(file.id).state,
        store.files.get(file.id).attempts,
    )


def test_a_file_noted_anew_while_it_was_out_is_not_released(store: Store) -> None:
    """Its new content has to stand still first."""
    file = store.file(state=FileState.READY)
    store.files.claim(2.0)
    store.files.note(INBOX, file.path, Stamp(99, 99, 99), FileState.WAITING, 3.0)

    store.files.release(file.id)

    assert (FileState.WAITING, 0) == (
        store.files.get(file.id).state,
        store.files.get(file.id).attempts,
    )


def test_a_restart_looks_again_into_what_was_being_looked_into(store: Store) -> None:
    """The attempt is not counted: the service may have been killed for any reason."""
    file = store.file(state=FileState.READY)
    store.files.claim(2.0)

    store.files.reclaim()

    found = store.files.get(file.id)
    assert (FileState.READY, 0, 1) == (found.state, found.attempts, found.interruptions)


def test_another_content_under_the_same_path_begins_anew(store: Store) -> None:
    """Same row, no video, no attempts."""
    file = store.video()
    other = Stamp(99, 99, 99)

    again = store.files.note(INBOX, file.path, other, FileState.WAITING, 9.0)

    known = store.files.get(again)
    assert file.id == again
    assert (other, 0, None) == (known.stamp, known.attempts, known.video_id)


def test_a_replaced_file_takes_its_unfinished_video_with_it(store: Store) -> None:
    """There is nothing left to read its other slices from."""
    file = store.video(slices=3)
    claimed = store.slice_queue.claim()
    assert claimed

    store.files.note(INBOX, file.path, Stamp(99, 99, 99), FileState.WAITING, 9.0)

    assert store.slice_queue.claim() is None
    assert not store.slice_queue.any_open()
    assert {} == store.slice_queue.counts()
    assert store.slice_queue.record(claimed, slice_faces(), "x", 9.0) is None


def test_a_replaced_file_leaves_a_video_that_has_another_name(store: Store) -> None:
    """The rest is read from the copy."""
    file = store.video(slices=2)
    copy = store.file("copy.mp4")
    store.slice_queue.admit(copy, video_facts(120.0, "sha of clip.mp4"), 60.0, 3.0)
    store.files.note(INBOX, file.path, Stamp(99, 99, 99), FileState.WAITING, 9.0)

    claimed = store.slice_queue.claim()

    assert claimed
    assert Path("/inbox/copy.mp4") == claimed.slice.source.path
    assert copy.stamp == claimed.slice.source.stamp


def test_a_replaced_file_leaves_a_video_that_is_done(store: Store) -> None:
    """What was found stays found."""
    file = store.video()
    claimed = store.slice_queue.claim()
    assert claimed
    store.slice_queue.record(claimed, slice_faces(), "x", 9.0)

    store.files.note(INBOX, file.path, Stamp(99, 99, 99), FileState.WAITING, 9.0)

    assert {"done": 1} == store.slice_queue.counts()


def test_only_files_without_a_video_are_retried_as_files(store: Store) -> None:
    """The others have slices to retry."""
    text = store.file("text.mp4")
    store.files.move_on(text.id, FileState.FAILED, 2.0, EMPTY)
    done = store.file("done.mp4", FileState.DONE)

    count = store.files.retry(5.0)

    assert 1 == count
    assert (FileState.READY, NO_REASON, 0) == (
        store.files.get(text.id).state,
        store.files.get(text.id).reason,
        store.files.get(text.id).attempts,
    )
    assert FileState.DONE is store.files.get(done.id).state


def test_files_are_counted_by_state(store: Store) -> None:
    """For ``status``."""
    store.file("a", FileState.DONE)
    store.file("b", FileState.DONE)
    store.file("c", FileState.FAILED)

    assert {"done": 2, "failed": 1} == store.files.counts()
    assert ["a", "b"] == [str(file.path) for file in store.files.in_state(FileState.DONE)]


@pytest.mark.parametrize(
    ("state", "is_open"),
    [
        (FileState.WAITING, False),
        (FileState.READY, True),
        (FileState.PROBING, True),
        (FileState.ENCODING, True),
        (FileState.DONE, False),
        (FileState.DUPLICATE, False),
        (FileState.FAILED, False),
        (FileState.GONE, False),
    ],
)
def test_a_file_is_open_until_it_is_settled(store: Store, state: FileState, is_open: bool) -> None:
    """What still has a way to go keeps the service from being idle."""
    store.file("a", state)

    assert is_open == store.files.any_open()
