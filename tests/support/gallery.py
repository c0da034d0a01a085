"""People in a store and in a tree, with drawn portraits and generated embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from portraitd.config import ReviewSettings, Settings
from portraitd.media.jpeg import encode_jpeg
from portraitd.model.face import Box, DetectedFace, Face, Portrait, Quality, SliceFaces
from portraitd.model.person import CarriedOver
from portraitd.model.recording_time import RecordingTime
from portraitd.model.suggestion import Suggestion
from portraitd.model.track import TrackSummaries
from portraitd.people.pages.gallery import Gallery
from portraitd.people.pages.status_stage import StatusPageStage
from portraitd.people.tree.people_tree import PeopleTree, PublishResult
from portraitd.store.database import Database
from portraitd.store.people import PersonAssignment
from portraitd.store.publications import Publication, Publications
from portraitd.store.snapshot import SnapshotReader
from support.clock import at
from support.store import ENCODER, Store, photo_facts, video_facts
from support.tree import publish

BOX = Box(84, 120, 204, 240)
AREA = Box(0, 0, 288, 360)
ALL_PORTRAITS = ReviewSettings(portraits_per_track=0, unsorted_portraits=0)
PARAMETERS = '["people", 0.36, 3, 0.55]'


class GalleryFixture(Store):
    """A store with people that the test defines, their tree, and the gallery."""

    def __init__(self, database: Database, root: Path) -> None:
        super().__init__(database)
        self.root = root
        self.tree = PeopleTree(root)
        self.tree.create()
        self.gallery = Gallery(database, self.people, self.faces, root)
        self.status_stage = StatusPageStage(root, self.snapshots().read, lambda: "idle")
        self.person_of: list[int] = []
        self.montages: dict[int, bytes] = {}

    def snapshots(self, limit: int = 50) -> SnapshotReader:
        """Return a reader of snapshots for a machine with two workers."""
        settings = Settings.model_validate({"home": self.root, "workers": {"count": 2}})
        return SnapshotReader(self.database, settings, limit)

    def show(
        self,
        clip: str,
        seen: Sequence[tuple[int, float]],
        duration_s: float = 60.0,
        at_s: float = 1000.0,
        looks: Sequence[int] = (),
        recorded: RecordingTime | None = None,
    ) -> None:
        """Add a finished video, or a photo by its suffix, with people, one track for each.

        Args:
            clip: Its name in the inbox.
            seen: Person and time of every face.
            duration_s: Its length; one frame per second is sampled.
            at_s: When it was added.
            looks: The person each face looks like; by default the person it is.
            recorded: When it was made.
        """
        order = sorted(range(len(seen)), key=lambda index: seen[index][1])
        alike = [looks[index] if looks else seen[index][0] for index in order]
        seen = [seen[index] for index in order]
        file = self.file(clip)
        sha256 = f"sha of {clip}"
        is_photo = clip.endswith(".jpg")
        facts = photo_facts(sha256) if is_photo else video_facts(duration_s, sha256)
        self.slice_queue.admit(file, replace(facts, recorded=recorded), duration_s, at_s)
        detections = [
            _detected_face(like, t_s, index)
            for index, ((_, t_s), like) in enumerate(zip(seen, alike, strict=True))
        ]
        before = self.faces.ids()
        claimed = self.slice_queue.claim()
        assert claimed
        found = SliceFaces(detections, round(duration_s), round(25 * duration_s), duration_s, 2.0)
        self.slice_queue.record(claimed, found, ENCODER, at_s)
        ids = np.setdiff1d(self.faces.ids(), before)
        keys = [(person, like) for (person, _), like in zip(seen, alike, strict=True)]
        tracks = sorted(set(keys))
        number = {key: index for index, key in enumerate(tracks)}
        of_face = np.array([number[key] for key in keys], np.int64)
        first = np.array([keys.index(key) for key in tracks], np.int64)
        summary = TrackSummaries(
            np.array([detections[row].face.embedding for row in first], np.float32),
            np.zeros(len(tracks)),
            np.bincount(of_face, minlength=len(tracks)),
            np.ones(len(tracks)),
            first,
        )
        no_pairs = np.empty((0, 2), np.int64)
        assert self.tracks.record(claimed.video_id, ids, of_face, summary, no_pairs)
        self.person_of += [person for person, _ in tracks]

    def grouping_run(
        self,
        suggestions: Sequence[Suggestion] = (),
        now_s: float = 2000.0,
        indistinct: Sequence[int] = (),
    ) -> None:
        """Record a grouping run that assigns every track as the test defines.

        Args:
            suggestions: Pairs of people who may be one person.
            now_s: When.
            indistinct: People whom the model cannot tell from others, each with one face.
        """
        rows = self.tracks.rows()
        people = np.array(self.person_of, np.int64)
        next_id = max(self.people.next_id(), int(people.max()) + 1)
        carried = CarriedOver(people, {}, {}, 0, (), next_id)
        grouped = PersonAssignment(
            "tracks",
            rows.ids,
            carried,
            PARAMETERS,
            suggestions=suggestions,
            indistinct_people=indistinct,
            indistinct_faces=len(indistinct),
        )
        self.people.record(grouped, 1.0, now_s)

    def publish(self, now_s: float) -> PublishResult:
        """Publish the tree, and then the gallery."""
        wanted = Publications(self.database).desired_tree(ALL_PORTRAITS)
        done = publish(
            self.tree, wanted.folders, wanted.unsorted, self.faces.portrait, self.montages
        )
        grouping_run = self.people.last_grouping_run()
        assert grouping_run
        self.note_publication(Publication(grouping_run.id, 0, "1"), now_s)
        self.gallery.tick(at(now_s))
        return done

    def note_publication(self, publication: Publication, now_s: float) -> None:
        """Record a publication of the tree."""
        publications = Publications(self.database)
        publications.record(
            publication, publications.desired_tree(ALL_PORTRAITS).placements(), now_s
        )


def _detected_face(person: int, t_s: float, salt: int) -> DetectedFace:
    random = np.random.default_rng((person, salt))
    vector = identity_vector(person) + random.normal(0, 0.01, 128)
    face = Face(BOX, 1.0, None, vector.astype(np.float32), Quality(120.0, 50.0, 0.9))
    return DetectedFace(t_s, face, Portrait(AREA, draw_face(person % 23)))


def identity_vector(person: int) -> NDArray[np.float64]:
    """Return the embedding of a person, as distant from others as strangers are."""
    vector = np.random.default_rng(person).normal(size=128)
    return np.asarray(1.4 * vector / np.linalg.norm(vector), np.float64)


@cache
def draw_face(number: int) -> bytes:
    """Return a drawn face as JPEG, 200 by 250 pixels."""
    return encode_jpeg(_drawing(number, (200, 250), 0), 85)


@cache
def draw_montage(number: int, tiles: int = 25) -> bytes:
    """Return 25 drawn faces in one JPEG, as large in bytes as a real montage."""
    sheet = np.full((600, 480, 3), 128, np.uint8)
    for tile in range(min(tiles, 25)):
        top, left = tile // 5 * 120, tile % 5 * 96
        sheet[top : top + 120, left : left + 96] = _drawing(number, (96, 120), 6, tile)
    return encode_jpeg(sheet, 90)


def _drawing(number: int, size: tuple[int, int], noise: float, tile: int = 0) -> NDArray[np.uint8]:
    random = np.random.default_rng((number, tile))
    person = np.random.default_rng(number)
    width, height = size
    back, skin, hair, shirt = (person.integers(30, 225, 3).tolist() for _ in range(4))
    skin = [int(90 + 0.4 * skin[0]), int(120 + 0.4 * skin[1]), int(160 + 0.35 * skin[2])]
    image = np.full((height, width, 3), back, np.uint8)
    middle = (width // 2 + int(random.integers(-width // 16, width // 16 + 1)), int(height * 0.48))
    axes = (int(width * 0.24), int(height * 0.26))
    cv2.ellipse(
        image, (middle[0], height), (int(width * 0.42), int(height * 0.3)), 0, 0, 360, shirt, -1
    )
    cv2.ellipse(
        image,
        (middle[0], middle[1] - height // 20),
        (int(axes[0] * 1.2), int(axes[1] * 1.15)),
        0,
        0,
        360,
        hair,
        -1,
    )
    cv2.ellipse(image, middle, axes, 0, 0, 360, skin, -1)
    for side in (-1, 1):
        eye = (middle[0] + side * axes[0] // 2, middle[1] - axes[1] // 5)
        cv2.circle(image, eye, max(2, width // 32), (30, 30, 30), -1)
    mouth = (middle[0], middle[1] + axes[1] // 2)
    cv2.ellipse(
        image, mouth, (axes[0] // 2, axes[1] // 6), 0, 0, 180, (60, 60, 150), max(2, width // 60)
    )
    grain = random.normal(0, noise, image.shape) if noise else 0
    return np.clip(image + grain, 0, 255).astype(np.uint8)


FIRST_NAMES = (
    "Ada", "Élise", "Björn", "Chiara", "Dmitri", "Esra", "Fatou", "Goran", "Hana", "İbrahim",
    "Jürgen", "Kofi", "Léa", "Małgorzata", "Núria", "Oğuz", "Priya", "Quentin", "Rosa", "Søren",
)  # fmt: skip
LAST_NAMES = (
    "Abebe", "Brandt", "Castillo", "Dubois", "Eriksson", "Fischer", "García", "Haddad", "Ivanova",
    "Jensen", "Kowalski", "Lindqvist", "Mbeki", "Nakamura", "O'Brien", "Petrović", "Rossi",
    "Şahin", "Tanaka", "Vogel", "Weiß",
)  # fmt: skip

HOSTILE = (
    "<script>document.title='taken'<script>",
    "<img src=x onerror=document.title='taken'>",
    "100% #1? & more; \"quoted\" 'so'",
    "line\u2028separator\u2029here",
    "=cmd|'C calc'!A1",
    "__proto__",
)
"""Folder names that a file system allows."""


def make_crowd(count: int) -> Iterable[tuple[str, list[tuple[int, float]], float]]:
    """Yield videos with this number of people; the first ones appear most often."""
    videos: dict[int, list[tuple[int, float]]] = {}
    for person in range(1, count + 1):
        times = 26 if person <= 200 else 8 if person <= 400 else 3
        for number in range(1 + person % 3):
            start = 7.0 * ((person * 31 + number * 17) % 400)
            part = times // (1 + person % 3) + 1
            # Each person appears for a while, leaves, and returns.
            seen = [(person, start + t + 40 * (t // 5)) for t in range(part)]
            videos.setdefault((person + 7 * number) % 60, []).extend(seen)
    for number, seen in sorted(videos.items()):
        yield f"holiday {number:02d}.mp4", sorted(seen, key=lambda one: one[1]), 3600.0
