"""A home with two people, and what a reviewer sees and does in it."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from support.home import Home

ANN, BOB = "person-0001", "person-0002"


def copied(done: Home, folder: Path, **sections: dict[str, object]) -> Home:
    """Copy a home to another place, and run it there once."""
    shutil.copytree(done.settings.home_dir, folder / "home")
    home = Home(folder / "home", grouping={"method": "people"}, **sections)
    home.run()
    return home


def faces(home: Home) -> Counter[int | None]:
    """Count the faces of each person. False positives of the detector have no person."""
    people = Counter(row["person_id"] for row in home.rows("faces") if row["hidden"] != 1)
    del people[None]
    return people


def folders(home: Home) -> dict[str, int]:
    """Count the portraits in each folder of a person."""
    counts = {
        str(folder.relative_to(home.people)): len(list(folder.glob("[0-9]*.jpg")))
        for folder in sorted(home.people.rglob("*"))
        if folder.is_dir() and folder.name != "_unsorted"
    }
    return {name: count for name, count in counts.items() if count}


def represented(home: Home) -> list[str | None]:
    """Whom the face of each reference picture represents, by face."""
    names = {row["id"]: row["name"] for row in home.rows("people")}
    return [names.get(row["person_id"]) for row in home.rows("faces") if row["hidden"] == 3]


def ledger(home: Home) -> list[str]:
    return [row["kind"] for row in home.rows("ledger")]


def portraits(home: Home, name: str) -> list[Path]:
    return sorted((home.people / name).glob("[0-9]*.jpg"))


def move(portrait: Path, to: Path) -> None:
    """Move a portrait as a file manager does, without the annotation beside it."""
    to.mkdir(exist_ok=True)
    shutil.move(portrait, to / portrait.name)
