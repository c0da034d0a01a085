"""Import OpenCV, configured for a worker. The service never imports this module.

It resizes, converts colours, and reads and writes pictures; PyAV reads videos. OpenCV reads these
environment variables when it is loaded, so they are set before its import, only here.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(200_000_000))

import cv2

__all__ = ["cv2"]

# One thread: the workers run in parallel.
cv2.setNumThreads(1)
