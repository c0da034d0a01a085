"""People outlive groupings: which new cluster continues which known person."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def carry_over(labels: NDArray[np.int32], previous: NDArray[np.int64]) -> dict[int, int]:
    """Match new clusters to known people by the faces they share.

    The pair that shares most is matched first; each side is used once, so a person who
    splits keeps their id on the larger part. Where two share as many, the older person wins.

    Args:
        labels: Shape ``(n_faces,)``; this census' cluster of each face, -1 for noise.
        previous: Shape ``(n_faces,)``; the person each face belonged to, 0 for none.

    Returns:
        Person by cluster, for the clusters that continue a known person.

    Raises:
        ValueError: If the two arrays differ in length.
    """
    if labels.shape != previous.shape:
        raise ValueError(f"{len(labels)} labels for {len(previous)} faces")
    both = (labels >= 0) & (previous > 0)
    pairs, shared = np.unique(
        np.stack([previous[both], labels[both].astype(np.int64)]), axis=1, return_counts=True
    )
    person_of: dict[int, int] = {}
    taken: set[int] = set()
    # unique sorts by person first, so a stable sort leaves the older person ahead in a tie.
    for index in np.argsort(-shared, kind="stable"):
        person, label = int(pairs[0, index]), int(pairs[1, index])
        if person not in taken and label not in person_of:
            person_of[label] = person
            taken.add(person)
    return person_of
