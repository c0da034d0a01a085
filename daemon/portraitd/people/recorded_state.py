"""What the database holds about the portraits in the tree, to compare the tree with."""

from __future__ import annotations

from portraitd.model.edit import Hidden, Placement
from portraitd.people.tree.diff import RecordedState
from portraitd.store.tree_stores import TreeStores


def read_recorded_state(stores: TreeStores) -> RecordedState:
    """Return where each portrait was published, and which edits are recorded."""
    corrections, placements = stores.ledger.corrections(), stores.publications.placements()
    ignored = [face for face, place in placements.items() if place == Placement.IGNORED]
    persons = stores.faces.persons_of(ignored)
    person_of = {
        face: persons.get(face) if place == Placement.IGNORED else place or None
        for face, place in placements.items()
    }
    hidden = {face: correction.hidden for face, correction in corrections.by_face.items()}
    excluded = {face for face, why in hidden.items() if why is Hidden.EXCLUDED}
    for face in excluded:
        former = corrections.by_face[face].previous_person_id
        person_of.setdefault(face, corrections.current_person(former) if former else None)
    return RecordedState(
        person_of=person_of,
        excluded=excluded,
        ignored_faces={face for face, why in hidden.items() if why is Hidden.IGNORED},
        ignored_people=stores.people.ignored(),
        names={person.id: person.name for person in stores.people.present()},
        empty=stores.people.empty(),
        last_entry=stores.ledger.last_id(),
    )
