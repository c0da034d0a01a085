"""Import OpenCV, configured for a worker. The service never imports this module.

OpenCV reads these environment variables when it is loaded and when it opens a file, so they are
set before its import, only here.
"""

from __future__ import annotations

import os

DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,h264,hevc"
"""The allowed formats. Playlists and image sequences refer to other files and are excluded."""

CAPTURE_OPTIONS = f"protocol_whitelist;fd|format_whitelist;{DEMUXERS}"

os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = CAPTURE_OPTIONS
# FFmpeg prints a line for every packet of a broken file; the reason says what matters.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(200_000_000))

import cv2  # noqa: E402

__all__ = ["CAPTURE_OPTIONS", "cv2"]

# One thread: the workers run in parallel.
cv2.setNumThreads(1)
