"""A copy that was broken off, and later the whole file: nothing is found twice, nothing is lost."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

import pytest

from portraitd.media.video import probe
from portraitd.store.dataset_store import ClassRegistration
from support.dataset_home import build_set, opened_sets, with_dataset
from support.home import Home, assert_sound, connect, person_folders
from support.media import source_of, with_index_first


@pytest.fixture(scope="module")
def whole(two_people: Path) -> bytes:
    """Twenty seconds, with the index in front: its beginning can be played."""
    return with_index_first(two_people.read_bytes())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def faces(home: Home) -> list[tuple[float, int, int]]:
    """When and where a face was seen."""
    return sorted((row["t_s"], row["box_left"], row["box_top"]) for row in home.rows("faces"))


def sides(home: Home) -> dict[str, str]:
    """Which side of training sets everything lies on, by key."""
    with closing(connect(home.settings.state_dir)) as database:
        return {row["key"]: row["split"] for row in database.execute("select * from splits")}


def beginning(whole: bytes) -> bytes:
    return whole[: len(whole) * 6 // 10]


@pytest.fixture
def undisturbed(tmp_path: Path, whole: bytes) -> Home:
    """What comes of the whole file alone."""
    home = Home(tmp_path / "undisturbed")
    home.drop(whole, "clip.mp4")
    home.run()
    return home


@pytest.mark.parametrize("name", ["clip.mp4", "again.mp4"])
def test_the_whole_takes_the_place_of_its_beginning(
    home: Home, undisturbed: Home, whole: bytes, name: str
) -> None:
    """Under the same name or another: one video, and the faces that it has anyway."""
    home.drop(beginning(whole), "clip.mp4")
    home.run()
    early = home.rows("faces")
    assert "could be decoded" in home.reasons()["clip.mp4"]

    home.drop(whole, name)
    home.run()

    assert "done" == home.states()[name]
    assert ["done"] == [row["state"] for row in home.rows("videos")]
    assert faces(undisturbed) == faces(home)
    # What was found first is still there, with the people it was given to.
    assert {row["id"] for row in early} <= {row["id"] for row in home.rows("faces")}
    assert_sound(home.settings)
    if name != "clip.mp4":
        assert f"partial copy of {name}" == home.reasons()["clip.mp4"]


def test_what_was_decided_on_a_beginning_holds_for_its_whole(home: Home, whole: bytes) -> None:
    """Also when all of it is looked at again: its faces are known by the copy they were seen in."""
    home.drop(beginning(whole), "clip.mp4")
    home.run()
    portrait, *_ = sorted(person_folders(home.people)[0].glob("[0-9]*.jpg"))
    portrait.unlink()
    home.run()
    excluded = [row["t_s"] for row in home.rows("faces") if row["hidden"]]
    assert excluded

    home.drop(whole, "clip.mp4")
    home.run()
    with home.opened() as service:
        assert (1, 0) == service.reprocessing.begin(home.now.wall_s)
        home.run_until_idle(service)

    found = home.rows("faces")
    assert set(excluded) <= {row["t_s"] for row in found if row["hidden"]}
    assert len(found) > len(excluded)
    assert_sound(home.settings)


def test_what_was_held_back_of_a_beginning_is_held_back_of_its_whole(
    home: Home, whole: bytes
) -> None:
    """A model that was trained in between has seen what was train."""
    home = with_dataset(home, people="all")
    home.drop(beginning(whole), "clip.mp4")
    home.run()
    build_set(home)
    known, then = (hashlib.sha256(data).hexdigest() for data in (beginning(whole), whole))
    with opened_sets(home) as store:
        # As of somebody who is in no other video.
        store.register(ClassRegistration((), (), {f"track {known[:12]}-t00001000-1": "val"}), 1.0)
        store.move_recording(known, "test", 1.0)
    before = sides(home)
    assert any(known in key for key in before)

    home.drop(whole, "clip.mp4")
    home.run()
    build_set(home)

    after = sides(home)
    for key, side in before.items():
        assert side == after[key.replace(known, then).replace(known[:12], then[:12])]
    with opened_sets(home) as store:
        moved = store.moved_splits()
    assert "test" == moved[f"video {then}"]


def test_a_whole_that_comes_while_its_beginning_is_rebuilt_loses_nothing(
    home: Home, undisturbed: Home, whole: bytes
) -> None:
    """It is a video of its own then: the rebuild would put the beginning's faces in its place."""
    home.drop(beginning(whole), "clip.mp4")
    home.run()
    with home.opened() as service:
        home.drop(whole, "whole.mp4")
        # At the next turn it has stood still for long enough.
        home.tick(service)
        home.tick(service)
        service.reprocessing.begin(home.now.wall_s)
        home.run_until_idle(service)

    videos = {row["content_size"]: row["id"] for row in home.rows("videos")}
    assert {len(beginning(whole)), len(whole)} == videos.keys()
    found = sorted(
        (row["t_s"], row["box_left"], row["box_top"])
        for row in home.rows("faces")
        if row["video_id"] == videos[len(whole)]
    )
    assert faces(undisturbed) == found
    assert_sound(home.settings)


def test_a_beginning_that_comes_after_its_whole_is_a_duplicate(home: Home, whole: bytes) -> None:
    """If it was seen before: then its content is known."""
    home.drop(beginning(whole), "clip.mp4")
    home.run()
    home.drop(whole, "clip.mp4")
    home.run()
    found = faces(home)

    home.drop(beginning(whole), "partial.mp4")
    home.run()

    assert ("duplicate", "partial copy of clip.mp4") == (
        home.states()["partial.mp4"],
        home.reasons()["partial.mp4"],
    )
    assert found == faces(home)


def test_a_whole_that_goes_away_leaves_its_beginning(home: Home, whole: bytes) -> None:
    """What was found there, and perhaps named by people, is not thrown away."""
    home.drop(beginning(whole), "clip.mp4")
    home.run()
    found, videos = faces(home), home.rows("videos")
    home.drop(whole, "clip.mp4")
    with home.opened() as service:
        while "encoding" not in home.states().values():
            service.admission.scan(home.now)
            home.steady_s += 1.0
            if arrival := service.slice_queue.claim_file(0.0):
                source = service.files.source(arrival.file)
                facts = probe(source, arrival.partial_copies)
                service.slice_queue.admit(arrival.file, facts, 5.0, 0.0)
        home.drop(b"something else\n" * 100, "clip.mp4")
        home.run_until_idle(service)

    assert found == faces(home)
    assert [(row["sha256"], "done") for row in videos] == [
        (row["sha256"], row["state"]) for row in home.rows("videos")
    ]
    assert "failed" == home.states()["clip.mp4"]


def test_a_known_beginning_is_proved_byte_by_byte(tmp_path: Path, nobody: Path) -> None:
    """The longest that fits; the same size alone is nothing."""
    data = nobody.read_bytes()
    first, second, other = (tmp_path / name for name in ("first.mp4", "second.mp4", "other.mp4"))
    marks = []
    for path, content in ((first, data[:5000]), (second, data[:7000]), (other, b"x" * 8000)):
        path.write_bytes(content)
        marks.append((len(content), hashlib.sha256(content).hexdigest()))

    facts = probe(source_of(nobody), marks)

    assert marks[1][1] == facts.extends
    assert "" == probe(source_of(nobody), marks[2:]).extends
    assert hashlib.sha256(data).hexdigest() == facts.sha256
