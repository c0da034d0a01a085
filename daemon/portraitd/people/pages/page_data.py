"""The data files that the scripts of the gallery load: values in, scripts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from portraitd.model.appearance import Appearance, Clip
from portraitd.model.recording_time import DateKind, RecordingDate
from portraitd.model.wording import to_display_text
from portraitd.people.pages.escaping import make_script, quote_path

PER_BLOCK = 250
"""How many consecutive ids share a block; a person never moves to another block."""


@dataclass(frozen=True, slots=True)
class PersonCard:
    """A person's card on the index page.

    Attributes:
        is_named: Whether a human gave the name.
        folder: The path of the folder below the root.
        cover: Name of the portrait on the card, in that folder; empty if there is none.
        videos, photos: How many of each the person appears in.
        first, last: When the first and the last of them were made or dropped.
        new_faces: Faces since the previous version.
        outlier_count: Portraits that are likely of another person.
        similar: Number of people who may be the same person.
    """

    id: int
    name: str
    is_named: bool
    folder: str
    cover: str
    portraits: int
    faces: int
    videos: int
    photos: int
    first: RecordingDate
    last: RecordingDate
    new_faces: int
    outlier_count: int
    similar: int


@dataclass(frozen=True, slots=True)
class PagePortrait:
    """A portrait in a person's folder.

    Attributes:
        clip: Index into the person's videos and photos, from 0.
        file: Its name in the folder.
        quality_rank: 0 for the best picture of the person.
        doubt_rank: 0 for the one that is farthest from the middle of the person.
    """

    face_id: int
    clip: int
    t_s: float
    is_new: bool
    file: str
    quality_rank: int
    doubt_rank: int


@dataclass(frozen=True, slots=True)
class Outlier:
    """A portrait that is likely of another person.

    Attributes:
        portrait: Index into the portraits of the page.
        distance: To the nearest other tracks of the person, on average.
        median: The median of that for all tracks of the person.
    """

    portrait: int
    distance: float
    median: float


@dataclass(frozen=True, slots=True)
class SimilarPerson:
    """A person who may be the same person.

    Attributes:
        is_likely: Whether they very likely are, rather than maybe.
    """

    id: int
    name: str
    folder: str
    cover: str
    is_likely: bool


@dataclass(frozen=True, slots=True)
class PersonPage:
    """The content of a person's page.

    Attributes:
        clips: The videos and photos the person appears in, and when in each.
        made_at: When the people tree was published.
        montage: Name of the montage in the person's folder; empty if there is none.
        neighbours: The people with the next lower and the next higher number; 0 for none.
        recordings: Address of the folder of all recordings, as readers see it; empty if unknown.
        is_indistinct: Whether the model in use cannot tell the person from others;
        has_better_model: and whether a recommended one may.
    """

    card: PersonCard
    clips: Sequence[tuple[Clip, Sequence[Appearance]]]
    portraits: Sequence[PagePortrait]
    outliers: Sequence[Outlier]
    similar: Sequence[SimilarPerson]
    made_at: float
    montage: str
    neighbours: tuple[int, int]
    recordings: str = ""
    is_indistinct: bool = False
    has_better_model: bool = False


@dataclass(frozen=True, slots=True)
class UnsortedPortrait:
    """A portrait of a face without a person.

    Attributes:
        clip: Index into the videos and photos of the page, from 0.
        file: Its name in the folder.
        person_id: Who it may be; 0 if it resembles no person.
        probability: That it is.
    """

    face_id: int
    clip: int
    t_s: float
    file: str
    person_id: int
    probability: float


@dataclass(frozen=True, slots=True)
class UnsortedPage:
    """The content of the page of faces without a person.

    Attributes:
        folder: The path of their folder below the root.
        clips: The videos and photos they are from.
        portraits: The most likely ones first.
        people: By id, each person they may be: name, path of the folder, and cover in it.
        recordings: As in ``PersonPage``.
        made_at: When the people tree was published.
    """

    folder: str
    clips: Sequence[Clip]
    portraits: Sequence[UnsortedPortrait]
    people: Mapping[int, tuple[str, str, str]]
    recordings: str
    made_at: float


@dataclass(frozen=True, slots=True)
class GallerySummary:
    """The totals at the head of the index page.

    Attributes:
        videos, photos: How many of each a person appears in.
        since: When the previous version was published, from which "new" counts; 0 if there
            is none.
        made_at: When the people tree was published.
        indistinct_faces: Faces of people whom the model in use cannot tell apart;
        has_better_model: and whether a recommended one may.
        unsorted: Portraits on the page of faces without a person.
    """

    people: int
    videos: int
    photos: int
    since: float
    new_people: int
    new_faces: int
    made_at: float
    indistinct_faces: int = 0
    has_better_model: bool = False
    unsorted: int = 0


def find_block(person_id: int) -> int:
    """Return the block of a person, counted from 1."""
    return (person_id - 1) // PER_BLOCK + 1


def person_file_name(person_id: int) -> str:
    """Return the name of the data file of a person's page."""
    return f"person-{person_id:06d}.js"


def table_file_name(person_id: int) -> str:
    """Return the name of the table of a person's appearances."""
    return f"{person_id:06d}.csv"


def make_people_script(cards: Sequence[PersonCard]) -> bytes:
    """Return the script with the cards of one block.

    A card is a list, not an object, to keep thousands of people small.
    """
    return make_script("people", [_row(card) for card in cards])


def make_summary_script(summary: GallerySummary) -> bytes:
    """Return the script with the totals."""
    return make_script(
        "summary",
        {
            "people": summary.people,
            "videos": summary.videos,
            "photos": summary.photos,
            "since": round(summary.since),
            "new_people": summary.new_people,
            "new_faces": summary.new_faces,
            "at": round(summary.made_at),
            "indistinct": summary.indistinct_faces,
            "better_model": int(summary.has_better_model),
            "unsorted": summary.unsorted,
        },
    )


def make_person_script(page: PersonPage) -> bytes:
    """Return the script with the content of a person's page."""
    card = page.card
    return make_script(
        "person",
        {
            "id": card.id,
            "name": to_display_text(card.name),
            "folder": quote_path(card.folder),
            "folder_name": to_display_text(card.folder),
            "named": int(card.is_named),
            "cover": quote_path(card.cover),
            "montage": quote_path(page.montage),
            "neighbours": page.neighbours,
            "recordings": page.recordings,
            "faces": card.faces,
            "new_faces": card.new_faces,
            "at": round(page.made_at),
            "indistinct": int(page.is_indistinct),
            "better_model": int(page.has_better_model),
            "first": _first_or_last(page, first=True),
            "last": _first_or_last(page, first=False),
            "videos": [_video(clip, stretches, page.recordings) for clip, stretches in page.clips],
            "portraits": [_portrait(one) for one in page.portraits],
            "outliers": [
                [outlier.portrait, round(outlier.distance, 3), round(outlier.median, 3)]
                for outlier in page.outliers
            ],
            "similar": [
                [
                    one.id,
                    to_display_text(one.name),
                    quote_path(one.folder),
                    quote_path(one.cover),
                    int(one.is_likely),
                ]
                for one in page.similar
            ],
        },
    )


def make_unsorted_script(page: UnsortedPage) -> bytes:
    """Return the script with the faces that have no person."""
    return make_script(
        "unsorted",
        {
            "folder": quote_path(page.folder),
            "at": round(page.made_at),
            "recordings": page.recordings,
            "videos": [_video(clip, [], page.recordings) for clip in page.clips],
            "people": {
                str(person_id): [to_display_text(name), quote_path(folder), quote_path(cover)]
                for person_id, (name, folder, cover) in page.people.items()
            },
            "portraits": [
                [
                    one.face_id,
                    one.clip,
                    round(one.t_s, 2),
                    one.person_id,
                    round(one.probability, 2),
                    *_file_unless_usual(one.face_id, one.file),
                ]
                for one in page.portraits
            ],
        },
    )


def make_status_script(facts: Mapping[str, object]) -> bytes:
    """Return the script with the status line of the index page."""
    return make_script("status", dict(facts))


def _row(card: PersonCard) -> list[object]:
    return [
        card.id,
        to_display_text(card.name),
        int(card.is_named),
        quote_path(card.folder),
        quote_path(card.cover),
        card.portraits,
        card.faces,
        card.videos,
        card.photos,
        _date(card.first)[0],
        _date(card.last)[0],
        card.new_faces,
        card.outlier_count,
        card.similar,
        _date(card.first)[1],
        _date(card.last)[1],
    ]


def _first_or_last(page: PersonPage, first: bool) -> list[object]:
    clips = [clip for clip, _ in page.clips]
    clip = (min if first else max)(clips, key=lambda one: (one.date.time.at_s, one.id))
    return [*_date(clip.date), clip.name]


def _date(date: RecordingDate) -> list[object]:
    """Return the seconds since 1970 and a letter: what the date is, and whose clock shows it.

    ``d``: when the recording was dropped, in the reader's time; ``r``: when it was made, in the
    reader's time; ``l``: when it was made, on the clock of the place, read as though it were UTC.
    """
    kind, time = date
    if kind is DateKind.DROPPED:
        return [round(time.at_s), "d"]
    # Zero stands for a moment in UTC, which does not tell the place.
    return [round(time.at_s), "r"] if time.offset_min == 0 else [round(time.wall_s), "l"]


def _video(clip: Clip, stretches: Sequence[Appearance], recordings: str) -> list[object]:
    where = [] if clip.is_photo else [[round(a, 2), round(b, 2), n] for a, b, n in stretches]
    seconds, kind = _date(clip.date)
    row = [clip.name, int(clip.is_photo), round(clip.duration_s, 2), seconds, where, kind]
    return [*row, quote_path(clip.path)] if recordings and clip.path else row


def _portrait(one: PagePortrait) -> list[object]:
    row: list[object] = [
        one.face_id,
        one.clip,
        round(one.t_s, 2),
        int(one.is_new),
        one.quality_rank,
        one.doubt_rank,
    ]
    return [*row, *_file_unless_usual(one.face_id, one.file)]


def _file_unless_usual(face_id: int, file: str) -> list[str]:
    # The file name nearly always follows from the id.
    return [] if file == f"{face_id:06d}.jpg" else [quote_path(file)]
