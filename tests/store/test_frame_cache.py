"""The cache of frames and crops: it accepts JPEGs only."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from portraitd.model.errors import PublishError
from portraitd.store.frame_cache import FrameCache


def test_only_jpegs_are_stored(tmp_path: Path) -> None:
    """Other programs will read them; and a frame whose time is not a number has no name."""
    cache = FrameCache(tmp_path)

    with pytest.raises(PublishError, match=r"a\.jpg is not a JPEG"):
        cache.put("0" * 64, "a.jpg", b"II*\0 something else")
    cache.keep("0" * 64, [(math.nan, b"\xff\xd8\xff"), (0.5, b"no"), (1.0, b"\xff\xd8\xff")])

    assert ["000000000000-000001000.jpg"] == [path.name for path in tmp_path.rglob("*.jpg")]
