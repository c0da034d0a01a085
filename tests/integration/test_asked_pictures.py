"""A picture in people/_who is answered by a text beside it, and is never stored."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from portraitd.ingest import media_jobs
from portraitd.store.erasure.eraser import Eraser
from support.executors import CachingExecutor
from support.home import Home
from support.media import as_jpeg, without_face
from support.reviews import ANN, BOB, copied

WHO = "_who"


@pytest.fixture
def home(two_found: Home, tmp_path: Path) -> Home:
    """Two people of a clip, one of whom has a name; to be changed."""
    home = copied(two_found, tmp_path)
    (home.people / ANN).rename(home.people / "Ann")
    home.run()
    (home.people / WHO).mkdir()
    return home


def ask(home: Home, name: str, picture: bytes) -> Path:
    path = home.people / WHO / name
    path.write_bytes(picture)
    return path


def answers(home: Home) -> dict[str, str]:
    """What the texts say, without their last line."""
    return {
        path.name: path.read_text().split("\n\n")[1] for path in (home.people / WHO).glob("*.txt")
    }


def test_a_picture_is_answered_beside_it(home: Home, photographs: list[Path]) -> None:
    """With the name, or the number; and with what is wrong."""
    before = len(home.rows("faces")), len(home.rows("files")), len(home.rows("ledger"))
    pictures = {
        "a.jpg": as_jpeg(photographs[0]),
        "b.PNG": as_jpeg(photographs[1]),
        "c.jpeg": without_face(),
        "d.jpg": b"no picture at all" * 50,
    }
    paths = [ask(home, name, picture) for name, picture in pictures.items()]
    home.run()

    said = answers(home)
    assert said["a.jpg.txt"].startswith("Face 1: Ann 99 %")
    assert said["b.PNG.txt"].startswith(f"Face 1: {BOB} 99 %")
    assert "No face was found." == said["c.jpeg.txt"]
    assert said["d.jpg.txt"].startswith("This picture cannot be read: ")
    assert list(pictures.values()) == [path.read_bytes() for path in paths]
    assert before == (len(home.rows("faces")), len(home.rows("files")), len(home.rows("ledger")))


class EncodingCounter(CachingExecutor):
    """Counts how often a picture is read."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[str] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if fn is media_jobs.encode_picture:
            self.pictures.append(args[0].path.name)
        return super().submit(fn, *args, **kwargs)


def test_a_picture_is_read_once(home: Home, photographs: list[Path]) -> None:
    """However many others are put beside it afterwards."""
    for name in ("a.jpg", "b.jpg"):
        ask(home, name, as_jpeg(photographs[0]))
    executor = EncodingCounter()
    with home.opened(executor=executor) as service:
        home.run_until_idle(service)

    assert ["a.jpg", "b.jpg"] == executor.pictures


def test_an_answer_follows_its_picture(home: Home, photographs: list[Path]) -> None:
    """It is replaced with it, removed with it, and given again when it was deleted."""
    picture = ask(home, "who.jpg", as_jpeg(photographs[0]))
    home.run()
    assert "Ann" in answers(home)["who.jpg.txt"]
    (home.people / WHO / "who.jpg.txt").unlink()
    home.run()
    assert "Ann" in answers(home)["who.jpg.txt"]

    ask(home, "who.jpg", as_jpeg(photographs[1]))
    home.run()
    assert BOB in answers(home)["who.jpg.txt"]
    note = home.people / WHO / "note.txt"
    note.write_text("mine\n\nmine")

    picture.unlink()
    home.run()
    assert {"note.txt": "mine"} == answers(home)

    shutil.rmtree(home.people / WHO)
    home.run()
    assert not (home.people / WHO).exists()


def test_an_answer_does_not_outlive_an_erasure(home: Home, photographs: list[Path]) -> None:
    """It names the person; the picture is the reviewer's, and is answered again."""
    ask(home, "who.jpg", as_jpeg(photographs[0]))
    home.run()
    with home.opened() as service:
        eraser = Eraser(service.database)
        eraser.erase(eraser.person("Ann"), home.now.wall_s)
        home.run_until_idle(service)

    assert answers(home)["who.jpg.txt"].startswith("Face 1: no known person (")


def test_a_file_of_a_reviewer_has_the_name_of_an_answer(
    home: Home, photographs: list[Path]
) -> None:
    """It stays, the answer is beside it, and the next pictures are answered, too."""
    for name in ("a.jpg", "b.jpg"):
        ask(home, name, as_jpeg(photographs[0]))
    (home.people / WHO / "a.jpg.txt").write_text("mine\n\nmine")
    home.run()

    said = answers(home)
    assert "mine" == said.pop("a.jpg.txt")
    assert {"a.jpg (portraitd).txt", "b.jpg.txt"} == said.keys()

    (home.people / WHO / "a.jpg").unlink()
    home.run()
    assert {"a.jpg.txt", "b.jpg.txt"} == answers(home).keys()


@pytest.mark.parametrize(
    "name", [b"n" * 251 + b".jpg", b"\xff\xfe.jpg", "\u202e\U0001f600\n.jpg".encode()]
)
def test_a_picture_may_have_any_name(home: Home, name: bytes) -> None:
    """Also bytes that are no text, and as many as a name may have."""
    ask(home, os.fsdecode(name), b"no picture at all" * 50)
    home.run()

    assert {} == home.blocked_stages()
    (text,) = answers(home).values()
    assert text.startswith("This picture cannot be read: ")
