"""The quality floor of training sets: which faces are too poor to learn from, and why.

A face below the floor is in no face folder, and no frame is used for its sake. In a frame that is
used for another face it is labelled: without a label, a detector would learn that it is no face.
"""

from __future__ import annotations

from enum import StrEnum

from portraitd.datasets.annotations import DatasetRule
from portraitd.store.dataset_store import DatasetFace


class LeftOut(StrEnum):
    """Why a face is not in a set; the first that applies. A code never changes its meaning."""

    TOO_SMALL = "too_small"
    BLURRED = "blurred"
    UNCERTAIN = "uncertain"
    TURNED_AWAY = "turned_away"
    NEAR_DUPLICATE = "near_duplicate"
    ERASED_NEARBY = "erased_nearby"
    IN_ANOTHER_SPLIT = "in_another_split"


def find_fault(face: DatasetFace, rule: DatasetRule) -> LeftOut | None:
    """Return why a face is below the floor; None if it is not."""
    if face.size_px < rule.min_px:
        return LeftOut.TOO_SMALL
    if face.sharpness < rule.min_sharpness:
        return LeftOut.BLURRED
    if face.confidence < rule.min_confidence:
        return LeftOut.UNCERTAIN
    if 1.0 - face.frontal > rule.max_turn:
        return LeftOut.TURNED_AWAY
    return None


def describe_left_out(code: str, rule: DatasetRule) -> str:
    """Return why faces are left out, in words for a table."""
    return {
        LeftOut.TOO_SMALL: f"smaller than {rule.min_px:g} px (dataset.min_px)",
        LeftOut.BLURRED: f"blurred or covered: sharpness below {rule.min_sharpness:g} "
        "(dataset.min_sharpness)",
        LeftOut.UNCERTAIN: "the detector is not certain: confidence below "
        f"{rule.min_confidence:g} (dataset.min_confidence)",
        LeftOut.TURNED_AWAY: f"turned away by more than {rule.max_turn:g} (dataset.max_turn)",
        LeftOut.NEAR_DUPLICATE: "like an earlier face of the same person",
        LeftOut.ERASED_NEARBY: "next to a face that was erased",
        LeftOut.IN_ANOTHER_SPLIT: "would show the same shot or person in two splits",
    }[LeftOut(code)]
