"""Kills at random moments while media are processed; afterwards nothing is lost or counted twice.

``cd tests && python -m support.kill_storm 50`` kills a service so many times.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from portraitd.config import load
from support.home import Dump, assert_sound, connect, dump
from support.processes import Daemon, children, is_alive, make_home, wait_until

KINDS = ("service", "service and workers", "workers and service")

LONGEST_S = 6.0
"""A service is killed so long after its start at the latest."""


class StormOutcome(NamedTuple):
    """What is there after the storm.

    Attributes:
        kills: How many there were, by kind.
        found: What the home holds.
        quiet: What a home holds in which nothing was killed.
        states: The states of the files, with their numbers.
        attempts: The numbers of attempts of the slices.
        failures: Events of the log that must not be there.
    """

    kills: dict[str, int]
    found: Dump
    quiet: Dump
    states: dict[str, int]
    attempts: set[int]
    failures: list[dict[str, object]]


def run(folder: Path, media: Sequence[Path], count: int, seed: int) -> StormOutcome:
    """Kill a service so many times while files are dropped, then let it finish.

    Args:
        folder: Where two homes are made.
        media: What is dropped, one file after the other.
        count: Number of kills.
        seed: Of the moments.
    """
    choice = random.Random(seed)
    quiet = make_home(folder / "quiet")
    for source in media:
        shutil.copyfile(source, quiet / "inbox" / source.name)
    _finish(quiet)
    home = make_home(folder / "home")
    config = home / "config.toml"
    # One attempt: whatever is counted against a file makes it fail.
    config.write_text(config.read_text().replace("[workers]\n", "[workers]\nattempts = 1\n"))
    waiting = list(media)
    kills: Counter[str] = Counter()
    failures: list[dict[str, object]] = []
    for turn in range(count):
        with Daemon(home) as daemon:
            if waiting and turn % max(1, count // (len(media) + 1)) == 0:
                source = waiting.pop(0)
                shutil.copyfile(source, home / "inbox" / source.name)
            with suppress(subprocess.TimeoutExpired):
                daemon.process.wait(choice.uniform(0.0, LONGEST_S))
            kind = choice.choice(KINDS)
            _kill(daemon.process.pid, kind)
            kills[kind] += 1
        failures += [
            line for line in daemon.log if line["event"] in ("file_failed", "slice_lost", "crashed")
        ]
    for source in waiting:
        shutil.copyfile(source, home / "inbox" / source.name)
    _finish(home)
    assert_sound(load(home))
    with closing(connect(home / "state")) as store:
        states = Counter(row["state"] for row in store.execute("select state from files"))
        attempts = {row["attempts"] for row in store.execute("select attempts from slices")}
    return StormOutcome(
        dict(kills), dump(load(home)), dump(load(quiet)), dict(states), attempts, failures
    )


def _kill(pid: int, kind: str) -> None:
    """Kill the service, all its processes, or its workers a moment before it."""
    family = children(pid)
    victims = {
        "service": [pid], "service and workers": [pid, *family],
        "workers and service": [*family, pid],
    }[kind]  # fmt: skip
    if kind == "workers and service":
        # Stopped, so that it cannot take their end for the fault of their jobs.
        os.kill(pid, signal.SIGSTOP)
    for victim in victims:
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, family)), "the workers have ended")


def _finish(home: Path) -> None:
    with Daemon(home, "--until-idle") as daemon:
        code = daemon.process.wait(240)
        assert code == 0, daemon.text


def main() -> None:
    """Print what came of so many kills."""
    from portraitd.cli.demo import demo_photographs, make_clip

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        photographs = demo_photographs()
        make_clip(photographs, folder / "clip.mp4")
        make_clip(photographs[::-1], folder / "back.mp4")
        make_clip(photographs[:1], folder / "one.mp4")
        media = [folder / "clip.mp4", *photographs, folder / "back.mp4", folder / "one.mp4"]
        outcome = run(folder, media, asked.count, asked.seed)
    print("kills", outcome.kills)
    print("files", outcome.states, "attempts of slices", outcome.attempts)
    print("failures", outcome.failures)
    print("faces", len(outcome.found.faces), "people", sorted(map(len, outcome.found.people)))
    print("as on a quiet day", outcome.found.faces == outcome.quiet.faces,
          outcome.found.people == outcome.quiet.people,
          outcome.found.folders == outcome.quiet.folders)  # fmt: skip


if __name__ == "__main__":
    main()
