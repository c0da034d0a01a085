"""Class registration: class numbers that are never reused, and labels that are safe everywhere."""

from __future__ import annotations

from collections.abc import Sequence

from portraitd.datasets.annotations import UNKNOWN_NAME, ClassLabel
from portraitd.people.names import folded, folder_name, unique_name
from portraitd.store.dataset_store import ClassKind, ClassRegistration, ClassRow, NamedPerson


def register_classes(
    rows: Sequence[ClassRow], people: Sequence[NamedPerson], with_unknown: bool
) -> tuple[list[ClassRow], ClassRegistration]:
    """Give every person a class, and update the names of classes.

    A class whose person no longer exists goes to a new person of the same name: after a new
    database or a merge of two people, Anna is still class 3.

    Args:
        rows: The existing classes, by number.
        people: The people in the set, by id.
        with_unknown: Whether a class of unknown faces is needed.

    Returns:
        All classes, by number, and the changes to record.
    """
    known = {row.id: row for row in rows}
    of_person = {row.person_id: row.id for row in rows if row.person_id is not None}
    person_ids = {person.id for person in people}
    reusable = {
        folded(row.name): row.id
        for row in reversed(rows)
        if row.kind == "person" and row.person_id not in person_ids
    }
    new: list[tuple[int, ClassKind]] = []
    holders: list[tuple[int, int | None, str]] = []

    def add(kind: ClassKind, person_id: int | None, name: str) -> None:
        number = max(known, default=-1) + 1
        new.append((number, kind))
        hold(number, kind, person_id, name)

    def hold(number: int, kind: ClassKind, person_id: int | None, name: str) -> None:
        holders.append((number, person_id, name))
        known[number] = ClassRow(number, kind, person_id, name)

    for person in people:
        name = folder_name(person.id, person.name)
        number = of_person.get(person.id)
        if number is None:
            number = reusable.pop(folded(name), None)
        if number is None:
            add("person", person.id, name)
        elif (known[number].person_id, known[number].name) != (person.id, name):
            hold(number, "person", person.id, name)
    if with_unknown and not any(row.kind == "unknown" for row in known.values()):
        add("unknown", None, UNKNOWN_NAME)
    return [known[number] for number in sorted(known)], ClassRegistration(new, holders, {})


def make_class_labels(
    rows: Sequence[ClassRow], people: Sequence[NamedPerson]
) -> tuple[ClassLabel, ...]:
    """Return the labels of all classes; a class without a person keeps its number.

    Args:
        rows: All classes, by number.
        people: The people in the set.
    """
    person_ids = {person.id for person in people}
    used = {folded(UNKNOWN_NAME)}
    found = []
    for row in rows:
        if row.kind == "unknown":
            found.append(ClassLabel(row.id, UNKNOWN_NAME, row.kind, None))
            continue
        is_active = row.person_id in person_ids
        label = unique_name(row.name if is_active else f"unused-{row.id}", used)
        used.add(folded(label))
        found.append(ClassLabel(row.id, label, row.kind, row.person_id if is_active else None))
    return tuple(found)
