"""A file with new tags is the recording that it was, wherever it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from portraitd.model.media_file import FileState, MediaFacts, Stamp
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.model.recording_time import RecordingTime
from portraitd.store.database import Database
from portraitd.store.erasure.eraser import Eraser
from portraitd.store.erasure.tombstones import Tombstones
from portraitd.store.files import INBOX, KnownFile
from portraitd.store.recordings import Recordings
from support.store import ENCODER, Store, embedding, photo_facts, slice_faces, video_facts

PICTURES = "f" * 64
MADE = RecordingTime(1.5e9, 120)
NOW_S = 1.7e9


def facts(sha256: str, **other: object) -> MediaFacts:
    return replace(video_facts(60.0, sha256), picture_hash=PICTURES, **other)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One recording, ``old.mp4``, with two faces."""
    store = Store(Database.open(tmp_path))
    file = store.file("old.mp4")
    store.slice_queue.admit(file, facts("first"), 60.0, 2.0)
    claimed = store.slice_queue.claim()
    assert claimed
    store.slice_queue.record(claimed, slice_faces(embedding(1), embedding(2)), ENCODER, 3.0)
    return store


def rewritten(store: Store, name: str, size: int = 77) -> KnownFile:
    """A file that was written to, as the scanner and the dispatcher leave it."""
    stamp = Stamp(size, size, size)
    for state in (FileState.WAITING, FileState.READY):
        store.files.note(INBOX, Path(name), stamp, state, 4.0)
    claimed = store.slice_queue.claim_file(5.0)
    assert claimed
    return claimed.file


def admit(
    store: Store,
    file: KnownFile,
    found: MediaFacts,
    is_there: Callable[[KnownFile], bool] = lambda known: True,
) -> FileState:
    return store.slice_queue.admit(file, found, 60.0, NOW_S, 0, is_there)


def nowhere(known: KnownFile) -> bool:
    return False


def states(store: Store) -> dict[str, tuple[FileState, ReasonCode, int | None]]:
    return {
        str(path): (known.state, known.reason.code, known.video_id)
        for path, known in store.files.below(INBOX).items()
    }


def videos(store: Store) -> list[tuple[int, str, str]]:
    rows = store.database.execute("select id, sha256, state from videos order by id")
    return [tuple(row) for row in rows.fetchall()]


def test_a_file_with_new_tags_is_the_recording_that_it_was(store: Store) -> None:
    """Its content is another one; the recording is still known by its first."""
    before = store.faces.ids().tolist()
    file = rewritten(store, "old.mp4")

    assert FileState.DONE is admit(store, file, facts("second"), nowhere)

    assert {"old.mp4": (FileState.DONE, ReasonCode.METADATA_CHANGED, 1)} == states(store)
    assert [(1, "first", "done")] == videos(store)
    assert "second" == store.files.get(file.id).content_sha256
    assert before == store.faces.ids().tolist()
    assert None is store.slice_queue.claim()


def test_and_so_it_is_after_many_more_tags(store: Store) -> None:
    """One recording, with the hash of its first content."""
    for number in range(5):
        file = rewritten(store, "old.mp4", 100 + number)
        assert FileState.DONE is admit(store, file, facts(f"content {number}"), nowhere)

    assert [(1, "first", "done")] == videos(store)


def test_a_file_that_was_only_touched_has_no_reason(store: Store) -> None:
    """Its stamp changed, and nothing in it: it is not a duplicate of itself."""
    assert FileState.DONE is admit(store, rewritten(store, "old.mp4"), facts("first"), nowhere)
    assert {"old.mp4": (FileState.DONE, ReasonCode.NONE, 1)} == states(store)


def test_a_file_moved_and_tagged_takes_the_place_of_the_one_that_is_gone(store: Store) -> None:
    """The reason names the file that it was."""
    assert FileState.DONE is admit(store, rewritten(store, "new.mp4"), facts("second"), nowhere)

    assert {
        "old.mp4": (FileState.GONE, ReasonCode.REMOVED, None),
        "new.mp4": (FileState.DONE, ReasonCode.METADATA_CHANGED, 1),
    } == states(store)
    assert "old.mp4" in store.files.of_video(1)[0].reason.text


def test_a_file_that_was_only_moved_takes_its_place_too(store: Store) -> None:
    """With another reason."""
    assert FileState.DONE is admit(store, rewritten(store, "new.mp4"), facts("first"), nowhere)

    assert (FileState.DONE, ReasonCode.RECORDING_MOVED, 1) == states(store)["new.mp4"]


def test_a_tagged_copy_is_a_duplicate_while_the_original_is_there(store: Store) -> None:
    """As an exact copy is; of the tagged file too."""
    assert FileState.DUPLICATE is admit(store, rewritten(store, "copy.mp4"), facts("second"))

    assert {
        "old.mp4": (FileState.DONE, ReasonCode.NONE, 1),
        "copy.mp4": (FileState.DUPLICATE, ReasonCode.SAME_PICTURES_AS, 1),
    } == states(store)
    exact = rewritten(store, "exact.mp4", 88)
    assert FileState.DUPLICATE is admit(store, exact, facts("second"))
    assert FileState.DUPLICATE is admit(store, rewritten(store, "third.mp4", 99), facts("first"))
    assert ReasonCode.DUPLICATE_OF is states(store)["third.mp4"][1]


def test_the_backup_of_a_tagging_program_does_not_become_the_file(store: Store) -> None:
    """Whichever is read first: ``old.mp4_original`` or the file itself."""
    backup, tagged = rewritten(store, "old.mp4_original", 7), rewritten(store, "old.mp4")

    admit(store, backup, facts("first"))
    admit(store, tagged, facts("second"))

    assert {
        "old.mp4": (FileState.DONE, ReasonCode.METADATA_CHANGED, 1),
        "old.mp4_original": (FileState.DUPLICATE, ReasonCode.SAME_PICTURES_AS, 1),
    } == states(store)


def test_a_tagged_duplicate_stays_one(store: Store) -> None:
    """The recording has its file."""
    admit(store, rewritten(store, "copy.mp4"), facts("first"))

    assert FileState.DUPLICATE is admit(store, rewritten(store, "copy.mp4", 78), facts("second"))
    assert FileState.DONE is states(store)["old.mp4"][0]


@pytest.mark.parametrize(
    "other",
    [
        replace(video_facts(60.0, "second"), picture_hash="0" * 64),
        replace(video_facts(60.0, "second"), picture_hash=""),
        replace(photo_facts("second"), picture_hash=PICTURES),
        replace(video_facts(120.0, "second"), picture_hash=PICTURES),
    ],
    ids=["other pictures", "no hash", "a photo", "half the speed"],
)
def test_anything_else_is_another_recording(store: Store, other: MediaFacts) -> None:
    """The packets of a slower video are the same; its times are not."""
    assert FileState.ENCODING is admit(store, rewritten(store, "old.mp4"), other, nowhere)
    assert 2 == len(videos(store))


def test_a_reason_of_its_own_stays(store: Store) -> None:
    """The history has both: that tags were written, and what was wrong with it before."""
    partly = Reason.of(ReasonCode.PARTLY_DECODED, decoded_s=1.0, duration_s=2.0)
    store.database.execute(
        "update videos set reason = ?, reason_code = ?", (partly.text, partly.code)
    )
    file = rewritten(store, "old.mp4")

    admit(store, file, facts("second"), nowhere)

    codes = store.database.execute(
        "select reason_code from file_steps where file_id = ? order by id", (file.id,)
    ).fetchall()
    assert ["metadata_changed", "partly_decoded"] == [row[0] for row in codes[-2:]]


def test_a_failed_video_in_another_container_is_tried_again(tmp_path: Path) -> None:
    """The slices that failed, from the new file."""
    store = Store(Database.open(tmp_path))
    store.slice_queue.admit(store.file("old.mp4"), facts("first"), 30.0, 2.0)
    claimed = store.slice_queue.claim()
    assert claimed
    failed = Reason.of(ReasonCode.NO_FRAME_DECODED, codec="")
    store.slice_queue.reject(claimed, failed, 3.0)

    state = admit(store, rewritten(store, "new.mkv"), facts("second"), nowhere)

    assert FileState.ENCODING is state
    assert [(1, "first", "queued")] == videos(store)
    again = store.slice_queue.claim()
    assert again
    assert ("second", "first") == (again.slice.sha256, again.recording_sha256)
    assert Path("/inbox/new.mkv") == again.slice.source.path


def test_a_failed_video_does_not_fail_another_file_with_its_pictures(tmp_path: Path) -> None:
    """Both are there, and the second may well be readable. An exact copy is not."""
    store = Store(Database.open(tmp_path))
    store.slice_queue.admit(store.file("old.mp4"), facts("first"), 60.0, 2.0)
    claimed = store.slice_queue.claim()
    assert claimed
    store.slice_queue.reject(claimed, Reason.of(ReasonCode.NO_FRAME_DECODED, codec=""), 3.0)

    assert FileState.ENCODING is admit(store, rewritten(store, "good.mp4"), facts("second"))
    assert FileState.FAILED is admit(store, rewritten(store, "copy.mp4", 78), facts("first"))
    assert [(1, "first", "failed"), (2, "second", "queued")] == videos(store)


def test_a_video_in_the_queue_keeps_its_file(tmp_path: Path) -> None:
    """Until it is done."""
    store = Store(Database.open(tmp_path))
    store.slice_queue.admit(store.file("old.mp4"), facts("first"), 60.0, 2.0)

    assert FileState.DUPLICATE is admit(store, rewritten(store, "new.mp4"), facts("second"))
    assert FileState.ENCODING is states(store)["old.mp4"][0]


def test_a_tagged_copy_keeps_a_video_whose_original_is_removed(tmp_path: Path) -> None:
    """As an exact copy does: the slices are read from it."""
    store = Store(Database.open(tmp_path))
    store.slice_queue.admit(store.file("old.mp4"), facts("first"), 60.0, 2.0)
    admit(store, rewritten(store, "copy.mp4"), facts("second"))

    store.files.note(INBOX, Path("old.mp4"), Stamp(1, 1, 1), FileState.WAITING, 6.0)

    claimed = store.slice_queue.claim()
    assert claimed
    assert Path("/inbox/copy.mp4") == claimed.slice.source.path


def recorded(store: Store) -> tuple[float | None, int | None]:
    row = store.database.execute("select recorded_at, recorded_offset_min from videos").fetchone()
    return row[0], row[1]


def test_a_date_is_stored_with_its_offset(tmp_path: Path) -> None:
    """In minutes."""
    store = Store(Database.open(tmp_path))
    store.slice_queue.admit(store.file(), facts("first", recorded=MADE), 60.0, NOW_S)

    assert (MADE.at_s, 120) == recorded(store)


@pytest.mark.parametrize("made", [RecordingTime(0.0, 0), RecordingTime(NOW_S + 1e6, None)])
def test_what_cannot_be_its_date_is_not_stored(tmp_path: Path, made: RecordingTime) -> None:
    """The zero of a clock, and the future."""
    store = Store(Database.open(tmp_path))
    store.slice_queue.admit(store.file(), facts("first", recorded=made), 60.0, NOW_S)

    assert (None, None) == recorded(store)


def test_new_tags_may_correct_a_date_and_never_take_it_away(store: Store) -> None:
    """The newest date that a file had stays."""
    local = RecordingTime(1.4e9, None)
    for number, made in enumerate((MADE, None, local, None)):
        file = rewritten(store, "old.mp4", 200 + number)
        admit(store, file, facts(f"content {number}", recorded=made), nowhere)
        assert (MADE if number < 2 else local) == RecordingTime(*recorded(store))  # type: ignore[arg-type]


def test_a_copy_does_not_change_the_date(store: Store) -> None:
    """Only the file of the recording does."""
    admit(store, rewritten(store, "copy.mp4"), facts("second", recorded=MADE))

    assert (None, None) == recorded(store)


def test_facts_of_an_earlier_version_are_filled_in(store: Store) -> None:
    """By the background stage, or by an exact copy; what is known stays."""
    recordings = Recordings(store.database, store.files)
    store.database.execute("update videos set picture_hash = ''")
    assert [1] == recordings.undescribed()

    recordings.fill(1, facts("first", recorded=MADE), NOW_S)
    recordings.fill(1, facts("first", recorded=RecordingTime(1.2e9, 0)), NOW_S)

    assert [] == recordings.undescribed()
    assert (MADE.at_s, 120) == recorded(store)
    assert FileState.DONE is admit(store, rewritten(store, "old.mp4"), facts("second"), nowhere)


def test_a_forgotten_recording_stays_forgotten_whatever_its_tags(store: Store) -> None:
    """With the first content, with the second, and with one that was never seen."""
    admit(store, rewritten(store, "old.mp4"), facts("second", recorded=MADE), nowhere)
    eraser = Eraser(store.database)

    eraser.erase(eraser.video("old.mp4"), NOW_S)

    for name, content in (("a.mp4", "first"), ("b.mp4", "second"), ("c.mp4", "third")):
        file = rewritten(store, name, len(states(store)))
        assert FileState.FORGOTTEN is admit(store, file, facts(content))
    assert [] == videos(store)
    held = store.database.execute("select distinct content_sha256 from files").fetchall()
    assert [""] == [row[0] for row in held]
    tombstones = Tombstones(store.database)
    assert [True, True, False] == [tombstones.has_content(one) for one in ("first", "second", "x")]


def test_faces_erased_from_it_stay_away_when_it_comes_again_with_tags(tmp_path: Path) -> None:
    """Where erased contents are taken again, but for their faces."""
    store = Store(Database.open(tmp_path))
    store.slice_queue = type(store.slice_queue)(store.database, store.files, False)
    eraser = Eraser(store.database)
    for content in ("first", "second"):
        file = rewritten(store, f"{content}.mp4", len(content))
        assert FileState.ENCODING is admit(store, file, facts(content))
        claimed = store.slice_queue.claim()
        assert claimed
        store.slice_queue.record(claimed, slice_faces(embedding(1)), ENCODER, 3.0)
        assert (1 if content == "first" else 0) == store.faces.count()
        eraser.erase(eraser.video(f"{content}.mp4"), NOW_S)
