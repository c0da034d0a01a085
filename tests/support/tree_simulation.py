"""A tree that is edited at random, and what must be true of it whatever happens.

The ``SimulatedReviewer`` edits folders and files as a person would, and keeps account of what each
edit means. The store is a second account, which learns of an edit only by reading the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from portraitd.people.names import number_in
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
        store, withheld = self.store, self.tree.withheld_faces
        done = self._publish(lambda one: content(one) if one not in self.lost else refuse(one))
        # As the service does, which does not know yet where these are to be.
        kept = {one: self.placed[one] for one in withheld if one in self.placed}
        absent = self.tree.withheld.people
        desired = {
            face_id: number
            for number in [*store.names, None]
            for face_id in store.faces(number)
            if number not in absent or face_id in self.placed
        }
        self.placed = desired | dict.fromkeys(store.ignored_faces - store.excluded) | kept
        return done

    def _publish(self, content: Callable[[int], bytes]) -> PublishResult:
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
        if self.is_asked:
            hidden = store.excluded | store.ignored_faces
            person_of |= {one: at for one, at in self.placed.items() if one not in person_of}
            person_of |= {one: self.placed[one] for one in self.lost - hidden}
        return RecordedState(
            person_of, store.excluded, store.ignored_faces, store.ignored_people, store.names
        )

    def read(self) -> list[Edit]:
        """Read the edits; what is missing counts as deleted, unless the person was asked."""
        return self.tree.read_edits(
            self.known(), accept_losses=not self.is_asked, awaits_answer=self.is_asked
        )

    def review(self) -> None:
        """Read the edits and record them."""
        self._record(self.read())

    def _record(self, edits: Sequence[Edit]) -> None:
        for edit in edits:
            self.actions.append(f"    recorded {edit}")
            self._apply(edit)

    def answer(self, is_deleted: bool) -> None:
        """Say whether what is missing was deleted, and do as the service does then."""
        self.actions.append(f"answer {is_deleted}: {self.lost}, people {self.lost_people}")
        self.review()
        withheld, known = self.tree.withheld, self.known()
        assert self.lost <= withheld.faces, "\n".join(self.actions[-12:])
        self.is_asked = False
        if is_deleted:
            self.truth.excluded |= self.lost
            self.truth.ignored_people |= self.lost_people
            self._record(self.tree.read_edits(known, accept_losses=True))
        else:
            self._record(self.tree.read_edits(known, restored=withheld))
        self.lost, self.lost_people = set(), set()

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

    def lose_and_answer(self) -> None:
        """Delete much, go on editing, and answer in the end."""
        if self.lose_much():
            self.tree.read_edits(self.known())
            assert self.tree.withheld, "\n".join(self.actions[-12:])
            self.settle()
            for _ in range(self.random.randint(1, 4)):
                self.step()
            self._busy, self._busy_people = set(), set()
            self.regroup()
            self.review()
            self.settle()
            self.answer(self.random.random() < 0.5)
            self.settle()

    def settle(self) -> None:
        """Publish, and check all that must be true."""
        self.done = self.publish()
        story = "\n".join(self.actions[-12:])
        assert self.truth == self.store, story
        self.check(self.done, story)
        assert [] == self.read(), story
        again = self.publish(refuse)
        assert (0, 0) == (again.written, again.removed), story
        assert self.done.portraits == again.portraits, story

    def check(self, done: PublishResult, story: str) -> None:
        store = self.store
        missing = {one for number in self.lost_people for one in store.faces(number)} | self.lost
        for number in store.names:
            for one in set(store.faces(number)) - missing:
                path = self.root / done.portraits[one]
                assert path.is_file(), story
                assert path.parent == self.root / done.folders[number], story
                assert path.with_suffix(".txt").is_file(), story
        seen = {one for number in [*store.names, None] for one in store.faces(number)}
        seen |= store.ignored_faces - store.excluded
        assert seen - missing == done.portraits.keys(), story
        for number, folder in done.folders.items():
            assert folder.startswith("_ignored/") is (number in store.ignored_people), story
            assert number_in(Path(folder).name) in (None, number), story
        lost = self.foreign - {p.read_bytes() for p in self.root.rglob("*") if p.is_file()}
        assert not lost, story

    # What happens

    def do_something(self) -> None:
        actions = [
            *([self.move_portrait] * 5), self.unsort, self.name, self.name, self.nest,
            self.take_name_back, self.take_strange_number,
            self.rename_over, self.merge_files, self.split, self.split, self.exclude,
            self.exclude, self.ignore_face, self.ignore_person, self.delete_person,
            self.recall_person, self.recall_face, self.bring_back, self.copy_portrait,
            self.copy_folder, self.write_note, self.write_picture, self.edit, self.make_clutter,
            self.delete_ours, self.rename_portrait, self.file_away, self.video_comes,
            self.put_into_cards, self.put_hostile_card, self.ask_who,
        ]  # fmt: skip
        action = self.random.choice(actions)
        self.actions.append(action.__name__)
        action()

    def video_comes(self) -> None:
        self.video()
