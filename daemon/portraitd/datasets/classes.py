"""Who has which class: numbers that only grow, and labels that are safe everywhere."""

from __future__ import annotations

from collections.abc import Sequence

from portraitd.datasets.annotations import UNKNOWN_NAME, ClassLabel
from portraitd.people.names import folded, folder_name, unique_name
from portraitd.store.dataset_store import ClassKind, ClassRegistration, ClassRow, NamedPerson


def register_classes(
    rows: Sequence[ClassRow], people: Sequence[NamedPerson], with_unknown: bool
) -> tuple[list[ClassRow], ClassRegistration]:
    """Give everybody a class who has none, and note who is called differently now.

    A class whose person is gone goes to a newcomer of the same name: after a store was made
    anew, or two people became one, Anna is still class 3.

    Args:
        rows: The classes there are, by number.
        people: Who is in the set, by id.
        with_unknown: Whether there must be a class of unknown faces.

    Returns:
        The classes there are now, by number, and what of them has to be remembered.
    """
    known = {row.id: row for row in rows}
    of_person = {row.person_id: row.id for row in rows if row.person_id is not None}
    present = {person.id for person in people}
    free = {
        folded(row.name): row.id
        for row in reversed(rows)
        if row.kind == "person" and row.person_id not in present
    }
    new: list[tuple[int, ClassKind]] = []
    holders: list[tuple[int, int | None, str]] = []

    def add(kind: ClassKind, person_id: int | None, name: str) -> None:
        number = max(known, default=-1) + 1
        new.append((number, kind))
        note(number, kind, person_id, name)

    def note(number: int, kind: ClassKind, person_id: int | None, name: str) -> None:
        holders.append((number, person_id, name))
        known[number] = ClassRow(number, kind, person_id, name)

    for person in people:
        name = folder_name(person.id, person.name)
        number = of_person.get(person.id)
        if number is None:
            number = free.pop(folded(name), None)
        if number is None:
            add("person", person.id, name)
        elif (known[number].person_id, known[number].name) != (person.id, name):
            note(number, "person", person.id, name)
    if with_unknown and not any(row.kind == "unknown" for row in known.values()):
        add("unknown", None, UNKNOWN_NAME)
    return [known[number] for number in sorted(known)], ClassRegistration(new, holders, {})


def class_labels(rows: Sequence[ClassRow], people: Sequence[NamedPerson]) -> tuple[ClassLabel, ...]:
    """The classes as the formats write them; those that nobody holds now keep their place.

    Args:
        rows: Every class, by number.
        people: Who is in the set.
    """
    present = {person.id for person in people}
    taken = {folded(UNKNOWN_NAME)}
    found = []
    for row in rows:
        if row.kind == "unknown":
            found.append(ClassLabel(row.id, UNKNOWN_NAME, row.kind, None))
            continue
        is_held = row.person_id in present
        label = unique_name(row.name if is_held else f"unused-{row.id}", taken)
        taken.add(folded(label))
        found.append(ClassLabel(row.id, label, row.kind, row.person_id if is_held else None))
    return tuple(found)
