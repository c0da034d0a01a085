"""The quality floor of training sets: which faces are too poor to learn from, and why.

A face below the floor is not in a face folder, and no frame is added because of it. In a frame that
is used for another face it is labelled: without a label, a detector would learn that it is not one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from portraitd.datasets.annotations import DatasetRule
from portraitd.model.reasons import Reason, ReasonCode


class RatedFace(Protocol):
    """The measures of ``model.face.Quality``, which stored faces have as well."""

    @property
    def size_px(self) -> float: ...
    @property
    def sharpness(self) -> float: ...
    @property
    def frontal(self) -> float: ...
    @property
    def confidence(self) -> float: ...


def find_fault(face: RatedFace, rule: DatasetRule) -> ReasonCode | None:
    """Return why a face is below the floor; None if it is not."""
    if face.size_px < rule.min_px:
        return ReasonCode.TOO_SMALL
    if face.sharpness < rule.min_sharpness:
        return ReasonCode.BLURRED
    if face.confidence < rule.min_confidence:
        return ReasonCode.UNCERTAIN
    if 1.0 - face.frontal > rule.max_turn:
        return ReasonCode.TURNED_AWAY
    return None


def describe_left_out(code: str, rule: DatasetRule) -> str:
    """Return why faces are left out, in words for a table."""
    return Reason.of(ReasonCode(code), **rule._asdict()).text


def list_left_out(counts: Mapping[str, int]) -> str:
    """Return how many faces are left out by reason, in a few words; empty if none is."""
    return ", ".join(f"{count:,} {code.replace('_', ' ')}" for code, count in counts.items())
