"""A tree that is edited at random, and what must be true of it whatever happens.

The ``SimulatedReviewer`` edits folders and files as a person would, and keeps account of what each
edit means. The store is a second account, which learns of an edit only by reading the tree.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from portraitd.model.edit import (
    AssignFaces,
    Edit,
    ExcludeFaces,
    IgnoreFaces,
    IgnorePerson,
    MergePeople,
    NamePerson,
    RecallPerson,
    SplitPerson,
)
from portraitd.people.tree.diff import RecordedState
from portraitd.people.tree.people_tree import PeopleTree, PublishResult
from support.tree import face, picture_of, publish, refuse
from support.tree_reviewer import SimulatedReviewer


class TreeSimulation(SimulatedReviewer):
    """One tree, the reviewer who edits it, and the service that records the edits."""

    def __init__(self, root: Path, seed: int) -> None:
        super().__init__(root, seed)
        self.tree = PeopleTree(root, store="one")
        self.tree.create()
        self._next_face = 1

    # What the service does

    def video(self) -> None:
        """Process a video with a new person, known people and an unassigned face."""
        known = [number for number in self.store.names if number not in self._busy_people]
        people = [self._new_person(), *self.random.sample(known, min(2, len(known))), None]
        for person in people:
            for _ in range(self.random.randint(1, 4)):
                for account in (self.store, self.truth):
                    account.person_of[self._next_face] = person
                self._next_face += 1

    def _new_person(self) -> int:
        number = self._next_person
        self._next_person += 1
        self.store.names[number] = self.truth.names[number] = None
        return number

    def restart(self) -> None:
        self.tree = PeopleTree(self.root, store="one")

    def publish(self, content: Callable[[int], bytes] = picture_of) -> PublishResult:
        store = self.store
        return publish(
            self.tree,
            store.folders(ignored=False),
            [face(one) for one in store.faces(None)],
            content,
            {},
            ignored=store.folders(ignored=True),
            ignored_faces=[face(one) for one in sorted(store.ignored_faces - store.excluded)],
            accept_losses=True,
        )

    def known(self) -> RecordedState:
        store = self.store
        published = self.done.portraits.keys() if self.done else set()
        published |= store.excluded | store.ignored_faces
        person_of = {one: store.person_of[one] for one in published}
        return RecordedState(
            person_of, store.excluded, store.ignored_faces, store.ignored_people, store.names
        )

    def review(self) -> None:
        """Read the edits and record them."""
        for edit in self.tree.read_edits(self.known(), accept_losses=True):
            self.actions.append(f"    recorded {edit}")
            self._apply(edit)

    def _apply(self, edit: Edit) -> None:
        store = self.store
        match edit:
            case NamePerson(person_id, name):
                store.names[person_id] = name
            case MergePeople(person_id, into_id):
                store.merge(person_id, into_id)
            case AssignFaces(face_ids, person_id):
                for one in face_ids:
                    store.place(one, person_id)
            case SplitPerson(face_ids, name, location):
                # The truth has this person already, under the same name.
                number = next(n for n, label in self.truth.names.items() if label == name)
                store.names[number] = name
                for one in face_ids:
                    store.place(one, number)
                if self.random.random() < 0.7:
                    self.tree.adopt(location, number)
            case ExcludeFaces(face_ids):
                store.excluded |= set(face_ids)
            case IgnoreFaces(face_ids):
                store.ignored_faces |= set(face_ids)
            case IgnorePerson(person_id):
                store.ignored_people.add(person_id)
            case RecallPerson(person_id):
                store.ignored_people.discard(person_id)

    def step(self) -> None:
        """Do some edits, then one pass of the service; everything must be as the person meant."""
        self._busy, self._busy_people = set(), set()
        for _ in range(self.random.randint(1, 3)):
            self.do_something()
        if self.random.random() < 0.2:
            self.restart()
        if self.random.random() < 0.2:
            # A publish before the edits are read.
            self.publish()
        self.review()
        self.settle()

    def settle(self) -> None:
        """Publish, and check all that must be true."""
        self.done = self.publish()
        story = "\n".join(self.actions[-12:])
        assert self.truth == self.store, story
        self.check(self.done, story)
        assert [] == self.tree.read_edits(self.known(), accept_losses=True), story
        again = self.publish(refuse)
        assert (0, 0) == (again.written, again.removed), story
        assert self.done.portraits == again.portraits, story

    def check(self, done: PublishResult, story: str) -> None:
        store = self.store
        for number in store.names:
            for one in store.faces(number):
                path = self.root / done.portraits[one]
                assert path.is_file(), story
                assert path.parent == self.root / done.folders[number], story
                assert path.with_suffix(".txt").is_file(), story
        seen = {one for number in [*store.names, None] for one in store.faces(number)}
        seen |= store.ignored_faces - store.excluded
        assert seen == done.portraits.keys(), story
        for number, folder in done.folders.items():
            assert folder.startswith("_ignored/") is (number in store.ignored_people), story
        lost = self.foreign - {p.read_bytes() for p in self.root.rglob("*") if p.is_file()}
        assert not lost, story

    # What happens

    def do_something(self) -> None:
        actions = [
            *([self.move_portrait] * 5), self.unsort, self.name, self.name, self.nest,
            self.rename_over, self.merge_files, self.split, self.split, self.exclude,
            self.exclude, self.ignore_face, self.ignore_person, self.delete_person,
            self.recall_person, self.recall_face, self.bring_back, self.copy_portrait,
            self.copy_folder, self.write_note, self.write_picture, self.edit, self.make_clutter,
            self.delete_ours, self.rename_portrait, self.file_away, self.video_comes,
        ]  # fmt: skip
        action = self.random.choice(actions)
        self.actions.append(action.__name__)
        action()

    def video_comes(self) -> None:
        self.video()
