"""People as the scripts of the gallery read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from portraitd.model.appearance import Appearance, Clip
from portraitd.people.pages.escaping import make_script, quote_path, to_display_text

PER_BLOCK = 250
"""People whose numbers lie in one block. Whose block it is never changes."""


@dataclass(frozen=True, slots=True)
class CardImage:
    """What stands for a person at one glance.

    Attributes:
        file: Its name in the person's folder; empty if there is none.
        full: Of a montage the side of the corner that is filled, 2 to 5; 0 for a portrait.
    """

    file: str
    full: int


@dataclass(frozen=True, slots=True)
class PersonCard:
    """A person among all.

    Attributes:
        is_named: Whether a human gave the name.
        folder: The path of the folder below the root.
        first_at, last_at: When the first and the last video came that they are seen in.
        fresh: Faces that came since last time.
        doubtful: Portraits that are likely somebody else.
        close: People who may be the same.
    """

    id: int
    name: str
    is_named: bool
    folder: str
    picture: CardImage
    portraits: int
    faces: int
    clips: int
    first_at: float
    last_at: float
    new_faces: int
    outlier_count: int
    close: int


@dataclass(frozen=True, slots=True)
class PagePortrait:
    """A portrait in a person's folder.

    Attributes:
        clip: Which of the person's videos, counted from 0.
        file: Its name in the folder.
    """

    face_id: int
    clip: int
    t_s: float
    is_new: bool
    file: str


@dataclass(frozen=True, slots=True)
class Outlier:
    """A portrait that is likely somebody else: which one, and how far it lies from the rest."""

    portrait: int
    distance: float
    usual: float


@dataclass(frozen=True, slots=True)
class SimilarPerson:
    """Somebody who may be the same person."""

    id: int
    name: str
    folder: str
    picture: CardImage
    distance: float


@dataclass(frozen=True, slots=True)
class PersonPage:
    """All about one person.

    Attributes:
        clips: The videos they are seen in, and where in each.
        made_at: When.
    """

    card: PersonCard
    clips: Sequence[tuple[Clip, Sequence[Appearance]]]
    portraits: Sequence[PagePortrait]
    outliers: Sequence[Outlier]
    close: Sequence[SimilarPerson]
    made_at: float


@dataclass(frozen=True, slots=True)
class GallerySummary:
    """The gallery at one glance.

    Attributes:
        since: When was shown what "new" is counted from; 0 at the first time.
        made_at: When the people tree was published.
    """

    people: int
    clips: int
    since: float
    new_people: int
    new_faces: int
    made_at: float


def block_of(person_id: int) -> int:
    """The block a person is in, counted from 1."""
    return (person_id - 1) // PER_BLOCK + 1


def person_file_name(person_id: int) -> str:
    """The file with all about a person."""
    return f"person-{person_id:06d}.js"


def table_file_name(person_id: int) -> str:
    """The table of a person's appearances."""
    return f"{person_id:06d}.csv"


def make_people_script(cards: Sequence[PersonCard]) -> bytes:
    """A block of people. Lists, not objects: five thousand people are to be small."""
    return make_script("people", [_row(card) for card in cards])


def make_summary_script(summary: GallerySummary) -> bytes:
    """What the head of the page says."""
    return make_script(
        "summary",
        {
            "people": summary.people,
            "clips": summary.clips,
            "since": round(summary.since),
            "new_people": summary.new_people,
            "new_faces": summary.new_faces,
            "at": round(summary.made_at),
        },
    )


def make_person_script(page: PersonPage) -> bytes:
    """What the page of one person says."""
    card = page.card
    return make_script(
        "person",
        {
            "id": card.id,
            "name": to_display_text(card.name),
            "folder": quote_path(card.folder),
            "shown_folder": to_display_text(card.folder),
            "picture": quote_path(card.picture.file),
            "full": card.picture.full,
            "faces": card.faces,
            "fresh": card.new_faces,
            "at": round(page.made_at),
            "first": _seen(page, first=True),
            "last": _seen(page, first=False),
            "videos": [_video(clip, stretches) for clip, stretches in page.clips],
            "portraits": [_portrait(one) for one in page.portraits],
            "outliers": [
                [outlier.portrait, round(outlier.distance, 3), round(outlier.usual, 3)]
                for outlier in page.outliers
            ],
            "close": [
                [
                    one.id,
                    to_display_text(one.name),
                    quote_path(one.folder),
                    quote_path(one.picture.file),
                    one.picture.full,
                    round(one.distance, 3),
                ]
                for one in page.close
            ],
        },
    )


def make_status_script(facts: Mapping[str, object]) -> bytes:
    """What the line on the page of all people says."""
    return make_script("status", dict(facts))


def _row(card: PersonCard) -> list[object]:
    return [
        card.id,
        to_display_text(card.name),
        int(card.is_named),
        quote_path(card.folder),
        quote_path(card.picture.file),
        card.picture.full,
        card.portraits,
        card.faces,
        card.clips,
        round(card.first_at),
        round(card.last_at),
        card.new_faces,
        card.outlier_count,
        card.close,
    ]


def _seen(page: PersonPage, first: bool) -> list[object]:
    clips = [clip for clip, _ in page.clips]
    clip = (min if first else max)(clips, key=lambda one: (one.added_at, one.id))
    return [round(clip.added_at), clip.name]


def _video(clip: Clip, stretches: Sequence[Appearance]) -> list[object]:
    where = [] if clip.is_photo else [[round(a, 2), round(b, 2), n] for a, b, n in stretches]
    return [clip.name, int(clip.is_photo), round(clip.duration_s, 2), round(clip.added_at), where]


def _portrait(one: PagePortrait) -> list[object]:
    row: list[object] = [one.face_id, one.clip, round(one.t_s, 2), int(one.is_new)]
    # Nearly always the name follows from the number.
    return row if one.file == f"{one.face_id:06d}.jpg" else [*row, quote_path(one.file)]
