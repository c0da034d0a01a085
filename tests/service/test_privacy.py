"""What is private stays private: rights of files, what the log says, what an export holds."""

from __future__ import annotations

import base64
import csv
import io
import json
import stat
import zipfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import structlog

from portraitd.cli.export import export_person
from portraitd.model.errors import ConfigError
from portraitd.service import log_setup
from support.home import Home, connect
from support.media import as_jpeg


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("said") / "log"


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory,
    two_people: Path,
    photographs: list[Path],
    said: Path,
) -> Home:
    """A home with two people, one of them named; and everything that was logged on the way."""
    home = Home(tmp_path_factory.mktemp("home"))
    home.drop(two_people, "clip.mp4")
    home.drop(b"no media", "text.mp4")
    with said.open("w") as file:
        log_setup.configure(verbose=True, json=True)
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=file))
        with home.opened() as service:
            home.run_until_idle(service)
            service.database.execute("update people set name = 'Ann Archer' where id = 1")
            home.drop(photographs[0], "photo.jpg")
            for folder in ("Ada Archer", "_who"):
                (home.people / folder).mkdir()
                picture = home.people / folder / "Ada Archer.jpg"
                picture.write_bytes(as_jpeg(photographs[1]))
            home.run_until_idle(service)
            picture.unlink()
            (home.people / "Ada Archer/Ada Archer.jpg").unlink()
            for _ in range(3):
                service.review.wake()
                home.run_until_idle(service)
    structlog.reset_defaults()
    return home


def faces(home: Home) -> list[tuple[bytes, bytes]]:
    with closing(connect(home.settings.state_dir)) as db:
        return [
            (row["embedding"], row["jpeg"])
            for row in db.execute("select * from faces join portraits on face_id = id")
        ]


def test_the_state_is_for_its_owner_alone(home: Home) -> None:
    """Every file and folder in it, whatever the umask."""
    state = home.settings.state_dir
    wide = [
        path.name
        for path in [state, *state.rglob("*")]
        if stat.S_IMODE(path.stat().st_mode) & 0o077
    ]

    assert [] == wide
    assert {"tracks.f32", "portraitd.sqlite3"} <= {path.name for path in state.iterdir()}


def test_the_tree_is_for_a_group(home: Home) -> None:
    """Those who review may write; nobody else may read."""
    for path in home.people.rglob("*"):
        assert (0o2770 if path.is_dir() else 0o660) == stat.S_IMODE(path.stat().st_mode), path


def test_no_line_of_the_log_holds_a_face(home: Home, said: Path) -> None:
    """Neither a vector or a picture, in any form that programs write, nor a person's name."""
    text = said.read_text()
    for vector, jpeg in faces(home):
        numbers = np.frombuffer(vector, "<f4")
        for form in (
            str(float(numbers[0]))[:8],
            f"{numbers[5]:.6f}",
            vector[:12].hex(),
            jpeg[-40:-20].hex(),
            base64.b64encode(vector[:30]).decode(),
            base64.b64encode(jpeg[300:330]).decode(),
        ):
            assert form not in text
    assert "Archer" not in text
    assert {
        "file_encoding", "video_done", "people_published", "reference_found", "reference_gone",
        "picture_answered",
    } <= {json.loads(line)["event"] for line in text.splitlines()}  # fmt: skip


def test_an_export_holds_everything_of_one_person_and_nothing_of_another(
    home: Home, tmp_path: Path
) -> None:
    """Portraits, where each was seen, and the vectors; for its owner alone."""
    target = tmp_path / "ann.zip"
    count = export_person(home.settings, "ann archer", target, 86_400.0)
    with closing(connect(home.settings.state_dir)) as db:
        hers = db.execute(
            "select faces.id, embedding, jpeg from faces join portraits on face_id = faces.id "
            "where person_id = 1 order by faces.id"
        ).fetchall()
    with zipfile.ZipFile(target) as archive:
        listed = json.loads(archive.read("faces.json"))
        rows = list(csv.DictReader(io.StringIO(archive.read("faces.csv").decode())))
        pictures = {name: archive.read(name) for name in archive.namelist() if ".jpg" in name}
        about = archive.read("README.txt").decode()

    assert count == len(hers) == len(rows) == len(listed)
    assert {row["jpeg"] for row in hers} == set(pictures.values())
    by_id = {row["face"]: row for row in listed}
    for row in hers:
        assert np.array_equal(
            np.frombuffer(row["embedding"], "<f4"), np.float32(by_id[row["id"]]["embedding"])
        )
    assert {row["portrait"] for row in rows} == pictures.keys()
    assert {"clip.mp4", "photo.jpg"} == {row["source"] for row in rows}
    assert "Ann Archer, as of 1970-01-02" in about
    assert 0o600 == stat.S_IMODE(target.stat().st_mode)
    assert ["ann.zip"] == [path.name for path in tmp_path.iterdir()]
    with pytest.raises(ConfigError, match="exists already"):
        export_person(home.settings, "1", target, 86_400.0)
