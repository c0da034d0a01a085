"""When the pages people open are out of date, and bringing them up to date."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import structlog

from portraitd.model.errors import PublishError, StoreError
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.people.pages import assets
from portraitd.people.pages.page_data import (
    people_script,
    person_name,
    person_script,
    summary_script,
)
from portraitd.people.pages.page_data import table_name as person_table_name
from portraitd.people.pages.tables import person_table, whole_table
from portraitd.people.pages.view_models import NOTHING_NEW, Doubts, GalleryViews, News
from portraitd.people.tree.folder_fs import digest
from portraitd.people.tree.locations import find_people
from portraitd.people.tree.owned_files import ROOT, OwnedFiles
from portraitd.people.tree.scan import Memory
from portraitd.store.appearances import Appearances
from portraitd.store.database import Database
from portraitd.store.faces import Faces
from portraitd.store.gallery_history import UNKNOWN_LAST_ID, GalleryHistory
from portraitd.store.people import GroupingRun, People, Unit

log = structlog.get_logger(stage="gallery")

LOOK = "1"
"""Raised when the data of the pages come to be made differently."""

BACK_OFF_S = 15.0


class GalleryContent(NamedTuple):
    """A file as it should be: what its content follows from, and how to make it."""

    identity: str
    make: Callable[[], bytes]


class Gallery(Stage):
    """Makes index.html and gallery/ show what the people tree shows.

    Args:
        database: Where people are seen, and what the gallery showed before.
        people: Who there is.
        faces: How good their portraits are.
        people_dir: The root of the tree.
        may_publish: Returns whether the tree shows what it should, as far as it may be written.
    """

    phase = "folders"
    updates_tree = True

    def __init__(
        self,
        database: Database,
        people: People,
        faces: Faces,
        people_dir: Path,
        may_publish: Callable[[Now], bool] = lambda now: True,
    ) -> None:
        self._appearances = Appearances(database)
        self._showings = GalleryHistory(database)
        self._people = people
        self._faces = faces
        self._people_dir = people_dir
        self._shelf = OwnedFiles(people_dir, "gallery")
        self._memory = Memory("")
        self._doubts = Doubts(self._appearances)
        self._look = f"{LOOK} {assets.look()}"
        self._may_publish = may_publish
        self._back_off = BackOff(BACK_OFF_S)
        self._trouble = ""

    @property
    def pending(self) -> bool:
        """Whether the pages show an older publication than the tree."""
        return self._showings.last() != (self._showings.published_at(), self._look)

    def tick(self, now: Now) -> None:
        """Bring the pages up to date.

        Raises:
            PublishError: The tree cannot be read or written, or could not a moment ago.
        """
        if not self._may_publish(now) or not self.pending:
            return
        # A share that is not mounted is not asked at every tick.
        if not self._back_off.ready(now):
            raise PublishError(self._trouble)
        try:
            self._show(now.wall_s)
        except (PublishError, StoreError) as error:
            self._back_off.start(now)
            self._trouble = str(error)
            raise

    def _show(self, now_s: float) -> None:
        published_at = self._showings.published_at()
        grouping_run = self._people.last_grouping_run() if published_at else None
        exhibits = GalleryViews(
            self._appearances,
            self._faces,
            self._doubts,
            self._people.present() if grouping_run else [],
            find_people(self._people_dir, self._memory),
            self._people.close(),
            self._news(grouping_run) if grouping_run else NOTHING_NEW,
            published_at,
        )
        data = _data(exhibits)
        folders = {
            "gallery": _fixed() | _whole_table(exhibits),
            "gallery/data": data,
            "gallery/appearances": _tables(exhibits),
            # Last: it must not name what is not there yet.
            ROOT: _index(len(exhibits.blocks)),
        }
        written = removed = 0
        for location, files in folders.items():
            done = self._put(location, files)
            written, removed = written + done[0], removed + done[1]
        self._showings.note(published_at, self._look, _newest(grouping_run), now_s)
        log.info("gallery_shown", people=len(exhibits.everybody), written=written, removed=removed)

    def _news(self, grouping_run: GroupingRun) -> News:
        before = self._showings.before(grouping_run.last_id)
        if before is None or not grouping_run.parameters:
            # After everything was looked at again, the next video brings what is new.
            return NOTHING_NEW
        unit = _unit(grouping_run)
        faces = self._appearances.count_since(before.last_id, unit)
        return News(faces, before.last_id, unit == "tracks", before.written_at)

    def _put(self, location: str, files: Mapping[str, GalleryContent]) -> tuple[int, int]:
        wanted = {name: content.identity for name, content in files.items()}
        done = self._shelf.put(location, wanted, lambda name: files[name].make())
        return done.written, done.removed


def _newest(grouping_run: GroupingRun | None) -> int:
    """The newest face or track that the pages show."""
    if grouping_run is None:
        return 0
    return grouping_run.last_id if grouping_run.parameters else UNKNOWN_LAST_ID


def _unit(grouping_run: GroupingRun) -> Unit:
    # Of a grouping that was overtaken by a rebuild nothing is known any more.
    method = json.loads(grouping_run.parameters)[0] if grouping_run.parameters else ""
    return "faces" if method == "dbscan" else "tracks"


def _fixed() -> dict[str, GalleryContent]:
    return {name: _ready(data) for name, data in assets.assets().items()}


def _index(blocks: int) -> dict[str, GalleryContent]:
    return {"index.html": _ready(assets.index_page(blocks))}


def _ready(data: bytes) -> GalleryContent:
    return GalleryContent(digest(data)[:16], lambda: data)


def _data(exhibits: GalleryViews) -> dict[str, GalleryContent]:
    """What the scripts of the pages load."""
    files = {}
    for number, people in exhibits.blocks.items():
        files[assets.block_name(number)] = GalleryContent(
            _joined([exhibits.traces[one.id] for one in people]),
            lambda people=people: people_script([exhibits.card(one) for one in people]),  # type: ignore[misc]
        )
    summary = exhibits.summary()
    # Not the time alone: what says the same is not written again.
    facts = [summary.people, summary.clips, summary.since, *(c.identity for c in files.values())]
    files["summary.js"] = GalleryContent(_joined(facts), lambda: summary_script(summary))
    for person_id in exhibits.everybody:
        files[person_name(person_id)] = GalleryContent(
            _joined([exhibits.traces[person_id]]),
            lambda person_id=person_id: person_script(exhibits.page(person_id)),  # type: ignore[misc]
        )
    return files


def _tables(exhibits: GalleryViews) -> dict[str, GalleryContent]:
    """The appearances of each person."""
    return {
        person_table_name(person_id): GalleryContent(
            _joined([exhibits.seen_traces[person_id]]),
            lambda person_id=person_id: person_table(exhibits.seen(person_id)),  # type: ignore[misc]
        )
        for person_id in exhibits.everybody
    }


def _whole_table(exhibits: GalleryViews) -> dict[str, GalleryContent]:
    facts = [(one.name, exhibits.seen_traces[one.id]) for one in exhibits.everybody.values()]
    return {
        "appearances.csv": GalleryContent(
            _joined(facts), lambda: whole_table(exhibits.seen_by_all())
        )
    }


def _joined(facts: object) -> str:
    return digest(repr((LOOK, facts)).encode("utf-8", "surrogateescape"))[:16]
