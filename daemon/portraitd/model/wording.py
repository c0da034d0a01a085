"""Words for numbers, and names as printable text: shared by everything that people read."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence


def counted(number: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 face``, ``1,204 faces``, ``2 people``.

    Args:
        number: How many.
        singular: The noun for one.
        plural: The noun for any other number; by default ``singular`` and an *s*.
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def to_display_text(path: str) -> str:
    """Return a path as text; undecodable bytes become ``\\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


# Control characters, surrogates, line separators, and marks without a width: they change the
# direction of text or hide in it. The joiners U+200C and U+200D belong to words and to emoji.
_INVISIBLE = (
    r"\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e0fff"
)
_UNPRINTABLE = re.compile(rf"[\x00-\x1f{_INVISIBLE}]")
_UNPRINTABLE_IN_LINES = re.compile(rf"[\x00-\x08\x0b\x0c\x0e-\x1f{_INVISIBLE}]|\r(?!\n)")

_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def escape_unprintable(text: str, every: bool = False) -> str:
    """Return text on one line, for instance a name, with ``\\x1b`` for an escape character.

    Args:
        text: The text.
        every: Whether to escape every character, also those that are printable.
    """
    return _escaped(text) if every else _UNPRINTABLE.sub(lambda found: _escaped(found[0]), text)


def escape_unprintable_lines(text: str) -> str:
    """Return text with its lines and tabs, and everything else that is not printable escaped."""
    return _UNPRINTABLE_IN_LINES.sub(lambda found: _escaped(found[0]), text)


def join_names(names: Sequence[str], limit: int) -> str:
    """Return the first of some names on one line, and how many more there are."""
    shown = ", ".join(map(escape_unprintable, names[:limit]))
    more = len(names) - limit
    return f"{shown} and {more:,} more" if more > 0 else shown


def make_spreadsheet_cell(value: object) -> object:
    """Return a value for a table; text that a spreadsheet reads as a formula gets an apostrophe."""
    is_formula = isinstance(value, str) and value.lstrip(" \xa0\ufeff").startswith(_FORMULA)
    return f"'{value}" if is_formula else value


def _escaped(text: str) -> str:
    """Return escapes of all characters; from U+007F on, those of JSON."""
    units = text.encode("utf-16-be", "surrogatepass")
    codes = [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
    return "".join(f"\\x{code:02x}" if code < 0x7F else f"\\u{code:04x}" for code in codes)
