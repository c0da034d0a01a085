"""Names are what people and files say: how they reach a script, a page, a link or a table."""

from __future__ import annotations

import csv
import html
import io
import json
import os
from collections.abc import Iterable, Sequence
from urllib.parse import quote


def make_script(function: str, value: object) -> bytes:
    """A script that hands a value to one of the gallery's functions; see ``to_js_literal``."""
    return f"Gallery.{function}({to_js_literal(value)});\n".encode()


def to_js_literal(value: object) -> str:
    """A value as a script writes it.

    ASCII alone, so no reader's encoding matters, and no line separator ends a string; without
    ``<`` and ``>`` no tag can begin or end in it.

    Raises:
        ValueError: A number is not finite.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def escape_html(text: str) -> str:
    """Text as it may stand in a page, between tags or in quotes; strange bytes as ``\\xff``."""
    return html.escape(os.fsencode(text).decode("utf-8", "backslashreplace"))


def quote_path(path: str) -> str:
    """A relative path as a link: percent-encoded byte by byte, whatever the bytes are."""
    return quote(os.fsencode(path), safe="/")


def to_display_text(path: str) -> str:
    """A path as text, whatever bytes it holds."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def make_csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Comma-separated values as RFC 4180 has them, in UTF-8.

    With a byte order mark: without it Excel takes UTF-8 for the local code page, and every
    other reader skips it. Text that a spreadsheet would take for a formula gets an apostrophe.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(head)
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return out.getvalue().encode("utf-8-sig", "backslashreplace")


_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
