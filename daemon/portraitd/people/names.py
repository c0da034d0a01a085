"""Folder names that are safe on Linux, Windows and macOS, and distinct on all of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

MAX_BYTES = 100
"""Longest folder name in UTF-8. Windows limits whole paths, eCryptfs names to about 140 bytes."""

OWN_NAMES = ("_unsorted", "_ignored", "gallery", "index.html", "README.txt", "STATUS.html")
"""Names in the root of the tree that no person's folder may have."""

# Control, formatting (bidirectional marks, zero width), surrogate, private, line separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
_NUMBER = re.compile(r"person-([0-9]{1,18})(?: \([0-9]{1,9}\))?", re.IGNORECASE)
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE)


def folder_name(person_id: int, name: str | None) -> str:
    """Return the name for a person's folder: the safe part of their name, or ``person-0001``.

    A safe name is returned unchanged. It may not be unique yet: see ``unique_name``.
    """
    return safe_name(name or "") or f"person-{person_id:04d}"


def number_in(name: str) -> int | None:
    """Return the number of a person whose folder has no name, from the folder's name.

    Also for ``Person-7`` and ``person-0007 (2)``; None if it is another name.
    """
    found = _NUMBER.fullmatch(name.strip())
    return int(found[1]) if found else None


def name_in(folder: str) -> str:
    """Return the name that a folder gives its person; empty for a number, or without letters."""
    return "" if number_in(folder) is not None else safe_name(folder)


def unique_name(name: str, taken: Collection[str]) -> str:
    """Return the name, or the name with the first free number: ``Anna (2)``.

    Args:
        name: A safe name.
        taken: ``folded`` names that are in use; portraitd's own names count as taken.
    """
    own = {folded(reserved) for reserved in OWN_NAMES}
    candidate, number = name, 1
    while folded(candidate) in taken or folded(candidate) in own:
        number += 1
        ending = f" ({number})"
        candidate = _shortened(name, MAX_BYTES - len(ending)) + ending
    return candidate


def is_numbered(name: str, label: str) -> bool:
    """Return whether ``unique_name`` could have made this name from that label."""
    ending = re.search(r" \((\d{1,9})\)$", name)
    return name == label or (
        ending is not None and name == _shortened(label, MAX_BYTES - len(ending[0])) + ending[0]
    )


def folded(name: str) -> str:
    """Return one form for all names that some file system treats as equal (case, composition)."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def safe_name(name: str) -> str:
    """Return the safe part of a name; empty if nothing is left. Safe names are unchanged."""
    visible = "".join(" " if c in "\t\n\r" else c for c in name)
    visible = "".join(c for c in visible if unicodedata.category(c) not in _INVISIBLE)
    plain = _FORBIDDEN.sub("-", unicodedata.normalize("NFC", visible))
    # A leading dot would hide the folder; a leading underscore is for portraitd's own.
    trimmed = _shortened(" ".join(plain.split()).lstrip("._- "), MAX_BYTES)
    stem, dot, ending = trimmed.partition(".")
    if _DEVICE.fullmatch(stem.rstrip()):
        return f"{stem.rstrip()}-{dot}{ending}"
    return trimmed


def _shortened(name: str, size: int) -> str:
    """Return at most this number of bytes of UTF-8, without a dot or space at the end."""
    return name.encode()[:size].decode(errors="ignore").rstrip(". ")
