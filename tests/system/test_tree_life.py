"""Nothing a human did in the tree is lost, whatever they do, and in whatever order."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.tree_simulation import Life


@pytest.mark.parametrize("seed", range(6))
def test_a_short_life_is_as_it_was_meant(tmp_path: Path, seed: int) -> None:
    """Some tens of deeds, with videos, restarts and publishes in between."""
    life = Life(tmp_path / "people", seed)
    life.video()
    life.settle()

    for _ in range(25):
        life.turn()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_thousand_deeds_are_as_they_were_meant(tmp_path: Path) -> None:
    """Every correction still true at the end, no name lost, nothing foreign touched."""
    life = Life(tmp_path / "people", 1000)
    life.video()
    life.settle()

    while sum(not deed.startswith(" ") for deed in life.deeds) < 1000:
        life.turn()
