"""What commands say, in one line, about recommended models that are missing."""

from __future__ import annotations

from collections.abc import Collection

from portraitd.faces.models.cards import MOBILEFACENET
from portraitd.model.wording import counted

ADD_RECOMMENDED = "run: portraitd models add recommended"


def describe_indistinct(faces: int, embedder: str) -> str:
    """Return whom the model cannot tell apart, and which command may help; empty for none.

    Args:
        faces: How many faces were kept apart.
        embedder: Name of the model that made the stored vectors.
    """
    if not faces:
        return ""
    advice = f"; {ADD_RECOMMENDED}" if embedder != MOBILEFACENET.name else ""
    return (
        f"{embedder} cannot tell the people of {counted(faces, 'face')} apart, so they were kept "
        f"apart{advice}"
    )


def describe_missing(missing: Collection[str]) -> str:
    """Return what missing models cost and how to add them; empty if none is missing.

    Args:
        missing: As ``model_registry.missing_recommended`` returns them.
    """
    if MOBILEFACENET.name in missing:
        return (
            "Recognition uses dlib's model of 2017, which confuses more people, East Asian people "
            f"above all; {ADD_RECOMMENDED}"
        )
    if missing:
        return (
            "Detection uses dlib's detector, which is many times slower and misses small faces; "
            f"{ADD_RECOMMENDED}"
        )
    return ""
