"""Choose what to ask reviewers. Pure: what the last grouping left open in, questions out.

The value of a claim is the number of faces that a yes puts right, times the probability that it is
right; the value of a question is the sum of its claims. One gesture answers a question, however
many claims it has, so as many as a picture can show share one, the most valuable ones the first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from portraitd.model.question import MAX_CLAIMS, MAX_FACES, Claim, Question
from portraitd.model.suggestion import ASKED_PROBABILITY, NearMiss, Newcomer, Suggestion
from portraitd.store.questions import Deferred, DeferredAnswer, PersonFacts

LATER_S = 7 * 86400.0
"""How long after its picture was deleted a question is not asked again."""

MIN_VALUE = 0.5
"""Questions of less value are not asked."""

NEWCOMER_PROBABILITY = 0.6
"""That tracks of a newcomer are one person, who is new."""


@dataclass(frozen=True, slots=True)
class OpenCases:
    """What may be asked.

    Attributes:
        people: The people who are shown.
        suggestions: Pairs of people who may be one.
        near_misses: Faces without a person, and whom each may show.
        newcomers: Faces without a person that may show one new person.
        separated: Pairs of people who a user said are two.
        rejected: By face, the people it was said not to show.
        deferred: Questions that were put off.
        current_person: Returns who a person is after all merges.
    """

    people: Mapping[int, PersonFacts]
    suggestions: Sequence[Suggestion] = ()
    near_misses: Sequence[NearMiss] = ()
    newcomers: Sequence[Newcomer] = ()
    separated: Collection[frozenset[int]] = frozenset()
    rejected: Mapping[int, Collection[int]] = field(default_factory=dict)
    deferred: Sequence[Deferred] = ()
    current_person: Callable[[int], int] = int


@dataclass(frozen=True, slots=True)
class ValuedQuestion:
    """A question, and what it is worth.

    Attributes:
        value: The expected number of faces that the answer puts right.
        settled: Claims that are decided already.
    """

    question: Question
    value: float
    settled: frozenset[Claim] = frozenset()


def select_questions(
    cases: OpenCases, shown: Iterable[Question], limit: int, now_s: float
) -> list[ValuedQuestion]:
    """Return the questions to ask, the most valuable first.

    Args:
        cases: What may be asked.
        shown: Questions that are being asked. One stays while at least half of its claims may be
            asked, so that no picture changes under a reviewer's hands.
        limit: How many at most.
        now_s: The time.
    """
    claims = _find_claims(cases, now_s)
    kept = []
    for question in shown:
        still_open = [one for one in question.claims if one in claims]
        if 2 * len(still_open) >= len(question.claims):
            kept.append(_to_question(question.claims, claims))
            for one in still_open:
                del claims[one]
    kept.sort(key=_rank)
    new = [one for one in _group_claims(claims) if one.value >= MIN_VALUE]
    return sorted([*kept, *sorted(new, key=_rank)][:limit], key=_rank)


def _rank(one: ValuedQuestion) -> tuple[float, str]:
    return -one.value, one.question.key


def _to_question(claims: Sequence[Claim], values: Mapping[Claim, float]) -> ValuedQuestion:
    value = sum(values.get(one, 0.0) for one in claims)
    return ValuedQuestion(Question(tuple(claims)), value, frozenset(claims) - values.keys())


def _group_claims(claims: Mapping[Claim, float]) -> list[ValuedQuestion]:
    """Return questions in which each claim is once."""
    ranked = sorted(claims, key=lambda one: (-claims[one], one.key))
    groups = [ranked[start : start + MAX_CLAIMS] for start in range(0, len(ranked), MAX_CLAIMS)]
    # In a picture, what is about the same person is together.
    return [
        _to_question(sorted(group, key=lambda one: (one.people[:1], one.key)), claims)
        for group in groups
    ]


def _find_claims(cases: OpenCases, now_s: float) -> dict[Claim, float]:
    """Return the value of each claim that may be asked."""
    put_off = _find_put_off(cases, now_s)
    newcomers = _find_newcomers(cases, put_off)
    # A face is asked about once at a time.
    asked = {face for claim in newcomers for face in claim.face_ids}
    others = _find_near_misses(cases, asked) | _find_pairs(cases)
    return newcomers | {one: value for one, value in others.items() if one not in put_off}


def _find_put_off(cases: OpenCases, now_s: float) -> set[Claim]:
    """Return the claims that are not asked now, or were wrong."""
    found: set[Claim] = set()
    for deferred in cases.deferred:
        if deferred.answer is DeferredAnswer.LATER:
            # A clock that was set back does not make it longer.
            is_put_off = 0 <= now_s - deferred.at < LATER_S
        else:
            # Several are of an earlier version: which of them is wrong is not known.
            is_put_off = len(deferred.question.claims) == 1
        if is_put_off:
            found.update(_make_current(claim, cases) for claim in deferred.question.claims)
    return found


def _make_current(claim: Claim, cases: OpenCases) -> Claim:
    """Return a claim about who the people are after all merges."""
    people = tuple(map(cases.current_person, claim.people))
    return Claim(_order(people, cases) if len(people) == 2 else people, claim.face_ids)


def _order(pair: Sequence[int], cases: OpenCases) -> tuple[int, ...]:
    """Return two people, first the one who is kept: who has a name, or most faces."""

    def rank(person: int) -> tuple[bool, int, int]:
        facts = cases.people.get(person, PersonFacts(None, 0))
        return facts.name is None, -facts.faces, person

    return tuple(sorted(pair, key=rank))


def _find_newcomers(cases: OpenCases, put_off: Collection[Claim]) -> dict[Claim, float]:
    return {
        claim: NEWCOMER_PROBABILITY * one.faces
        for one in cases.newcomers
        if (claim := Claim((), one.face_ids[:MAX_FACES])) not in put_off
    }


def _find_near_misses(cases: OpenCases, without: Collection[int]) -> dict[Claim, float]:
    rejected = {
        (cases.current_person(person), face)
        for face, people in cases.rejected.items()
        for person in people
    }
    found = {}
    for miss in cases.near_misses:
        person = cases.current_person(miss.person_id)
        is_open = person in cases.people and (person, miss.face_id) not in rejected
        if is_open and miss.face_id not in without and miss.probability >= ASKED_PROBABILITY:
            found[Claim((person,), (miss.face_id,))] = miss.probability * miss.faces
    return found


def _find_pairs(cases: OpenCases) -> dict[Claim, float]:
    separated = {frozenset(map(cases.current_person, pair)) for pair in cases.separated}
    found: dict[Claim, float] = {}
    for one in cases.suggestions:
        pair = {cases.current_person(one.lower_id), cases.current_person(one.higher_id)}
        if len(pair) < 2 or pair in separated or not pair <= cases.people.keys():
            continue
        # Two names say that they are two.
        if all(cases.people[person].name is not None for person in pair):
            continue
        claim = Claim(_order(tuple(pair), cases))
        value = one.probability * cases.people[claim.people[1]].faces
        found[claim] = max(value, found.get(claim, 0.0))
    return found
