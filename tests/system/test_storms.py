"""Signals and kills at random moments: a command ends as it should, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import kill_storm
from support.fuzz_runs import parametrize_runs
from support.signal_storm import SIGNALS, SignalStorm


@pytest.mark.slow
@parametrize_runs(4, many=300, timeout_s=7200)
def test_a_signal_ends_a_command_at_any_moment(
    tmp_path: Path, photographs: list[Path], count: int, seed: int
) -> None:
    """Within half a minute, with a code that says how, without a traceback or a worker left."""
    storm = SignalStorm(tmp_path, photographs, seed)
    wrong = []
    for turn in range(count):
        command = ("watch", "run", "process")[turn % 3]
        ending = storm.send(command, SIGNALS[turn // 3 % 3])
        if not ending.is_right or not storm.is_sound():
            wrong.append(ending)

    assert [] == wrong


@pytest.mark.slow
@parametrize_runs(3, many=50, timeout_s=3600)
def test_kills_at_any_moment_lose_and_count_nothing(
    tmp_path: Path, two_people: Path, photographs: list[Path], count: int, seed: int
) -> None:
    """The service, or all its processes; in the end it is as on a quiet day."""
    outcome = kill_storm.run(tmp_path, [two_people, *photographs], count, seed)

    assert [] == outcome.failures
    assert {"done": 3} == outcome.states
    assert {1} == outcome.attempts
    assert outcome.quiet.faces == outcome.found.faces
    assert outcome.quiet.people == outcome.found.people
    assert outcome.quiet.folders == outcome.found.folders
