"""What never changes between two versions of portraitd: styles, scripts, and the bare pages."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib import resources

from portraitd.people.pages.escaping import to_js_literal
from portraitd.people.pages.words import fill_words, words

POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' file:; "
    "img-src 'self' file:; base-uri 'none'; form-action 'none'"
)
"""What a page may load. Browsers differ in whether ``'self'`` means anything for a file, so
``file:`` is named as well. No script or style stands in a page, so none can be slipped in."""

_PLAIN = ("gallery.css", "gallery.js", "people.js", "person.js", "timeline.js", "standing.js")


@cache
def static_files() -> dict[str, bytes]:
    """The files of ``gallery/`` by name."""
    files = {name: _read(name).encode() for name in _PLAIN}
    # Scripts share one scope: the table is there before Gallery is.
    files["words.js"] = f"const PORTRAITD_WORDS = {to_js_literal(words())};\n".encode()
    files["person.html"] = render_page("person.html")
    return files


@cache
def render_version() -> str:
    """Changes when the pages come to look different."""
    everything = [*static_files().values(), render_page("index.html"), render_page("status.html")]
    return sha256(b"\0".join(everything)).hexdigest()[:16]


def render_index_page(blocks: int) -> bytes:
    """``index.html`` with so many blocks of people to load."""
    lines = [
        f'<script defer src="gallery/data/{block_file_name(number)}"></script>\n'
        for number in range(1, blocks + 1)
    ]
    return render_page("index.html", blocks="".join(lines))


def block_file_name(number: int) -> str:
    """The file of a block of people, counted from 1."""
    return f"people-{number:04d}.js"


def render_page(name: str, **holes: str) -> bytes:
    """A page with its holes filled; what goes in is markup."""
    text = fill_words(_read(name)).replace("{policy}", POLICY)
    for hole, content in holes.items():
        text = text.replace(f"{{{hole}}}", content)
    return text.encode()


def _read(name: str) -> str:
    folder = resources.files("portraitd.people.pages") / "static"
    return (folder / name).read_text(encoding="utf-8")
