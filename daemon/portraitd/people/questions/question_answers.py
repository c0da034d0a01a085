"""Turn what reviewers did with the cards of questions into edits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from portraitd.model.edit import (
    AnswerLosses,
    AssignFaces,
    DeferQuestion,
    Edit,
    MergePeople,
    RejectPerson,
    SeparatePeople,
)
from portraitd.model.question import CardAnswer, Question
from portraitd.model.review_notice import ReviewNotice
from portraitd.people.feedback.loss_question import LossQuestion, is_about_losses
from portraitd.people.tree.card_folder import CardFolder, CardReading
from portraitd.store.questions import DeferredAnswer

_NO_READING = CardReading()


class QuestionAnswers:
    """The answers in a folder of cards, from the first reading until their cards are removed.

    Args:
        folder: The folder of cards.
        losses: Asks among the questions about missing portraits.
    """

    def __init__(self, folder: CardFolder, losses: LossQuestion) -> None:
        self._folder = folder
        self._losses = losses
        self._edits: dict[str, tuple[Edit | AnswerLosses, ...]] = {}
        self._closed: set[str] = set()
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
        return self._losses.take_notices()

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
        found = {key: CardAnswer(answer) for key, answer in reading.answers.items()}
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
        self, key: str, answer: CardAnswer, moved: Collection[int]
    ) -> Sequence[Edit | AnswerLosses]:
        if is_about_losses(key):
            return self._losses.list_answers(key, answer)
        question = Question.of(key)
        return () if question is None else list_edits(question, answer, moved)

    def close(self, recorded: Collection[object]) -> None:
        """Have the cards removed whose edits are recorded."""
        recorded = set(recorded)
        self._closed |= {key for key, edits in self._edits.items() if recorded.issuperset(edits)}

    def forget(self, keys: Collection[str]) -> None:
        """Forget questions whose cards are removed: they may be asked and answered again."""
        self._closed -= set(keys)


def list_edits(
    question: Question, answer: CardAnswer, moved: Collection[int] = ()
) -> Sequence[Edit]:
    """Return the edits that an answer amounts to, at least one.

    Args:
        question: The question.
        answer: Its answer.
        moved: Faces that are moved by hand at the same time.
    """
    faces = tuple(face for face in question.face_ids if face not in moved)
    first, *others = question.people
    if answer is CardAnswer.YES and question.face_ids:
        return [AssignFaces(faces, first)] if faces else [DeferQuestion(question.key, "")]
    if answer is CardAnswer.YES:
        return [MergePeople(other, first) for other in others]
    if answer is CardAnswer.NO and not question.is_single:
        return [DeferQuestion(question.key, DeferredAnswer.NOT_ALL)]
    if answer is CardAnswer.NO and question.face_ids:
        return [RejectPerson(faces, first)] if faces else [DeferQuestion(question.key, "")]
    if answer is CardAnswer.NO:
        return [SeparatePeople(min(question.people), max(question.people))]
    deferred = DeferredAnswer.LATER if answer is CardAnswer.LATER else ""
    return [DeferQuestion(question.key, deferred)]
