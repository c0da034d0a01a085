"""No edit is lost, whatever people do in the tree and in whatever order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.tree_simulation import TreeSimulation


@pytest.mark.parametrize("seed", range(6))
def test_a_few_edits_have_the_intended_effect(tmp_path: Path, seed: int) -> None:
    """Some dozens of actions, with videos, restarts and publishes in between."""
    simulation = TreeSimulation(tmp_path / "people", seed)
    simulation.video()
    simulation.settle()

    for _ in range(25):
        simulation.step()


@pytest.mark.parametrize("seed", range(4))
def test_edits_take_effect_while_much_is_missing(tmp_path: Path, seed: int) -> None:
    """Nothing that is missing is written before the answer, nor lost by it."""
    simulation = TreeSimulation(tmp_path / "people", 500 + seed)
    for _ in range(8):
        simulation.video()
    simulation.settle()

    for _ in range(2):
        simulation.lose_and_answer()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_edits_have_the_intended_effect(tmp_path: Path) -> None:
    """At the end every edit still holds, no name is lost, and no foreign file was touched."""
    edits = int(os.environ.get("PORTRAITD_EDITS", "400"))
    simulation = TreeSimulation(tmp_path / "people", 1000)
    simulation.video()
    simulation.settle()

    while sum(not action.startswith(" ") for action in simulation.actions) < edits:
        simulation.step()
        if simulation.random.random() < 0.02:
            simulation.lose_and_answer()
