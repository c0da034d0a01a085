"""Embedding models that come as ONNX files: MobileFaceNet, SFace, and others trained like ArcFace.

S. Chen et al., "MobileFaceNets" (2018); J. Deng et al., "ArcFace" (2019). Their vectors are
compared by angle; their length tells how sure the model is.
"""

from __future__ import annotations

import numpy as np

from portraitd.faces.interface import AlignedChips
from portraitd.faces.models.cards import EmbedderCard
from portraitd.faces.runtime import Session, Tensor
from portraitd.model.errors import ModelError
from portraitd.model.face import Embeddings


class OnnxEmbedder:
    """Embeds aligned faces.

    Args:
        session: The network, as it was published.
        card: Says what it wants as input, and how many numbers it gives.
    """

    def __init__(self, session: Session, card: EmbedderCard) -> None:
        self._session = session
        self._card = card

    def embed(self, chips: AlignedChips) -> Embeddings:
        """See ``Embedder``.

        Raises:
            ModelError: The network gives another number of values than its card says.
        """
        size = self._card.embedding_size
        vectors = np.empty((len(chips), size), np.float32)
        # One by one: most files are made for a batch of one, and larger ones are not faster.
        for at, planes in enumerate(to_planes(chips, self._card)):
            found = self._session.run(planes[None]).reshape(-1)
            if found.shape != (size,) or not np.isfinite(found).all():
                raise ModelError(f"{self._card.name} does not give {size} numbers for a face")
            vectors[at] = found
        return vectors


def to_planes(chips: AlignedChips, card: EmbedderCard) -> Tensor:
    """Return chips as a network wants them: float32, shape ``(n, 3, side, side)``."""
    ordered = chips if card.channels == "rgb" else chips[..., ::-1]
    mean, scale = (
        np.asarray(value, np.float32)[:, None, None]
        for value in (card.pixel_mean, card.pixel_scale)
    )
    # Plane by plane and in float32, this takes a tenth of the time.
    planes = np.ascontiguousarray(ordered.transpose(0, 3, 1, 2)).astype(np.float32)
    planes -= mean
    planes /= scale
    return planes
