"""Hostile hands in a people tree: whatever they lay down there, the service goes on.

They may do what a reviewer may, and lay down links, pipes, sockets, sparse files of a terabyte,
broken notes, names that no program likes, and folders under portraitd's own names; they swap
folders for links while the service works. The folders for questions and answers get more of it than
others. The service must neither end nor touch a file outside of the tree, or one in it that is not
its own.

``cd tests && python -m support.hostile_tree 10000`` prints what came of so many operations.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import stat
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from structlog.testing import capture_logs

from portraitd.ingest.mounts import mark
from portraitd.model.face import Box, DetectedFace, Face, Portrait, Quality, SliceFaces
from portraitd.people.tree.reserved_folders import RESERVED_FOLDERS, WHO_NAME, is_reserved
from portraitd.service.pipeline import Service
from portraitd.store.database import Database
from support.home import Home
from support.permissions import permissions_count
from support.questions import leave_open
from support.store import ENCODER, Store, embedding
from support.tree import picture_of

OWN_NAMES = (
    ".person.json", ".portraitd-gallery", ".portraitd-status", ".portraitd-lease",
    ".portraitd-new-1", ".portraitd-new-000001.jpg", "STATUS.html", "index.html", "README.txt",
    "gallery", "data", "appearances", "_unsorted", "_ignored", "montage.jpg", "000001.jpg",
    "000002.txt", "person-0001", "people-0001.js", "summary.js", "appearances.csv",
    "_questions", "_edits", "_who", "yes", "no", "undo", "000001.jpg.txt",
    ".portraitd-cards", ".portraitd-answers",
)  # fmt: skip
NOTES = (".person.json", ".person.json", ".portraitd-cards", ".portraitd-answers")
ANSWER_FOLDERS = ("_questions/yes", "_questions/no", "_edits/undo")
STRANGE_NAMES = (
    b"=cmd|'/c calc'!A1", b"@SUM(1+1)", b"<script>alert(1)<", b"\"><img src=x>", b"\x1b[2J\x07",
    b"a\nb\r", b"\xff\xfe\xfa", b"\xe2\x80\xaegpj.exe", b"\xe2\x80\x8b", b"CON", b"nul.jpg", b"...",
    b"a. ", b"~$x", b"\xed\xa0\x80", b"Anna", b"anna", b"A\xcc\x88", b"person-0099", b"x" * 255,
    b"\xf0\x9f\x98\x80" * 60, b"-rf", b"%s%n", b"portraitd", b"{files}",
)  # fmt: skip
TOKENS = (
    b"1e999", b"NaN", b"-Infinity", b"null", b"[" * 5000, b"9" * 40, b"9" * 5000, b"true", b"-1",
    b'"\\ud800"', b'"\\u0000"', b'"../../outside"', b"{}", b"\xff", b"1.5", b'"x"', b"",
)  # fmt: skip
PEOPLE = 6


class HostileTree:
    """A home with six people, and the hands in its tree.

    Attributes:
        outside: A folder that links point to; nothing in it may change.
        foreign: Content of the files that are not portraitd's, which it must leave where they are.
        done: How often each operation was carried out.
        errors: What the service reported, without numbers, and how often.
        published: How often the tree was published.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.home = make_home_with_people(folder / "home")
        self.root = self.home.people
        self.outside = folder / "outside"
        self.outside.mkdir()
        for number in range(3):
            (self.outside / f"{number}.jpg").write_bytes(picture_of(900 + number))
        (self.outside / "data").mkdir()
        (self.outside / ".person.json").write_text('{"portraitd": 1}')
        self._before = fingerprint(self.outside)
        self.foreign: set[bytes] = set()
        self.done: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.published = 0
        self._listed: tuple[list[Path], list[Path]] | None = None
        self._next = 0

    def run(self, operations: int, swaps: bool) -> None:
        """Carry out operations at random; the service works after every few."""
        while self.done.total() < operations:
            self._ask()
            with capture_logs() as logs, self.home.opened() as service:
                for _ in range(self.random.randint(5, 40)):
                    for _ in range(self.random.randint(1, 8)):
                        self.do_something()
                    swapping = swaps and self.random.random() < 0.2
                    # Modes count for the service, also where the tests run as root.
                    with self._swapping() if swapping else unchanged(), permissions_count():
                        self._work(service)
                    self.check()
            self.published += sum(line["event"] == "people_published" for line in logs)
            for line in logs:
                if "reason_code" in line:
                    said = line.get("reason", line["reason_code"])
                    said = said.replace(os.fspath(self.root.parent), "")
                    text = "".join(sign for sign in said if not sign.isdigit())
                    self.errors[text[:160]] += 1

    def _ask(self) -> None:
        """Leave a question open, and let reviewers make what the service needs to go on asking."""
        one, other = sorted(self.random.sample(range(1, PEOPLE + 1), 2))
        leave_open(self.home, {(one, other): 0.9})
        for name in RESERVED_FOLDERS:
            with suppress(OSError):
                # Who finds it there is told that it is the folder of a person.
                self._remove(self._inside(self.root / name) / ".person.json")
        with suppress(OSError):
            (self.root / WHO_NAME).mkdir(exist_ok=True)

    def _work(self, service: Service) -> None:
        self._listed = None
        if self.random.random() < 0.2:
            service.review.accept()
            service.publisher.accept()
        for _ in range(self.random.randint(1, 4)):
            self.home.steady_s += self.random.choice([0.0, 3.0, 20.0, 70.0])
            self.home.tick(service)

    def check(self) -> None:
        """What must be true whatever was done."""
        after = fingerprint(self.outside)
        touched = {path for path in self._before.keys() | after.keys()
                   if self._before.get(path) != after.get(path)}  # fmt: skip
        assert not touched, f"a file outside was touched: {touched}"
        if self.random.random() < 0.1:
            assert not self.lost(), "a file of others is gone"

    def lost(self) -> set[bytes]:
        """Return the files of others that are nowhere any more."""
        return self.foreign - {
            path.read_bytes()
            for path in walk(self.root)
            if is_file(path) and path.stat().st_size < 100
        }

    def heal(self) -> None:
        """Remove everything; afterwards the service must publish all people again."""
        shutil.rmtree(self.root)
        self.foreign.clear()
        with self.home.opened() as service:
            for _ in range(20):
                self.home.steady_s += 70.0
                service.review.accept()
                service.publisher.accept()
                self.home.tick(service)
            assert service.idle, service.blocked

    # What is done

    def do_something(self) -> None:
        name, action = self.random.choice(self._actions())
        self.done[name] += 1
        # Hands may fail, too.
        with suppress(OSError, shutil.Error):
            action()

    def _actions(self) -> list[tuple[str, Callable[[], object]]]:
        plants: list[Callable[[Path], object]] = [
            self._pipe, self._socket, self._file_link, self._folder_link, self._dangling_link,
            self._folder, self._sparse, self._junk, self._note, self._note, self._hard_link,
            self._picture,
        ]  # fmt: skip
        planting = [(one.__name__[1:], lambda one=one: self._plant(one)) for one in plants]
        return [
            *planting, *planting,
            ("foreign file", self._write_foreign), ("foreign file", self._write_foreign),
            ("move", self._move), ("move", self._move), ("delete", self._delete),
            ("touch", self._touch), ("mode", self._change_mode), ("copy", self._copy),
            ("many files", self._write_many), ("answer", self._answer), ("answer", self._answer),
        ]  # fmt: skip

    def _place(self) -> Path:
        """Return a folder, often one for questions or answers."""
        places = self._list()[0]
        special = [path for path in places if is_reserved(os.fspath(path.relative_to(self.root)))]
        place = self.random.choice(special if special and self.random.random() < 0.3 else places)
        return self._inside(place)

    def _inside(self, folder: Path) -> Path:
        """Return a folder; fail if a link leads from it out of the tree, where hands do nothing."""
        if not folder.resolve().is_relative_to(self.root.resolve()):
            raise FileNotFoundError(folder)
        return folder

    def _list(self) -> tuple[list[Path], list[Path]]:
        """Return folders and all entries, as they were when the hands began."""
        if self._listed is None:
            entries = list(walk(self.root))
            self._listed = [self.root, *filter(is_folder, entries)], entries
        return self._listed

    def _name(self) -> str:
        if self.random.random() < 0.6:
            return self.random.choice(OWN_NAMES)
        return os.fsdecode(self.random.choice(STRANGE_NAMES))

    def _plant(self, make: Callable[[Path], object]) -> None:
        target = self._place() / self._name()
        self._remove(target)
        make(target)

    def _remove(self, path: Path) -> None:
        """Remove whatever is there, as a person who means it; with it go files of others."""
        for one in [path, *(walk(path) if is_folder(path) else ())]:
            if is_file(one) and one.stat().st_size < 100:
                self.foreign.discard(one.read_bytes())
        if is_folder(path):
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _pipe(self, target: Path) -> None:
        os.mkfifo(target)

    def _socket(self, target: Path) -> None:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.fspath(target))

    def _file_link(self, target: Path) -> None:
        target.symlink_to(self.outside / self.random.choice(["0.jpg", ".person.json"]))

    def _folder_link(self, target: Path) -> None:
        target.symlink_to(
            self.random.choice([self.outside, self.outside / "data", Path(".."), self.root])
        )

    def _dangling_link(self, target: Path) -> None:
        target.symlink_to(self.outside / "new.jpg")

    def _hard_link(self, target: Path) -> None:
        os.link(self.outside / "1.jpg", target)
        self._before = fingerprint(self.outside)

    def _folder(self, target: Path) -> None:
        target.mkdir()
        self._foreign(target / "mine.txt")

    def _sparse(self, target: Path) -> None:
        with target.open("wb") as file:
            file.truncate(self.random.choice([1 << 40, 1 << 30, 70 << 20]))

    def _junk(self, target: Path) -> None:
        target.write_bytes(self.random.randbytes(self.random.choice([0, 10, 5000])))

    def _note(self, target: Path) -> None:
        """A note of portraitd with a few values of the hand's own."""
        known = [path for path in self._list()[1] if path.name.startswith(".p") and is_file(path)]
        known = [path for path in known if 0 < path.stat().st_size < 1 << 20]
        data = bytearray(self.random.choice(known).read_bytes()) if known else bytearray()
        for _ in range(self.random.randint(1, 3)):
            at = self.random.randrange(len(data) + 1)
            data[at : at + self.random.randrange(12)] = self.random.choice(TOKENS)
        if self.random.random() < 0.3:
            facts = {"portraitd": 1, "label": "Zoe",
                     "person": self.random.choice([1, 2, 99, 1 << 62]), "folder": "../outside",
                     "inode": target.parent.stat().st_ino,
                     "files": {"../0.jpg": ["portrait 1 0,0,1,1", "", 1, 1],
                               "0.jpg": ["portrait 4 0,0,1,1 x", "", 1 << 62, 1],
                               "../1.jpg": ["same:1,2 x", "", 1, 1],
                               "1.jpg": ["is:99:1,999999999999999999 x", "", 1 << 62, 1],
                               "1.txt": ["entry:999999999999999999 x", "", 1, 1],
                               "x" * 300: ["montage x", "", 1, 1]}}  # fmt: skip
            data = bytearray(json.dumps(facts).encode())
        note = target.with_name(self.random.choice(NOTES))
        self._remove(note)
        note.write_bytes(data)

    def _picture(self, target: Path) -> None:
        target.write_bytes(picture_of(self.random.randrange(20)))

    def _foreign(self, path: Path) -> None:
        self._next += 1
        data = f"mine {self._next}".encode()
        path.write_bytes(data)
        self.foreign.add(data)

    def _write_foreign(self) -> None:
        folder = self._place()
        stem = os.fsdecode(self.random.choice(STRANGE_NAMES))[:40]
        ending = self.random.choice([".txt", ".jpg", " (portraitd).jpg", ""])
        path = folder / f"{self._next} {stem}{ending}"
        if not path.name.startswith("."):
            self._foreign(path)

    def _entries(self) -> list[Path]:
        own = {".portraitd-root"}
        return [path for path in self._list()[1] if path.name not in own]

    def _entry(self) -> Path:
        entry = self.random.choice(self._entries())
        self._inside(entry.parent)
        return entry

    def _move(self) -> None:
        source, folder = self._entry(), self._place()
        target = folder / self.random.choice([source.name, source.name, self._name()])
        if os.path.lexists(target) or folder == source or source in folder.parents:
            return
        # Portraitd removes what has its own hidden names, and what it wrote.
        if any(part.startswith(".p") for part in target.relative_to(self.root).parts):
            return
        source.rename(target)

    def _answer(self) -> None:
        """Move a card, or what is beside it, into a folder for answers."""
        folder = self._inside(self.root / self.random.choice(ANSWER_FOLDERS))
        beside = [path for path in self._entries() if path.parent == folder.parent]
        if beside:
            card = self.random.choice(beside)
            if not os.path.lexists(folder / card.name):
                card.rename(folder / card.name)

    def _copy(self) -> None:
        source = self._entry()
        if is_file(source) and source.stat().st_size < 1 << 20:
            data = source.read_bytes()
            (self._place() / f"copy {self._next}.jpg").write_bytes(data)
            self._next += 1

    def _delete(self) -> None:
        self._remove(self._entry())

    def _touch(self) -> None:
        path = self._entry()
        when = self.random.choice([0, 1, -(1 << 40), 1 << 60])
        if path.lstat().st_nlink == 1:
            os.utime(path, ns=(when, when), follow_symlinks=False)

    def _change_mode(self) -> None:
        path = self._entry()
        if is_folder(path) or (is_file(path) and path.stat().st_nlink == 1):
            path.chmod(self.random.choice([0, 0o400, 0o555, 0o770, 0o7777]))

    def _write_many(self) -> None:
        folder = self._place()
        for number in range(self.random.choice([3, 30])):
            (folder / f"{number:06d} {self._next}.jpg").touch()

    @contextmanager
    def _swapping(self) -> Iterator[None]:
        """Swap a folder for a link to the outside, again and again, while the block runs."""
        place = self.root / self.random.choice(
            ["gallery", "gallery/data", "_unsorted", "_ignored", "_questions", "_edits", "_who",
             *ANSWER_FOLDERS]
        )  # fmt: skip
        aside = self.root.parent / "aside"
        ended = threading.Event()

        def swap() -> None:
            while not ended.is_set():
                with suppress(OSError):
                    place.rename(aside)
                with suppress(OSError):
                    place.symlink_to(self.outside)
                with suppress(OSError):
                    place.unlink()
                with suppress(OSError):
                    aside.rename(place)

        thread = threading.Thread(target=swap)
        self.done["swap"] += 1
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            if os.path.lexists(aside):
                # The service made another one in its place.
                aside.rename(self.root / f"aside {self.done['swap']}")


@contextmanager
def unchanged() -> Iterator[None]:
    yield


def walk(folder: Path) -> Iterator[Path]:
    """Yield everything below a folder; links are not followed."""
    for parent, folders, files in os.walk(folder):
        for name in sorted(folders + files):
            yield Path(parent) / name


def is_file(path: Path) -> bool:
    with suppress(FileNotFoundError, NotADirectoryError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False


def is_folder(path: Path) -> bool:
    with suppress(FileNotFoundError, NotADirectoryError):
        return stat.S_ISDIR(path.lstat().st_mode)
    return False


def fingerprint(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return mode, time and content of everything in a folder."""
    found = {}
    for path in walk(folder):
        facts = path.lstat()
        data = path.read_bytes() if is_file(path) else b""
        found[os.fspath(path)] = facts.st_mode, facts.st_mtime_ns if data else 0, data
    return found


def make_home_with_people(folder: Path, people: int = PEOPLE) -> Home:
    """Return a home with these people, of three portraits each, and their published tree."""
    home = Home(folder)
    mark(home.inbox)
    with Database.open(home.settings.state_dir) as database:
        store = Store(database)
        for person in range(people):
            store.video(f"{person}.mp4", sha256=f"{person}" * 64)
            claimed = store.slice_queue.claim()
            assert claimed
            detections = [
                DetectedFace(
                    float(t),
                    Face(
                        Box(10, 20, 110, 130),
                        1.25,
                        ((1.5, 2.5), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0)),
                        embedding(person),
                        Quality(100.0, 55.5, 0.75),
                    ),
                    Portrait(Box(0, 0, 200, 240), picture_of(10 * person + t)),
                )
                for t in range(3)
            ]
            store.slice_queue.record(
                claimed, SliceFaces(detections, 60, 1500, 60.0, 2.5), ENCODER, 3.0
            )
        store.track()
        store.group([person for person in range(people) for _ in range(3)])
    home.run()
    return home


def main() -> None:
    """Print what came of so many operations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--files", type=int, default=100_000, help="in one folder, at the end")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        began_s = time.process_time()
        hostile = HostileTree(Path(scratch), asked.seed)
        hostile.run(asked.count, swaps=True)
        seconds = {"operations": time.process_time() - began_s}
        with hostile.home.opened() as service:
            folder = hostile.root / "many"
            folder.mkdir(exist_ok=True)
            for number in range(asked.files):
                (folder / f"{number:06d}.jpg").touch()
            for turn in ("first turn", "next turn"):
                began_s = time.process_time()
                hostile.home.steady_s += 70.0
                hostile.home.tick(service)
                seconds[turn] = time.process_time() - began_s
        hostile.check()
        hostile.heal()
    print(f"{asked.count} operations, seed {asked.seed}; {asked.files} files in one folder")
    print("seconds", {name: round(value, 1) for name, value in seconds.items()})
    print("operations", dict(hostile.done))
    print("published", hostile.published, "times; reported", hostile.errors.total(), "times")
    for text, count in hostile.errors.most_common(20):
        print(f"{count:6d}  {text!r}")
    print("exits 0, wrong files touched 0")


if __name__ == "__main__":
    main()
