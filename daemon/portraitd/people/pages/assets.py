"""The static files of the gallery (styles, scripts, page templates), and rendering a template."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib import resources

from portraitd.people.pages.escaping import to_js_literal
from portraitd.people.pages.words import fill_words, load_words

POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' file:; "
    "img-src 'self' file:; base-uri 'none'; form-action 'none'"
)
"""The content security policy of every page. Some browsers do not apply ``'self'`` to files, so
``file:`` is listed as well. Inline scripts and styles are not allowed, so none can be injected."""

_STATIC_NAMES = (
    "gallery.css", "gallery.js", "people.js", "person.js", "compare.js", "unsorted.js", "review.js",
    "timeline.js", "status.js",
)  # fmt: skip


@cache
def load_static_files() -> dict[str, bytes]:
    """Return the static files of ``gallery/`` by name."""
    files = {name: _read(name).encode() for name in _STATIC_NAMES}
    # Scripts share one scope: this table is defined before Gallery reads it.
    files["words.js"] = f"const PORTRAITD_WORDS = {to_js_literal(load_words())};\n".encode()
    for page in ("person.html", "compare.html", "unsorted.html"):
        files[page] = render_page(page)
    return files


@cache
def compute_render_version() -> str:
    """Return a hash that changes when the pages look different."""
    everything = [
        *load_static_files().values(),
        render_page("index.html"),
        render_page("status.html"),
    ]
    return sha256(b"\0".join(everything)).hexdigest()[:16]


def render_index_page(blocks: int) -> bytes:
    """Return ``index.html`` with scripts for this number of blocks."""
    lines = [
        f'<script defer src="gallery/data/{block_file_name(number)}"></script>\n'
        for number in range(1, blocks + 1)
    ]
    return render_page("index.html", blocks="".join(lines))


def block_file_name(number: int) -> str:
    """Return the name of the data file of a block, counted from 1."""
    return f"people-{number:04d}.js"


def render_page(name: str, **fields: str) -> bytes:
    """Return a page template with its fields filled in; the values are HTML."""
    whole = _read(name).replace("{head}", _read("head.html"))
    text = fill_words(whole).replace("{policy}", POLICY)
    for field, content in fields.items():
        text = text.replace(f"{{{field}}}", content)
    return text.encode()


def _read(name: str) -> str:
    folder = resources.files("portraitd.people.pages") / "static"
    return (folder / name).read_text(encoding="utf-8")
