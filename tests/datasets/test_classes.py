"""Class registration: numbers are never reused, and every loader can read the labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from portraitd.datasets.classes import make_class_labels, register_classes
from portraitd.model.errors import StoreError
from portraitd.store.database import Database
from portraitd.store.dataset_store import ClassRegistration, ClassRow, DatasetStore, NamedPerson
from support.store import Store

ANN, BOB, CY = NamedPerson(1, "Ann"), NamedPerson(2, "Bob"), NamedPerson(7, "Cy")


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    database = Database.open(tmp_path)
    return DatasetStore(database, Store(database).files)


def test_a_new_person_changes_no_number() -> None:
    """This holds even if the person sorts first, or another was removed."""
    first, _ = register_classes([], [BOB, CY], with_unknown=True)

    then, new = register_classes(first, [ANN, CY], with_unknown=True)

    assert [(0, 2), (1, 7), (2, None)] == [(row.id, row.person_id) for row in first]
    assert first == then[:3]
    assert ClassRegistration([(3, "person")], [(3, 1, "Ann")], {}) == new


def test_unchanged_people_need_no_registration() -> None:
    """The same people give an empty registration."""
    rows, _ = register_classes([], [ANN, BOB], with_unknown=False)

    assert not register_classes(rows, [ANN, BOB], with_unknown=False)[1]


def test_a_renamed_person_keeps_the_number() -> None:
    """Only the name is recorded."""
    rows, _ = register_classes([], [ANN, BOB], with_unknown=False)

    _, new = register_classes(rows, [ANN._replace(name="Anna"), BOB], with_unknown=False)

    assert ClassRegistration([], [(0, 1, "Anna")], {}) == new


def test_a_class_is_found_again_by_name() -> None:
    """In a new database Ann is person 12 and still class 0."""
    rows, _ = register_classes([], [ANN, BOB], with_unknown=False)

    again, new = register_classes(rows, [NamedPerson(12, "ann")], with_unknown=False)

    assert ClassRow(0, "person", 12, "ann") == again[0]
    assert ClassRegistration([], [(0, 12, "ann")], {}) == new


def test_labels_are_unique_and_without_gaps() -> None:
    """A class without a person does not reveal its former person."""
    people = [NamedPerson(1, "unknown"), NamedPerson(2, "a/b"), NamedPerson(3, "A-B"), CY]
    rows, _ = register_classes([], people, with_unknown=True)
    written = make_class_labels(rows, people[:3])

    assert ["unknown (2)", "a-b", "A-B (2)", "unused-3", "unknown"] == [
        label.label for label in written
    ]
    assert [0, 1, 2, 3, 4] == [label.id for label in written]


def test_people_without_a_name_are_labelled_by_number() -> None:
    """The label equals the name of their folder."""
    people = [NamedPerson(5, None)]

    assert ["person-0005"] == [
        label.label
        for label in make_class_labels(register_classes([], people, with_unknown=False)[0], people)
    ]


def test_the_store_records_classes_and_names(store: DatasetStore) -> None:
    """The newest name of each class counts."""
    store.register(
        ClassRegistration([(0, "person"), (1, "unknown")], [(0, 3, "Ann"), (1, None, "u")], {}), 1
    )
    store.register(ClassRegistration([], [(0, 4, "Anna")], {"video x": "val"}), 2)

    assert [
        ClassRow(0, "person", 4, "Anna"),
        ClassRow(1, "unknown", None, "u"),
    ] == store.classes()
    assert {"video x": "val"} == store.splits()


@pytest.mark.parametrize(
    "statement",
    [
        "delete from classes",
        "update classes set id = 9",
        "delete from class_holders",
        "update class_holders set name = 'Eve'",
    ],
)
def test_the_table_of_classes_is_append_only(
    store: DatasetStore, tmp_path: Path, statement: str
) -> None:
    """Triggers reject anything else."""
    store.register(ClassRegistration([(0, "person")], [(0, 3, "Ann")], {}), 1)

    with pytest.raises(StoreError, match="never"):
        Database.open(tmp_path).execute(statement)


def test_a_number_is_never_reused(store: DatasetStore) -> None:
    """The whole registration is rejected."""
    store.register(ClassRegistration([(0, "person")], [(0, 3, "Ann")], {}), 1)

    with pytest.raises(StoreError):
        store.register(ClassRegistration([(0, "person")], [(0, 4, "Bob")], {"video y": "val"}), 2)

    assert [ClassRow(0, "person", 3, "Ann")] == store.classes()
    assert {} == store.splits()
