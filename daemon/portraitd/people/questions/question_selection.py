"""Choose what to ask reviewers. Pure: what the last grouping left open in, questions out.

The value of a question is the number of faces that a yes puts right, times the probability that yes
is the answer. So a question is about as many people or faces as are likely to be one: one gesture
decides about all of them. If the answer is no, smaller questions follow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import prod

from portraitd.model.question import MAX_FACES, MAX_PEOPLE, Question
from portraitd.model.suggestion import ASKED_PROBABILITY, NearMiss, Suggestion
from portraitd.store.questions import Deferred, DeferredAnswer, PersonFacts

LATER_S = 7 * 86400.0
"""How long after its picture was deleted a question is not asked again."""

MIN_PROBABILITY = 0.5
"""Of a question about several people or faces: yes is the likely answer."""


@dataclass(frozen=True, slots=True)
class OpenCases:
    """What may be asked.

    Attributes:
        people: The people who are shown.
        suggestions: Pairs of people who may be one.
        near_misses: Faces without a person, and whom each may show.
        separated: Pairs of people who a user said are two.
        rejected: By face, the people it was said not to show.
        deferred: Questions that were put off.
        person_of: The person, or None, of every face that those are about.
        current_person: Returns who a person is after all merges.
    """

    people: Mapping[int, PersonFacts]
    suggestions: Sequence[Suggestion] = ()
    near_misses: Sequence[NearMiss] = ()
    separated: Collection[frozenset[int]] = frozenset()
    rejected: Mapping[int, Collection[int]] = field(default_factory=dict)
    deferred: Sequence[Deferred] = ()
    person_of: Mapping[int, int | None] = field(default_factory=dict)
    current_person: Callable[[int], int] = int


@dataclass(frozen=True, slots=True)
class ValuedQuestion:
    """A question, and what it is worth.

    Attributes:
        probability: That yes is the answer.
        faces: How many faces a yes puts right.
    """

    question: Question
    probability: float
    faces: int

    @property
    def value(self) -> float:
        """The expected number of faces put right."""
        return self.probability * self.faces


def select_questions(
    cases: OpenCases, shown: Iterable[Question], limit: int, now_s: float
) -> list[ValuedQuestion]:
    """Return the questions to ask, the most valuable first.

    Args:
        cases: What may be asked.
        shown: Questions that are being asked. Those that still make sense stay, so that no picture
            changes under a reviewer's hands.
        limit: How many at most.
        now_s: The time.
    """
    selection = _Selection(cases, now_s)
    kept = [one for one in map(selection.keep, shown) if one is not None]
    kept.sort(key=_rank)
    new = sorted([*selection.ask_about_people(), *selection.ask_about_faces()], key=_rank)
    return sorted([*kept, *new][:limit], key=_rank)


def _rank(one: ValuedQuestion) -> tuple[float, str]:
    return -one.value, one.question.key


class _Selection:
    def __init__(self, cases: OpenCases, now_s: float) -> None:
        self._people = cases.people
        self._separated = {frozenset(map(cases.current_person, pair)) for pair in cases.separated}
        self._edges: dict[frozenset[int], float] = {}
        for one in cases.suggestions:
            pair = frozenset(map(cases.current_person, (one.lower_id, one.higher_id)))
            if len(pair) == 2 and self._may_be_one(pair):
                self._edges[pair] = max(one.probability, self._edges.get(pair, 0.0))
        self._neighbours: dict[int, set[int]] = {}
        for left, right in self._edges:
            self._neighbours.setdefault(left, set()).add(right)
            self._neighbours.setdefault(right, set()).add(left)
        self._misses: dict[tuple[int, int], NearMiss] = {}
        self._rejected = {
            (cases.current_person(person), face)
            for face, people in cases.rejected.items()
            for person in people
        }
        self._person_of = cases.person_of
        for miss in cases.near_misses:
            key = cases.current_person(miss.person_id), miss.face_id
            is_open = key[0] in self._people and key not in self._rejected
            if is_open and miss.probability >= ASKED_PROBABILITY:
                self._misses[key] = miss
        # How many of them one question may be about, after several together were not one person.
        self._most_people: dict[int, int] = {}
        self._most_faces: dict[tuple[int, int], int] = {}
        for deferred in cases.deferred:
            self._defer(deferred, cases.current_person, now_s)

    def keep(self, question: Question) -> ValuedQuestion | None:
        """Return a question that still makes sense, and take what it is about out of the rest."""
        if question.face_ids:
            keys = [(question.people[0], face) for face in question.face_ids]
            if not all(key in self._misses for key in keys):
                return None
            if len(keys) > min(self._most_faces.get(key, MAX_FACES) for key in keys):
                return None
            return self._about_faces(question.people[0], [self._misses.pop(key) for key in keys])
        group, left = question.people[:1], set(question.people[1:])
        probability = 1.0
        while left:
            best = self._find_next(group, left)
            if best is None:
                return None
            probability *= best[1]
            group = (*group, best[0])
            left.discard(best[0])
        if len(group) > self._limit(group) or question.people[0] != self._order(group)[0]:
            return None
        return self._about_people(group, probability)

    def ask_about_people(self) -> list[ValuedQuestion]:
        """Return questions about people who may be one, each pair in one of them."""
        found = []
        edges = self._edges
        for seed in sorted(edges, key=lambda pair: (edges[pair], sorted(pair)), reverse=True):
            if seed not in edges:
                # A question is about it already.
                continue
            group, probability = tuple(sorted(seed)), edges[seed]
            while True:
                best = self._find_next(group)
                if best is None or len(group) >= self._limit((*group, best[0])):
                    break
                more = probability * best[1]
                is_worth = more * self._gain((*group, best[0])) > probability * self._gain(group)
                if more < MIN_PROBABILITY or not is_worth:
                    break
                group, probability = (*group, best[0]), more
            found.append(self._about_people(group, probability))
        return found

    def ask_about_faces(self) -> list[ValuedQuestion]:
        """Return questions about faces that may show a person, each face in one of them."""
        by_person: dict[int, list[NearMiss]] = {}
        for (person, _), miss in self._misses.items():
            by_person.setdefault(person, []).append(miss)
        found = []
        for person, misses in by_person.items():
            left = sorted(misses, key=lambda miss: (-miss.probability, miss.face_id))
            while left:
                size = self._count_asked(person, left)
                if size:
                    found.append(self._about_faces(person, left[:size]))
                left = left[max(size, 1) :]
        return found

    def _count_asked(self, person: int, misses: Sequence[NearMiss]) -> int:
        """Return how many of these one question is about: the number that is worth most."""
        best, best_value = 0, 0.0
        most = MAX_FACES
        for size, miss in enumerate(misses, 1):
            most = min(most, self._most_faces.get((person, miss.face_id), MAX_FACES))
            some = misses[:size]
            probability = prod(one.probability for one in some)
            if size > most or (size > 1 and probability < MIN_PROBABILITY):
                break
            value = probability * sum(one.faces for one in some)
            if value > best_value:
                best, best_value = size, value
        return best

    def _about_faces(self, person: int, misses: Sequence[NearMiss]) -> ValuedQuestion:
        question = Question((person,), tuple(sorted(miss.face_id for miss in misses)))
        probability = prod(miss.probability for miss in misses)
        return ValuedQuestion(question, probability, sum(miss.faces for miss in misses))

    def _about_people(self, group: Sequence[int], probability: float) -> ValuedQuestion:
        for pair in combinations(group, 2):
            self._edges.pop(frozenset(pair), None)
        return ValuedQuestion(Question(self._order(group)), probability, self._gain(group))

    def _find_next(
        self, group: Sequence[int], others: Collection[int] | None = None
    ) -> tuple[int, float] | None:
        """Return who else is most likely the same person as these, and how likely.

        Args:
            group: These people.
            others: Who else may be chosen; anyone by default.
        """
        found = [
            (-probability, other)
            for one in group
            for other in self._neighbours.get(one, set()).difference(group)
            if (probability := self._edges.get(frozenset((one, other)))) is not None
            and (others is None or other in others)
            and all(self._may_be_one((member, other)) for member in group)
        ]
        if not found:
            return None
        probability, other = min(found)
        return other, -probability

    def _may_be_one(self, pair: Collection[int]) -> bool:
        """Return whether a user did not say that two people are two; names say so as well."""
        if frozenset(pair) in self._separated or not all(one in self._people for one in pair):
            return False
        return sum(self._people[one].name is not None for one in pair) < 2

    def _order(self, group: Collection[int]) -> tuple[int, ...]:
        """Return these people, first the one who is kept: who has a name, or most faces."""
        people = self._people
        kept = min(group, key=lambda one: (people[one].name is None, -people[one].faces, one))
        return (kept, *sorted(set(group) - {kept}))

    def _gain(self, group: Collection[int]) -> int:
        """Return how many faces come to the person who is kept."""
        _, *others = self._order(group)
        return sum(self._people[one].faces for one in others)

    def _limit(self, group: Collection[int]) -> int:
        return min(self._most_people.get(one, MAX_PEOPLE) for one in group)

    def _defer(self, deferred: Deferred, current: Callable[[int], int], now_s: float) -> None:
        people = {current(one) for one in deferred.question.people}
        faces = deferred.question.face_ids
        if deferred.answer is DeferredAnswer.LATER:
            # A clock that was set back does not make it longer.
            if not 0 <= now_s - deferred.at < LATER_S:
                return
            for pair in [pair for pair in self._edges if not faces and pair <= people]:
                del self._edges[pair]
            for key in [key for key in self._misses if key[0] in people and key[1] in faces]:
                del self._misses[key]
        elif faces:
            self._halve_faces(people, faces)
        else:
            self._halve_people(people)

    def _halve_faces(self, people: Collection[int], faces: Collection[int]) -> None:
        """Ask about half as many of the faces that are not all one person's.

        Those that are the person's meanwhile were right. Where one is known not to be, nothing is
        known of the others.
        """
        (person,) = people
        keys = [(person, face) for face in faces if face in self._person_of]
        left = [key for key in keys if self._person_of[key[1]] is None]
        others = {self._person_of[face] for _, face in keys} - {None, person}
        if others or self._rejected.intersection(keys):
            return
        if len(left) == 1:
            # The others were right, so this one is not.
            self._misses.pop(left[0], None)
        for key in left:
            self._most_faces[key] = min(
                self._most_faces.get(key, MAX_FACES), max(len(left) // 2, 1)
            )

    def _halve_people(self, people: Collection[int]) -> None:
        left = [one for one in people if one in self._people]
        is_explained = any(pair <= set(left) for pair in self._separated)
        if len(left) == 2 and not is_explained:
            self._edges.pop(frozenset(left), None)
        for one in left if not is_explained else ():
            self._most_people[one] = min(
                self._most_people.get(one, MAX_PEOPLE), max(len(left) // 2, 2)
            )
