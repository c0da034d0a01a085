"""MMOD in int8 finds where faces may be, and MMOD in float32 looks again only there.

The result is that of float32 alone: boxes and scores do not depend on the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from portraitd.faces.detectors.pyramid import CELL_PX, count_cells, end_of_cells
from portraitd.faces.runtime import Session, Tensor
from portraitd.media.opencv import cv2

MIN_SCORE = -0.2
"""Cells with a higher score in int8 are computed again. Where float32 sees a face, a score above 0,
int8 differs by at most 0.1 on labelled photographs and clips."""

REACH = 10
"""How many cells around a cell its score depends on: three layers of 5 by 5, one of 9 by 9."""

Scores = NDArray[np.float32]


class CellArea(NamedTuple):
    """A rectangle of cells; the last row and column are not included."""

    top: int
    left: int
    bottom: int
    right: int


class ScreenedSession:
    """Runs MMOD. Scores below ``MIN_SCORE`` are approximate, all others exact.

    Args:
        screen: The graph that ``onnx_export.build_mmod_int8_graph`` builds.
        exact: The graph that ``onnx_export.build_mmod_graph`` builds.
    """

    def __init__(self, screen: Session, exact: Session) -> None:
        self._screen = screen
        self._exact = exact

    def run(self, pictures: Tensor) -> Scores:
        """See ``Session``."""
        scores = self._screen.run(pictures)
        rows, columns = (count_cells(side) for side in pictures.shape[1:3])
        for picture, cells in zip(pictures, scores[:, 0, :rows, :columns], strict=True):
            self._compute_again(picture, cells)
        return scores

    def _compute_again(self, picture: Tensor, scores: Scores) -> None:
        """Replace the scores of the areas where a face may be."""
        whole = CellArea(0, 0, *scores.shape)
        cuts = [(area, _widen(area, whole)) for area in _list_areas(scores > MIN_SCORE)]
        if sum(map(_count, (wide for _, wide in cuts))) > _count(whole):
            cuts = [(whole, whole)]
        for area, wide in cuts:
            exact = self._exact.run(_cut(picture, wide, whole)[None])[0, 0]
            scores[area.top : area.bottom, area.left : area.right] = exact[
                area.top - wide.top : area.bottom - wide.top,
                area.left - wide.left : area.right - wide.left,
            ]


def _list_areas(chosen: NDArray[np.bool_]) -> Iterator[CellArea]:
    """Yield the rectangles around connected cells."""
    if not chosen.any():
        return
    _, _, found, _ = cv2.connectedComponentsWithStats(chosen.astype(np.uint8))
    # The first one is the background.
    for left, top, width, height, _ in found[1:].tolist():
        yield CellArea(top, left, top + height, left + width)


def _widen(area: CellArea, whole: CellArea) -> CellArea:
    return CellArea(
        max(0, area.top - REACH),
        max(0, area.left - REACH),
        min(whole.bottom, area.bottom + REACH),
        min(whole.right, area.right + REACH),
    )


def _count(area: CellArea) -> int:
    return (area.bottom - area.top) * (area.right - area.left)


def _cut(picture: Tensor, area: CellArea, whole: CellArea) -> Tensor:
    """Return the pixels of an area.

    At the end of the picture, all pixels that are left: the network pads what it makes of them.
    """
    bottom = None if area.bottom == whole.bottom else end_of_cells(area.bottom)
    right = None if area.right == whole.right else end_of_cells(area.right)
    part = picture[CELL_PX * area.top : bottom, CELL_PX * area.left : right]
    return np.ascontiguousarray(part, np.uint8)
