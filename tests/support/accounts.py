"""A simple record of people and faces: what a person means, or what the service has recorded."""

from __future__ import annotations

from dataclasses import dataclass, field

from portraitd.model.person import PersonFolder
from support.tree import face


@dataclass
class Account:
    """Which face belongs to which person, and what is hidden."""

    person_of: dict[int, int | None] = field(default_factory=dict)
    excluded: set[int] = field(default_factory=set)
    ignored_faces: set[int] = field(default_factory=set)
    ignored_people: set[int] = field(default_factory=set)
    names: dict[int, str | None] = field(default_factory=dict)

    def place(self, face_id: int, person_id: int | None) -> None:
        self.person_of[face_id] = person_id
        self.excluded.discard(face_id)
        self.ignored_faces.discard(face_id)

    def merge(self, person_id: int, into_id: int) -> None:
        for face_id, owner in self.person_of.items():
            if owner == person_id:
                self.person_of[face_id] = into_id
        self.names.pop(person_id, None)
        self.ignored_people.discard(person_id)

    def faces(self, person_id: int | None) -> list[int]:
        """Return the person's faces that are not hidden."""
        hidden = self.excluded | self.ignored_faces
        return sorted(f for f, p in self.person_of.items() if p == person_id and f not in hidden)

    def folders(self, *, ignored: bool) -> list[PersonFolder]:
        return [
            PersonFolder(number, name, tuple(map(face, self.faces(number))))
            for number, name in sorted(self.names.items())
            if (number in self.ignored_people) is ignored
        ]
