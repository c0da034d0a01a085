"""Forgetting at somebody's word, or when the time to keep is over, until nothing is left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from portraitd import logs
from portraitd.config import Settings
from portraitd.errors import ConfigError
from portraitd.people.erasing import Erased, erase_portraits, erase_sets
from portraitd.requests import Requests
from portraitd.store.caches import destroy_copies
from portraitd.store.forgetting import Forgetting, Scope

log = logs.get("forgetting")

DAY_S = 86_400.0

REQUEST = "forget"
"""What a command asks for, with one word more: what kind, and which."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where faces may lie besides the database.

    Attributes:
        state: Copies that censuses and training sets keep.
        people: The tree people look at.
        dataset: Training sets, where there are any.
        requests: Where commands ask.
    """

    state: Path
    people: Path
    dataset: Path
    requests: Path

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those of a home."""
        return cls(
            settings.state_dir,
            settings.people_dir,
            settings.home_dir / "dataset",
            settings.state_dir / "requests",
        )


class Forgetter:
    """Does what was asked, and what retention asks once a day.

    Each forgetting is one transaction; what it must still reach outside of the database stands
    in a row until it is done, so a crash, a busy journal or a share that is away only delay it.

    Args:
        forgetting: The rows.
        places: Everything else.
        keep_days: Videos taken up longer ago are forgotten; 0 for never.
    """

    def __init__(self, forgetting: Forgetting, places: Places, keep_days: float) -> None:
        self._forgetting = forgetting
        self._places = places
        self._requests = Requests(places.requests)
        self._keep_days = keep_days
        self._looked_s = float("-inf")

    @property
    def pending(self) -> bool:
        """Whether something is asked, or has not reached everything yet."""
        return bool(self._asked()) or self._forgetting.pending

    def refresh(self, now_s: float, grouping: bool) -> None:
        """Forget what is asked, and finish what was begun.

        Args:
            now_s: Wall clock.
            grouping: Whether a worker groups just now: it holds the embeddings and writes
                others down when it is ready. Then this waits.

        Raises:
            StoreError: The journal is in use, or a copy cannot be removed.
            PublishError: The people tree is away; the rest is forgotten already.
        """
        if grouping:
            return
        for name, words in self._asked().items():
            try:
                scope = find(self._forgetting, *words)
                self.forget(scope, now_s)
                self._requests.answer(name, said(scope))
            except ConfigError as error:
                self._requests.answer(name, str(error), granted=False)
        # A clock that was set back must not put a day's look off for ever.
        if self._keep_days and not 0 <= now_s - self._looked_s < DAY_S:
            self._looked_s = now_s
            self.forget(self._forgetting.before(now_s - self._keep_days * DAY_S), now_s)
        self.finish(now_s)

    def forget(self, scope: Scope, now_s: float) -> None:
        """Take it out of the database; ``finish`` does the rest."""
        if not scope:
            return
        number = self._forgetting.carry_out(scope, now_s)
        log.info(
            "forgotten",
            number=number,
            what=scope.what,
            faces=len(scope.face_ids),
            videos=len(scope.video_ids),
            people=len(scope.person_ids),
        )

    def finish(self, now_s: float) -> list[Erased]:
        """Remove what is left outside of the rows, of every forgetting that is not finished."""
        done = []
        for erasure in self._forgetting.open_erasures():
            self._forgetting.empty_journal()
            # The store that a restore put aside had forgotten it already.
            copies = destroy_copies(self._places.state, erasure.what != "restored")
            erased = erase_portraits(
                self._places.people, erasure.endings.keys(), frozenset(erasure.endings.values())
            )
            if self._places.dataset.is_dir():
                erase_sets(self._places.dataset)
            self._forgetting.finish(erasure.id, now_s)
            log.info("forgetting_finished", number=erasure.id, files=erased.removed, copies=copies)
            done.append(erased)
        if done:
            # The notes of what was to be removed are gone from the journal too.
            self._forgetting.empty_journal()
        return done

    def _asked(self) -> dict[str, tuple[str, str]]:
        return {
            name: (request.words[0], request.words[1])
            for name, request in self._requests.waiting().items()
            if request.what == REQUEST and len(request.words) == 2
        }


def find(forgetting: Forgetting, kind: str, word: str) -> Scope:
    """What ``forget KIND WORD`` means.

    Raises:
        ConfigError: Nothing is called like that, or it is no day.
    """
    if kind == "person":
        return forgetting.person(word)
    if kind == "video":
        return forgetting.video(word)
    if kind == "before":
        return forgetting.before(moment(word))
    raise ConfigError(f"forget {kind}: write person, video or before")


def moment(word: str) -> float:
    """The beginning of a day, or a moment, in seconds since 1970; local time if none is named.

    Raises:
        ConfigError: It is neither.
    """
    try:
        return datetime.fromisoformat(word).timestamp()
    except ValueError as error:
        raise ConfigError(f"{word!r} is no date; write 2026-03-31") from error


def said(scope: Scope) -> str:
    """One line for whoever asked."""
    faces, videos = len(scope.face_ids), len(scope.video_ids)
    parts = [f"{videos} videos", f"{faces} faces"] if videos else [f"{faces} faces"]
    return f"{' and '.join(parts)} forgotten"
