"""A home with drawn people, made without a video, and hands to review it with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

from portraitd.ingest.mounts import mark
from portraitd.store.database import Database
from support.gallery import GalleryFixture
from support.home import Home
from support.samba import Share


def make_drawn_home(folder: Path, people: int = 5, portraits: int = 8, **sections: Any) -> Home:
    """Return a home in which a service has published these people, one video each."""
    home = Home(folder / "home", **{"grouping": {"method": "people"}, **sections})
    mark(home.inbox)
    fixture = GalleryFixture(Database.open(home.settings.state_dir), folder / "elsewhere")
    for number in range(1, people + 1):
        seen = [(number, float(t_s)) for t_s in range(portraits)]
        fixture.show(f"clip {number}.mp4", seen, at_s=1.76e9 + number)
    fixture.grouping_run()
    fixture.database.close()
    home.run()
    return home


class Hands(Protocol):
    """What a reviewer does to files and folders; all paths are below the root of the tree."""

    def rename(self, old: str, new: str) -> None: ...

    def copy(self, name: str, to: str) -> None: ...

    def delete(self, name: str) -> None: ...


class LocalHands:
    """A reviewer at a file manager of the machine itself."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def rename(self, old: str, new: str) -> None:
        (self._root / old).rename(self._root / new)

    def copy(self, name: str, to: str) -> None:
        shutil.copy(self._root / name, self._root / to)

    def delete(self, name: str) -> None:
        path = self._root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


class RemoteHands:
    """A reviewer at another machine, over SMB."""

    def __init__(self, share: Share, root: Path) -> None:
        self._share = share
        self._root = root

    def rename(self, old: str, new: str) -> None:
        self._share.do(f'rename "{_backslashes(old)}" "{_backslashes(new)}"')

    def copy(self, name: str, to: str) -> None:
        self._share.do(f'scopy "{_backslashes(name)}" "{_backslashes(to)}"')

    def delete(self, name: str) -> None:
        command = "deltree" if (self._root / name).is_dir() else "del"
        self._share.do(f'{command} "{_backslashes(name)}"')


def _backslashes(path: str) -> str:
    return path.replace("/", "\\")
