"""The gallery's view models: facts from the store and the people tree, as the pages show them.

Each page has an identity that changes when its content would change. Computing the identities
takes one pass over an index for all people; faces and embeddings are read only for the people
whose identity has changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.group_statistics import GroupStatistics
from portraitd.clustering.outliers import MIN_TRACKS, find_outliers, measure_person
from portraitd.faces.models.cards import MOBILEFACENET
from portraitd.faces.portrait_selection import measure_eccentricity, pick_cover
from portraitd.model.appearance import Appearance, Clip, join_appearances
from portraitd.model.edit import Placement
from portraitd.model.grouping_rules import EmbeddingRules
from portraitd.model.recording_time import RecordingDate
from portraitd.model.suggestion import Suggestion
from portraitd.model.track import l2_normalised
from portraitd.people.names import folder_name
from portraitd.people.pages.page_data import (
    GallerySummary,
    Outlier,
    PagePortrait,
    PersonCard,
    PersonPage,
    SimilarPerson,
    UnsortedPage,
    UnsortedPortrait,
    find_block,
)
from portraitd.people.tree.folder_fs import digest
from portraitd.people.tree.folder_state import FolderState
from portraitd.store.appearances import Appearances, RecordingCount, UnsortedFace
from portraitd.store.faces import Faces
from portraitd.store.people import Person

MAX_OUTLIERS = 24
"""The longest list of likely wrong portraits on a page; the most distant come first."""

_CANDIDATES = 60
"""How many portraits of a person are compared to choose the cover."""


@dataclass(frozen=True, slots=True)
class VisiblePerson:
    """A person who has a page.

    Attributes:
        seen: The recordings the person appears in, with counts.
        new_faces: Number of faces since the previous gallery version.
        similar: People who may be the same person, the most likely first, and whether each very
            likely is, rather than maybe.
    """

    id: int
    name: str
    is_named: bool
    folder: FolderState
    seen: Sequence[RecordingCount]
    new_faces: int
    similar: Sequence[tuple[int, bool]]

    @property
    def faces(self) -> int:
        return sum(one.faces for one in self.seen)


@dataclass(frozen=True, slots=True)
class NewFaces:
    """The faces that are new since the previous gallery version.

    Attributes:
        faces: Number of new faces by person.
        after_id: The last face or track that is not new.
        is_track: Whether ``after_id`` is a track, not a face.
        since: When the previous version was published; 0 for the first version, in which
            nothing counts as new.
    """

    faces: Mapping[int, int]
    after_id: int
    is_track: bool
    since: float


NO_NEW_FACES = NewFaces({}, 0, True, 0.0)


class OutlierCache:
    """Caches the outlying tracks of each person until the person changes."""

    def __init__(self, store: Appearances) -> None:
        self._store = store
        self._checksums: dict[int, object] = {}
        self._people: dict[int, GroupStatistics] = {}
        self._outliers: dict[int, list[tuple[int, float, float]]] = {}

    def update(self, people: Iterable[VisiblePerson]) -> None:
        """Bring the cache up to date; only those who changed are measured again."""
        checksums: dict[int, object] = {
            one.id: tuple(seen.checksum for seen in one.seen) for one in people
        }
        changed = [one for one in checksums if self._checksums.get(one) != checksums[one]]
        for gone in self._checksums.keys() - checksums.keys():
            self._people.pop(gone, None)
            self._outliers.pop(gone, None)
        for person_id in changed:
            self._people.pop(person_id, None)
            self._outliers.pop(person_id, None)
        if changed and (rules := self._store.rules()) is not None:
            for person_id in changed:
                embeddings = self._store.tracks(person_id)[1]
                if len(embeddings):
                    self._people[person_id] = measure_person(embeddings, rules)
            self._find(changed, rules)
        # Not before: what could not be read now is read again.
        self._checksums = checksums

    def of(self, person_id: int) -> list[tuple[int, float, float]]:
        """Return track id, distance and median distance of each outlier, most distant first."""
        return self._outliers.get(person_id, [])

    def _find(self, changed: Iterable[int], rules: EmbeddingRules) -> None:
        # A recording that could not be read again may have vectors of an earlier model.
        by_width: dict[int, list[int]] = {}
        for person_id, one in self._people.items():
            by_width.setdefault(one.means.shape[1], []).append(person_id)
        everyone = {
            width: GroupStatistics.stack([self._people[one] for one in ids], width)
            for width, ids in by_width.items()
        }
        places = {one: at for ids in by_width.values() for at, one in enumerate(ids)}
        for person_id in changed:
            own = self._people.get(person_id)
            if own is None or own.counts[0] < MIN_TRACKS:
                continue
            track_ids, embeddings = self._store.tracks(person_id)
            people = everyone[embeddings.shape[1]]
            found = find_outliers(embeddings, rules, people, places[person_id])
            far = zip(track_ids[found.rows].tolist(), found.distances.tolist(), strict=True)
            self._outliers[person_id] = [(track, distance, found.median) for track, distance in far]


class CoverCache:
    """Chooses the portrait that stands for a person, again only when their portraits change."""

    def __init__(self, store: Appearances, faces: Faces) -> None:
        self._store = store
        self._faces = faces
        self._known: dict[int, tuple[object, str]] = {}

    def of(self, person: VisiblePerson) -> str:
        """Return the name of the portrait in the person's folder; empty if there is none."""
        names = person.folder.portrait_names
        key = hash((tuple(seen.checksum for seen in person.seen), frozenset(names.items())))
        known = self._known.get(person.id)
        if known is None or known[0] != key:
            known = self._known[person.id] = key, self._choose(person)
        return known[1]

    def _choose(self, person: VisiblePerson) -> str:
        names = person.folder.portrait_names
        # A video may have been erased since its portraits were written.
        known = set(self._store.faces(person.id).ids.tolist())
        face_ids = sorted(names.keys() & known)
        face_ids = face_ids[:: max(1, -(-len(face_ids) // _CANDIDATES))]
        if not face_ids:
            return ""
        vectors = l2_normalised(self._faces.embeddings_of(face_ids))
        return names[face_ids[pick_cover(vectors, self._faces.portrait_rank(face_ids))]]


class GalleryViews:
    """All people of one gallery version.

    Args:
        store: The appearances of people.
        faces: The faces, to choose the portrait that stands for a person.
        outliers, covers: Kept from one version to the next.
        current: The people of the current grouping.
        folders: The folder of each person.
        suggestions: Pairs of people who may be the same person, the most likely first.
        new_faces: What is new since the previous version.
        made_at: When the people tree was published.
        indistinct_people: People whom the model in use cannot tell from others.
        indistinct_faces: Faces of people whom it cannot tell apart.
        recordings: Address of the folder of all recordings, as readers see it.
    """

    def __init__(
        self,
        store: Appearances,
        faces: Faces,
        outliers: OutlierCache,
        covers: CoverCache,
        current: Sequence[Person],
        folders: Mapping[int, FolderState],
        suggestions: Sequence[Suggestion],
        new_faces: NewFaces,
        made_at: float,
        indistinct_people: Collection[int] = (),
        indistinct_faces: int = 0,
        recordings: str = "",
    ) -> None:
        self._store = store
        self._faces = faces
        self._outliers = outliers
        self._covers = covers
        self._new_faces = new_faces
        self._made_at = made_at
        self._indistinct_people = indistinct_people
        self._indistinct_faces = indistinct_faces
        self._has_better_model = bool(indistinct_faces) and not any(
            space.partition("+")[0] == MOBILEFACENET.space for space in store.spaces()
        )
        self._clips = store.clips()
        self._unsorted = folders.get(Placement.UNSORTED)
        count_by_person = store.count_by_person()
        pairs: dict[int, list[tuple[int, bool]]] = {}
        visible = [one for one in current if one.id in folders and one.id in count_by_person]
        visible_ids = {one.id for one in visible}
        for one in suggestions:
            if one.lower_id in visible_ids and one.higher_id in visible_ids:
                pairs.setdefault(one.lower_id, []).append((one.higher_id, one.is_likely))
                pairs.setdefault(one.higher_id, []).append((one.lower_id, one.is_likely))
        self.people = {
            person.id: VisiblePerson(
                person.id,
                person.name or folders[person.id].given_name or folder_name(person.id, None),
                bool(person.name or folders[person.id].given_name),
                folders[person.id],
                count_by_person[person.id],
                new_faces.faces.get(person.id, 0),
                pairs.get(person.id, ()),
            )
            for person in visible
        }
        outliers.update(self.people.values())
        self._recordings = recordings
        numbers = sorted(self.people)
        self._neighbours = {
            one: (before, after)
            for before, one, after in zip([0, *numbers], numbers, [*numbers[1:], 0], strict=False)
        }

    @cached_property
    def page_identities(self) -> dict[int, str]:
        """The identity of each person's page: it changes when the page would change."""
        return {one.id: _digest(self._page_facts(one)) for one in self.people.values()}

    @cached_property
    def table_identities(self) -> dict[int, str]:
        """The identity of each person's table of appearances."""
        return {
            one.id: _digest([(*seen, self._clips[seen.clip_id]) for seen in one.seen])
            for one in self.people.values()
        }

    @cached_property
    def subtitle_identities(self) -> dict[int, str]:
        """The identity of who is visible when, for each video with people."""
        facts: dict[int, list[object]] = {}
        for one in self.people.values():
            for seen in one.seen:
                if not self._clips[seen.clip_id].is_photo:
                    facts.setdefault(seen.clip_id, []).append((one.name, *seen))
        return {clip: _digest((self._clips[clip], *found)) for clip, found in facts.items()}

    def clip(self, clip_id: int) -> Clip:
        """Return a video or photo."""
        return self._clips[clip_id]

    def read_visible(self, clip_id: int) -> list[tuple[str, list[Appearance]]]:
        """Return who is visible in a recording, and when, by the ids of the people."""
        return [
            (self.people[person_id].name, self._join_times(clip_id, times)[1])
            for person_id, times in self._store.times_in(clip_id)
            if person_id in self.people
        ]

    @cached_property
    def blocks(self) -> dict[int, list[VisiblePerson]]:
        """The people of each block, including empty blocks before the last one."""
        last = max(map(find_block, self.people), default=0)
        blocks: dict[int, list[VisiblePerson]] = {number: [] for number in range(1, last + 1)}
        for one in self.people.values():
            blocks[find_block(one.id)].append(one)
        return blocks

    def make_summary(self) -> GallerySummary:
        """Return the totals for the head of the index page."""
        new_faces = [one for one in self.people.values() if one.new_faces]
        clips = {seen.clip_id for one in self.people.values() for seen in one.seen}
        photos = sum(self._clips[clip_id].is_photo for clip_id in clips)
        return GallerySummary(
            people=len(self.people),
            videos=len(clips) - photos,
            photos=photos,
            since=self._new_faces.since,
            new_people=sum(one.new_faces >= one.faces for one in new_faces),
            new_faces=sum(one.new_faces for one in new_faces),
            made_at=self._made_at,
            indistinct_faces=self._indistinct_faces,
            has_better_model=self._has_better_model,
            unsorted=len(self._unsorted_faces),
        )

    @cached_property
    def unsorted_identity(self) -> str:
        """The identity of the page of faces without a person."""
        folder = self._unsorted
        names = folder.portrait_names if folder else {}
        return _digest(
            (
                folder.location if folder else "",
                [(*one, names[one.face_id]) for one in self._unsorted_faces],
                [self._clips[one.clip_id] for one in self._unsorted_faces],
                [
                    (one.id, one.name, one.folder.location, self._covers.of(one))
                    for one in self._unsorted_people
                ],
                self._recordings,
            )
        )

    def make_unsorted(self) -> UnsortedPage:
        """Return the content of the page of faces without a person."""
        folder, faces = self._unsorted, self._unsorted_faces
        names = folder.portrait_names if folder else {}
        clip_ids = list(dict.fromkeys(one.clip_id for one in faces))
        number = {clip_id: index for index, clip_id in enumerate(clip_ids)}
        known = {one.id for one in self._unsorted_people}
        portraits = [
            UnsortedPortrait(
                one.face_id,
                number[one.clip_id],
                one.t_s,
                names[one.face_id],
                one.person_id if one.person_id in known else 0,
                one.probability if one.person_id in known else 0.0,
            )
            for one in faces
        ]
        return UnsortedPage(
            folder.location if folder else "",
            [self._clips[clip_id] for clip_id in clip_ids],
            sorted(portraits, key=lambda one: (-one.probability, one.face_id)),
            {
                one.id: (one.name, one.folder.location, self._covers.of(one))
                for one in self._unsorted_people
            },
            self._recordings,
            self._made_at,
        )

    @cached_property
    def _unsorted_faces(self) -> list[UnsortedFace]:
        return self._store.unsorted_faces(self._unsorted.portrait_names) if self._unsorted else []

    @cached_property
    def _unsorted_people(self) -> list[VisiblePerson]:
        ids = sorted({one.person_id for one in self._unsorted_faces})
        return [self.people[one] for one in ids if one in self.people]

    def make_card(self, person: VisiblePerson) -> PersonCard:
        """Return a person's card on the index page."""
        clips = [self._clips[seen.clip_id] for seen in person.seen]
        photos = sum(clip.is_photo for clip in clips)
        dates = [clip.date for clip in clips]
        return PersonCard(
            id=person.id,
            name=person.name,
            is_named=person.is_named,
            folder=person.folder.location,
            cover=self._covers.of(person),
            portraits=len(person.folder.portrait_names),
            faces=person.faces,
            videos=len(clips) - photos,
            photos=photos,
            first=min(dates, key=_moment),
            last=max(dates, key=_moment),
            new_faces=person.new_faces,
            outlier_count=len(self._outliers.of(person.id)),
            similar=len(person.similar),
        )

    def make_page(self, person_id: int) -> PersonPage:
        """Return the content of a person's page."""
        person = self.people[person_id]
        faces = self._store.faces(person_id)
        clips = self.read_appearances(
            person_id, list(zip(faces.clip_ids, faces.times_s, strict=True))
        )
        number = {clip.id: index for index, (clip, _) in enumerate(clips)}
        marks = faces.track_ids if self._new_faces.is_track else faces.ids
        is_new = (marks > self._new_faces.after_id) & bool(person.new_faces)
        rows = [
            row
            for row, face in enumerate(faces.ids.tolist())
            if face in person.folder.portrait_names
        ]
        face_ids = faces.ids[rows].tolist()
        quality = self._faces.portrait_rank(face_ids)
        vectors = l2_normalised(self._faces.embeddings_of(face_ids))
        portraits = [
            PagePortrait(
                face_id=int(faces.ids[row]),
                clip=number[int(faces.clip_ids[row])],
                t_s=float(faces.times_s[row]),
                is_new=bool(is_new[row]),
                file=person.folder.portrait_names[int(faces.ids[row])],
                quality_rank=best,
                doubt_rank=farthest,
            )
            for row, best, farthest in zip(
                rows,
                _ranks(-quality),
                _ranks(-measure_eccentricity(vectors, quality)) if rows else [],
                strict=True,
            )
        ]
        return PersonPage(
            self.make_card(person),
            clips,
            portraits,
            self._published_outliers(person, faces.track_ids[rows].tolist()),
            [self._make_similar_person(other, is_likely) for other, is_likely in person.similar],
            self._made_at,
            person.folder.montage,
            self._neighbours[person_id],
            self._recordings,
            person_id in self._indistinct_people,
            self._has_better_model,
        )

    def read_appearances(
        self, person_id: int, faces: Sequence[tuple[int, float]] | None = None
    ) -> list[tuple[Clip, list[Appearance]]]:
        """Return the appearances of a person, by recording.

        Args:
            person_id: The person.
            faces: Recording and time of each face, if they were read already.
        """
        if faces is None:
            found = self._store.faces(person_id)
            faces = list(zip(found.clip_ids, found.times_s, strict=True))
        times: dict[int, list[float]] = {}
        for clip, t_s in faces:
            times.setdefault(int(clip), []).append(float(t_s))
        return [self._join_times(clip, found) for clip, found in times.items()]

    def iter_appearances(
        self,
    ) -> Iterator[tuple[int, str, list[tuple[Clip, list[Appearance]]]]]:
        """Yield id, name and appearances of each person, ordered by id."""
        waiting: list[tuple[Clip, list[Appearance]]] = []
        last = 0
        for person, clip, times in self._store.times():
            if person not in self.people:
                continue
            if person != last and waiting:
                yield last, self.people[last].name, waiting
                waiting = []
            last = person
            waiting.append(self._join_times(clip, times))
        if waiting:
            yield last, self.people[last].name, waiting

    def _join_times(self, clip_id: int, times: Sequence[float]) -> tuple[Clip, list[Appearance]]:
        clip = self._clips[clip_id]
        return clip, join_appearances(times, clip.step_s, clip.duration_s)

    def _page_facts(self, person: VisiblePerson) -> tuple[object, ...]:
        others = [self.people[other] for other, _ in person.similar]
        folder = person.folder
        # Not the whole folder: a page does not depend on other files in it, or on file times.
        return (
            (person.id, person.name, person.is_named, person.new_faces),
            (folder.location, folder.montage, sorted(folder.portrait_names.items())),
            person.seen,
            person.similar,
            [self._clips[seen.clip_id] for seen in person.seen],
            [
                (one.id, one.name, one.folder.location, len(one.folder.portrait_names))
                for one in others
            ],
            (self._new_faces.after_id, self._new_faces.is_track) if person.new_faces else (),
            person.id in self._indistinct_people and (True, self._has_better_model),
            self._neighbours[person.id],
            self._recordings,
        )

    def _published_outliers(self, person: VisiblePerson, tracks: Sequence[int]) -> list[Outlier]:
        """Return the portrait of each outlying track, if one is published."""
        portrait_of = {track: index for index, track in reversed(list(enumerate(tracks)))}
        return [
            Outlier(portrait_of[track], distance, median)
            for track, distance, median in self._outliers.of(person.id)
            if track in portrait_of
        ][:MAX_OUTLIERS]

    def _make_similar_person(self, person_id: int, is_likely: bool) -> SimilarPerson:
        other = self.people[person_id]
        cover = self._covers.of(other)
        return SimilarPerson(other.id, other.name, other.folder.location, cover, is_likely)


def _ranks(values: NDArray[np.float64]) -> list[int]:
    """Return the place of each value in ascending order."""
    ranks = np.empty(len(values), np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return [int(rank) for rank in ranks]


def _moment(date: RecordingDate) -> float:
    return date.time.at_s


def _digest(value: object) -> str:
    return digest(repr(value).encode("utf-8", "surrogateescape"))[:16]
