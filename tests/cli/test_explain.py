"""``portraitd explain`` says what happened to a file, and what is next."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import pytest

from portraitd.cli.explain import explain
from portraitd.ingest.mounts import MARKER
from portraitd.model.media_file import FileState, Stamp
from portraitd.store.files import INBOX
from support.home import Home
from support.pictures import bricks, mirrored

IGNORED = "ignored: ignored because of its name (hidden, temporary or system file)"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", inbox={"unfinished_s": 600.0, "quiet_remote_s": 5.0})


def said(home: Home, path: Path | str) -> dict[str, str]:
    """What is said, by its first word; the first line is the path."""
    lines = list(explain(home.settings, Path(path)).lines())[1:]
    return {
        line.partition(" ")[0]: line.partition(" ")[2].strip() for line in lines if line[0] != " "
    }


def steps(home: Home, path: Path | str) -> list[str]:
    """The states of the history."""
    return [step.state for step in explain(home.settings, Path(path)).history]


def test_a_file_is_explained_from_drop_to_done(home: Home, nobody: Path) -> None:
    """State, reason, what is next, and how it came there."""
    with home.opened() as service:
        home.tick(service)
        place = home.drop(nobody, "clip.mp4")
        assert "unknown: not scanned yet" == said(home, place)["state"]
        home.tick(service)
        assert "waiting: waiting until the file stops changing" == said(home, place)["state"]
        assert "processed once unchanged for 2 s" == said(home, place)["next"]
        home.run_until_idle(service)
        found = said(home, place)

    assert "done" == found["state"]
    assert "video, 6.0 s, 64x48, 1 of 1 slice done, 0 faces" in found["content"]
    assert "nothing; the file is processed again if it changes" == found["next"]
    assert ["waiting", "ready", "probing", "encoding", "done"] == steps(home, place)
    place.write_bytes(b"another")
    assert said(home, place)["next"].startswith("the file has changed")


def test_a_file_that_is_not_whole_says_what_is_missing(home: Home, nobody: Path) -> None:
    """And for how long it is waited for."""
    home.drop(nobody.read_bytes()[:-10], "clip.mp4")
    with home.opened() as service:
        for _ in range(5):
            home.tick(service)

    found = said(home, "clip.mp4")

    assert found["state"].startswith("waiting: incomplete: ")
    assert found["next"].endswith("as it is once unchanged for 600 s")


@pytest.mark.parametrize(
    ("name", "content", "state"),
    [
        ("text.mp4", b"hello\n" * 100, "failed: a text file, not a video or photo"),
        (".hidden.mp4", b"x", IGNORED),
        ("clip.mp4.part", b"x", IGNORED),
    ],
)
def test_what_is_not_processed_says_why(home: Home, name: str, content: bytes, state: str) -> None:
    """In the words of the log."""
    place = home.drop(content, name)
    home.run()

    assert state == said(home, place)["state"]


def test_a_duplicate_says_of_what(home: Home, nobody: Path) -> None:
    """By name."""
    home.drop(nobody, "a.mp4")
    home.drop(nobody, "b.mp4")
    home.run()

    assert "duplicate: same content as a.mp4" == said(home, "b.mp4")["state"]


def test_a_path_elsewhere_is_explained_too(home: Home, tmp_path: Path, nobody: Path) -> None:
    """The user may look in the wrong place."""
    assert "not in the inbox" in said(home, nobody)["state"]
    assert "no such file" in said(home, tmp_path / "none.mp4")["state"]
    with home.opened() as service:
        service.admission.leave_inbox()
        service.admission.register([nobody], 0.0)
        assert "ready" == said(home, nobody)["state"]


def test_an_inbox_without_its_marker_is_the_reason(home: Home, nobody: Path) -> None:
    """Nothing else that is said would help."""
    home.drop(nobody, "clip.mp4")
    home.run()
    (home.inbox / MARKER).unlink()

    assert "the share is probably not mounted" in said(home, "clip.mp4")["but"]


def test_a_name_that_is_not_text_is_explained(home: Home, nobody: Path) -> None:
    """As it is printed everywhere else."""
    place = home.drop(nobody, os.fsdecode(b"\xff.mp4"))

    assert "\\xff.mp4" in explain(home.settings, place).path


def test_the_history_of_a_file_is_bounded(home: Home) -> None:
    """A file that is written again and again fills no disk."""
    home.drop(b"x", "clip.mp4")
    with home.opened() as service:
        for number in range(200):
            stamp = Stamp(number, number, 1)
            service.files.note(INBOX, Path("clip.mp4"), stamp, FileState.WAITING, number)

    assert 50 == len(steps(home, "clip.mp4"))


def test_an_explanation_is_json_for_scripts(home: Home, nobody: Path) -> None:
    """State, code and sentence, what is next, the content, and each step with its code."""
    place = home.drop(nobody, "a.mp4")
    home.drop(nobody, "b.mp4")
    home.drop(b"hello\n" * 100, "text.mp4")
    home.run()

    done, copy, text = (
        json.loads(json.dumps(explain(home.settings, Path(name)).as_json()))
        for name in ("a.mp4", "b.mp4", "text.mp4")
    )

    assert (str(place), "done", "", "") == (
        done["path"],
        done["state"],
        done["reason_code"],
        done["reason"],
    )
    assert ("video", 6.0, 1, 1, 0) == tuple(
        done["content"][key] for key in ("kind", "duration_s", "slices", "slices_done", "faces")
    )
    assert ("duplicate", "duplicate_of", "same content as a.mp4") == (
        copy["state"],
        copy["reason_code"],
        copy["reason"],
    )
    assert ("failed", "text_file", None) == (text["state"], text["reason_code"], text["content"])
    assert "`portraitd retry`" in text["next"]
    assert [
        ("waiting", "still_changing"),
        ("ready", ""),
        ("probing", ""),
        ("failed", "text_file"),
    ] == [(step["state"], step["reason_code"]) for step in text["history"]]
    assert {600} == {step["size"] for step in text["history"]}


def test_a_failed_attempt_is_explained(home: Home, nobody: Path) -> None:
    """While the slice waits for the next one."""
    home.drop(nobody, "clip.mp4")
    home.run()
    with home.opened() as service:
        service.database.execute("update files set state = 'encoding'")
        service.database.execute(
            "update slices set attempts = 2, reason = 'died', reason_code = 'worker_died'"
        )

    explanation = explain(home.settings, Path("clip.mp4"))

    assert "0 slices being processed, attempt 2 of 3; the last attempt failed: died" == (
        explanation.next
    )
    content = explanation.as_json()["content"]
    assert ("worker_died", "died") == (content["failure_code"], content["failure"])


def test_a_photo_that_is_cut_short_says_so(home: Home) -> None:
    """It is done all the same."""
    whole, other = (
        cv2.imencode(".jpg", image)[1].tobytes() for image in (bricks(), mirrored(bricks()))
    )
    with home.opened() as service:
        cut, good = home.drop(whole[:-2], "cut.jpg"), home.drop(other, "whole.jpg")
        home.run_until_idle(service)

    assert "done: the end of the photo is missing; the rest was read" == said(home, cut)["state"]
    assert "done" == said(home, good)["state"]


def test_it_says_from_which_size_on_faces_are_found(home: Home, nobody: Path) -> None:
    """It depends on the detector and on the size of the picture."""
    with home.opened() as service:
        place = home.drop(nobody, "clip.mp4")
        home.run_until_idle(service)
    explanation = explain(home.settings, place)

    assert "faces from 80 px on (detector hog)" == said(home, place)["search"]
    assert {"detector": "hog", "smallest_face_px": 80} == explanation.as_json()["search"]
    assert explain(home.settings, home.settings.inbox_dir / "none.mp4").as_json()["search"] is None
