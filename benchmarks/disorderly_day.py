"""A home, its daemon, and random events: files are dropped, folders edited, processes killed."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import cv2
from store_questions import QUESTIONS, WORK

from portraitd.cli.demo import demo_photographs
from portraitd.config import load
from portraitd.service.health import read_heartbeat
from portraitd.service.repair import faults

CONFIG = """\
[inbox]
quiet_s = 0.5
scan_s = 1.0
[sampling]
fps = 1.0
[encoder]
kind = "dlib"
detector = "hog"
[detection]
upsample = 0
[workers]
count = 2
slice_s = 5.0
[grouping]
min_samples = 2
settle_s = 0.5
[review]
scan_s = 1.0
settle_s = 0.5
[dataset]
people = "all"
formats = ["yolo", "coco", "imagefolder"]
[metrics]
every_s = 2.0
"""

IDLE_S = 90.0
"""Timeout until everything is idle."""


class Day:
    """One home, its daemon, and the events.

    Args:
        folder: Where the home is created.
        seed: Of the random events.

    Attributes:
        done: Number of events by name.
        faults: Everything that was wrong.
        samples: Memory, descriptors and journal size, one sample per check.
        own: Content of files that people added, by name.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.home = folder / "home"
        self._random = random.Random(seed)
        self._photographs = [cv2.imread(str(path)) for path in demo_photographs()]
        self.done: Counter[str] = Counter()
        self.faults: list[str] = []
        self.samples: list[dict[str, int]] = []
        self.own: dict[str, bytes] = {}
        self._activity = ""
        (self.home / "inbox").mkdir(parents=True)
        textfile = f'textfile = "{folder / "portraitd.prom"}"\n'
        (self.home / "config.toml").write_text(CONFIG + textfile)
        self._log = (folder / "log").open("ab")
        self.settings = load(self.home)
        self.daemon = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "portraitd", "run", "--home", self.home],
            stdout=self._log,
            stderr=self._log,
        )

    def step(self) -> None:
        """Let one random event happen."""
        acts = {
            self.drop_photo: 6,
            self.drop_again: 1,
            self.drop_clip: 2,
            self.drop_garbage: 1,
            self.remove_file: 1,
            self.rename_person: 1,
            self.remove_portrait: 1,
            self.merge_people: 1,
            self.split_off: 1,
            self.ignore_person: 1,
            self.undo: 1,
            self.build_set: 1,
            self.add_own_file: 1,
            self.kill_worker: 1,
            self.kill_daemon: 1,
            self.stop_daemon: 1,
            self.reload: 1,
            self.back_up: 1,
            self.forget: 1,
        }
        (act,) = self._random.choices(list(acts), list(acts.values()))
        if act():
            self.done[act.__name__] += 1

    def drop_photo(self) -> bool:
        scale = self._random.uniform(0.6, 1.2)
        picture = cv2.resize(self._random.choice(self._photographs), None, fx=scale, fy=scale)
        return self._drop(".jpg", cv2.imencode(".jpg", picture)[1].tobytes())

    def drop_again(self) -> bool:
        known = [path for path in (self.home / "inbox").iterdir() if path.is_file()]
        return bool(known) and self._drop(".jpg", self._random.choice(known).read_bytes())

    def drop_clip(self) -> bool:
        target = self.home / "inbox" / f".making{self._number()}.mp4"
        size = (320, 360)
        writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), 5.0, size)
        for picture in self._random.sample(self._photographs, 2):
            frame = cv2.resize(picture, size)
            for _ in range(self._random.randint(10, 40)):
                writer.write(frame)
        writer.release()
        target.rename(target.with_name(f"clip{self._number()}.mp4"))
        return True

    def drop_garbage(self) -> bool:
        return self._drop(".mp4", self._random.randbytes(5000))

    def remove_file(self) -> bool:
        known = [path for path in (self.home / "inbox").iterdir() if path.is_file()]
        if not known:
            return False
        self._random.choice(known).unlink(missing_ok=True)
        return True

    def rename_person(self) -> bool:
        folders = self._folders()
        if not folders:
            return False
        folder = self._random.choice(folders)
        folder.rename(folder.with_name(f"Somebody {self._number()}"))
        return True

    def remove_portrait(self) -> bool:
        pictures = [path for folder in self._folders() for path in folder.glob("[0-9]*.jpg")]
        if not pictures:
            return False
        self._random.choice(pictures).unlink(missing_ok=True)
        return True

    def merge_people(self) -> bool:
        """Drop one folder into another; not if few people are left."""
        folders = self._folders()
        if len(folders) < 6:
            return False
        one, other = self._random.sample(folders, 2)
        one.rename(other / one.name)
        return True

    def split_off(self) -> bool:
        pictures = [path for folder in self._folders() for path in folder.glob("[0-9]*.jpg")]
        if not pictures:
            return False
        picture = self._random.choice(pictures)
        target = self.home / "people" / f"Split {self._number()}"
        target.mkdir()
        picture.rename(target / picture.name)
        return True

    def ignore_person(self) -> bool:
        folders, ignored = self._folders(), self.home / "people" / "_ignored"
        if len(folders) < 4 or not ignored.is_dir():
            return False
        folder = self._random.choice(folders)
        folder.rename(ignored / folder.name)
        return True

    def undo(self) -> bool:
        """Undo the last edit."""
        if not read_heartbeat(self.settings.state_dir).at_s:
            return False
        with closing(self.store()) as db:
            entry = db.execute("select 1 from ledger").fetchone()
        return bool(entry) and self._command("undo", may_refuse=True)

    def build_set(self) -> bool:
        return self._command("dataset", "build")

    def add_own_file(self) -> bool:
        folders = self._folders()
        if not folders:
            return False
        name = f"note {self._number()}.txt"
        self.own[name] = self._random.randbytes(50)
        (self._random.choice(folders) / name).write_bytes(self.own[name])
        return True

    def kill_worker(self) -> bool:
        try:
            tasks = Path(f"/proc/{self.daemon.pid}/task").glob("*/children")
            children = [int(one) for task in tasks for one in task.read_text().split()]
            workers = [
                one
                for one in children
                # Not Python's own helper process.
                if b"resource_tracker" not in Path(f"/proc/{one}/cmdline").read_bytes()
            ]
            os.kill(self._random.choice(workers), signal.SIGKILL)
        except (OSError, IndexError):
            return False
        return True

    def kill_daemon(self) -> bool:
        self.daemon.kill()
        self.daemon.wait()
        self.daemon = self._start()
        return True

    def stop_daemon(self) -> bool:
        if not read_heartbeat(self.settings.state_dir).process:
            return False
        self.daemon.terminate()
        code = self.daemon.wait(60)
        if code:
            self.faults.append(f"a stop ended with exit code {code}")
        self.daemon = self._start()
        return True

    def reload(self) -> bool:
        if not read_heartbeat(self.settings.state_dir).at_s:
            return False
        config = self.home / "config.toml"
        text = config.read_text()
        pair = ("settle_s = 0.5", "settle_s = 0.4")
        old, new = pair if pair[0] in text else pair[::-1]
        config.write_text(text.replace(old, new))
        self.daemon.send_signal(signal.SIGHUP)
        return True

    def back_up(self) -> bool:
        return self._command("backup", str(self.home.parent / "copy.sqlite3"))

    def forget(self) -> bool:
        """Erase a video or a person, half of the times."""
        if self._random.random() < 0.5 or not read_heartbeat(self.settings.state_dir).at_s:
            return False
        with closing(self.store()) as db:
            videos = db.execute("select sha256 from videos where state = 'done'").fetchall()
            people = db.execute("select distinct person_id from faces").fetchall()
        known = [("video", row[0]) for row in videos]
        known += [("person", str(row[0])) for row in people if row[0]]
        if not known:
            return False
        what, which = self._random.choice(known)
        return self._command("forget", what, which, "--yes", may_refuse=True)

    def check(self) -> None:
        """Wait until everything is idle, and check the home."""
        if not self._wait_until_idle():
            self.faults.append(f"not idle after {IDLE_S:.0f} s, {self._activity}: {self._tail()}")
            return
        for fault in faults(self.settings):
            self.faults.append(f"{fault.what}: {fault.detail}")
        with closing(self.store()) as db:
            for name, question in QUESTIONS.items():
                if rows := db.execute(question).fetchall():
                    self.faults.append(f"{name}: {rows[:3]}")
        # In any folder: an undo moves folders of people back, with everything in them.
        found = {path.name: path for path in (self.home / "people").rglob("note *.txt")}
        self.faults += [
            f"a person's own file is missing: {name}"
            for name, data in self.own.items()
            if name not in found or found[name].read_bytes() != data
        ]
        self.samples.append(self._sample())

    def end(self) -> int:
        self.daemon.terminate()
        return self.daemon.wait(60)

    def _wait_until_idle(self) -> bool:
        deadline_s = time.monotonic() + IDLE_S
        times = 0
        while time.monotonic() < deadline_s:
            time.sleep(0.5)
            times = times + 1 if self._is_idle() else 0
            if times >= 4:
                return True
        return False

    def _is_idle(self) -> bool:
        if self.daemon.poll() is not None:
            self.faults.append(f"the daemon ended with {self.daemon.returncode}: {self._tail()}")
            self.daemon = self._start()
        health = read_heartbeat(self.settings.state_dir)
        if not health.at_s or health.blocked:
            self._activity = health.blocked or "no heartbeat"
            return False
        try:
            with closing(self.store()) as db:
                left = [question for question in WORK if db.execute(question).fetchone()]
        except sqlite3.Error as error:
            left = [str(error)]
        self._activity = " ".join(left[0].split()) if left else ""
        return not left

    def _sample(self) -> dict[str, int]:
        pid = self.daemon.pid
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        journal = self.settings.state_dir / "portraitd.sqlite3-wal"
        return {
            "age_s": round(time.time() - Path(f"/proc/{pid}").stat().st_mtime),
            "memory_kb": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
            "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "journal_kb": journal.stat().st_size // 1024 if journal.exists() else 0,
        }

    def _drop(self, ending: str, data: bytes) -> bool:
        path = self.home / "inbox" / f"file{self._number()}{ending}"
        path.write_bytes(data)
        return True

    def _folders(self) -> list[Path]:
        """Return the folders of visible people."""
        found = sorted(path.parent for path in (self.home / "people").glob("*/.person.json"))
        return [folder for folder in found if not folder.name.startswith("_")]

    def store(self) -> sqlite3.Connection:
        """Open the store read-only."""
        path = self.settings.state_dir / "portraitd.sqlite3"
        return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)

    def _command(self, *arguments: str, may_refuse: bool = False) -> bool:
        if not read_heartbeat(self.settings.state_dir).at_s:
            return False
        answer = subprocess.run(
            [sys.executable, "-m", "portraitd", *arguments, "--home", self.home],
            capture_output=True,
            text=True,
            check=False,
        )
        # What was to be undone or erased may have disappeared meanwhile: exit code 78.
        if answer.returncode and not (may_refuse and answer.returncode == 78):
            self.faults.append(f"{arguments[0]} ended with {answer.returncode}: {answer.stderr}")
        return True

    def _number(self) -> int:
        return self._random.randrange(10**9)

    def _tail(self) -> str:
        lines = (self.home.parent / "log").read_text(errors="replace").splitlines()
        return " | ".join(lines[-6:])[-1500:]
