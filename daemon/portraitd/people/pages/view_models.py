"""What the gallery shows: facts from the store and the tree, as the pages want them.

Everybody has a trace that changes with whatever their page says. It costs one pass over an
index for all people; faces and embeddings are read only of those whose trace is new.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from portraitd.clustering.outliers import find_outliers
from portraitd.model.appearance import Appearance, Clip, join_appearances
from portraitd.people.names import folder_name
from portraitd.people.pages.page_data import (
    CardImage,
    GallerySummary,
    Outlier,
    PagePortrait,
    PersonCard,
    PersonPage,
    SimilarPerson,
    block_of,
)
from portraitd.people.tree.folder_fs import digest
from portraitd.people.tree.locations import Whereabouts
from portraitd.store.appearances import Appearances, RecordingCount
from portraitd.store.faces import Faces
from portraitd.store.people import Person

MAX_OUTLIERS = 24
"""More than one looks through at once; the farthest come first."""

_FILLED = ((25, 5), (19, 4), (13, 3), (7, 2))
"""Of so many portraits a montage has a full corner of so many tiles each way."""

_LOOKED_AT = 25
"""So many portraits compete for standing alone where there is no montage to show."""


@dataclass(frozen=True, slots=True)
class VisiblePerson:
    """A person in sight, with what tells whether their page is as it was.

    Attributes:
        seen: In which videos, and how often.
        fresh: Faces that came since last time.
        close: Who may be the same, and the distance between them.
    """

    id: int
    name: str
    is_named: bool
    folder: Whereabouts
    seen: Sequence[RecordingCount]
    new_faces: int
    close: Sequence[tuple[int, float]]

    @property
    def faces(self) -> int:
        return sum(one.faces for one in self.seen)


@dataclass(frozen=True, slots=True)
class NewFaces:
    """What is new since last time.

    Attributes:
        faces: New faces of each person.
        after_id: The last face or track that is not new.
        is_track: Which of both it is.
        since: When that was shown; 0 if this is the first time, and then nothing is new.
    """

    faces: Mapping[int, int]
    after_id: int
    is_track: bool
    since: float


NO_NEW_FACES = NewFaces({}, 0, True, 0.0)


class OutlierCache:
    """The tracks of each person that lie far from the rest; kept until the person changes."""

    def __init__(self, store: Appearances) -> None:
        self._store = store
        self._known: dict[int, tuple[object, list[tuple[int, float, float]]]] = {}

    def of(self, person: VisiblePerson) -> list[tuple[int, float, float]]:
        """Track, distance, and what is usual, the farthest first."""
        checksum = tuple(one.checksum for one in person.seen)
        known = self._known.get(person.id)
        if known is None or known[0] != checksum:
            track_ids, embeddings = self._store.tracks(person.id)
            found = find_outliers(embeddings)
            far = zip(track_ids[found.rows].tolist(), found.distances.tolist(), strict=True)
            known = checksum, [(track, distance, found.usual) for track, distance in far]
            self._known[person.id] = known
        return known[1]


class GalleryViews:
    """Everybody who is in sight at one time.

    Args:
        store: Where people are seen.
        faces: For choosing the best portrait.
        doubts: Kept from one time to the next.
        present: The people that the grouping in force knows.
        places: Where their folders lie.
        close: Pairs of people who may be one, and the distance, the nearest first.
        news: What is new.
        made_at: When the tree was published.
    """

    def __init__(
        self,
        store: Appearances,
        faces: Faces,
        outliers: OutlierCache,
        present: Sequence[Person],
        folders: Mapping[int, Whereabouts],
        close: Sequence[tuple[int, int, float]],
        new_faces: NewFaces,
        made_at: float,
    ) -> None:
        self._store = store
        self._faces = faces
        self._outliers = outliers
        self._new_faces = new_faces
        self._made_at = made_at
        self._clips = store.clips()
        count_by_person = store.count_by_person()
        pairs: dict[int, list[tuple[int, float]]] = {}
        shown = [one for one in present if one.id in folders and one.id in count_by_person]
        visible = {one.id for one in shown}
        for lower, higher, distance in close:
            if lower in visible and higher in visible:
                pairs.setdefault(lower, []).append((higher, distance))
                pairs.setdefault(higher, []).append((lower, distance))
        self.people = {
            person.id: VisiblePerson(
                person.id,
                person.name or folders[person.id].name or folder_name(person.id, None),
                bool(person.name or folders[person.id].name),
                folders[person.id],
                count_by_person[person.id],
                new_faces.faces.get(person.id, 0),
                pairs.get(person.id, ()),
            )
            for person in shown
        }

    @cached_property
    def page_identities(self) -> dict[int, str]:
        """Of each person something that changes with their page."""
        return {one.id: _digest(self._page_facts(one)) for one in self.people.values()}

    @cached_property
    def table_identities(self) -> dict[int, str]:
        """Of each person something that changes with the table of their appearances."""
        return {
            one.id: _digest([(*seen, self._clips[seen.clip_id]) for seen in one.seen])
            for one in self.people.values()
        }

    @cached_property
    def blocks(self) -> dict[int, list[VisiblePerson]]:
        """People by the block they are in, every block up to the last one."""
        last = max(map(block_of, self.people), default=0)
        blocks: dict[int, list[VisiblePerson]] = {number: [] for number in range(1, last + 1)}
        for one in self.people.values():
            blocks[block_of(one.id)].append(one)
        return blocks

    def summary(self) -> GallerySummary:
        """All of it at one glance."""
        new_faces = [one for one in self.people.values() if one.new_faces]
        clips = {seen.clip_id for one in self.people.values() for seen in one.seen}
        return GallerySummary(
            people=len(self.people),
            clips=len(clips),
            since=self._new_faces.since,
            new_people=sum(one.new_faces >= one.faces for one in new_faces),
            new_faces=sum(one.new_faces for one in new_faces),
            made_at=self._made_at,
        )

    def card(self, person: VisiblePerson) -> PersonCard:
        """A person among all."""
        added = [self._clips[seen.clip_id].added_at for seen in person.seen]
        return PersonCard(
            id=person.id,
            name=person.name,
            is_named=person.is_named,
            folder=person.folder.location,
            picture=self._picture(person),
            portraits=len(person.folder.portraits),
            faces=person.faces,
            clips=len(person.seen),
            first_at=min(added),
            last_at=max(added),
            new_faces=person.new_faces,
            outlier_count=len(self._outliers.of(person)),
            close=len(person.close),
        )

    def page(self, person_id: int) -> PersonPage:
        """All about one person."""
        person = self.people[person_id]
        faces = self._store.faces(person_id)
        clips = self.seen(person_id, list(zip(faces.clip_ids, faces.times_s, strict=True)))
        number = {clip.id: index for index, (clip, _) in enumerate(clips)}
        marks = faces.track_ids if self._new_faces.is_track else faces.ids
        is_new = (marks > self._new_faces.after_id) & bool(person.new_faces)
        rows = [
            row for row, face in enumerate(faces.ids.tolist()) if face in person.folder.portraits
        ]
        portraits = [
            PagePortrait(
                face_id=int(faces.ids[row]),
                clip=number[int(faces.clip_ids[row])],
                t_s=float(faces.times_s[row]),
                is_new=bool(is_new[row]),
                file=person.folder.portraits[int(faces.ids[row])],
            )
            for row in rows
        ]
        return PersonPage(
            self.card(person),
            clips,
            portraits,
            self._published_outliers(person, faces.track_ids[rows].tolist()),
            [self._other(other, distance) for other, distance in person.close],
            self._made_at,
        )

    def seen(
        self, person_id: int, faces: Sequence[tuple[int, float]] | None = None
    ) -> list[tuple[Clip, list[Appearance]]]:
        """Where a person is seen, in the order of videos.

        Args:
            person_id: Who.
            faces: Video and time of each face, if they are known already.
        """
        if faces is None:
            found = self._store.faces(person_id)
            faces = list(zip(found.clip_ids, found.times_s, strict=True))
        times: dict[int, list[float]] = {}
        for clip, t_s in faces:
            times.setdefault(int(clip), []).append(float(t_s))
        return [self._stretches(clip, found) for clip, found in times.items()]

    def appearances_by_person(
        self,
    ) -> Iterator[tuple[int, str, list[tuple[Clip, list[Appearance]]]]]:
        """Number and name of everybody, and where they are seen."""
        waiting: list[tuple[Clip, list[Appearance]]] = []
        last = 0
        for person, clip, times in self._store.times():
            if person not in self.people:
                continue
            if person != last and waiting:
                yield last, self.people[last].name, waiting
                waiting = []
            last = person
            waiting.append(self._stretches(clip, times))
        if waiting:
            yield last, self.people[last].name, waiting

    def _stretches(self, clip_id: int, times: Sequence[float]) -> tuple[Clip, list[Appearance]]:
        clip = self._clips[clip_id]
        return clip, join_appearances(times, clip.step_s, clip.duration_s)

    def _page_facts(self, person: VisiblePerson) -> tuple[object, ...]:
        others = [self.people[other] for other, _ in person.close]
        return (
            person,
            sorted(person.folder.portraits.items()),
            [self._clips[seen.clip_id] for seen in person.seen],
            [(one.id, one.name, one.folder.location, len(one.folder.portraits)) for one in others],
            (self._new_faces.after_id, self._new_faces.is_track) if person.new_faces else (),
        )

    def _published_outliers(self, person: VisiblePerson, tracks: Sequence[int]) -> list[Outlier]:
        """Of each doubtful track the portrait that shows it, if one is published."""
        portrait_of = {track: index for index, track in reversed(list(enumerate(tracks)))}
        return [
            Outlier(portrait_of[track], distance, usual)
            for track, distance, usual in self._outliers.of(person)
            if track in portrait_of
        ][:MAX_OUTLIERS]

    def _other(self, person_id: int, distance: float) -> SimilarPerson:
        other = self.people[person_id]
        picture = self._picture(other)
        return SimilarPerson(other.id, other.name, other.folder.location, picture, distance)

    def _picture(self, person: VisiblePerson) -> CardImage:
        folder = person.folder
        full = next((side for n, side in _FILLED if len(folder.portraits) >= n), 0)
        if full and folder.montage:
            return CardImage(folder.montage, full)
        # A video may have been forgotten since its portraits were written.
        known = set(self._store.faces(person.id).ids.tolist())
        face_ids = [face for face in sorted(folder.portraits) if face in known][:_LOOKED_AT]
        if not face_ids:
            return CardImage("", 0)
        best = face_ids[int(np.argmax(self._faces.quality(face_ids)))]
        return CardImage(folder.portraits[best], 0)


def _digest(value: object) -> str:
    return digest(repr(value).encode("utf-8", "surrogateescape"))[:16]
