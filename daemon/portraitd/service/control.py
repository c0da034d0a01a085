"""The stage that carries out control requests: what commands ask of the running service."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from portraitd.datasets.dataset_stage import DatasetStage
from portraitd.datasets.harvest_stage import HarvestStage
from portraitd.ingest.reprocessing import ReprocessingStage
from portraitd.model.errors import ConfigError, StoreError
from portraitd.model.stage import Now, Stage
from portraitd.model.wording import counted
from portraitd.people.pages.edit_words import describe_last_undo
from portraitd.people.publisher import Publisher
from portraitd.people.review import Review
from portraitd.service import erasure_stage
from portraitd.service.control_files import ControlFiles, ControlRequest
from portraitd.service.erasure_stage import ErasureStage
from portraitd.store.corrections.ledger import Ledger

BUILD_DATASET = "dataset"
"""The request to build a training set. It is answered when the set is built."""

MOVE_RECORDING, RESET_SPLITS = "move-recording", "reset-splits"
"""The requests about the splits of training sets; the first is given a recording and a split."""

HARVEST = "harvest"
"""The request to look for more faces of a person, given by name or number."""

IMPORT_BOXES = "import-boxes"
"""The request to record what was corrected in another program, given by ``pack_edits``."""

PUT_BACK = "put-back"
"""The request to write portraits again that are missing from the tree."""

RETRY, DISMISS = "retry", "dismiss"
"""The requests about files that failed."""


class ControlStage(Stage):
    """Carries out control requests.

    Args:
        requests: The folder with the requests.
        review: Undoes edits, and accepts missing portraits.
        ledger: Says what was undone.
        publisher: Accepts that most portraits are removed.
        reprocessing: Starts to reprocess.
        erasure: Erases, as soon as no job holds faces.
        dataset: Builds training sets; a build takes many ticks.
        harvest: Looks for faces that a set lacks.
        import_boxes: Records corrections, given as text, and the time. Returns a sentence.
        retry: Queues the files that failed again, given the time. Returns how many.
        dismiss: Dismisses failed files, given their paths (none for all) and the time. Returns
            their paths.
    """

    def __init__(
        self,
        requests: ControlFiles,
        review: Review,
        ledger: Ledger,
        publisher: Publisher,
        reprocessing: ReprocessingStage,
        erasure: ErasureStage,
        dataset: DatasetStage,
        harvest: HarvestStage,
        import_boxes: Callable[[str, float], str],
        retry: Callable[[float], int],
        dismiss: Callable[[Sequence[str], float], list[str]],
    ) -> None:
        self._requests = requests
        self._review = review
        self._ledger = ledger
        self._publisher = publisher
        self._reprocessing = reprocessing
        self._erasure = erasure
        self._dataset = dataset
        self._harvest = harvest
        self._import_boxes = import_boxes
        self._retry = retry
        self._dismiss = dismiss
        self._taken: set[str] = set()
        self._failing = ""

    @property
    def pending(self) -> bool:
        """Return whether a request is not answered yet, or may be there."""
        try:
            return bool(self._requests.waiting())
        except StoreError:
            # The tick raises it, too.
            return True

    @property
    def defers(self) -> bool:
        """Return whether a request that could not be carried out still waits."""
        return bool(self._failing)

    def tick(self, now: Now) -> None:
        """Carry out the requests that wait, and answer them.

        Raises:
            StoreError: The store or an answer cannot be written; the next tick tries again.
        """
        for answer in self._dataset.answers:
            self._requests.answer(answer.name, answer.text, answer.granted)
            self._dataset.remove_answer(answer)
        waiting = self._requests.waiting()
        if self._failing not in waiting:
            self._failing = ""
        self._dataset.request(
            [name for name, request in waiting.items() if request.command == BUILD_DATASET]
        )
        for name, request in waiting.items():
            if request.command == BUILD_DATASET:
                continue
            if request.command == erasure_stage.REQUEST and not self._erasure.is_free:
                continue
            self._failing = name
            try:
                self._requests.answer(name, self._carry_out(request, now.wall_s))
            except ConfigError as error:
                self._requests.answer(name, str(error), granted=False)
            self._failing = ""
            self._taken.add(name)
        for name in waiting.keys() - self._taken:
            self._requests.acknowledge(name)
            self._taken.add(name)
        self._taken &= waiting.keys()

    def _carry_out(self, request: ControlRequest, now_s: float) -> str:
        """Carry out a request, and return the answer."""
        if request.command == "undo":
            self._review.undo(request.entry, now_s)
            return describe_last_undo(self._ledger)
        if request.command in ("accept", PUT_BACK):
            return self._decide_about_losses(request.command == "accept")
        if request.command == "rebuild":
            return self._rebuild(now_s)
        if request.command in (RETRY, DISMISS):
            return self._change_failed(request, now_s)
        if request.command in (MOVE_RECORDING, RESET_SPLITS, HARVEST, IMPORT_BOXES):
            return self._change_sets(request, now_s)
        if request.command == erasure_stage.REQUEST and len(request.arguments) == 2:
            return self._erasure.answer(*request.arguments, now_s)
        raise ConfigError(f"unknown request: {request.command!r}")

    def _decide_about_losses(self, are_deleted: bool) -> str:
        if not are_deleted:
            self._review.put_back()
            return "Any missing portraits will be written again."
        self._review.accept()
        self._publisher.accept()
        answer = "Any missing portraits now count as deleted."
        if self._erasure.accept():
            answer += " The videos that are older than privacy.keep_days will be erased."
        return answer

    def _rebuild(self, now_s: float) -> str:
        begun = self._reprocessing.begin(now_s)
        answer = f"{counted(begun.videos, 'video')} will be reprocessed."
        if not begun.skipped:
            return answer
        were = "was" if begun.skipped == 1 else "were"
        return f"{answer} {counted(begun.skipped, 'video')} {were} skipped: file missing."

    def _change_sets(self, request: ControlRequest, now_s: float) -> str:
        if request.command == HARVEST and len(request.arguments) == 1:
            return self._harvest.begin(request.arguments[0], now_s)
        if request.command == IMPORT_BOXES and len(request.arguments) == 1:
            return self._import_boxes(request.arguments[0], now_s)
        if request.command == RESET_SPLITS:
            return self._dataset.reset_splits(now_s)
        if len(request.arguments) != 2:
            raise ConfigError(f"{MOVE_RECORDING} needs a recording and a split")
        return self._dataset.move_recording(*request.arguments, now_s)

    def _change_failed(self, request: ControlRequest, now_s: float) -> str:
        if request.command == DISMISS:
            return describe_dismissed(len(self._dismiss(request.arguments, now_s)))
        return f"{counted(self._retry(now_s), 'file')} will be retried."


def describe_dismissed(count: int) -> str:
    """Return a sentence about how many files were dismissed."""
    them = "It is" if count == 1 else "They are"
    return f"Dismissed {counted(count, 'file')}. {them} processed again only after a change."
