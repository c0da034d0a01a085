"""What names contain never reaches a terminal as commands; nothing else is changed."""

from __future__ import annotations

import io
import json
import sys

import structlog
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from portraitd.cli.console import SafeConsole
from portraitd.model.wording import (
    escape_unprintable,
    escape_unprintable_lines,
    make_spreadsheet_cell,
)
from portraitd.service import log_setup
from portraitd.service.safe_output import GuardedStream, encodable, guard_output

HOSTILE = "a\x1b[2J\x9b1m\u202eb\r\x07"

SHOWN = r"a\x1b[2J\u009b1m\u202eb\x0d\x07"


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@given(st.text())
def test_printable_text_is_unchanged_and_the_rest_is_escaped(text: str) -> None:
    """Escaping twice changes nothing; no line is added."""
    shown = escape_unprintable(text)

    assert shown == escape_unprintable(shown) == escape_unprintable_lines(shown)
    assert 1 >= len(shown.splitlines())
    if text.isprintable():
        assert text == shown


def test_names_that_are_only_unusual_stay_as_they_are() -> None:
    """Other scripts, joined emoji and accents are no attack."""
    for name in ("Zoë", "王小明", "محمد", "👩\u200d👧", "می\u200cخواهم", "e\u0301", "a b\xa0c"):
        assert name == escape_unprintable(name)


@given(st.text(), st.sampled_from(["ascii", "latin-1", "utf-8"]))
def test_what_an_encoding_lacks_is_escaped_as_in_json(text: str, encoding: str) -> None:
    """So JSON stays JSON, and means the same."""
    line = json.dumps({"name": text}, ensure_ascii=False)
    out = io.StringIO()
    GuardedStream(out).write(encodable(line, encoding))

    assert {"name": text} == json.loads(out.getvalue())
    out.getvalue().encode(encoding)


def test_a_console_colours_and_escapes() -> None:
    """Its own escape sequences are the only ones, and markup in a name is text."""
    out = Terminal()
    console = SafeConsole(
        file=out, force_terminal=True, color_system="standard", markup=False, emoji=False, width=90
    )
    table = Table(show_header=False, box=None)
    table.add_row("name", f"{HOSTILE} [red]x[/] [/nothing]")
    console.print(table)
    console.print(HOSTILE, style="red", highlight=False)

    text = out.getvalue()
    assert f"{SHOWN} [red]x[/] [/nothing]" in text
    assert f"\x1b[31m{SHOWN}\x1b[0m" in text
    assert 2 == text.count("\x1b")


def test_a_log_on_a_terminal_colours_and_escapes() -> None:
    """Also lists, and the message of an exception."""
    out = Terminal()
    with guard_output():
        sys.stderr = GuardedStream(out)  # type: ignore[assignment]
        log_setup.configure()
        log = structlog.get_logger()
        log.info("file_found", path=HOSTILE, names=[HOSTILE, {"deep": HOSTILE}])
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            log.exception("crashed")
    structlog.reset_defaults()

    text = out.getvalue()
    assert "\x1b[" in text
    assert 4 == text.count(SHOWN) + text.count(SHOWN.replace("\\", "\\\\"))
    assert [] == [one for one in ("\x1b[2J", "\x9b", "\u202e", "\r", "\x07") if one in text]


def test_a_formula_is_text_in_a_table() -> None:
    """With an apostrophe; numbers stay numbers."""
    for cell in ("=1", "+1", "-1", "@a", "\t=1", "\r", " =1", "＝1"):
        assert f"'{cell}" == make_spreadsheet_cell(cell)
    for other in (-1, None, "a=1", "Ann", "", 0.5):
        assert other == make_spreadsheet_cell(other)
