"""The frames that are sampled from a file, by time and content."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

from portraitd.media.video import SampledFrames
from portraitd.model.media_file import MediaKind
from support.media import source_of

FrameHashes = list[tuple[float, str]]
"""Time and content hash of each frame."""


def sampled(
    path: Path, start_s: float = 0.0, stop_s: float = math.inf, fps: float = 1.0
) -> FrameHashes:
    frames = SampledFrames(source_of(path), MediaKind.VIDEO, start_s, stop_s, fps)
    return [(frame.t_s, hashlib.sha256(frame.image).hexdigest()) for frame in frames]
