"""Columns of the database as arrays.

numpy is imported with the first array: commands that only look at the store do not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portraitd.model.track import Floats, Indices


def integer_column(values: Iterable[int]) -> Indices:
    """Return the values of a column, shape ``(n,)``."""
    import numpy as np

    return np.fromiter(values, np.int64)


def number_column(values: Iterable[float]) -> Floats:
    """Return the values of a column, shape ``(n,)``."""
    import numpy as np

    return np.fromiter(values, np.float64)
