"""The one door to OpenCV, set up for a worker. Never imported by the daemon process.

OpenCV reads these variables when it is loaded and when it opens a file, so they are set
before its import, here and nowhere else.
"""

from __future__ import annotations

import os

DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,h264,hevc"
"""What a dropped file may be. Playlists and image sequences, which name other files, are not."""

CAPTURE_OPTIONS = f"protocol_whitelist;fd|format_whitelist;{DEMUXERS}"

os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = CAPTURE_OPTIONS
# A broken file makes FFmpeg print a line for every packet; what matters comes as a reason.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(200_000_000))

import cv2  # noqa: E402

__all__ = ["CAPTURE_OPTIONS", "cv2"]

# One thread: the workers are the parallelism.
cv2.setNumThreads(1)
