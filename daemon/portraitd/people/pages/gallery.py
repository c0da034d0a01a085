"""The gallery stage: brings index.html and gallery/ up to date after the people tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import structlog

from portraitd.config import PagesSettings
from portraitd.model.errors import PublishError, StoreError
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.people.pages import assets
from portraitd.people.pages.page_data import (
    make_people_script,
    make_person_script,
    make_summary_script,
    make_unsorted_script,
    person_file_name,
)
from portraitd.people.pages.page_data import table_file_name as person_table_name
from portraitd.people.pages.subtitles import (
    make_chapters,
    make_subtitles,
    subtitle_file_names,
)
from portraitd.people.pages.tables import make_people_table, make_person_table
from portraitd.people.pages.view_models import (
    NO_NEW_FACES,
    CoverCache,
    GalleryViews,
    NewFaces,
    OutlierCache,
)
from portraitd.people.tree.folder_fs import digest
from portraitd.people.tree.locations import find_folders
from portraitd.people.tree.owned_files import ROOT, OwnedFiles
from portraitd.people.tree.scan import ScanCache
from portraitd.store.appearances import Appearances
from portraitd.store.database import Database
from portraitd.store.faces import Faces
from portraitd.store.gallery_history import UNKNOWN_LAST_ID, GalleryHistory, GallerySources
from portraitd.store.people import GroupingRun, People

log = structlog.get_logger(stage="gallery")

DATA_VERSION = "4"
"""Increased when the content of the data files changes in form."""

BACK_OFF_S = 15.0

_DEFAULTS = PagesSettings()

SUBTITLES = "gallery/vtt"
"""The folder of the subtitles, below the root of the tree."""


class GalleryContent(NamedTuple):
    """A file of the gallery: the identity of its content, and a function that makes it."""

    identity: str
    make: Callable[[], bytes]


class Gallery(Stage):
    """Publishes index.html and gallery/ to match the people tree.

    Args:
        database: Where people are seen, and what the gallery showed previous.
        people: The people of the current grouping.
        faces: The faces, to choose the best portraits.
        people_dir: The root of the tree.
        may_publish: Returns whether the tree shows what it should, as far as it may be written.
        is_working: Returns whether files are being processed: while many get new tags or names,
            the pages are not written for each.
        settings: What the pages contain.
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
        is_working: Callable[[], bool] = lambda: False,
        settings: PagesSettings = _DEFAULTS,
    ) -> None:
        self._appearances = Appearances(database)
        self._history = GalleryHistory(database)
        self._is_working = is_working
        self._people = people
        self._faces = faces
        self._people_dir = people_dir
        self._owned_files = OwnedFiles(people_dir, "gallery", clears_way=True)
        self._memory = ScanCache("")
        self._outliers = OutlierCache(self._appearances)
        self._covers = CoverCache(self._appearances, faces)
        self._settings = settings
        self._recordings = settings.recordings.rstrip("/")
        self._render_version = f"{DATA_VERSION} {assets.compute_render_version()}"
        self._may_publish = may_publish
        self._back_off = BackOff(BACK_OFF_S)
        self._last_error = ""

    @property
    def pending(self) -> bool:
        """Whether the pages show an older publication, or older names and dates of recordings."""
        return self._is_stale(self._history.sources())

    @property
    def defers(self) -> bool:
        """Return whether the pages wait to be published."""
        return self.pending

    def tick(self, now: Now) -> None:
        """Bring the pages up to date.

        Raises:
            PublishError: The tree cannot be read or written, or could not a moment ago.
        """
        if not self._may_publish(now):
            return
        sources = self._history.sources()
        if not self._is_stale(sources):
            return
        # A share that is not mounted is not asked at every tick.
        if not self._back_off.ready(now):
            raise PublishError(self._last_error)
        try:
            self._publish(sources, now.wall_s)
        except (PublishError, StoreError) as error:
            self._back_off.start(now)
            self._last_error = str(error)
            raise

    def _publish(self, sources: GallerySources, now_s: float) -> None:
        published_at, version = sources.published_at, self._version(sources)
        grouping_run = self._people.last_grouping_run() if published_at else None
        views = GalleryViews(
            self._appearances,
            self._faces,
            self._outliers,
            self._covers,
            self._people.present() if grouping_run else [],
            find_folders(self._people_dir, self._memory),
            self._people.suggestions(),
            self._new_faces(grouping_run) if grouping_run else NO_NEW_FACES,
            published_at,
            self._people.indistinct() if grouping_run else (),
            grouping_run.indistinct_faces if grouping_run else 0,
            self._recordings,
        )
        data = _data_contents(views)
        folders = {
            "gallery": _static_contents() | _people_table_contents(views),
            "gallery/data": data,
            "gallery/appearances": _table_contents(views),
            **self._subtitle_folder(views),
            # Last: it must not refer to files that are not there yet.
            ROOT: _index_contents(len(views.blocks)),
        }
        written, removed = self._write_all(folders)
        self._history.record(published_at, version, _last_id(grouping_run), now_s)
        log.info("gallery_published", people=len(views.people), written=written, removed=removed)

    def _subtitle_folder(self, views: GalleryViews) -> dict[str, dict[str, GalleryContent]]:
        if self._settings.vtt:
            return {SUBTITLES: _subtitle_contents(views)}
        # What was written while the setting was on is removed.
        return {SUBTITLES: {}} if (self._people_dir / SUBTITLES).is_dir() else {}

    def _is_stale(self, sources: GallerySources) -> bool:
        """Return whether the pages are to be written.

        While files are processed, they are not written for each new name or date.
        """
        latest = self._history.latest()
        if latest == (sources.published_at, self._version(sources)):
            return False
        return not (latest and latest[0] == sources.published_at and self._is_working())

    def _version(self, sources: GallerySources) -> str:
        """Return what the pages depend on besides the publication."""
        version = f"{self._render_version} {sources.described_at:.3f}"
        extras = [self._recordings, "vtt" if self._settings.vtt else ""]
        return " ".join([version, *filter(None, extras)])

    def _new_faces(self, grouping_run: GroupingRun) -> NewFaces:
        previous = self._history.previous(grouping_run.last_id)
        if previous is None or not grouping_run.parameters:
            # After a rebuild nothing is new until the next video.
            return NO_NEW_FACES
        unit = grouping_run.unit
        faces = self._appearances.count_since(previous.last_id, unit)
        return NewFaces(faces, previous.last_id, unit == "tracks", previous.written_at)

    def _write_all(self, folders: Mapping[str, Mapping[str, GalleryContent]]) -> tuple[int, int]:
        """Write what can be written: one folder that cannot be stops no other one.

        Raises:
            PublishError: Some folder could not be written.
        """
        written = removed = 0
        failed: dict[str, PublishError] = {}
        for location, files in folders.items():
            if location == ROOT and failed.keys() - {"gallery/appearances"}:
                # The index would refer to files that are not there.
                continue
            try:
                done = self._write(location, files)
            except PublishError as error:
                failed[location] = error
            else:
                written, removed = written + done[0], removed + done[1]
        if failed:
            raise next(iter(failed.values()))
        return written, removed

    def _write(self, location: str, files: Mapping[str, GalleryContent]) -> tuple[int, int]:
        wanted = {name: content.identity for name, content in files.items()}
        done = self._owned_files.publish(location, wanted, lambda name: files[name].make())
        return done.written, done.removed


def _last_id(grouping_run: GroupingRun | None) -> int:
    """Return the newest face or track that the pages show."""
    if grouping_run is None:
        return 0
    return grouping_run.last_id if grouping_run.parameters else UNKNOWN_LAST_ID


def _static_contents() -> dict[str, GalleryContent]:
    return {name: _ready_content(data) for name, data in assets.load_static_files().items()}


def _index_contents(blocks: int) -> dict[str, GalleryContent]:
    return {"index.html": _ready_content(assets.render_index_page(blocks))}


def _ready_content(data: bytes) -> GalleryContent:
    return GalleryContent(digest(data)[:16], lambda: data)


def _data_contents(views: GalleryViews) -> dict[str, GalleryContent]:
    """Return the data files that the scripts of the pages load."""
    files = {}
    for number, people in views.blocks.items():
        files[assets.block_file_name(number)] = GalleryContent(
            _content_identity([views.page_identities[one.id] for one in people]),
            lambda people=people: make_people_script([views.make_card(one) for one in people]),  # type: ignore[misc]
        )
    summary = views.make_summary()
    # Without the time: a summary that differs only in its time is not written again.
    facts = [
        summary.people,
        summary.videos,
        summary.photos,
        summary.since,
        summary.unsorted,
        *(c.identity for c in files.values()),
    ]
    files["summary.js"] = GalleryContent(
        _content_identity(facts), lambda: make_summary_script(summary)
    )
    files["unsorted.js"] = GalleryContent(
        _content_identity([views.unsorted_identity]),
        lambda: make_unsorted_script(views.make_unsorted()),
    )
    for person_id in views.people:
        files[person_file_name(person_id)] = GalleryContent(
            _content_identity([views.page_identities[person_id]]),
            lambda person_id=person_id: make_person_script(views.make_page(person_id)),  # type: ignore[misc]
        )
    return files


def _table_contents(views: GalleryViews) -> dict[str, GalleryContent]:
    """Return the table of appearances of each person."""
    return {
        person_table_name(person_id): GalleryContent(
            _content_identity([views.table_identities[person_id]]),
            lambda person_id=person_id: make_person_table(views.read_appearances(person_id)),  # type: ignore[misc]
        )
        for person_id in views.people
    }


def _subtitle_contents(views: GalleryViews) -> dict[str, GalleryContent]:
    """Return the subtitles and the chapters of each video."""
    files = {}
    for clip_id, identity in views.subtitle_identities.items():
        subtitles, chapters = subtitle_file_names(views.clip(clip_id))
        for name, make in ((subtitles, make_subtitles), (chapters, make_chapters)):
            files[name] = GalleryContent(
                _content_identity([identity]),
                lambda clip_id=clip_id, make=make: make(views.read_visible(clip_id)),  # type: ignore[misc]
            )
    return files


def _people_table_contents(views: GalleryViews) -> dict[str, GalleryContent]:
    facts = [(one.name, views.table_identities[one.id]) for one in views.people.values()]
    return {
        "appearances.csv": GalleryContent(
            _content_identity(facts), lambda: make_people_table(views.iter_appearances())
        )
    }


def _content_identity(facts: object) -> str:
    return digest(repr((DATA_VERSION, facts)).encode("utf-8", "surrogateescape"))[:16]
