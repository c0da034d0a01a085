"""A home with two people, seen by somebody who reviews it."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from support.home import Home

ANN, BOB = "person-0001", "person-0002"


def copied(done: Home, folder: Path, **sections: dict[str, object]) -> Home:
    """The same home in another place, settled there."""
    shutil.copytree(done.settings.home_dir, folder / "home")
    home = Home(folder / "home", grouping={"method": "people"}, **sections)
    home.run()
    return home


def faces(home: Home) -> Counter[int | None]:
    """How many faces each person has; what the detector takes for a face is nobody."""
    people = Counter(row["person_id"] for row in home.rows("faces") if row["hidden"] != 1)
    del people[None]
    return people


def folders(home: Home) -> dict[str, int]:
    """How many portraits lie in each folder of a person."""
    counts = {
        str(folder.relative_to(home.people)): len(list(folder.glob("[0-9]*.jpg")))
        for folder in sorted(home.people.rglob("*"))
        if folder.is_dir() and folder.name != "_unsorted"
    }
    return {name: count for name, count in counts.items() if count}


def ledger(home: Home) -> list[str]:
    return [row["kind"] for row in home.rows("ledger")]


def portraits(home: Home, name: str) -> list[Path]:
    return sorted((home.people / name).glob("[0-9]*.jpg"))


def move(portrait: Path, to: Path) -> None:
    """As a file manager does; the text beside it may come along or not."""
    to.mkdir(exist_ok=True)
    shutil.move(portrait, to / portrait.name)
