"""Rows to begin with: files, videos, slices and faces, put in through the store's own doors."""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering import grouping_jobs
from portraitd.clustering.identity import carry_over
from portraitd.model.face import Box, DetectedFace, Face, Portrait, Quality, SliceFaces
from portraitd.model.media_file import FileState, MediaFacts, MediaKind, Stamp
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database
from portraitd.store.faces import Faces
from portraitd.store.files import INBOX, Files, KnownFile
from portraitd.store.people import GroupingRun, People, PersonAssignment
from portraitd.store.slices import SliceQueue
from portraitd.store.tracks import TrackStore
from support.embedding_rules import DLIB_RULES

ENCODER = "dlib-resnet-v1+mirror"

MIGRATIONS = resources.files("portraitd.store") / "migrations"
NEWEST = sum(entry.name.endswith(".sql") for entry in MIGRATIONS.iterdir())
"""The schema that a store has today."""


class Store:
    """A database and everything that is asked of it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.files = Files(database, Path("/inbox"))
        self.slice_queue = SliceQueue(database, self.files)
        self.faces = Faces(database)
        self.people = People(database)
        self.tracks = TrackStore(database)
        self.ledger = Ledger(database)

    def file(self, name: str = "clip.mp4", state: FileState = FileState.PROBING) -> KnownFile:
        """A file in the inbox; each name has its own stamp."""
        stamp = Stamp(len(name), 1, sum(map(ord, name)))
        return self.files.get(self.files.note(INBOX, Path(name), stamp, state, 1.0))

    def video(self, name: str = "clip.mp4", slices: int = 1, sha256: str = "") -> KnownFile:
        """A file whose content is new, cut into slices of one minute."""
        file = self.file(name)
        facts = video_facts(60.0 * slices, sha256 or f"sha of {name}")
        assert FileState.ENCODING is self.slice_queue.admit(file, facts, 60.0, 2.0)
        return self.files.get(file.id)

    def see(self, *embeddings: NDArray[np.float32], at_s: float = 3.0) -> list[int]:
        """A finished video in which these faces were seen. Returns their ids."""
        before = set(self.faces.ids().tolist())
        number = sum(self.files.counts().values())
        self.video(f"video {number}.mp4", sha256=f"sha {number}")
        claimed = self.slice_queue.claim()
        assert claimed
        self.slice_queue.record(claimed, slice_faces(*embeddings), ENCODER, at_s)
        return sorted(set(self.faces.ids().tolist()) - before)

    def track(self) -> None:
        """Give every finished video its tracks."""
        while (video_id := self.tracks.untracked()) is not None:
            face_ids, faces = self.tracks.faces_of(video_id, DLIB_RULES.quality)
            found = grouping_jobs.track(
                faces,
                DLIB_RULES,
                grouping_jobs.TrackConstraints(*self.tracks.constraints_of(video_id, face_ids)),
            )
            assert self.tracks.record(
                video_id, face_ids, found.tracks, found.summary, found.cannot_link, found.ranks
            )

    def grouped(self, groups: list[int], parameters: str = "p") -> PersonAssignment:
        """What a grouping says that found these groups of faces, -1 for none."""
        carried = carry_over(
            np.array(groups, np.int64),
            self.faces.persons(),
            np.ones(len(groups), np.int64),
            self.people.next_id(),
            kept=self.people.kept(),
        )
        return PersonAssignment("faces", self.faces.ids(), carried, parameters)

    def group(self, groups: list[int], parameters: str = "p") -> GroupingRun:
        """Make these groups of faces the current grouping."""
        return self.people.record(self.grouped(groups, parameters), 1.5, 9.0)


def video_facts(duration_s: float = 60.0, sha256: str = "sha") -> MediaFacts:
    return MediaFacts(sha256, MediaKind.VIDEO, duration_s, 25.0, 640, 480)


def photo_facts(sha256: str = "sha") -> MediaFacts:
    return MediaFacts(sha256, MediaKind.PHOTO, 0.0, 0.0, 640, 480)


def detection(embedding: NDArray[np.float32], t_s: float = 0.0) -> DetectedFace:
    face = Face(
        Box(10, 20, 110, 130),
        1.25,
        ((1.5, 2.5), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0)),
        embedding,
        Quality(100.0, 55.5, 0.75),
    )
    return DetectedFace(t_s, face, Portrait(Box(0, 0, 200, 240), b"jpeg of %f" % t_s))


def slice_faces(*embeddings: NDArray[np.float32], ended_s: float | None = 60.0) -> SliceFaces:
    """What a worker hands back, with one face a second."""
    detections = [detection(embedding, float(t)) for t, embedding in enumerate(embeddings)]
    return SliceFaces(detections, 60, 1500, ended_s, 2.5)


def embedding(seed: int) -> NDArray[np.float32]:
    """A vector that is different for each seed."""
    return np.random.default_rng(seed).normal(size=128).astype(np.float32)


def endless() -> MediaFacts:
    """A video whose duration cannot be believed."""
    return video_facts(math.inf)
