"""A grouping stage over a store of synthetic faces."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.grouping_methods import make_method
from portraitd.clustering.grouping_stage import GroupingStage
from portraitd.config import GroupingSettings
from portraitd.faces.models.cards import DLIB
from portraitd.workers.pool import InlineExecutor
from support.store import Store, embedding

PACE = GroupingSettings(settle_s=15.0, max_wait_s=600.0)

MethodName = Literal["people", "dbscan"]


def make_stage(
    store: Store,
    tmp_path: Path,
    method: MethodName,
    executor: Executor | None = None,
    is_working: Callable[[], bool] = lambda: False,
    **numbers: Any,
) -> GroupingStage:
    settings = GroupingSettings(method=method, **{"min_samples": 2} | numbers)
    made = make_method(
        settings,
        DLIB,
        store.faces,
        store.tracks,
        store.people,
        store.ledger,
        executor or InlineExecutor(),
        tmp_path,
    )
    return GroupingStage(store.people, made, lambda: None, PACE, is_working)


def near(seed: int, shift: float) -> NDArray[np.float32]:
    """A vector, shifted a little."""
    return (embedding(seed) + np.float32(shift)).astype(np.float32)


def see(store: Store, *embeddings: NDArray[np.float32], at_s: float) -> list[int]:
    """A finished video with these faces and their tracks."""
    ids = store.see(*embeddings, at_s=at_s)
    store.track()
    return ids
