"""What the process is killed at: how it begins, what is done, and what must be true afterwards."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from portraitd.cli.demo import demo_photographs

# Before any fork: what OpenCV's threads wait for is not there afterwards.
from portraitd.media.opencv import cv2
from portraitd.people.tree.manifest import ROOT_MANIFEST
from portraitd.service.control import BUILD_DATASET
from portraitd.service.control_files import ControlFiles, ControlRequest
from portraitd.service.erasure_stage import REQUEST
from portraitd.store.database import FILE_NAME, StoreLock
from portraitd.store.maintenance.backup import back_up, inspect, restore
from support.executors import CachingExecutor
from support.home import Home, connect, digest
from support.old_schemas import first_store


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


EXECUTOR = CachingExecutor()


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


def slice_queue(folder: Path) -> None:
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
    slice_queue(folder)
    people = Counter(row["person_id"] for row in home_at(folder).rows("faces"))
    assert {1: 2, None: 1} == people, people


def worked_on_and_more(folder: Path) -> None:
    """What is dropped next makes a second person, so that folders and montages change."""
    worked_on(folder)
    home_at(folder).drop(picture(1, 0.8), "d.jpg")
    home_at(folder).drop(picture(0), "again.jpg")


def forget_first(folder: Path) -> None:
    requests = ControlFiles(folder / "state" / "requests")
    if not requests.waiting():
        requests.leave(ControlRequest(REQUEST, arguments=("person", "1")))
    slice_queue(folder)


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
    marker = folder / "people" / ROOT_MANIFEST
    facts = json.loads(marker.read_bytes())
    del facts["store"]
    marker.write_text(json.dumps(facts))


def copy_store(folder: Path) -> None:
    back_up(folder / "state", folder / "copy.sqlite3", 5.0)


def copy_and_work(folder: Path) -> None:
    copy_store(folder)
    slice_queue(folder)


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
    """Every edit counts once."""
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
    slice_queue(folder)
    (home.people / "person-0001").rename(home.people / ANNABELLE)
    (home.people / "person-0002").rename(home.people / "Bob")
    slice_queue(folder)


def build_set(folder: Path) -> None:
    """After a look at the inbox: in a copy of a home files are others until they were read."""
    requests = ControlFiles(folder / "state" / "requests")
    if not requests.waiting():
        slice_queue(folder)
        requests.leave(ControlRequest(BUILD_DATASET))
    slice_queue(folder)
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
    slice_queue(folder)


def go_back(folder: Path) -> None:
    with StoreLock(folder / "state"):
        restore(folder / "state", folder / "copy.sqlite3", time.time())


def go_back_again(folder: Path) -> None:
    """There is a store at every moment, the old one or the new; and going back can be repeated."""
    inspect(folder / "state" / FILE_NAME)
    go_back(folder)
    slice_queue(folder)


def nothing_more(folder: Path, calm: Path) -> None:
    pass


def nobody_left(folder: Path, calm: Path) -> None:
    """No piece of an embedding of the forgotten, and no request that was answered twice."""
    with closing(connect(folder / "state")) as db:
        assert not db.execute("select 1 from erasures where finished_at is null").fetchall()
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
    "ingest": Scenario(drop_first, slice_queue, slice_queue, nothing_more),
    "more": Scenario(worked_on_and_more, slice_queue, slice_queue, nothing_more),
    "review": Scenario(with_gestures, slice_queue, slice_queue, same_ledger),
    "dataset": Scenario(named, build_set, build_set, same_set),
    "migrate": Scenario(old_store, slice_queue, slice_queue, nothing_more),
    "forget": Scenario(remember_secrets, forget_first, forget_first, nobody_left),
    "backup": Scenario(worked_on, copy_store, copy_and_work, copy_is_sound),
    "restore": Scenario(with_copy, go_back, go_back_again, nothing_more),
}
