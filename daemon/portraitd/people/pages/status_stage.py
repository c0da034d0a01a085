"""Keeps STATUS.html up to date."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from portraitd.model.reasons import NO_REASON, Reason
from portraitd.model.stage import Now, Phase, Stage
from portraitd.people.pages import assets
from portraitd.people.pages.status_page import (
    StatusView,
    make_status_line_script,
    render_status_page,
)
from portraitd.people.pages.words import PageText
from portraitd.people.tree.folder_fs import digest
from portraitd.people.tree.owned_files import ROOT, OwnedFiles
from portraitd.store.snapshot import Snapshot

STATUS_NAME = "STATUS.html"

WRITE_INTERVAL_S = 4.0
"""Between two writes while there is work; the page reloads itself every five seconds."""


class StatusPageStage(Stage):
    """Keeps STATUS.html and the status line of the index page up to date.

    Args:
        people_dir: The root of the tree.
        read: Reads how things stand.
        phase_now: Returns what the service is doing.
        blocked_now: Returns why a stage cannot go on.
        questions_now: Returns what reviewers are asked, each with the path of its picture.
        has_edit_cards: Whether the last edits are files in the tree.
    """

    def __init__(
        self,
        people_dir: Path,
        read: Callable[[Now], Snapshot],
        phase_now: Callable[[], Phase],
        blocked_now: Callable[[], Reason] = lambda: NO_REASON,
        questions_now: Callable[[], Sequence[tuple[PageText, str]]] = lambda: (),
        *,
        has_edit_cards: bool = True,
    ) -> None:
        self._people_dir = people_dir
        self._read = read
        self._phase_now = phase_now
        self._blocked_now = blocked_now
        self._questions_now = questions_now
        self._has_edit_cards = has_edit_cards
        self._owned_files = OwnedFiles(people_dir, "status", clears_way=True)
        self._written: StatusView | None = None
        self._shown: tuple[Phase, bool] | None = None
        self._written_s = float("-inf")

    def tick(self, now: Now) -> None:
        """Write what changed.

        Raises:
            PublishError: The tree cannot be written.
        """
        self.write(self._phase_now(), now)

    def write(self, phase: Phase, now: Now) -> None:
        """Write what changed, at most every few seconds; at once in a new phase, or when blocked.

        Raises:
            PublishError: The tree cannot be written.
        """
        blocked = self._blocked_now() if phase != "stopped" else NO_REASON
        is_urgent = self._shown != (phase, bool(blocked))
        if not is_urgent and now.steady_s - self._written_s < WRITE_INTERVAL_S:
            return
        view = StatusView.of(
            phase,
            self._read(now),
            blocked,
            self._questions_now(),
            has_edit_cards=self._has_edit_cards,
        )
        # An erasure removes the page, which may name an erased person.
        if view != self._written or not (self._people_dir / STATUS_NAME).exists():
            self._write(view, now.wall_s)
            self._written = view
        # Only now: what failed is tried again at the next tick.
        self._written_s, self._shown = now.steady_s, (phase, bool(blocked))

    def _write(self, view: StatusView, now_s: float) -> None:
        files = {
            ROOT: {STATUS_NAME: render_status_page(view, now_s)},
            "gallery/data": {"status.js": make_status_line_script(view, now_s)},
        }
        # Without the time: a restart that changes nothing else does not write.
        identity = digest(repr((assets.compute_render_version(), view)).encode())[:16]
        for location, contents in files.items():
            wanted = dict.fromkeys(contents, identity)
            self._owned_files.publish(location, wanted, contents.__getitem__)
