"""Ask on a card whether portraits that disappeared at once were deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from portraitd.model.edit import AnswerLosses
from portraitd.model.question import CardAnswer
from portraitd.model.reasons import ReasonCode
from portraitd.model.review_notice import ReviewNotice
from portraitd.people.pages.words import translate
from portraitd.people.tree.card_folder import Card
from portraitd.people.tree.diff import Losses
from portraitd.people.tree.folder_fs import digest
from portraitd.people.tree.reserved_folders import QUESTIONS_NAME

_PREFIX = "losses:"


class LossQuestion:
    """A card among the questions, while portraits are missing and a person must say why.

    The card stands for exactly what is missing: where something else is missing by the time of the
    answer, it is asked again.

    Args:
        withheld: Returns what is missing and waits for an answer.
    """

    def __init__(self, withheld: Callable[[], Losses]) -> None:
        self._withheld = withheld
        self._notices: list[ReviewNotice] = []

    @property
    def key(self) -> str:
        """Key of the card; empty while nothing is asked."""
        return _make_key(self._withheld())

    @property
    def cards(self) -> Sequence[Card]:
        """The card that there should be, if any."""
        key, count = self.key, len(self._withheld().faces)
        return [Card(key, f"00 {count} portraits missing, delete them.txt")] if key else []

    def write(self) -> bytes:
        """Return the text of the card."""
        losses = self._withheld()
        facts = {"missing": len(losses.faces), "published": losses.published}
        lines = [translate("losses_asked", **facts), "", translate("losses_answers")]
        return "".join(f"{line}\n" for line in lines).encode()

    def list_answers(self, key: str, answer: CardAnswer) -> Sequence[AnswerLosses]:
        """Return the answer that a card gives; nothing if the question has to be asked again."""
        if answer not in (CardAnswer.YES, CardAnswer.NO):
            return ()
        if key == self.key:
            return [AnswerLosses(key, answer is CardAnswer.YES)]
        if self.key:
            self._notices.append(ReviewNotice.of(ReasonCode.ANSWER_OUTDATED, QUESTIONS_NAME))
        return ()

    def take_notices(self) -> Sequence[ReviewNotice]:
        """Return notices about answers to earlier questions, each once."""
        notices, self._notices = self._notices, []
        return notices


@lru_cache(maxsize=1)
def _make_key(losses: Losses) -> str:
    # Cached, because every tick asks for it, and much may be missing for days.
    if not losses:
        return ""
    facts = sorted(losses.faces), sorted(losses.people)
    return f"{_PREFIX}{digest(repr(facts).encode())[:24]}"


def is_about_losses(key: str) -> bool:
    """Return whether a card asks about missing portraits."""
    return key.startswith(_PREFIX)
