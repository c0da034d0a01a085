"""Answer reviewers who ask who a picture shows, in a text beside it.

A worker decodes the picture and finds its faces. They are compared with all known people, and not
stored. An answer is replaced when the picture is, and removed when the picture goes; deleting it
asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import NamedTuple

import structlog

from portraitd.ingest import media_jobs
from portraitd.ingest.media_jobs import EncodeOptions
from portraitd.ingest.stability import StabilityTracker
from portraitd.model.errors import ConfigError, PortraitdError, StoreError, WorkersUnavailable
from portraitd.model.face import SliceFaces
from portraitd.model.media_file import Source, Stamp
from portraitd.model.stage import Now, Stage
from portraitd.model.wording import escape_unprintable
from portraitd.people.references.picture_answer import describe_faces, identify_faces, summarise
from portraitd.people.tree.asked_pictures import AskedPictures, answer_name
from portraitd.people.tree.reserved_folders import WHO_NAME
from portraitd.store.database import Database

log = structlog.get_logger(stage="asked_pictures")

_HINT = "Delete this text to ask again. The picture is not stored."


class _Reading(NamedTuple):
    """A picture that a worker has."""

    name: str
    identity: str
    faces: Future[SliceFaces]


class AskedPictureStage(Stage):
    """Answers the pictures in the folder for questions, one after the other.

    Args:
        people_dir: The root of the tree.
        database: Who is known.
        options: How faces are found and embedded.
        executor: Reads the pictures.
        wake: Called, from any thread, when one was read.
        quiet_s: How long a picture must not have changed.
        is_read: Returns whether the tree was read in this tick.
    """

    updates_tree = True

    def __init__(
        self,
        people_dir: Path,
        database: Database,
        options: EncodeOptions,
        executor: Executor,
        wake: Callable[[], None],
        quiet_s: float,
        is_read: Callable[[Now], bool],
    ) -> None:
        self._people_dir = people_dir
        self._pictures = AskedPictures(people_dir)
        self._database = database
        self._options = options._replace(keeps_frames=False)
        self._executor = executor
        self._wake = wake
        self._is_read = is_read
        self._stability = StabilityTracker(quiet_s)
        self._reading: _Reading | None = None
        self._texts: dict[str, tuple[str, bytes]] = {}
        self._open = 0

    @property
    def pending(self) -> bool:
        """Whether a picture has no answer yet."""
        return self._open > 0

    def release(self) -> None:
        """Drop the picture that a worker has; it is read again."""
        self._reading = None

    def tick(self, now: Now) -> None:
        """Look for pictures and answers whenever the tree was read, and go on.

        Raises:
            PublishError: The folder cannot be read or written.
        """
        if not self._is_read(now):
            return
        found = self._pictures.read()
        pictures, answers = found if found is not None else ({}, {})
        self._collect()
        identities = {name: _identify(stamp) for name, stamp in pictures.items()}
        self._texts = {
            name: text for name, text in self._texts.items() if identities.get(name) == text[0]
        }
        answers = self._publish(identities, answers)
        waiting = {
            Path(name): pictures[name]
            for name, identity in identities.items()
            if answers.get(answer_name(name)) != identity and name not in self._texts
        }
        self._open = len(waiting)
        stable = self._stability.observe(waiting, now.steady_s)
        if stable and self._reading is None:
            name = str(stable[0])
            self._begin(name, pictures[name])

    def _begin(self, name: str, stamp: Stamp) -> None:
        source = Source(self._people_dir / WHO_NAME / name, stamp, self._people_dir)
        faces = self._executor.submit(media_jobs.encode_picture, source, self._options)
        self._reading = _Reading(name, _identify(stamp), faces)
        faces.add_done_callback(lambda _: self._wake())

    def _collect(self) -> None:
        """Put what a worker found into words."""
        reading = self._reading
        if reading is None or not reading.faces.done():
            return
        self._reading = None
        try:
            text = self._describe(reading.faces.result())
        except (StoreError, WorkersUnavailable):
            # Neither is the fault of the picture.
            return
        except PortraitdError as error:
            text = f"This picture cannot be read: {error}."
        lines = f"{escape_unprintable(reading.name)}\n\n{text}\n\n{_HINT}\n"
        self._texts[reading.name] = reading.identity, lines.encode()
        # Without its name, which may be a person's.
        log.info("picture_answered", size=len(lines))

    def _describe(self, found: SliceFaces) -> str:
        try:
            faces = identify_faces(self._database, found, self._options.encoder.embedding_space)
        except ConfigError as error:
            return f"No answer now: {error}."
        lines = describe_faces(faces)
        return "\n".join([*lines, summarise(faces)] if len(faces) > 1 else lines)

    def _publish(self, identities: Mapping[str, str], answers: dict[str, str]) -> dict[str, str]:
        """Write what is not written, and return the answers as they are then."""
        desired = {
            answer_name(name): identity
            for name, identity in identities.items()
            if answers.get(answer_name(name)) == identity or name in self._texts
        }
        if desired == answers:
            return answers
        texts = {answer_name(name): text for name, (_, text) in self._texts.items()}
        self._pictures.publish(desired, texts)
        self._texts.clear()
        return desired


def _identify(stamp: Stamp) -> str:
    """Return what differs between two contents of a picture."""
    return f"{stamp.size} {stamp.mtime_ns} {stamp.inode}"
