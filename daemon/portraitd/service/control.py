"""What commands ask of the running service, and its answers."""

from __future__ import annotations

from portraitd.datasets.dataset_stage import DatasetStage
from portraitd.ingest.reprocessing import ReprocessingStage
from portraitd.model.errors import ConfigError
from portraitd.model.stage import Now, Stage
from portraitd.people.publisher import Publisher
from portraitd.people.review import Review
from portraitd.service import erasure_stage
from portraitd.service.control_files import ControlFiles, ControlRequest
from portraitd.service.erasure_stage import ErasureStage

BUILD_DATASET = "dataset"
"""The request for a training set. Its answer comes when the set is built."""


class ControlStage(Stage):
    """Does what commands left as requests.

    Args:
        requests: Where they lie.
        review: What can be undone or accepted.
        publisher: What can be accepted as well.
        rebuilding: What can be begun.
        forgetter: Forgets, as soon as nobody holds faces.
        curator: Builds training sets; a build takes many turns.
    """

    def __init__(
        self,
        requests: ControlFiles,
        review: Review,
        publisher: Publisher,
        reprocessing: ReprocessingStage,
        forgetter: ErasureStage,
        dataset_stage: DatasetStage,
    ) -> None:
        self._requests = requests
        self._review = review
        self._publisher = publisher
        self._rebuilding = reprocessing
        self._forgetter = forgetter
        self._curator = dataset_stage

    @property
    def pending(self) -> bool:
        """Whether anything is asked."""
        return bool(self._requests.waiting())

    def tick(self, now: Now) -> None:
        """Do what is asked, and say what came of it.

        Raises:
            StoreError: The store or the answer cannot be written; it is tried again.
        """
        for answer in self._curator.answers:
            self._requests.answer(answer.name, answer.text, answer.granted)
            self._curator.delivered(answer)
        waiting = self._requests.waiting()
        self._curator.request([name for name, one in waiting.items() if one.what == BUILD_DATASET])
        for name, request in waiting.items():
            if request.what == BUILD_DATASET:
                continue
            if request.what == erasure_stage.REQUEST and not self._forgetter.is_free:
                continue
            try:
                self._requests.answer(name, self._grant(request, now.wall_s))
            except ConfigError as error:
                self._requests.answer(name, str(error), granted=False)

    def _grant(self, request: ControlRequest, now_s: float) -> str:
        if request.what == "undo":
            undone = self._review.undo(request.row, now_s)
            return f"row {undone.id} ({undone.kind}) is undone"
        if request.what == "accept":
            self._review.accept()
            self._publisher.accept()
            return "what is gone from people/ is taken for removed"
        if request.what == "rebuild":
            begun = self._rebuilding.begin(now_s)
            gone = f"; {begun.left_out} stay as they are, their file is gone"
            return f"{begun.videos} videos are looked at again" + gone * bool(begun.left_out)
        if request.what == erasure_stage.REQUEST and len(request.words) == 2:
            return self._forgetter.answer(request.words[0], request.words[1], now_s)
        raise ConfigError(f"there is no request {request.what!r}")
