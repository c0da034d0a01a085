"""The words of the pages, by language: ``words.json`` is the one table for Python and browser.

To add a language, add its column there; a test says what is missing.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources

from portraitd.people.pages.escaping import escape_html

Words = dict[str, dict[str, str]]


@cache
def words() -> Words:
    """Text by language and key. What stands in braces is filled in; ``.one`` is for one."""
    table: Words = json.loads(
        (resources.files("portraitd.people.pages") / "words.json").read_bytes()
    )
    return table


def translate(key: str, **values: object) -> str:
    """A text in English, with its values filled in, those of ``n`` counted."""
    table = words()["en"]
    plural = f"{key}.{'one' if values.get('n') == 1 else 'other'}"
    text = table.get(plural) or table[key]
    shown = {name: f"{v:,}" if isinstance(v, int) else v for name, v in values.items()}
    return text.format(**shown)


def fill_words(template: str) -> str:
    """A page with English words where it names them, to be read before any script has run."""
    return re.sub(
        r'(data-say="(\w+)">)(?=</)',
        lambda match: match[1] + escape_html(translate(match[2])),
        template,
    )
