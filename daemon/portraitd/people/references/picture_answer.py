"""Answer the question "who is this?" about a picture: the faces in it, and who they may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from portraitd.clustering.identification import Candidate, KnownFaces
from portraitd.model.errors import ConfigError
from portraitd.model.face import Box, SliceFaces
from portraitd.model.wording import counted, escape_unprintable
from portraitd.people.names import folder_name
from portraitd.store.database import Database
from portraitd.store.embedding_space import stored_embedder
from portraitd.store.people import People
from portraitd.store.tracks import TrackStore

_LIKELY, _UNSURE = 0.9, 0.5


@dataclass(frozen=True, slots=True)
class PictureFace:
    """A face of a picture, and who it may be, the most likely first.

    Attributes:
        box: In pixels of the picture.
        candidates: The people with their names.
    """

    box: Box
    candidates: Sequence[tuple[Candidate, str]]


def identify_faces(database: Database, found: SliceFaces, space: str) -> list[PictureFace]:
    """Return who the faces of a picture may be, from left to right.

    Args:
        database: The store.
        found: What a worker found in the picture.
        space: The embedding space of its vectors.

    Raises:
        ConfigError: The stored faces have vectors of another model.
    """
    card = stored_embedder(database)
    faces = sorted((one.face for one in found.detections), key=lambda face: face.box.left)
    if card is None or card.rules is None:
        return [PictureFace(face.box, ()) for face in faces]
    if space.partition("+")[0] != card.space:
        raise ConfigError(
            f"the stored faces have vectors of {card.name}, which cannot be compared with those "
            "of the model in use; they are being changed over"
        )
    known = KnownFaces.read(TrackStore(database), card.embedding_size)
    people = People(database)
    names = {person.id: folder_name(person.id, person.name) for person in people.present()}
    hidden = people.ignored()
    answers = known.find([face.embedding for face in faces], card.rules)
    return [
        PictureFace(
            face.box,
            [(one, names[one.person_id]) for one in found if one.person_id not in hidden],
        )
        for face, found in zip(faces, answers, strict=True)
    ]


def describe_faces(faces: Sequence[PictureFace]) -> list[str]:
    """Return one line for each face, or one that says that there is none."""
    if not faces:
        return ["No face was found."]
    return [f"Face {number}: {_describe(face)}" for number, face in enumerate(faces, 1)]


def faces_as_json(faces: Sequence[PictureFace]) -> list[dict[str, Any]]:
    """Return the same for programs."""
    return [
        {
            "box": list(face.box),
            "people": [
                {
                    "person": one.person_id,
                    "name": name,
                    "probability": one.probability and round(one.probability, 3),
                    "distance": round(one.distance, 3),
                }
                for one, name in face.candidates
            ],
        }
        for face in faces
    ]


def summarise(faces: Sequence[PictureFace]) -> str:
    """Return how many faces there are, and how many of them show a known person."""
    known = sum(
        any((one.probability or 0.0) >= _UNSURE for one, _ in face.candidates) for face in faces
    )
    return f"{counted(len(faces), 'face')}, {known} of known people"


def _describe(face: PictureFace) -> str:
    box = face.box
    where = f"({box.width}x{box.height} pixels at {box.left},{box.top})"
    if not face.candidates:
        return f"no known person {where}"
    words = []
    for one, name in face.candidates:
        printable = escape_unprintable(name)
        if one.probability is None:
            words.append(f"most like {printable}; how likely was not measured for this model")
        else:
            words.append(f"{printable} {_percent(one.probability)}")
    nearest = face.candidates[0][0].probability
    lead = ""
    if nearest is not None and nearest < _LIKELY:
        lead = "perhaps " if nearest >= _UNSURE else "probably no known person; "
    return f"{lead}{', '.join(words)} {where}"


def _percent(probability: float) -> str:
    """Return a probability in percent; never 100, which no measurement can show."""
    return f"{min(99, round(100 * probability))} %"
