"""How many inputs a fuzz test tries: a sample by default, many with ``-m fuzz``."""

from __future__ import annotations

import pytest


def parametrize_runs(sample: int, many: int, timeout_s: float) -> pytest.MarkDecorator:
    """Parametrize a test by the ``count`` of its inputs and the ``seed`` they are made from.

    Args:
        sample: Number of inputs in a default run.
        many: Number of inputs with ``-m fuzz``, made from another seed.
        timeout_s: Time limit for the many.
    """
    marks = [pytest.mark.slow, pytest.mark.fuzz, pytest.mark.timeout(timeout_s)]
    return pytest.mark.parametrize(
        ("count", "seed"), [(sample, 1), pytest.param(many, 2, marks=marks, id="many")]
    )
