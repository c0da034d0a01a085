"""How good a face is: for recognising its person, and for showing them.

Both rank by the same four measures of ``model.face.Quality``, and differ on purpose.

``QualityRule`` rates how well the embedding identifies the person. Beyond a certain size and
sharpness an embedding does not get better, so it saturates: tracks are averaged, and exemplars
chosen, by it. The rule belongs to the embedding model. ``portrait_rank`` asks how well the picture
looks. Larger and sharper is always better there, so it does not saturate: montages and pages choose
by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from portraitd.model.face import Embeddings

Floats: TypeAlias = "NDArray[np.float64]"

Ramp: TypeAlias = tuple[float, float]
"""The values at which a measure counts 0 and 1."""


@dataclass(frozen=True, slots=True)
class QualityRule:
    """The measures that rate how well a face identifies its person; None for an unused one.

    Attributes:
        sharpness: As in ``model.face.Quality``, like the next two.
        size_px: Of the box.
        frontal: How much it looks at the camera.
        vector_norm: Length of the embedding as the model gives it. Some models give short
            vectors for faces that they hardly recognise.
        uses_confidence: Whether the detector's confidence counts.
    """

    sharpness: Ramp
    size_px: Ramp | None = None
    frontal: Ramp | None = None
    vector_norm: Ramp | None = None
    uses_confidence: bool = False

    def measure(
        self,
        size_px: Floats,
        sharpness: Floats,
        frontal: Floats,
        confidence: Floats,
        embeddings: Embeddings,
    ) -> Floats:
        """Return the worst of the measures: 1 for enough of everything, 0 for nothing.

        Args:
            size_px: Shape ``(n,)``; as in ``model.face.Quality``, like the next three.
            sharpness: Shape ``(n,)``.
            frontal: Shape ``(n,)``.
            confidence: Shape ``(n,)``.
            embeddings: Shape ``(n, d)``, as the model gave them.
        """
        import numpy as np

        norms = np.linalg.norm(embeddings.astype(np.float64), axis=1)
        measures = (
            (sharpness, self.sharpness),
            (size_px, self.size_px),
            (frontal, self.frontal),
            (norms, self.vector_norm),
            (confidence, (0.0, 1.0) if self.uses_confidence else None),
        )
        parts = [np.interp(value, ramp, (0.0, 1.0)) for value, ramp in measures if ramp]
        return np.asarray(np.minimum.reduce(parts), dtype=np.float64)


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
