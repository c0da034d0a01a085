"""How good a face is: for recognising its person, and for showing them.

Both rank by the same four measures of ``model.face.Quality``, and differ on purpose.

``face_quality`` asks how much the embedding says about whose it is. Beyond a certain size and
sharpness an embedding does not get better, so it saturates: tracks are averaged, and exemplars
chosen, by it. ``portrait_rank`` asks how well the picture looks. Larger and sharper is always
better there, so it does not saturate: montages and pages choose by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"

SIZE_RAMP_PX = (16.0, 80.0)
SHARPNESS_RAMP = (2.0, 14.0)
FRONTAL_RAMP = (0.0, 0.12)


def face_quality(size_px: Floats, sharpness: Floats, frontal: Floats, confidence: Floats) -> Floats:
    """Return how much faces say about whose they are: 1 for enough of everything, 0 for nothing.

    The worst of three ramps and of the detector's confidence. At the ramps' upper ends, on
    labelled photos and clips, one face in fifty is within 0.46 of a stranger. Half-way down it
    is one in five, near the lower ends it is most: a face without detail is near to everybody.

    Args:
        size_px: Shape ``(n,)``; as in ``model.face.Quality``, like the others.
        sharpness: Shape ``(n,)``.
        frontal: Shape ``(n,)``.
        confidence: Shape ``(n,)``.
    """
    import numpy as np

    ramps = ((size_px, SIZE_RAMP_PX), (sharpness, SHARPNESS_RAMP), (frontal, FRONTAL_RAMP))
    parts = [np.interp(value, ends, (0.0, 1.0)) for value, ends in ramps]
    return np.asarray(np.minimum.reduce([*parts, confidence]), dtype=np.float64)


def portrait_rank(
    size_px: Floats, sharpness: Floats, frontal: Floats, confidence: Floats
) -> Floats:
    """Return how well faces represent their person in a picture; only the order has a meaning.

    Size and sharpness matter most where they are small: hence the logarithms.

    Args:
        size_px: Shape ``(n,)``; as in ``model.face.Quality``, like the others.
        sharpness: Shape ``(n,)``.
        frontal: Shape ``(n,)``.
        confidence: Shape ``(n,)``.
    """
    import numpy as np

    detail = np.log1p(size_px) + 0.3 * np.log1p(sharpness)
    return np.asarray(detail + frontal + confidence, dtype=np.float64)
