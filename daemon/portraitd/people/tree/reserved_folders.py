"""The folders in the root for answering questions, undoing edits, and asking who is on a picture.

They belong to no person. A portrait that is moved into one of them is neither assigned nor deleted:
the next publish puts it back where it belongs, and the moved one counts as a copy.
"""

from __future__ import annotations

from portraitd.people.names import folded

QUESTIONS_NAME = "_questions"
EDITS_NAME = "_edits"
WHO_NAME = "_who"

RESERVED_FOLDERS = frozenset({QUESTIONS_NAME, EDITS_NAME, WHO_NAME})


def is_reserved(location: str) -> bool:
    """Return whether a location below the root is one of these folders, or is inside one."""
    return folded(location.partition("/")[0]) in RESERVED_FOLDERS
