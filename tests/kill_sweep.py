"""Kills a process at each system call that changes files; looks what the next start makes of it.

``python tests/kill_sweep.py FOLDER SCENARIO [EVERY [HOW]]`` prints a JSON line. One process loads
the libraries and looks at the media once; each attempt is a fork of it, with strace attached that
sends SIGKILL at the n-th call of one kind. Encoding is a pure job, so its answers are remembered
from attempt to attempt; everything that writes is done anew.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from homes import Dump, Home, assert_sound, connect, digest, dump
from portraitd import curator, jobs
from portraitd.demo import demo_photographs
from portraitd.errors import PortraitdError
from portraitd.executors import InlineExecutor
from portraitd.forgetter import REQUEST

# Before any fork: what OpenCV's threads wait for is not there afterwards.
from portraitd.opencv import cv2
from portraitd.people.note import ROOT_NOTE
from portraitd.requests import Request, Requests
from portraitd.store import StoreLock
from portraitd.store.backup import back_up, inspect, restore
from portraitd.store.database import FILE_NAME
from test_migrations import first_store

CALLS = (
    "openat", "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "rename", "renameat",
    "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "link", "linkat", "fchmod",
    "chmod",
)  # fmt: skip


KILL = "signal=SIGKILL"

ENDED_ITSELF = 3


class Remembering(Executor):
    """Encodes a content once, whatever it is called; every other job runs inline each time."""

    def __init__(self) -> None:
        self._inline = InlineExecutor()
        self._answers: dict[object, Future[Any]] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if fn is not jobs.encode:
            return self._inline.submit(fn, *args, **kwargs)
        piece = args[0]
        key = (piece.source.path.read_bytes(), piece.start_s, piece.stop_s)
        if key not in self._answers:
            self._answers[key] = self._inline.submit(fn, *args, **kwargs)
        return self._answers[key]


class Scenario(NamedTuple):
    """What is interrupted.

    Attributes:
        prepare: Makes the home that every attempt begins with a copy of.
        act: What is done in the copy, and killed.
        finish: What makes it whole again: the next start.
        check: What else must be true then; the home, and the undisturbed one.
    """

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    finish: Callable[[Path], None]
    check: Callable[[Path, Path], None]


EXECUTOR = Remembering()


def home_at(folder: Path) -> Home:
    home = Home(
        folder,
        inbox={"quiet_s": 0.0},
        grouping={"min_samples": 2, "settle_s": 0.0},
        # The photographs do not move: what is nearly the same is wanted here.
        dataset={"near_duplicate": 0.0},
    )
    home.steady_s = 1000.0
    return home


def work(folder: Path) -> None:
    """Until there is nothing left to do."""
    home = home_at(folder)
    with home.opened(executor=EXECUTOR) as service:
        home.run_until_idle(service)


def picture(number: int, scale: float = 0.6) -> bytes:
    image = cv2.imread(str(demo_photographs()[number]))
    assert image is not None
    done, data = cv2.imencode(".jpg", cv2.resize(image, None, fx=scale, fy=scale))
    assert done
    return data.tobytes()


def drop_first(folder: Path) -> None:
    home = home_at(folder)
    home.drop(picture(0), "a.jpg")
    home.drop(picture(0, 1.0), "b.jpg")
    home.drop(picture(1), "c.jpg")
    home.drop(b"no media " * 50, "text.mp4")


def worked_on(folder: Path) -> None:
    drop_first(folder)
    work(folder)
    people = Counter(row["person_id"] for row in home_at(folder).rows("faces"))
    assert {1: 2, None: 1} == people, people


def worked_on_and_more(folder: Path) -> None:
    """What is dropped next makes a second person, so that folders and montages change."""
    worked_on(folder)
    home_at(folder).drop(picture(1, 0.8), "d.jpg")
    home_at(folder).drop(picture(0), "again.jpg")


def forget_first(folder: Path) -> None:
    requests = Requests(folder / "state" / "requests")
    if not requests.waiting():
        requests.leave(Request(REQUEST, words=("person", "1")))
    work(folder)


def old_store(folder: Path) -> None:
    """The rows of today in the first schema."""
    worked_on(folder)
    state = folder / "state"
    old = folder / "old"
    old.mkdir()
    first_store(old, state)
    for path in state.glob("*"):
        path.unlink() if path.is_file() else shutil.rmtree(path)
    (old / FILE_NAME).rename(state / FILE_NAME)
    old.rmdir()
    # Trees did not say then whose they are.
    marker = folder / "people" / ROOT_NOTE
    facts = json.loads(marker.read_bytes())
    del facts["store"]
    marker.write_text(json.dumps(facts))


def copy_store(folder: Path) -> None:
    back_up(folder / "state", folder / "copy.sqlite3", 5.0)


def copy_and_work(folder: Path) -> None:
    copy_store(folder)
    work(folder)


def with_gestures(folder: Path) -> None:
    """Somebody was named, a portrait went away, and another became a person of its own."""
    worked_on(folder)
    people = folder / "people"
    (portrait,) = (people / "_unsorted").glob("[0-9]*.jpg")
    (people / "Bob").mkdir()
    portrait.rename(people / "Bob" / portrait.name)
    person = people / "person-0001"
    next(person.glob("[0-9]*.jpg")).unlink()
    person.rename(people / "Ann")


def same_ledger(folder: Path, calm: Path) -> None:
    """Every gesture counts once."""
    assert ledger_of(calm) == ledger_of(folder)
    assert {"exclude", "name", "split"} == {kind for kind, _ in ledger_of(folder)}


def ledger_of(folder: Path) -> list[tuple[str, str | None]]:
    with closing(connect(folder / "state")) as db:
        return [tuple(row) for row in db.execute("select kind, name from ledger order by 1, 2")]


def named(folder: Path) -> None:
    """Two people in photographs, with names, of whom there is no set yet."""
    home = home_at(folder)
    for number in (0, 1):
        for scale in (0.5, 0.6, 0.8, 1.0):
            home.drop(picture(number, scale), f"{number}-{scale}.jpg")
    work(folder)
    (home.people / "person-0001").rename(home.people / ANNABELLE)
    (home.people / "person-0002").rename(home.people / "Bob")
    work(folder)


def build_set(folder: Path) -> None:
    """After a look at the inbox: in a copy of a home files are others until they were read."""
    requests = Requests(folder / "state" / "requests")
    if not requests.waiting():
        work(folder)
        requests.leave(Request(curator.REQUEST))
    work(folder)
    for name in [path.stem for path in requests.folder.glob("*.answer")]:
        _, is_built = requests.answer_to(name) or ("", False)
        assert is_built


def same_set(folder: Path, calm: Path) -> None:
    """The same files with the same bytes, classes and sides; nothing unfinished."""
    first, second = set_of(calm), set_of(folder)
    assert first == second, sorted(set(first.items()) ^ set(second.items()))
    with closing(connect(folder / "state")) as db, closing(connect(calm / "state")) as other:
        for query in (
            "select class_id, person_id, name from class_holders order by id",
            "select key, split from splits order by key",
        ):
            rows = [[tuple(row) for row in one.execute(query)] for one in (db, other)]
            assert rows[0] == rows[1] != []


def set_of(folder: Path) -> dict[str, str]:
    return {
        os.fspath(path.relative_to(folder)): digest(path.read_bytes())
        for path in [*folder.glob("dataset/**/*"), *folder.glob("state/frames/**/*")]
        if path.is_file() and not path.name.startswith(".portraitd-dataset.")
    }


def with_copy(folder: Path) -> None:
    worked_on(folder)
    copy_store(folder)
    home_at(folder).drop(picture(1, 0.8), "d.jpg")
    work(folder)


def go_back(folder: Path) -> None:
    with StoreLock(folder / "state"):
        restore(folder / "state", folder / "copy.sqlite3", time.time())


def go_back_again(folder: Path) -> None:
    """There is a store at every moment, the old one or the new; and going back can be repeated."""
    inspect(folder / "state" / FILE_NAME)
    go_back(folder)
    work(folder)


def nothing_more(folder: Path, calm: Path) -> None:
    pass


def nobody_left(folder: Path, calm: Path) -> None:
    """No piece of an embedding of the forgotten, and no request that was answered twice."""
    with closing(connect(folder / "state")) as db:
        assert not db.execute("select 1 from forgettings where finished_at is null").fetchall()
    for path in folder.rglob("*"):
        if path.is_file() and "inbox" not in path.parts:
            data = path.read_bytes()
            assert not [secret for secret in SECRETS if secret in data], path
            assert ANNABELLE not in path.parts


def copy_is_sound(folder: Path, calm: Path) -> None:
    """Either there is none, or a whole one; nothing unfinished."""
    assert inspect(folder / "copy.sqlite3").counts == inspect(calm / "copy.sqlite3").counts


ANNABELLE = "Annabelle"

SECRETS: set[bytes] = {ANNABELLE.encode()}


def remember_secrets(folder: Path) -> None:
    """Everything there may be of somebody: a name, corrections, a training set, pages."""
    named(folder)
    next((folder / "people" / ANNABELLE).glob("[0-9]*.jpg")).unlink()
    build_set(folder)
    with closing(connect(folder / "state")) as db:
        for row in db.execute(
            "select embedding, jpeg, sha256 from faces join portraits on face_id = faces.id "
            "join videos on videos.id = video_id where person_id = 1 or hidden = 1"
        ):
            SECRETS.update((row["embedding"][100:130], row["jpeg"][-600:-570]))
            for path in (folder / "state" / "frames").glob(f"*/{row['sha256'][:12]}*/*"):
                SECRETS.add(path.read_bytes()[-300:-270])
    assert len(SECRETS) > 10
    for path in folder.rglob("montage.jpg"):
        if path.parent.name == ANNABELLE:
            SECRETS.add(path.read_bytes()[-600:-570])


SCENARIOS = {
    "ingest": Scenario(drop_first, work, work, nothing_more),
    "more": Scenario(worked_on_and_more, work, work, nothing_more),
    "review": Scenario(with_gestures, work, work, same_ledger),
    "dataset": Scenario(named, build_set, build_set, same_set),
    "migrate": Scenario(old_store, work, work, nothing_more),
    "forget": Scenario(remember_secrets, forget_first, forget_first, nobody_left),
    "backup": Scenario(worked_on, copy_store, copy_and_work, copy_is_sound),
    "restore": Scenario(with_copy, go_back, go_back_again, nothing_more),
}


class Attempt(NamedTuple):
    """One kind of call, and which of them."""

    call: str
    number: int


class Sweep:
    """One scenario, interrupted again and again.

    Args:
        folder: Where homes are made; best in memory.
        name: Which scenario.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._scenario = SCENARIOS[name]
        self._begin = folder / "begin"
        self._calm = folder / "calm"
        self.killed = 0

    def prepare(self) -> Counter[str]:
        """Do it once undisturbed. Returns how often each call is made."""
        self._scenario.prepare(self._begin)
        trace = self._folder / "trace"
        # Once without being watched, so that everything is loaded and remembered.
        for strace in ([], ["-o", str(trace), "-e", f"trace={','.join(CALLS)}"]):
            shutil.rmtree(self._calm, ignore_errors=True)
            copy_home(self._begin, self._calm)
            if not strace:
                in_child(lambda: self._scenario.act(self._calm), [])
                self._scenario.act(self._warm())
                shutil.rmtree(self._folder / "warm")
            else:
                assert 0 == in_child(lambda: self._scenario.act(self._calm), strace)
        self._scenario.finish(self._calm)
        found = re.findall(r"^(?:\d+\s+)?(\w+)\(", trace.read_text(), re.MULTILINE)
        return Counter(call for call in found if call in CALLS)

    def _warm(self) -> Path:
        copy_home(self._begin, self._folder / "warm")
        return self._folder / "warm"

    def strike(self, attempt: Attempt, how: str = KILL) -> str | None:
        """Strike at one point and start again. Returns what is wrong then; None if nothing is."""
        home = self._folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        copy_home(self._begin, home)
        kill = f"inject={attempt.call}:{how}:when={attempt.number}"
        killed = in_child(
            lambda: self._scenario.act(home),
            ["-o", os.devnull, "-e", f"trace={attempt.call}", "-e", kill],
        )
        # With an error of ours it says what is in the way, and is started again.
        if killed not in (0, ENDED_ITSELF, -signal.SIGKILL):
            return f"ended with {killed}"
        self.killed += killed == -signal.SIGKILL
        return in_child_said(lambda: self._look(home), self._folder / "said")

    def _look(self, home: Path) -> None:
        self._scenario.finish(home)
        assert_sound(home_at(home).settings)
        first, second = comparable(home), comparable(self._calm)
        assert second == first, f"not as undisturbed: {differing(second, first)}"
        self._scenario.check(home, self._calm)
        # Once more changes nothing at all.
        before = listing(home)
        work(home)
        assert before == listing(home), differing_files(before, listing(home))


def copy_home(source: Path, target: Path) -> None:
    """With other inodes, as they are different files; but with the same times."""
    shutil.copytree(source, target)


def comparable(folder: Path) -> Dump:
    """Without the folders' names; which face found its number first does not matter."""
    return dump(home_at(folder).settings)


def differing(one: Dump, other: Dump) -> str:
    fields = [name for name in Dump._fields if getattr(one, name) != getattr(other, name)]
    return "; ".join(f"{f}: {getattr(one, f)} | {getattr(other, f)}"[:900] for f in fields)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file people see, or that the store consists of."""
    return {
        os.fspath(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and "people" in path.parts
    }


def differing_files(one: dict[str, Any], other: dict[str, Any]) -> str:
    return str(sorted(set(one.items()) ^ set(other.items())))[:500]


def in_child(act: Callable[[], None], strace: list[str]) -> int:
    """Fork, attach strace where it is wanted, act. Returns the exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        if strace:
            os.kill(os.getpid(), signal.SIGSTOP)
        end_with(act)
    if not strace:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.waitpid(child, os.WUNTRACED)
    watcher = subprocess.Popen(
        ["strace", "-f", "-qq", "-p", str(child), *strace],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    deadline_s = time.monotonic() + 20.0
    while f"TracerPid:\t{watcher.pid}" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < deadline_s, "strace did not attach"
        time.sleep(0.002)
    os.kill(child, signal.SIGCONT)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert watcher.stderr
    watcher.stderr.close()
    watcher.wait()
    return code


def in_child_said(act: Callable[[], None], said: Path) -> str | None:
    """Fork and act. Returns what went wrong, in words."""
    said.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        end_with(act, said)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if code == 0 else said.read_text() if said.exists() else f"ended with {code}"


def end_with(act: Callable[[], None], said: Path | None = None) -> None:
    # What OpenCV and the service say is of no interest here.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if said:
        os.dup2(1, 2)
    try:
        act()
    except PortraitdError:
        if said:
            said.write_text(traceback.format_exc()[-2500:])
        os._exit(ENDED_ITSELF)
    except BaseException:
        if said:
            said.write_text(traceback.format_exc()[-2500:])
        else:
            traceback.print_exc()
        os._exit(1)
    os._exit(0)


def attempts(calls: Counter[str], every: int) -> Iterator[Attempt]:
    """The points to strike at: each, or each so many-th of a kind, always the first and last."""
    for call, count in sorted(calls.items()):
        # One more than was counted: the end itself.
        for number in range(1, count + 1):
            if (number - 1) % every == 0 or number == count:
                yield Attempt(call, number)


def sweep(folder: Path, name: str, every: int = 1, how: str = KILL) -> dict[str, Any]:
    """Strike at every point of a scenario. Returns the figures.

    Args:
        folder: Where homes are made.
        name: Of the scenario.
        every: Each so many-th call of a kind.
        how: ``signal=SIGKILL``, or ``error=EIO``: the call fails once. Then opening a file is
            left out: much else is opened.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began_s = time.monotonic()
    runner = Sweep(folder, name)
    calls = runner.prepare()
    failures: dict[str, str] = {}
    done = 0
    for attempt in attempts(calls, every):
        if how != KILL and attempt.call == "openat":
            continue
        done += 1
        wrong = runner.strike(attempt, how)
        if wrong:
            failures[f"{attempt.call}:{attempt.number}"] = wrong
    return {
        "scenario": name,
        "how": how,
        "calls": sum(calls.values()),
        "points": done,
        "killed": runner.killed,
        "failed": len(failures),
        "failures": failures,
        "seconds": round(time.monotonic() - began_s, 1),
    }


if __name__ == "__main__":
    every = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    print(json.dumps(sweep(Path(sys.argv[1]), sys.argv[2], every, *sys.argv[4:5])))
