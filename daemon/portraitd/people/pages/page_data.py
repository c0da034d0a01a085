"""People as the scripts of the gallery read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from portraitd.model.appearance import Appearance, Clip
from portraitd.people.pages.escaping import link, readable, script

PER_BLOCK = 250
"""People whose numbers lie in one block. Whose block it is never changes."""


@dataclass(frozen=True, slots=True)
class PagePicture:
    """What stands for a person at one glance.

    Attributes:
        file: Its name in the person's folder; empty if there is none.
        full: Of a montage the side of the corner that is filled, 2 to 5; 0 for a portrait.
    """

    file: str
    full: int


@dataclass(frozen=True, slots=True)
class Card:
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
    picture: PagePicture
    portraits: int
    faces: int
    clips: int
    first_at: float
    last_at: float
    fresh: int
    doubtful: int
    close: int


@dataclass(frozen=True, slots=True)
class ShownPortrait:
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
class Doubt:
    """A portrait that is likely somebody else: which one, and how far it lies from the rest."""

    portrait: int
    distance: float
    usual: float


@dataclass(frozen=True, slots=True)
class Close:
    """Somebody who may be the same person."""

    id: int
    name: str
    folder: str
    picture: PagePicture
    distance: float


@dataclass(frozen=True, slots=True)
class PersonPage:
    """All about one person.

    Attributes:
        clips: The videos they are seen in, and where in each.
        made_at: When.
    """

    card: Card
    clips: Sequence[tuple[Clip, Sequence[Appearance]]]
    portraits: Sequence[ShownPortrait]
    doubts: Sequence[Doubt]
    close: Sequence[Close]
    made_at: float


@dataclass(frozen=True, slots=True)
class Summary:
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


def person_name(person_id: int) -> str:
    """The file with all about a person."""
    return f"person-{person_id:06d}.js"


def table_name(person_id: int) -> str:
    """The table of a person's appearances."""
    return f"{person_id:06d}.csv"


def people_script(cards: Sequence[Card]) -> bytes:
    """A block of people. Lists, not objects: five thousand people are to be small."""
    return script("people", [_row(card) for card in cards])


def summary_script(summary: Summary) -> bytes:
    """What the head of the page says."""
    return script(
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


def person_script(page: PersonPage) -> bytes:
    """What the page of one person says."""
    card = page.card
    return script(
        "person",
        {
            "id": card.id,
            "name": readable(card.name),
            "folder": link(card.folder),
            "shown_folder": readable(card.folder),
            "picture": link(card.picture.file),
            "full": card.picture.full,
            "faces": card.faces,
            "fresh": card.fresh,
            "at": round(page.made_at),
            "first": _seen(page, first=True),
            "last": _seen(page, first=False),
            "videos": [_video(clip, stretches) for clip, stretches in page.clips],
            "portraits": [_portrait(one) for one in page.portraits],
            "outliers": [
                [doubt.portrait, round(doubt.distance, 3), round(doubt.usual, 3)]
                for doubt in page.doubts
            ],
            "close": [
                [
                    one.id,
                    readable(one.name),
                    link(one.folder),
                    link(one.picture.file),
                    one.picture.full,
                    round(one.distance, 3),
                ]
                for one in page.close
            ],
        },
    )


def status_script(facts: Mapping[str, object]) -> bytes:
    """What the line on the page of all people says."""
    return script("status", dict(facts))


def _row(card: Card) -> list[object]:
    return [
        card.id,
        readable(card.name),
        int(card.is_named),
        link(card.folder),
        link(card.picture.file),
        card.picture.full,
        card.portraits,
        card.faces,
        card.clips,
        round(card.first_at),
        round(card.last_at),
        card.fresh,
        card.doubtful,
        card.close,
    ]


def _seen(page: PersonPage, first: bool) -> list[object]:
    clips = [clip for clip, _ in page.clips]
    clip = (min if first else max)(clips, key=lambda one: (one.added_at, one.id))
    return [round(clip.added_at), clip.name]


def _video(clip: Clip, stretches: Sequence[Appearance]) -> list[object]:
    where = [] if clip.is_photo else [[round(a, 2), round(b, 2), n] for a, b, n in stretches]
    return [clip.name, int(clip.is_photo), round(clip.duration_s, 2), round(clip.added_at), where]


def _portrait(one: ShownPortrait) -> list[object]:
    row: list[object] = [one.face_id, one.clip, round(one.t_s, 2), int(one.is_new)]
    # Nearly always the name follows from the number.
    return row if one.file == f"{one.face_id:06d}.jpg" else [*row, link(one.file)]
