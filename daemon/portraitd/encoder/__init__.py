"""Frames in, faces out: detection, alignment, embedding and quality.

``portraitd.encoder.build.build_encoder(settings)`` is the way in. Only it loads OpenCV, dlib
and a runtime, so that the daemon process can import the settings alone.
"""

from portraitd.encoder.interface import Detector, Embedder, EncoderSettings

__all__ = ["Detector", "Embedder", "EncoderSettings"]
