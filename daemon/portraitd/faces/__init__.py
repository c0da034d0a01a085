"""Frames in, faces out: detection, alignment, embedding and quality.

``portraitd.faces.factory.build_encoder(settings)`` is the entry point. Only it loads OpenCV, dlib
and a runtime, so that the service can import the settings without them.

A *detector* finds faces in a frame, an *embedder* turns aligned chips into vectors, and an
*encoder* combines the two. A *model* is a network with its *weights*; a *runtime* executes it.
"""

from portraitd.faces.interface import Detector, Embedder, EncoderSpec

__all__ = ["Detector", "Embedder", "EncoderSpec"]
