"""dlib's face embedding in ONNX Runtime or OpenVINO.

D. E. King, "High Quality Face Recognition with Deep Metric Learning" (2017); a ResNet with
29 layers. The vectors are dlib's own to within 1e-5.
"""

from __future__ import annotations

import numpy as np

from portraitd.faces.interface import AlignedChips
from portraitd.faces.models.cards import DLIB
from portraitd.faces.runtime import Session
from portraitd.model.face import Embeddings

# Larger batches are not faster, and each chip needs 2 MB between the layers.
_CHIPS_PER_RUN = 8


class ResnetEmbedder:
    """Embeds aligned faces.

    Args:
        session: The graph that ``onnx_export.build_resnet_graph`` builds.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def embed(self, chips: AlignedChips) -> Embeddings:
        """See ``Embedder``."""
        vectors = [np.empty((0, DLIB.embedding_size), np.float32)]
        for start in range(0, len(chips), _CHIPS_PER_RUN):
            vectors.append(self._session.run(chips[start : start + _CHIPS_PER_RUN]))
        return np.concatenate(vectors)
