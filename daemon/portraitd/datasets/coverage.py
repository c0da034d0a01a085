"""The coverage card of a person: how many faces a set has of each kind, and which kinds it lacks.

A kind is one cell of one row, for instance *left* in *pose*. The rows are counted independently of
each other: a table of all combinations would be empty nearly everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, Self

from portraitd.model.face import Face, Landmarks, are_dlib_points

Filling = Literal["full", "thin", "empty"]

MAX_YEARS = 12
"""Of a longer time, years without a face are not listed."""


class CoverageCell(NamedTuple):
    """A kind of faces: a row of the card, and a cell in it."""

    row: str
    name: str


class MeasuredFace(NamedTuple):
    """What the card needs of a face.

    Attributes:
        size_px: As in ``model.face.Quality``, like the next one.
        sharpness: Of the aligned face.
        landmarks: Five points; None if there are none.
        light: Mean brightness of the face, 0 to 255; None if it is not known.
        year: When it was recorded; None if the file does not say.
    """

    size_px: float
    sharpness: float
    landmarks: Landmarks | None
    light: float | None
    year: int | None

    @classmethod
    def of(cls, face: Face, light: float | None, year: int | None) -> Self:
        """Return the measures of a face that a worker found."""
        return cls(face.quality.size_px, face.quality.sharpness, face.landmarks, light, year)


_Steps = tuple[tuple[float, str], ...]
"""The upper limit of each cell but the last, with its name, and the name of the last."""

POSE: _Steps = (
    (-0.6, "left"), (-0.25, "half left"), (0.25, "front"), (0.6, "half right"),
    (float("inf"), "right"),
)  # fmt: skip
"""By how far the nose is from the middle between the eyes, in half distances of the eyes. Left and
right are those of the picture."""

TILT: _Steps = ((0.5, "up"), (0.64, "level"), (float("inf"), "down"))
"""By where the nose is between the eyes, 0, and the mouth, 1. It is 0.50 to 0.64 for the middle
80 % of the faces in videos."""

LIGHT: _Steps = ((75.0, "dark"), (140.0, "normal"), (float("inf"), "bright"))
"""The tenth and the ninetieth percentile of the same faces."""

SHARPNESS: _Steps = ((15.0, "soft"), (60.0, "medium"), (float("inf"), "sharp"))

SIZE: _Steps = ((64.0, "below 64 px"), (128.0, "64 to 128 px"), (float("inf"), "above 128 px"))

ROWS: Mapping[str, _Steps] = {
    "pose": POSE,
    "tilt": TILT,
    "light": LIGHT,
    "sharpness": SHARPNESS,
    "size": SIZE,
}

YEAR_ROW = "year"


def locate_face(face: MeasuredFace) -> set[CoverageCell]:
    """Return the cells that a face is in: at most one of each row."""
    values: dict[str, float | None] = {
        "pose": None,
        "tilt": None,
        "light": face.light,
        "sharpness": face.sharpness,
        "size": face.size_px,
    }
    if face.landmarks is not None:
        values["pose"], values["tilt"] = measure_pose(face.landmarks)
    found = {
        CoverageCell(row, _find_step(ROWS[row], value))
        for row, value in values.items()
        if value is not None
    }
    return found | ({CoverageCell(YEAR_ROW, str(face.year))} if face.year is not None else set())


def measure_pose(landmarks: Landmarks) -> tuple[float | None, float | None]:
    """Return how far a face is turned, and how far it is tilted, as ``POSE`` and ``TILT`` measure.

    The points of dlib include no mouth, so the second is None for them.
    """
    if are_dlib_points(landmarks):
        # Two corners of the eye on the right of the picture, two of the other, the nose.
        right, left = _middle(landmarks[0], landmarks[1]), _middle(landmarks[2], landmarks[3])
        return _turn(left, right, landmarks[4]), None
    left, right, nose = landmarks[:3]
    eyes, mouth = _middle(left, right), _middle(landmarks[3], landmarks[4])
    return _turn(left, right, nose), _project(nose, eyes, mouth)


def count_cells(faces: Iterable[MeasuredFace]) -> dict[CoverageCell, int]:
    """Return the number of faces in each cell of the card, in its order; 0 in empty cells.

    A row about which nothing is known of any face is left out. Between the first and the last year,
    those without a face are listed too.
    """
    counts = Counter(cell for face in faces for cell in locate_face(face))
    known = {cell.row for cell in counts}
    cells = [
        CoverageCell(row, name) for row, steps in ROWS.items() if row in known for _, name in steps
    ]
    years = sorted(int(cell.name) for cell in counts if cell.row == YEAR_ROW)
    if years and years[-1] - years[0] < MAX_YEARS:
        years = list(range(years[0], years[-1] + 1))
    cells += [CoverageCell(YEAR_ROW, str(year)) for year in years]
    return {cell: counts[cell] for cell in cells}


def judge_filling(count: int, min_cell_faces: int) -> Filling:
    """Return whether a cell has enough faces."""
    if count >= min_cell_faces:
        return "full"
    return "thin" if count else "empty"


def find_lacking(
    counts: Mapping[CoverageCell, int], min_cell_faces: int
) -> dict[CoverageCell, int]:
    """Return how many faces each cell lacks that is thin or empty."""
    return {
        cell: min_cell_faces - count for cell, count in counts.items() if count < min_cell_faces
    }


def describe_filling(counts: Mapping[CoverageCell, int], min_cell_faces: int) -> dict[Filling, int]:
    """Return how many cells are full, thin and empty."""
    found = Counter(judge_filling(count, min_cell_faces) for count in counts.values())
    return {"full": found["full"], "thin": found["thin"], "empty": found["empty"]}


_Point = tuple[float, float]


def _middle(one: _Point, other: _Point) -> _Point:
    return (one[0] + other[0]) / 2, (one[1] + other[1]) / 2


def _turn(left: _Point, right: _Point, nose: _Point) -> float | None:
    along = _project(nose, left, right)
    return None if along is None else 2 * along - 1


def _project(point: _Point, start: _Point, stop: _Point) -> float | None:
    """Return where a point is along a line, 0 at its start and 1 at its end; None if it has none.

    So tilting the head to a side changes nothing.
    """
    across, down = stop[0] - start[0], stop[1] - start[1]
    length = across * across + down * down
    if length == 0:
        return None
    return ((point[0] - start[0]) * across + (point[1] - start[1]) * down) / length


def _find_step(steps: _Steps, value: float) -> str:
    return next(name for limit, name in steps if value < limit)
