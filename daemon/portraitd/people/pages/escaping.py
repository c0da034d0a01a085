"""Escaping of untrusted names for scripts, HTML, links and CSV tables."""

from __future__ import annotations

import csv
import html
import io
import json
import os
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from portraitd.model.wording import make_spreadsheet_cell, to_display_text


def make_script(function: str, value: object) -> bytes:
    """Return a script that passes a value to a function of ``Gallery``; see ``to_js_literal``."""
    return f"Gallery.{function}({to_js_literal(value)});\n".encode()


def to_js_literal(value: object) -> str:
    """Return a value as a JavaScript literal.

    It is pure ASCII, so it does not depend on an encoding and contains no Unicode line
    separator. It contains no ``<`` and ``>``, so no tag can start or end inside it.

    Raises:
        ValueError: A number is not finite.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def escape_html(text: str) -> str:
    """Escape text for HTML, between tags or in quotes; undecodable bytes become ``\\xff``."""
    return html.escape(to_display_text(text))


def quote_path(path: str) -> str:
    """Return a relative path as a URL, percent-encoded byte by byte."""
    return quote(os.fsencode(path), safe="/")


def make_csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return comma-separated values (RFC 4180) in UTF-8.

    They start with a byte order mark: without it Excel assumes the local code page; other
    readers skip it. Text that a spreadsheet would read as a formula gets an apostrophe.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(head)
    writer.writerows([[make_spreadsheet_cell(value) for value in row] for row in rows])
    return out.getvalue().encode("utf-8-sig", "backslashreplace")
