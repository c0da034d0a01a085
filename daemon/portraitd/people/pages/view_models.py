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
    Card,
    Close,
    Doubt,
    PagePicture,
    PersonPage,
    ShownPortrait,
    Summary,
    block_of,
)
from portraitd.people.tree.folder_fs import digest
from portraitd.people.tree.locations import Whereabouts
from portraitd.store.appearances import Appearances, RecordingCount
from portraitd.store.faces import Faces
from portraitd.store.people import Person

MOST_DOUBTS = 24
"""More than one looks through at once; the farthest come first."""

_FILLED = ((25, 5), (19, 4), (13, 3), (7, 2))
"""Of so many portraits a montage has a full corner of so many tiles each way."""

_LOOKED_AT = 25
"""So many portraits compete for standing alone where there is no montage to show."""


@dataclass(frozen=True, slots=True)
class Someone:
    """A person in sight, with what tells whether their page is as it was.

    Attributes:
        seen: In which videos, and how often.
        fresh: Faces that came since last time.
        close: Who may be the same, and the distance between them.
    """

    id: int
    name: str
    is_named: bool
    place: Whereabouts
    seen: Sequence[RecordingCount]
    fresh: int
    close: Sequence[tuple[int, float]]

    @property
    def faces(self) -> int:
        return sum(one.faces for one in self.seen)


@dataclass(frozen=True, slots=True)
class News:
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


NOTHING_NEW = News({}, 0, True, 0.0)


class Doubts:
    """The tracks of each person that lie far from the rest; kept until the person changes."""

    def __init__(self, store: Appearances) -> None:
        self._store = store
        self._known: dict[int, tuple[object, list[tuple[int, float, float]]]] = {}

    def of(self, someone: Someone) -> list[tuple[int, float, float]]:
        """Track, distance, and what is usual, the farthest first."""
        trace = tuple(one.trace for one in someone.seen)
        known = self._known.get(someone.id)
        if known is None or known[0] != trace:
            track_ids, embeddings = self._store.tracks(someone.id)
            found = find_outliers(embeddings)
            far = zip(track_ids[found.rows].tolist(), found.distances.tolist(), strict=True)
            known = trace, [(track, distance, found.usual) for track, distance in far]
            self._known[someone.id] = known
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
        doubts: Doubts,
        present: Sequence[Person],
        places: Mapping[int, Whereabouts],
        close: Sequence[tuple[int, int, float]],
        news: News,
        made_at: float,
    ) -> None:
        self._store = store
        self._faces = faces
        self._doubts = doubts
        self._news = news
        self._made_at = made_at
        self._clips = store.clips()
        count_by_person = store.count_by_person()
        pairs: dict[int, list[tuple[int, float]]] = {}
        shown = [one for one in present if one.id in places and one.id in count_by_person]
        in_sight = {one.id for one in shown}
        for lower, higher, distance in close:
            if lower in in_sight and higher in in_sight:
                pairs.setdefault(lower, []).append((higher, distance))
                pairs.setdefault(higher, []).append((lower, distance))
        self.everybody = {
            person.id: Someone(
                person.id,
                person.name or places[person.id].name or folder_name(person.id, None),
                bool(person.name or places[person.id].name),
                places[person.id],
                count_by_person[person.id],
                news.faces.get(person.id, 0),
                pairs.get(person.id, ()),
            )
            for person in shown
        }

    @cached_property
    def traces(self) -> dict[int, str]:
        """Of each person something that changes with their page."""
        return {one.id: _digest(self._trace(one)) for one in self.everybody.values()}

    @cached_property
    def seen_traces(self) -> dict[int, str]:
        """Of each person something that changes with the table of their appearances."""
        return {
            one.id: _digest([(*seen, self._clips[seen.clip_id]) for seen in one.seen])
            for one in self.everybody.values()
        }

    @cached_property
    def blocks(self) -> dict[int, list[Someone]]:
        """People by the block they are in, every block up to the last one."""
        last = max(map(block_of, self.everybody), default=0)
        blocks: dict[int, list[Someone]] = {number: [] for number in range(1, last + 1)}
        for one in self.everybody.values():
            blocks[block_of(one.id)].append(one)
        return blocks

    def summary(self) -> Summary:
        """All of it at one glance."""
        fresh = [one for one in self.everybody.values() if one.fresh]
        clips = {seen.clip_id for one in self.everybody.values() for seen in one.seen}
        return Summary(
            people=len(self.everybody),
            clips=len(clips),
            since=self._news.since,
            new_people=sum(one.fresh >= one.faces for one in fresh),
            new_faces=sum(one.fresh for one in fresh),
            made_at=self._made_at,
        )

    def card(self, someone: Someone) -> Card:
        """A person among all."""
        added = [self._clips[seen.clip_id].added_at for seen in someone.seen]
        return Card(
            id=someone.id,
            name=someone.name,
            is_named=someone.is_named,
            folder=someone.place.location,
            picture=self._picture(someone),
            portraits=len(someone.place.portraits),
            faces=someone.faces,
            clips=len(someone.seen),
            first_at=min(added),
            last_at=max(added),
            fresh=someone.fresh,
            doubtful=len(self._doubts.of(someone)),
            close=len(someone.close),
        )

    def page(self, person_id: int) -> PersonPage:
        """All about one person."""
        someone = self.everybody[person_id]
        faces = self._store.faces(person_id)
        clips = self.seen(person_id, list(zip(faces.clip_ids, faces.times_s, strict=True)))
        number = {clip.id: index for index, (clip, _) in enumerate(clips)}
        marks = faces.track_ids if self._news.is_track else faces.ids
        is_new = (marks > self._news.after_id) & bool(someone.fresh)
        rows = [
            row for row, face in enumerate(faces.ids.tolist()) if face in someone.place.portraits
        ]
        portraits = [
            ShownPortrait(
                face_id=int(faces.ids[row]),
                clip=number[int(faces.clip_ids[row])],
                t_s=float(faces.times_s[row]),
                is_new=bool(is_new[row]),
                file=someone.place.portraits[int(faces.ids[row])],
            )
            for row in rows
        ]
        return PersonPage(
            self.card(someone),
            clips,
            portraits,
            self._doubtful(someone, faces.track_ids[rows].tolist()),
            [self._other(other, distance) for other, distance in someone.close],
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

    def seen_by_all(self) -> Iterator[tuple[int, str, list[tuple[Clip, list[Appearance]]]]]:
        """Number and name of everybody, and where they are seen."""
        waiting: list[tuple[Clip, list[Appearance]]] = []
        last = 0
        for person, clip, times in self._store.times():
            if person not in self.everybody:
                continue
            if person != last and waiting:
                yield last, self.everybody[last].name, waiting
                waiting = []
            last = person
            waiting.append(self._stretches(clip, times))
        if waiting:
            yield last, self.everybody[last].name, waiting

    def _stretches(self, clip_id: int, times: Sequence[float]) -> tuple[Clip, list[Appearance]]:
        clip = self._clips[clip_id]
        return clip, join_appearances(times, clip.step_s, clip.duration_s)

    def _trace(self, someone: Someone) -> tuple[object, ...]:
        others = [self.everybody[other] for other, _ in someone.close]
        return (
            someone,
            sorted(someone.place.portraits.items()),
            [self._clips[seen.clip_id] for seen in someone.seen],
            [(one.id, one.name, one.place.location, len(one.place.portraits)) for one in others],
            (self._news.after_id, self._news.is_track) if someone.fresh else (),
        )

    def _doubtful(self, someone: Someone, tracks: Sequence[int]) -> list[Doubt]:
        """Of each doubtful track the portrait that shows it, if one is published."""
        portrait_of = {track: index for index, track in reversed(list(enumerate(tracks)))}
        return [
            Doubt(portrait_of[track], distance, usual)
            for track, distance, usual in self._doubts.of(someone)
            if track in portrait_of
        ][:MOST_DOUBTS]

    def _other(self, person_id: int, distance: float) -> Close:
        other = self.everybody[person_id]
        picture = self._picture(other)
        return Close(other.id, other.name, other.place.location, picture, distance)

    def _picture(self, someone: Someone) -> PagePicture:
        place = someone.place
        full = next((side for n, side in _FILLED if len(place.portraits) >= n), 0)
        if full and place.montage:
            return PagePicture(place.montage, full)
        # A video may have been forgotten since its portraits were written.
        known = set(self._store.faces(someone.id).ids.tolist())
        face_ids = [face for face in sorted(place.portraits) if face in known][:_LOOKED_AT]
        if not face_ids:
            return PagePicture("", 0)
        best = face_ids[int(np.argmax(self._faces.quality(face_ids)))]
        return PagePicture(place.portraits[best], 0)


def _digest(value: object) -> str:
    return digest(repr(value).encode("utf-8", "surrogateescape"))[:16]
