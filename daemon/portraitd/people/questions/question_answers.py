"""Turn what reviewers did with the cards of questions into edits."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import PurePath

from portraitd.model.edit import (
    AnswerLosses,
    AssignFaces,
    DeferQuestion,
    Edit,
    MergePeople,
    RejectPerson,
    SeparatePeople,
    SplitPerson,
)
from portraitd.model.question import CardAnswer, Claim, Question
from portraitd.model.reasons import ReasonCode
from portraitd.model.review_notice import ReviewNotice
from portraitd.people.feedback.loss_question import LossQuestion, is_about_losses
from portraitd.people.tree.card_folder import CardFolder, CardReading
from portraitd.people.tree.reserved_folders import QUESTIONS_NAME
from portraitd.store.questions import DeferredAnswer

_NO_READING = CardReading()

_NUMBER = r"[1-9][0-9]?(?:-[1-9][0-9]?)?"
_NUMBERS = re.compile(rf"{_NUMBER}(?:[ ,;.+&]+{_NUMBER})*")

_ENDINGS = (".jpg", ".jpeg")

Answer = CardAnswer | frozenset[int]
"""What a reviewer said: also the numbers of the claims that are right."""


def read_answer(place: str, name: str) -> str:
    """Return the answer that a card gives in an answer folder, or beside them, under a name.

    Numbers, such as ``2 5-7.jpg``, are those of the claims that are right.
    """
    numbers = read_numbers(name)
    if not numbers:
        return place
    text = ",".join(map(str, sorted(numbers)))
    return CardAnswer.BOTH if place == CardAnswer.NO else text


def read_numbers(name: str) -> frozenset[int]:
    """Return the numbers that the name of a picture consists of; none if it says anything else."""
    path = PurePath(name)
    text = (path.stem if path.suffix.lower() in _ENDINGS else name).strip()
    if len(text) > 100 or not _NUMBERS.fullmatch(text):
        return frozenset()
    found: set[int] = set()
    for part in re.findall(_NUMBER, text):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1) or [0])
    return frozenset(found)


class QuestionAnswers:
    """The answers in a folder of cards, from the first reading until their cards are removed.

    Args:
        folder: The folder of cards.
        losses: Asks among the questions about missing portraits.
        find_decided: Returns those of some faces that users said something of.
    """

    def __init__(
        self,
        folder: CardFolder,
        losses: LossQuestion,
        find_decided: Callable[[Collection[int]], Collection[int]] = lambda faces: (),
    ) -> None:
        self._folder = folder
        self._losses = losses
        self._find_decided = find_decided
        self._edits: dict[str, tuple[Edit | AnswerLosses, ...]] = {}
        self._closed: set[str] = set()
        self._notices: list[ReviewNotice] = []
        self._reading = _NO_READING

    @property
    def closed(self) -> Collection[str]:
        """Keys of the questions whose answers are recorded, until their cards are gone."""
        return frozenset(self._closed)

    @property
    def reading(self) -> CardReading:
        """What was in the folder when it was last read."""
        return self._reading

    def take_notices(self) -> Sequence[ReviewNotice]:
        """Return notices about answers, each once."""
        notices, self._notices = self._notices, []
        return [*notices, *self._losses.take_notices()]

    def read_edits(self, others: Iterable[Edit] = ()) -> list[Edit | AnswerLosses]:
        """Return the edits that the answers amount to. The same folder gives the same edits.

        Args:
            others: What reviewers did elsewhere in the tree: a face that was moved by hand is not
                moved by an answer at the same time.

        Raises:
            PublishError: The folder cannot be read.
        """
        self._reading = reading = self._folder.read()
        moved = {face for edit in others for face in getattr(edit, "face_ids", ())}
        found = {key: _parse_answer(answer) for key, answer in reading.answers.items()}
        found |= dict.fromkeys(reading.deleted, CardAnswer.LATER)
        found |= dict.fromkeys(reading.contradictory, CardAnswer.BOTH)
        self._closed &= found.keys()
        edits = {
            key: tuple(self._list_edits(key, answer, moved))
            for key, answer in sorted(found.items())
            if key not in self._closed
        }
        self._edits = {key: one for key, one in edits.items() if one}
        # A card whose question no longer stands has no effect.
        self._closed |= found.keys() - self._edits.keys()
        return [edit for edits in self._edits.values() for edit in edits]

    def _list_edits(
        self, key: str, answer: Answer, moved: Collection[int]
    ) -> Sequence[Edit | AnswerLosses]:
        if is_about_losses(key):
            said = CardAnswer.BOTH if isinstance(answer, frozenset) else answer
            return self._losses.list_answers(key, said)
        question = Question.of(key)
        if question is None:
            return ()
        if answer is CardAnswer.NO and question.key != key and len(question.claims) > 1:
            # Of an earlier version: not all of them are right. They are asked about one by one.
            return ()
        if isinstance(answer, frozenset) and not answer <= {*range(1, len(question.claims) + 1)}:
            notice = ReviewNotice.of(
                ReasonCode.ANSWER_NUMBERS, QUESTIONS_NAME, n=len(question.claims)
            )
            self._notices.append(notice)
            return ()
        return list_edits(question, answer, {*moved, *self._find_decided(question.face_ids)})

    def close(self, recorded: Collection[object]) -> None:
        """Have the cards removed whose edits are recorded."""
        recorded = set(recorded)
        self._closed |= {key for key, edits in self._edits.items() if recorded.issuperset(edits)}

    def forget(self, keys: Collection[str]) -> None:
        """Forget questions whose cards are removed: they may be asked and answered again."""
        self._closed -= set(keys)


def _parse_answer(text: str) -> Answer:
    if text in (CardAnswer.YES, CardAnswer.NO, CardAnswer.BOTH):
        return CardAnswer(text)
    return frozenset(map(int, text.split(",")))


def list_edits(question: Question, answer: Answer, moved: Collection[int] = ()) -> Sequence[Edit]:
    """Return the edits that an answer amounts to, at least one.

    Args:
        question: The question.
        answer: Its answer.
        moved: Faces that are not moved, because a user moved them by hand.
    """
    if answer is CardAnswer.LATER:
        return [DeferQuestion(question.key, DeferredAnswer.LATER)]
    numbers: Collection[int] = answer if isinstance(answer, frozenset) else ()
    if answer is CardAnswer.YES:
        numbers = range(1, len(question.claims) + 1)
    right = {claim for number, claim in enumerate(question.claims, 1) if number in numbers}
    wrong = {*question.claims} - right if answer is not CardAnswer.BOTH else set()
    edits: list[Edit] = []
    for claim in question.claims:
        left = tuple(face for face in claim.face_ids if face not in moved)
        if claim in right and not claim.face_ids:
            edits.append(MergePeople(claim.people[1], claim.people[0]))
        elif claim in right and not claim.people and left:
            edits.append(SplitPerson(left, "", ""))
        elif claim in wrong and not claim.face_ids:
            edits.append(SeparatePeople(min(claim.people), max(claim.people)))
        elif claim in wrong and not claim.people:
            edits.append(DeferQuestion(claim.key, DeferredAnswer.NOT_ALL))
    edits += [AssignFaces(faces, one) for one, faces in _by_person(question, right, moved)]
    edits += [RejectPerson(faces, one) for one, faces in _by_person(question, wrong, moved)]
    return edits or [DeferQuestion(question.key, "")]


def _by_person(
    question: Question, claims: Collection[Claim], moved: Collection[int]
) -> Iterable[tuple[int, tuple[int, ...]]]:
    """Yield each person whom faces are claimed to show, with those faces."""
    found: dict[int, list[int]] = {}
    for claim in question.claims:
        if claim in claims and len(claim.people) == 1 and claim.face_ids[0] not in moved:
            found.setdefault(claim.people[0], []).append(claim.face_ids[0])
    for person, faces in found.items():
        yield person, tuple(sorted(faces))
