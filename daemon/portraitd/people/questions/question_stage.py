"""Ask reviewers: keep the folder of questions filled with the most valuable ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import structlog

from portraitd.config import ReviewSettings
from portraitd.faces.portrait_selection import pick_diverse
from portraitd.model.errors import PublishError
from portraitd.model.question import CardAnswer, Claim, Question
from portraitd.model.stage import BackOff, Now, Stage
from portraitd.model.suggestion import ASKED_PAIR_PROBABILITY
from portraitd.model.track import l2_normalised
from portraitd.model.wording import counted
from portraitd.people.feedback.loss_question import LossQuestion, is_about_losses
from portraitd.people.names import folder_name
from portraitd.people.pages.words import PageText
from portraitd.people.questions.question_answers import QuestionAnswers, read_answer
from portraitd.people.questions.question_picture import (
    FacePlace,
    QuestionSide,
    draw_question,
)
from portraitd.people.questions.question_selection import (
    OpenCases,
    ValuedQuestion,
    select_questions,
)
from portraitd.people.tree.card_folder import Card, CardFolder
from portraitd.people.tree.folder_fs import digest
from portraitd.people.tree.reserved_folders import QUESTIONS_NAME
from portraitd.store.database import Database
from portraitd.store.questions import FaceFacts, PersonFacts, QuestionStore
from portraitd.store.tree_stores import TreeStores

log = structlog.get_logger(stage="questions")

PICTURE_VERSION = 2
"""Raised when pictures are drawn differently."""

RETRY_S = 15.0

_REFRESH_S = 3600.0
"""How often it is checked whether a question that was put off is due."""

_BEST_FACES = 60
"""The portraits in a picture are chosen from this many good faces of a person."""

_NAME_CHARACTERS = 30

_MAX_CAPTIONS = 4

_HINT = "Move this picture into the folder yes or no. Delete it: not now."

_HINT_NUMBERS = (
    "Rename this picture to the numbers that are right, such as 2 5. "
    "All are right: move it into the folder yes. None: into no. Delete it: not now."
)


class _Drawing(NamedTuple):
    """A picture that a worker draws."""

    identity: str
    picture: Future[bytes]


class QuestionStage(Stage):
    """Publishes the questions as cards, and removes those that are answered.

    Attributes:
        answers: The answers in the folder.

    Args:
        people_dir: The root of the tree.
        database: What may be asked.
        stores: Names, faces, and what users decided.
        executor: Draws the pictures.
        wake: Called, from any thread, when a picture is drawn.
        settings: How many questions there are at most.
        losses: Asks about missing portraits, before all other questions.
    """

    updates_tree = True

    def __init__(
        self,
        people_dir: Path,
        database: Database,
        stores: TreeStores,
        executor: Executor,
        wake: Callable[[], None],
        settings: ReviewSettings,
        losses: LossQuestion,
    ) -> None:
        answers = (CardAnswer.YES, CardAnswer.NO)
        self._folder = CardFolder(
            people_dir, QUESTIONS_NAME, answers, database.name, read_answer=read_answer
        )
        self.answers = QuestionAnswers(self._folder, losses, self._find_decided)
        self._losses = losses
        self._questions = QuestionStore(database)
        self._stores = stores
        self._executor = executor
        self._wake = wake
        self._limit = settings.questions
        self._selected: list[ValuedQuestion] = []
        self._people: Mapping[int, PersonFacts] = {}
        self._faces: dict[str, tuple[tuple[tuple[int, ...], ...], ...]] = {}
        self._drawings: dict[str, _Drawing] = {}
        self._written: Mapping[str, str] = {}
        self._seen: tuple[object, ...] = ()
        self._selected_s = float("-inf")
        self._is_done = False
        self._back_off = BackOff(RETRY_S)

    @property
    def pending(self) -> bool:
        """Whether the folder does not show the present questions."""
        return not self._is_done or self._seen != self._facts()

    @property
    def selected(self) -> Sequence[ValuedQuestion]:
        """The questions that are asked, the most valuable first."""
        return tuple(self._selected)

    def is_over(self, key: str) -> bool:
        """Return whether a question is not asked any more.

        It is still asked while its picture is drawn or written again, and after a start, until the
        questions are selected.
        """
        is_selected = self._selected_s > float("-inf")
        return is_selected and all(one.question.key != key for one in self._selected)

    def describe_questions(self) -> dict[str, tuple[PageText, str]]:
        """Return the questions that are in the folder by key: in words, and the picture's path."""
        in_place = {**self._written, **self.answers.reading.in_place}
        asked = {one.question.key: one.question for one in self._selected}
        return {
            key: (self._in_words(question), in_place[key])
            for key, question in asked.items()
            if key in in_place and key not in self.answers.closed
        }

    def tick(self, now: Now) -> None:
        """Select questions if something changed, and write their cards when they are drawn.

        Raises:
            PublishError: The folder cannot be read or written.
        """
        if not self._back_off.ready(now):
            return
        is_due = now.steady_s - self._selected_s >= _REFRESH_S
        if self._is_done and not is_due and self._seen == self._facts():
            return
        try:
            self._advance(now, is_due)
        except PublishError:
            self._back_off.start(now)
            raise

    def release(self) -> None:
        """Drop the pictures that are being drawn."""
        self._drawings.clear()
        self._is_done, self._seen = False, ()

    def _facts(self) -> tuple[object, ...]:
        """Return what the questions depend on."""
        run = self._stores.people.last_grouping_run()
        reading = self.answers.reading
        return (
            run.id if run else 0,
            self._stores.ledger.last_id(),
            self._stores.publications.last(),
            frozenset(self.answers.closed),
            frozenset(reading.in_place),
            self._losses.key,
        )

    def _advance(self, now: Now, is_due: bool) -> None:
        if not self._stores.publications.last().grouping_run_id:
            # Nothing was published yet, so there is no one to ask about.
            self._is_done, self._seen = True, self._facts()
            return
        if self._limit == 0:
            closed = self.answers.closed
            if self._losses.key:
                self._publish([], closed)
            else:
                self._folder.remove(closed)
                self.answers.forget(closed)
            self._is_done, self._seen = True, self._facts()
            return
        listed = self._folder.list_cards()
        facts = self._facts()
        if facts != self._seen or is_due:
            self._is_done = False
            self._select(listed, now)
            # Not before: what could not be read now is read again.
            self._selected_s, self._seen = now.steady_s, facts
        cards = [self._card(at, one) for at, one in enumerate(self._selected, 1)]
        wanted = {card.key: card.identity for card in cards}
        self._drawings = {
            key: drawing
            for key, drawing in self._drawings.items()
            if wanted.get(key) == drawing.identity
        }
        closed = self.answers.closed
        for card in cards:
            is_written = listed.get(card.key) == card.identity and card.key not in closed
            if not is_written and card.key not in self._drawings:
                self._draw(card)
        if not all(drawing.picture.done() for drawing in self._drawings.values()):
            # Answered cards are removed at once, and the card that the review waits for is written
            # at once.
            losses = self._losses.key
            if closed or (losses and losses not in listed):
                self._publish(cards, closed)
            return
        self._publish(cards, closed)
        self._drawings.clear()
        self._is_done, self._seen = True, self._facts()

    def _publish(self, cards: Sequence[Card], closed: Collection[str]) -> None:
        drawn = {}
        for key, drawing in self._drawings.items():
            if not drawing.picture.done():
                continue
            error = drawing.picture.exception()
            if error is None:
                drawn[key] = drawing.picture.result()
            else:
                log.warning("question_not_drawn", question=key, reason=str(error))
        listed = self._folder.list_cards()
        # Without its new picture, a card that is out stays as it is.
        ready = [
            one if one.key in drawn else replace(one, identity=listed[one.key])
            for one in cards
            if one.key in drawn or (one.key in listed and one.key not in closed)
        ]

        def content(card: Card) -> bytes:
            return self._losses.write() if is_about_losses(card.key) else drawn[card.key]

        changed = self._folder.update([*self._losses.cards, *ready], content, closed)
        self.answers.forget(closed)
        self._written = self._folder.read().in_place
        if changed:
            log.info("questions_published", questions=len(ready), changed=changed)

    def _select(self, listed: Iterable[str], now: Now) -> None:
        corrections = self._stores.ledger.corrections()
        deferred = self._questions.deferred()
        rejected: dict[int, set[int]] = {}
        for one in corrections.separations:
            if one.other_id is None:
                for face in one.faces:
                    rejected.setdefault(face, set()).add(one.person_id)
        cases = OpenCases(
            self._questions.people(),
            self._stores.people.suggestions(ASKED_PAIR_PROBABILITY),
            self._questions.near_misses(),
            self._questions.newcomers(),
            corrections.separated_people(),
            rejected,
            deferred,
            corrections.current_person,
        )
        closed = self.answers.closed
        shown = [Question.of(key) for key in listed if key not in closed]
        self._selected = select_questions(
            cases, [one for one in shown if one is not None], self._limit, now.wall_s
        )
        self._people = cases.people
        self._faces = {one.question.key: self._choose_faces(one) for one in self._selected}

    def _find_decided(self, face_ids: Collection[int]) -> Collection[int]:
        """Return those of some faces that users said the person of."""
        corrections = self._stores.ledger.corrections()
        return {one for one in face_ids if corrections.assigned_person(one)}

    def _card(self, rank: int, one: ValuedQuestion) -> Card:
        question = one.question
        first = question.claims[0]
        names = [self._name(person)[:_NAME_CHARACTERS].strip() for person in first.people]
        if len(question.claims) > 1:
            words = f"which of these {len(question.claims)} are right"
        elif not names:
            words = f"are these {len(first.face_ids)} one new person"
        elif first.face_ids:
            words = f"is this {names[0]}"
        else:
            words = f"{names[0]} and {names[1]}, the same"
        # With the faces: a picture must not go on showing one that was erased.
        people = [self._name(person) for claim in question.claims for person in claim.people]
        facts = [PICTURE_VERSION, *people, *self._faces[question.key]]
        identity = digest(json.dumps(facts).encode())[:16]
        return Card(question.key, f"{rank:02d} {words}.jpg", identity)

    def _choose_faces(self, one: ValuedQuestion) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """Return the faces that both sides of each claim show; none of a settled claim."""
        most = 4 if len(one.question.claims) == 1 else 3
        return tuple(
            ()
            if claim in one.settled
            else (
                *([claim.face_ids] if claim.face_ids else []),
                *(self._choose_best(person, most) for person in reversed(claim.people)),
            )
            for claim in one.question.claims
        )

    def _choose_best(self, person_id: int, most: int) -> tuple[int, ...]:
        faces = self._stores.faces
        face_ids = self._questions.best_faces(person_id, _BEST_FACES)
        if not face_ids:
            return ()
        chosen = pick_diverse(
            l2_normalised(faces.embeddings_of(face_ids)), faces.portrait_rank(face_ids), most
        )
        return tuple(face_ids[index] for index in chosen)

    def _draw(self, card: Card) -> None:
        question = Question.of(card.key)
        assert question is not None
        picture = self._executor.submit(draw_question, *self._describe(question))
        picture.add_done_callback(lambda _: self._wake())
        self._drawings[card.key] = _Drawing(card.identity, picture)

    def _describe(self, question: Question) -> tuple[str, str, list[tuple[QuestionSide, ...]], str]:
        """Return title, name, rows and hint of the picture of a question."""
        faces = self._faces[question.key]
        rows = [self._describe_claim(*one) for one in zip(question.claims, faces, strict=True)]
        if len(rows) > 1:
            return "Which of these are right?", "", rows, _HINT_NUMBERS
        (claim,) = question.claims
        if not claim.people:
            return "Are all of these one new person?", "", rows, _HINT
        if claim.face_ids:
            return "Is this {name}?", self._name(claim.people[0]), rows, _HINT
        return "The same person?", "", rows, _HINT

    def _describe_claim(
        self, claim: Claim, faces: tuple[tuple[int, ...], ...]
    ) -> tuple[QuestionSide, ...]:
        if not faces:
            return (self._make_side("settled meanwhile", "settled meanwhile", (), ()),)
        people = claim.people[::-1]
        sides = [
            self._side_of_person(*one) for one in zip(people, faces[-len(people) :], strict=False)
        ]
        if claim.face_ids:
            name = "this face" if claim.people else "these are one new person"
            sides.insert(0, self._make_side(name, name, (), claim.face_ids))
        return tuple(sides)

    def _side_of_person(self, person_id: int, face_ids: Sequence[int]) -> QuestionSide:
        count = self._people[person_id].faces
        heading = (counted(count, "face"),)
        number = folder_name(person_id, None)
        return self._make_side(self._name(person_id), number, heading, face_ids)

    def _make_side(
        self, name: str, without_name: str, heading: tuple[str, ...], face_ids: Sequence[int]
    ) -> QuestionSide:
        facts = {face: self._questions.face_facts(face) for face in face_ids}
        known = {face: one for face, one in facts.items() if one is not None}
        return QuestionSide(
            name,
            without_name,
            (*heading, *list_captions(known.values())),
            tuple(self._stores.faces.portrait(face) for face in known),
            tuple(
                FacePlace(one.centre_x, one.centre_y, one.width, one.height)
                for one in known.values()
            ),
        )

    def _in_words(self, question: Question) -> PageText:
        if len(question.claims) > 1:
            return PageText("question_which", {"n": len(question.claims)})
        (claim,) = question.claims
        if not claim.people:
            return PageText("question_new", {"n": len(claim.face_ids)})
        names = [self._name(person) for person in claim.people]
        if claim.face_ids:
            return PageText("question_is", {"name": names[0]})
        return PageText("question_same", {"names": ", ".join(names)})

    def _name(self, person_id: int) -> str:
        facts = self._people.get(person_id)
        return folder_name(person_id, facts.name if facts else None)


def list_captions(facts: Iterable[FaceFacts]) -> tuple[str, ...]:
    """Return where faces were seen: a line for each recording, with its times."""
    times: dict[tuple[str, str], list[str]] = {}
    for one in facts:
        seen = times.setdefault((one.recording, one.day), [])
        if one.t_s is not None:
            minutes, seconds = divmod(round(one.t_s), 60)
            seen.append(f"{minutes}:{seconds:02d}")
    lines = [
        ", ".join([recording, *([day] if day else []), *dict.fromkeys(seen)])
        for (recording, day), seen in times.items()
    ]
    if len(lines) > _MAX_CAPTIONS:
        lines[_MAX_CAPTIONS - 1 :] = [f"and {len(lines) - _MAX_CAPTIONS + 1} more"]
    return tuple(lines)
