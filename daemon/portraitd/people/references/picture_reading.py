"""What a worker reads of a picture that somebody asks about."""

from __future__ import annotations

import math

from portraitd.model.errors import NotMedia
from portraitd.model.media_file import MediaFacts, MediaKind, Slice, Source
from portraitd.model.reasons import Reason, ReasonCode


def photo_slice(source: Source, facts: MediaFacts) -> Slice:
    """Return what ``media_jobs.encode`` takes for a picture.

    Raises:
        NotMedia: It is a video.
    """
    if facts.kind is not MediaKind.PHOTO:
        raise NotMedia(Reason.of(ReasonCode.NOT_A_PHOTO))
    return Slice(source, facts.kind, 0.0, math.inf, facts.sha256)
