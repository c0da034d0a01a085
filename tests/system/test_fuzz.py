"""Damaged at random: a video or photo is done, or it failed and says why. Nothing else happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import fuzzing


@pytest.mark.parametrize(
    ("count", "seed"),
    [
        (24, 1),
        pytest.param(500, 2, marks=[pytest.mark.slow, pytest.mark.timeout(3600)], id="many"),
    ],
)
def test_mutants_come_to_an_accepted_end(tmp_path: Path, count: int, seed: int) -> None:
    """Good files between them are done; a worker that died is named with its own file."""
    clips, mutants = tmp_path / "clips", tmp_path / "mutants"
    clips.mkdir()
    mutants.mkdir()
    fuzzing.write_mutants(fuzzing.good_clips(clips), mutants, count, seed)

    outcome = fuzzing.run(mutants, tmp_path / "home", limit_s=10.0 * count + 100.0)

    assert {} == outcome.unaccepted
    assert len(list(mutants.iterdir())) == outcome.states.total()
    assert [] == [name for name in outcome.deaths if name.startswith(fuzzing.CONTROL)]


def test_mutants_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    """What was found can be found again."""
    clips = tmp_path / "clips"
    clips.mkdir()
    good = fuzzing.good_clips(clips)
    contents = []
    for name in ("once", "again"):
        folder = tmp_path / name
        folder.mkdir()
        fuzzing.write_mutants(good, folder, 10, 3)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})

    assert contents[0] == contents[1]
