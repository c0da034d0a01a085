"""Frames in, faces out: detection, alignment, embedding and quality.

``portraitd.faces.factory.build_encoder(settings)`` is the way in. Only it loads OpenCV, dlib
and a runtime, so that the daemon process can import the settings alone.
"""

from portraitd.faces.interface import Detector, Embedder, EncoderSpec

__all__ = ["Detector", "Embedder", "EncoderSpec"]
