"""Signals at random moments of a command: it ends soon, with a code that says how, and alone.

``cd tests && python -m support.signal_storm 100`` sends so many to each kind of command.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import support.interpreter  # noqa: F401 - the commands are not to ignore signals
from support.home import connect
from support.processes import children, environment, is_alive, make_home, portraitd, wait_until

ENDED_S = 30.0
"""A command ends so long after the signal at the latest."""

LENGTH_S = {"run": 5.0, "process": 5.0, "watch": 4.0}
"""How long each takes by itself, about: signals are sent until then."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

STOPPED = 130


class Ending(NamedTuple):
    """How a command ended after a signal.

    Attributes:
        command: Which it was.
        signal: Name of the signal.
        after_s: When it was sent.
        code: The exit code; None if the command was still running after ``ENDED_S``.
        text: What it printed on standard error.
        left: Number of its child processes that ran on.
    """

    command: str
    signal: str
    after_s: float
    code: int | None
    text: str
    left: int

    @property
    def is_right(self) -> bool:
        """Whether it is an ending that an operator, a shell or systemd understands."""
        number = signal.Signals[self.signal]
        # Before its handlers are installed, a command is ended by the signal itself.
        if number is signal.SIGINT and "Traceback" in self.text and "/portraitd/" not in self.text:
            # Python itself was starting.
            return self.code in (1, -number)
        right: set[int | None] = {-number, 0}
        if self.command != "run" or number is signal.SIGINT:
            right.add(STOPPED)
        return self.code in right and not self.left and "Traceback" not in self.text


class SignalStorm:
    """Homes in which commands are started and stopped.

    Args:
        folder: Where they are made.
        photographs: Two photographs.
        seed: Of the moments.
    """

    def __init__(self, folder: Path, photographs: Sequence[Path], seed: int) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self._photo = photographs[1]
        self._template = make_home(folder / "template")
        made = portraitd("process", "--home", self._template, photographs[0])
        assert 0 == made.returncode, made.stderr

    def send(self, command: str, number: signal.Signals) -> Ending:
        """Start a command in a new home, send it a signal at a random moment, and see it end."""
        home = self._folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self._template, home)
        shutil.copyfile(self._photo, home / "inbox" / "photo.jpg")
        arguments = {
            "run": ("run", "--until-idle"),
            "process": ("process", home / "inbox" / "photo.jpg"),
            "watch": ("dataset", "watch", "--every", "0.5"),
        }[command]
        after_s = self._random.uniform(0.0, LENGTH_S[command])
        log_path = self._folder / "log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "portraitd", *arguments, "--home", home],
                stdout=log,
                stderr=log,
                env=environment(),
            )
        family: set[int] = set()
        code: int | None = None
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(after_s)
            process.send_signal(number)
            family = children(process.pid)
            code = process.wait(ENDED_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()
            process.wait()
        left = _count_left(family)
        text = log_path.read_text(errors="replace")
        return Ending(command, number.name, after_s, code, text, left)

    def is_sound(self) -> bool:
        """Return whether the store of the last home is whole."""
        home = self._folder / "home"
        with closing(connect(home / "state")) as store:
            whole = [row[0] for row in store.execute("pragma integrity_check")]
        return whole == ["ok"]


def _count_left(family: set[int]) -> int:
    try:
        wait_until(lambda: not any(map(is_alive, family)), "its workers have ended", 10.0)
    except AssertionError:
        return sum(map(is_alive, family))
    return 0


def main() -> None:
    """Print how commands ended."""
    from portraitd.cli.demo import demo_photographs

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--commands", default="run,process,watch")
    asked = parser.parse_args()
    endings: Counter[tuple[str, str, int | None]] = Counter()
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        storm = SignalStorm(Path(scratch), demo_photographs(), asked.seed)
        for command in asked.commands.split(","):
            for turn in range(asked.count):
                number = SIGNALS[turn % 3]
                ending = storm.send(command, number)
                endings[ending.command, ending.signal, ending.code] += 1
                if not ending.is_right or not storm.is_sound():
                    wrong += 1
                    print(f"WRONG {ending._replace(text='')}\n{ending.text[-3000:]}", flush=True)
    for (command, name, code), count in sorted(endings.items(), key=str):
        print(f"{command:8} {name:8} {code!s:5} {count}")
    print(f"wrong {wrong}")


if __name__ == "__main__":
    main()
