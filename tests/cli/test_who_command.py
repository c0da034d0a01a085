"""``portraitd who`` says who is in a picture, and stores nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.cli_runner import RunCommand, make_runner, stderr_of
from support.home import Home
from support.media import as_jpeg, write_pattern_clip
from support.reviews import ANN, copied

ENCODER = ("encoder.kind=dlib", "encoder.detector=hog", "detection.upsample=0")


@pytest.fixture
def who(
    two_found: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> RunCommand:
    """Ask about a picture in a home with two people; one has a name."""
    home = copied(two_found, tmp_path)
    (home.people / ANN).rename(home.people / "Ann")
    home.run()
    run = make_runner(monkeypatch, capsys, tmp_path)
    capsys.readouterr()
    options = [word for one in ENCODER for word in ("--set", one)]
    return lambda *words: run("who", *words, "--home", home.settings.home_dir, *options)


def test_a_known_person_is_named(who: RunCommand, photographs: list[Path], tmp_path: Path) -> None:
    """With a probability, on one line; or for programs."""
    picture = tmp_path / "unknown.jpg"
    picture.write_bytes(as_jpeg(photographs[0]))

    line = who(picture).stdout
    answer = json.loads(who(picture, "--json").stdout)

    assert line.startswith("Face 1: Ann 99 % ("), line
    (face,) = answer["faces"]
    assert ("Ann", 1) == (face["people"][0]["name"], face["people"][0]["person"])
    assert face["people"][0]["probability"] > 0.97
    assert 4 == len(face["box"])


def test_what_is_no_picture_is_refused(who: RunCommand, tmp_path: Path) -> None:
    """In one line; a video is not searched."""
    clip = write_pattern_clip(tmp_path / "clip.mp4", 10)
    refused = who(clip)
    missing = who(tmp_path / "nothing.jpg")

    assert 78 == refused.returncode
    assert "clip.mp4: a video; only a photo is accepted here" in stderr_of(refused)
    assert 74 == missing.returncode
    assert "nothing.jpg" in stderr_of(missing)
