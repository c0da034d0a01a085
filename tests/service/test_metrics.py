"""The metrics file, as the Prometheus node exporter reads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from portraitd.model.media_file import FileState
from portraitd.service.metrics import MetricsFile
from portraitd.service.status import read_status
from support.clock import at
from support.home import Home

LINE = re.compile(r'portraitd_[a-z_]+(\{[a-z]+="[^"\\\n]*"\})? [-+0-9.e]+')


@pytest.fixture
def home(tmp_path: Path, nobody: Path) -> Home:
    """A home in which a clip without a face was worked on."""
    home = Home(tmp_path / "home", metrics={"textfile": tmp_path / "portraitd.prom"})
    home.drop(nobody, "nobody.mp4")
    home.run()
    return home


def test_figures_have_the_form_that_the_exporter_reads(home: Home, tmp_path: Path) -> None:
    """Each name has a help and a type, base units at its end, and values that are numbers."""
    MetricsFile(home.settings, lambda now: read_status(home.settings).snapshot).write(at(0.0), 1.5)
    text = (tmp_path / "portraitd.prom").read_text()
    lines = text.splitlines()
    types = dict(line.split()[2:4] for line in lines if line.startswith("# TYPE"))
    helped = {line.split()[2] for line in lines if line.startswith("# HELP")}
    values = [line for line in lines if not line.startswith("#")]

    assert text.endswith("\n")
    assert [] == [line for line in values if not LINE.fullmatch(line)]
    assert helped == types.keys() == {re.split(r"[{ ]", line)[0] for line in values}
    for name, kind in types.items():
        assert (kind == "counter") == name.endswith("_total"), name
        assert not re.search(r"_(ms|mb|kb|minutes|percent|count)$", name), name
    assert 'portraitd_files{state="done"} 1.0' in values
    assert "portraitd_blocked_seconds 1.5" in values
    assert ["portraitd.prom"] == [path.name for path in tmp_path.glob("*.prom*")]


def test_figures_are_written_no_more_often_than_asked(home: Home, tmp_path: Path) -> None:
    """And they go with the service."""
    figures = MetricsFile(home.settings, lambda now: read_status(home.settings).snapshot)
    target = tmp_path / "portraitd.prom"
    figures.write(at(0.0), 0.0)
    target.unlink()
    figures.write(at(14.9), 0.0)
    assert not target.exists()
    figures.write(at(15.0), 0.0)
    assert target.exists()
    figures.remove()
    assert not target.exists()


def test_figures_that_cannot_be_written_stop_nothing(home: Home, tmp_path: Path) -> None:
    """The folder is missing: a line in the log, and the service goes on."""
    elsewhere = Home(tmp_path / "home", metrics={"textfile": tmp_path / "gone" / "p.prom"})
    MetricsFile(elsewhere.settings, lambda now: read_status(home.settings).snapshot).write(
        at(0.0), 0.0
    )

    assert not (tmp_path / "gone").exists()


def test_every_state_has_a_figure(home: Home, tmp_path: Path) -> None:
    """Also those in which there is nothing, so that no alert misses a series."""
    MetricsFile(home.settings, lambda now: read_status(home.settings).snapshot).write(at(0.0), 0.0)
    lines = (tmp_path / "portraitd.prom").read_text().splitlines()

    for state in FileState:
        assert f'portraitd_files{{state="{state}"}} {float(state == FileState.DONE)}' in lines
