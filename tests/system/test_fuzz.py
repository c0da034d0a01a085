"""Damaged at random: a video or photo is done, or it failed and says why. Nothing else happens."""

from __future__ import annotations

from pathlib import Path

from support import fuzzing, parser_fuzzing
from support.fuzz_runs import parametrize_runs


@parametrize_runs(24, many=2000, timeout_s=14400)
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
    good = fuzzing.good_clips(clips, with_ffmpeg=False)
    contents = []
    for name in ("once", "again"):
        folder = tmp_path / name
        folder.mkdir()
        fuzzing.write_mutants(good, folder, 10, 3)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})

    assert contents[0] == contents[1]


@parametrize_runs(1500, many=100_000, timeout_s=3600)
def test_parsers_of_the_service_are_total(tmp_path: Path, count: int, seed: int) -> None:
    """Any bytes give a value, soon; these parsers run where an exception ends the service."""
    media = fuzzing.good_clips(tmp_path) if count > 10_000 else []

    outcome = parser_fuzzing.run(count, seed, parser_fuzzing.seeds(media))

    assert [] == outcome.failures
    assert [] == outcome.slow
    assert 11 * count == outcome.values.total()
    # Many of them follow the structure and do not stop at the first byte.
    for kind in ("bytes_missing", "index_missing", "no_pictures", "index_damaged"):
        assert outcome.values[f"why_unreadable: {kind}"]
    assert outcome.values["bytes-0: FolderManifest"]
    assert outcome.values["bytes-1: Mark"]
