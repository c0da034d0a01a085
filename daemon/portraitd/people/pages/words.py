"""The texts of the pages by language. Python and the browser share ``words.json``.

To add a language, add a table for it there; a test reports missing texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from portraitd.people.pages.escaping import escape_html

Words = dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class PageText:
    """A text of the pages with its values, some of which may be texts themselves.

    Attributes:
        key: As in ``words.json``.
    """

    key: str
    values: Mapping[str, str | int | PageText]

    def as_json(self) -> dict[str, object]:
        """Return the form that the scripts of the pages translate."""
        values = {
            name: value.as_json() if isinstance(value, PageText) else value
            for name, value in self.values.items()
        }
        return {"text": self.key, "values": values}

    def __str__(self) -> str:
        return translate(self.key, **self.values)


@cache
def load_words() -> Words:
    """Return the texts by language and key.

    Names in braces are filled in; a key with ``.one`` is the singular, ``.other`` the plural.
    """
    table: Words = json.loads(
        (resources.files("portraitd.people.pages") / "words.json").read_bytes()
    )
    return table


def translate(key: str, **values: object) -> str:
    """Return a text in English with its values filled in; ``n`` selects the plural form."""
    table = load_words()["en"]
    plural = f"{key}.{'one' if values.get('n') == 1 else 'other'}"
    text = table.get(plural) or table[key]
    formatted = {name: f"{v:,}" if isinstance(v, int) else v for name, v in values.items()}
    return text.format(**formatted)


def fill_words(template: str) -> str:
    """Fill the English texts into a template, for readers without scripts."""
    return re.sub(
        r'(data-text="(\w+)">)(?=</)',
        lambda match: match[1] + escape_html(translate(match[2])),
        template,
    )
