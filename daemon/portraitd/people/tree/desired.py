"""The desired state of the tree: which folders there should be, and what is in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from portraitd.model.edit import Placement
from portraitd.model.person import PersonFolder, PublishedFace
from portraitd.people.names import folder_name
from portraitd.people.tree.folder_fs import digest
from portraitd.people.tree.folder_state import IGNORED_NAME, UNSORTED_NAME
from portraitd.store.publications import DesiredTree


def class_of_person(person_id: int) -> int:
    """Return the Darknet class of a person: from 0, and as permanent as the person's id."""
    return person_id - 1


@dataclass(frozen=True, slots=True)
class DesiredFolder:
    """A folder as it should be, the desired state.

    Attributes:
        number: A person's id or a ``Placement``.
        label: The folder's name, if portraitd is to name it.
        name: The person's name, if they have one.
        faces: The portraits it should hold.
        class_number: Class in the annotations; None for faces that have no class.
        is_ignored: Whether it belongs into ``_ignored``.
        files: Identity of the content by file name; filled in by ``desired_files``, which knows
            the observed state.
    """

    number: int
    label: str
    name: str | None = None
    faces: Sequence[PublishedFace] = ()
    class_number: int | None = None
    is_ignored: bool = False
    files: Mapping[str, str] = field(default_factory=dict)


def list_desired(tree: DesiredTree) -> list[DesiredFolder]:
    """Return every folder there should be. A person without faces gets none.

    Faces that belong to no person have no class, so no annotation. Ignored people go into
    ``_ignored``, and ignored faces directly into it.
    """
    return [
        DesiredFolder(Placement.IGNORED, IGNORED_NAME, faces=tree.ignored_faces),
        DesiredFolder(Placement.UNSORTED, UNSORTED_NAME, faces=tree.unsorted),
        *(
            DesiredFolder(
                one.person_id,
                folder_name(one.person_id, one.name),
                one.name,
                one.faces,
                class_of_person(one.person_id),
                is_ignored,
            )
            for one, is_ignored in _list_people(tree)
            if one.faces
        ),
    ]


def list_idle(tree: DesiredTree) -> list[DesiredFolder]:
    """Return the folders of people without faces: not made, but renamed where one is kept."""
    return [
        DesiredFolder(
            one.person_id, folder_name(one.person_id, one.name), one.name, is_ignored=is_ignored
        )
        for one, is_ignored in _list_people(tree)
        if not one.faces
    ]


def _list_people(tree: DesiredTree) -> list[tuple[PersonFolder, bool]]:
    """Return all people, and whether they are ignored."""
    shown = [(folder, False) for folder in tree.folders]
    return shown + [(folder, True) for folder in tree.ignored]


def montage_identity(faces: Collection[PublishedFace]) -> str:
    """Return the identity of a person's montage: equal for equal sets of faces."""
    numbers = sorted(face.face_id for face in faces)
    return f"montage {digest(repr(numbers).encode())[:16]}"
