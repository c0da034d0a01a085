"""Count what a reviewer has to do until every person is right, with questions and without.

    portraitd process STILLS CLIP… --home HOME --set review.unsorted_portraits=0
    python benchmarks/review_gestures.py HOME --clips CLIPS
    python benchmarks/review_gestures.py HOME --clips CLIPS --only-visible --same "a: X=b: Y"

HOME is copied, once for each way, and grouped again. Labels: a photo shows the person whose name
its folder has, as the face nearest its middle; ``CLIPS`` holds ``NAME.truth.json`` beside
``NAME.mp4``, as for ``models.py``. Clips whose names differ by a number or a letter show the same
people; ``--same`` says who of a clip is in a folder of photos. A track has the label of most of its
faces. Faces without a label do not count: they may stay wherever they are.

A scripted reviewer knows the labels and edits the folders of the copy with real file operations,
while the service runs inline. Without questions they move the folder of each person who is there
twice into the other one, and the portrait of each face that is in a wrong folder or in
``_unsorted``; for a person without a folder they make one first, which counts. With questions they
first answer what is asked, until nothing is asked any more, and do the rest by hand: they move a
picture into ``yes`` or ``no``, or rename it to the numbers that are right. Naming takes one gesture
for each person either way and is not counted. ``--only-visible`` leaves out tracks that a person
can hardly recognise either (quality below 0.1): they may stay in ``_unsorted``.

Printed is one JSON line for each way: gestures, where each file or folder that is moved, renamed or
made counts, as a reviewer has to point at each; and drags, where what is selected together in one
folder and dragged to one target counts once.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import structlog

from portraitd.config import Settings
from portraitd.model.face import Box
from portraitd.model.question import Claim, Question
from portraitd.model.stage import Now
from portraitd.people.tree.card_folder import find_key
from portraitd.people.tree.locations import find_person_folders
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.people.tree.scan import ScanCache
from portraitd.service.executors import Executors
from portraitd.service.pipeline import Service
from portraitd.service.wakeup import Doorbell
from portraitd.store.database import Database, StoreLock
from portraitd.workers.pool import InlineExecutor

SAME_FACE_IOU = 0.3
TIME_TOLERANCE_S = 0.13
VISIBLE_QUALITY = 0.1
MAX_ROUNDS = 30
MAX_TICKS = 300


class Track(NamedTuple):
    """A labelled track as the store has it now."""

    face: int
    person: int | None
    label: str


def label_clip(name: str, truth: dict[str, Any], face: sqlite3.Row) -> str | None:
    """Return who a face of a clip is."""
    cast = re.sub(r"(_[a-z]|_dev|\d+)+$", "", name)
    box = Box(face["box_left"], face["box_top"], face["box_right"], face["box_bottom"])
    found = [
        (box.iou(Box(left, top, right, bottom)), one["who"])
        for one in truth["faces"]
        for top, right, bottom, left in [one["box"]]
        if abs(one["t"] - face["t_s"]) <= TIME_TOLERANCE_S
    ]
    best = max(found, default=(0.0, "?"))
    return f"{cast}: {best[1]}" if best[0] >= SAME_FACE_IOU and best[1] != "?" else None


def label_tracks(home: Path, clips: Path) -> dict[int, str]:
    """Return the label of each track that has one."""
    truths = {
        path.name.removesuffix(".truth.json"): json.loads(path.read_text())
        for path in clips.glob("*.truth.json")
    }
    nearest: dict[int, tuple[float, int]] = {}
    votes: dict[int, Counter[str]] = defaultdict(Counter)
    photos: dict[int, tuple[int, str]] = {}
    for face in read(
        home,
        """
        select faces.*, videos.width_px, videos.height_px, cast(coalesce((
            select path from files where files.video_id = faces.video_id
            order by state = 'duplicate', id limit 1), x'') as blob) as path
        from faces join videos on videos.id = faces.video_id where track_id is not null
        """,
    ):
        path = Path(os.fsdecode(face["path"]))
        if path.stem in truths:
            label = label_clip(path.stem, truths[path.stem], face)
            if label:
                votes[face["track_id"]][label] += 1
            continue
        mid = np.hypot(
            (face["box_left"] + face["box_right"]) / 2 / face["width_px"] - 0.5,
            (face["box_top"] + face["box_bottom"]) / 2 / face["height_px"] - 0.5,
        )
        if mid < nearest.get(face["video_id"], (9.0, 0))[0]:
            nearest[face["video_id"]] = mid, face["track_id"]
            photos[face["video_id"]] = (
                face["track_id"],
                f"{path.parent.parent.name}: {path.parent.name}",
            )
    labels = {track: count.most_common(1)[0][0] for track, count in votes.items()}
    return labels | dict(photos.values())


def rename(label: str, same: dict[str, str]) -> str:
    """Return the label that stands for the same person."""
    cast, _, who = label.partition(": ")
    return same.get(label, f"{same.get(cast, cast)}: {who}")


def read(home: Path, query: str) -> list[sqlite3.Row]:
    """Return rows of the store of a home."""
    path = home / "state/portraitd.sqlite3"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(query).fetchall()


def forget_grouping(home: Path) -> None:
    """Have a home grouped anew, and asked about anew, by the version that runs."""
    shutil.rmtree(home / "people/_questions", ignore_errors=True)
    with closing(sqlite3.connect(home / "state/portraitd.sqlite3")) as connection, connection:
        connection.execute("update grouping_runs set parameters = ''")


class Reviewer:
    """A reviewer who knows the labels.

    Attributes:
        gestures: Drags, one for each file or folder.
        drags: Drags, one for each selection.
    """

    def __init__(self, home: Path, labels: dict[int, str], questions: int) -> None:
        self.home = home
        self.settings = Settings.model_validate(
            {
                "home": home,
                "review": {
                    "questions": questions, "unsorted_portraits": 0, "settle_s": 1.0,
                    "scan_s": 1.0,
                },
                "grouping": {"settle_s": 1.0},
            }
        )  # fmt: skip
        self.labels = labels
        self.gestures: Counter[str] = Counter()
        self.drags: Counter[str] = Counter()
        self.steady_s = 0.0

    def review(self) -> None:
        """Work until every person is right."""
        with StoreLock(self.settings.state_dir):
            database = Database.open(self.settings.state_dir)
            with closing(database):
                service = Service(
                    self.settings, database, Executors(InlineExecutor(), 2), Doorbell()
                )
                self.settle(service)
                for _ in range(MAX_ROUNDS):
                    if not self.answer() and not self.correct():
                        return
                    self.settle(service)
        raise RuntimeError(f"not right after {MAX_ROUNDS} rounds")

    def settle(self, service: Service) -> None:
        """Run the service until it has nothing to do."""
        service.review.wake()
        for _ in range(MAX_TICKS):
            self.steady_s += 1.0
            service.tick(Now(2e9 + self.steady_s, self.steady_s))
            if service.idle:
                return
        raise RuntimeError("the service does not come to rest")

    def tracks(self) -> dict[int, Track]:
        """Return the labelled tracks as they are now."""
        rows = read(
            self.home,
            """
            select tracks.id, best_face_id, person_id from tracks
            join faces on faces.id = best_face_id
            """,
        )
        return {
            row["id"]: Track(row["best_face_id"], row["person_id"], self.labels[row["id"]])
            for row in rows
            if row["id"] in self.labels
        }

    def answer(self) -> bool:
        """Answer every question; return whether there was one."""
        folder = self.home / "people/_questions"
        tracks = self.tracks()
        shown = people_of(tracks.values())
        by_face = {one.face: one.label for one in tracks.values()}
        store = read(self.home, "select name from store_name")[0]["name"]
        used = set()
        cards = sorted(folder.glob("*.jpg"))
        for card in cards:
            question = Question.of(find_key(card.read_bytes(), store) or "")
            if question is None:
                raise RuntimeError(f"{card} asks nothing")
            right = [
                number
                for number, claim in enumerate(question.claims, 1)
                if self.is_right(claim, shown, by_face)
            ]
            answer = "yes" if len(right) == len(question.claims) else "no" if not right else ""
            if answer:
                card.rename(folder / answer / card.name)
            else:
                card.rename(folder / f"{' '.join(map(str, right))}.jpg")
            self.gestures[answer or "numbers"] += 1
            # A picture that is renamed is a gesture of its own.
            used.add(answer or card.name)
        self.drags.update(one if one in ("yes", "no") else "numbers" for one in used)
        return bool(cards)

    def is_right(self, claim: Claim, shown: dict[int, str], by_face: dict[int, str]) -> bool:
        """Return whether a claim is right; a face without a label is another person's."""
        labels = {shown.get(person) for person in claim.people}
        labels |= {by_face.get(face) for face in claim.face_ids}
        is_new = bool(claim.people) or not labels & set(shown.values())
        return is_new and len(labels) == 1 and None not in labels

    def correct(self) -> bool:
        """Do by hand what is left to do; return whether anything was."""
        tracks = self.tracks()
        shown = people_of(tracks.values())
        sizes = Counter(one.person for one in tracks.values() if one.person)
        homes: dict[str, int] = {}
        for person, label in sorted(shown.items(), key=lambda one: (-sizes[one[0]], one[0])):
            homes.setdefault(label, person)
        tree = PeopleTree(self.settings.people_dir)
        portraits = tree.locate_portraits()
        folders = {
            person: self.settings.people_dir / folder.location
            for person, folder in find_person_folders(
                self.settings.people_dir, ScanCache("")
            ).items()
        }
        selections = set()
        for person, label in shown.items():
            if homes[label] != person:
                source, target = folders[person], folders[homes[label]]
                source.rename(target / source.name)
                self.gestures["merged"] += 1
                selections.add(("merged", str(target)))
        for track in tracks.values():
            home = homes.get(track.label)
            if track.person is not None and (
                track.person == home or shown.get(track.person) == track.label
            ):
                continue
            at = self.settings.people_dir / portraits[track.face]
            target = folders[home] if home else self.find_new_folder(track.label, folders.values())
            if not target.exists():
                target.mkdir()
                self.gestures["made a folder"] += 1
                selections.add(("made a folder", target.name))
            if at.exists():
                at.rename(target / at.name)
                self.gestures["moved"] += 1
                selections.add((f"moved from {at.parent.name}", target.name))
        self.drags.update(kind.partition(" from ")[0] for kind, _ in selections)
        return bool(selections)

    def find_new_folder(self, label: str, taken: Collection[Path]) -> Path:
        """Return a folder for someone who has none: not one that became another person's."""
        path = self.settings.people_dir / name_folder(label)
        while path in taken:
            path = path.with_name(f"{path.name} again")
        return path


def name_folder(label: str) -> str:
    """Return the name of the folder of a person."""
    return label.replace(":", "")


def people_of(tracks: Any) -> dict[int, str]:
    """Return the label of most tracks of each person."""
    votes: dict[int, Counter[str]] = defaultdict(Counter)
    for one in tracks:
        if one.person is not None:
            votes[one.person][one.label] += 1
    return {person: count.most_common(1)[0][0] for person, count in votes.items()}


def read_labels(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, dict[int, str]]:
    """Return the arguments, with those that name a labelled home, and its labels by track."""
    parser.add_argument("home", type=Path)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument(
        "--same", action="append", default=[], help="LABEL=LABEL, or CAST=FOLDER for all of them"
    )
    arguments = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    same = dict(one.split("=") for one in arguments.same)
    found = label_tracks(arguments.home, arguments.clips)
    return arguments, {track: rename(label, same) for track, label in found.items()}


def main() -> None:
    """Print one JSON line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only-visible", action="store_true")
    arguments, labels = read_labels(parser)
    if arguments.only_visible:
        quality = read(arguments.home, "select id, quality from tracks")
        good = {row["id"] for row in quality if row["quality"] >= VISIBLE_QUALITY}
        labels = {track: label for track, label in labels.items() if track in good}
    for questions in (0, 20):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "home"
            shutil.copytree(arguments.home, copy)
            forget_grouping(copy)
            reviewer = Reviewer(copy, labels, questions)
            reviewer.review()
            print(
                json.dumps(
                    {
                        "questions": questions,
                        "labels": len(set(labels.values())),
                        "gestures": reviewer.gestures.total(),
                        "drags": reviewer.drags.total(),
                        "by_kind": reviewer.gestures,
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
