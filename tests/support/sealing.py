"""What tests of sealed workers need, and what their workers may use."""

from __future__ import annotations

import pytest

from portraitd.workers import sandbox
from portraitd.workers.process import WorkerLimits

SEALED_LIMITS = WorkerLimits(nice=0, memory_mb=4000, time_limit_s=120.0)

_LACKING = list(sandbox.missing_features())

needs_sandbox = pytest.mark.skipif(bool(_LACKING), reason=f"not supported here: {_LACKING}")
