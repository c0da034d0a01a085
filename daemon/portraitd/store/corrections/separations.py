"""Separations: sets of faces that a user said do not show one person.

The grouping keeps them apart, and nothing asks about them again. What a user did by hand later
counts more: a merge of the two, or a face that was moved to the person it was said not to show.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

PersonOfFace = Callable[[int], int | None]


@dataclass(slots=True)
class Separation:
    """Faces that do not show a person.

    Attributes:
        person_id: The person.
        exemplars: The faces that represent them.
        other_id: Whom the other faces represent; None if each stands for itself.
        faces: The other faces.
    """

    person_id: int
    exemplars: set[int] = field(default_factory=set)
    other_id: int | None = None
    faces: set[int] = field(default_factory=set)

    @property
    def all_faces(self) -> set[int]:
        """The faces of both sides."""
        return self.exemplars | self.faces


def merge_people(
    separations: Iterable[Separation], one: int, into: int, named: Collection[int]
) -> list[Separation]:
    """Return what is left of separations after a user merged a person into another.

    Args:
        separations: Before the merge; changed in place.
        one: Who was merged.
        into: Who is kept.
        named: The faces that the ledger entry of the merge names. If it names faces of both sides,
            they are one person now, even if they belonged to others when they were separated.
    """
    left = []
    for separation in separations:
        if separation.person_id == one:
            separation.person_id = into
        if separation.other_id == one:
            separation.other_id = into
        if separation.exemplars & set(named):
            separation.faces -= set(named)
        if separation.person_id != separation.other_id and separation.faces:
            left.append(separation)
    return left


def drop_moved(separations: Iterable[Separation], person_of: PersonOfFace) -> list[Separation]:
    """Return what is left of separations after users moved single faces.

    A face that was moved to another person represents its former one no more, and one that was
    moved to the very person it was said not to show is theirs.

    Args:
        separations: Changed in place.
        person_of: Returns the person a user moved a face to; None if none did.
    """
    left = []
    for separation in separations:
        person, other = separation.person_id, separation.other_id
        separation.exemplars = {f for f in separation.exemplars if person_of(f) in (None, person)}
        separation.faces = {
            face
            for face in separation.faces
            if (moved := person_of(face)) is None
            or (moved != person if other is None else moved == other)
        }
        if separation.exemplars and separation.faces:
            left.append(separation)
    return left
