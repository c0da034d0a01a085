"""Standard output and standard error that cannot be taken over by the name of a file.

A name may contain escape sequences, which move the cursor or retitle the window of a terminal, and
marks that reverse the direction of text. They are printed as ``\\x1b`` and ``\\u202e``. The same is
true of what the encoding of a terminal lacks.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from portraitd.model.wording import escape_unprintable, escape_unprintable_lines


class GuardedStream(io.TextIOBase):
    """A text stream that escapes everything except printable text and line ends.

    What is escaped stays valid inside a string of JSON.

    Args:
        stream: Where it is written to.
    """

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.unguarded.encoding or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "strict"

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.unguarded.isatty()

    def fileno(self) -> int:
        return self.unguarded.fileno()

    def flush(self) -> None:
        self.unguarded.flush()

    def write(self, text: str) -> int:
        """Write text, escaped where needed. Return its length."""
        # click asks by writing bytes whether this is a stream of bytes.
        if not isinstance(text, str):
            raise TypeError(f"a text is needed, not {type(text).__name__}")
        self.unguarded.write(escape_unprintable_lines(encodable(text, self.encoding)))
        return len(text)


def encodable(text: str, encoding: str) -> str:
    """Return text with what an encoding lacks escaped, as in JSON."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_encodable_character(one, encoding) for one in text)
    return text


def _encodable_character(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return escape_unprintable(character, every=True)
    return character


@contextmanager
def guard_output() -> Iterator[None]:
    """Guard standard output and standard error until the end of the block."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", GuardedStream(stream)) for stream in (out, err))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


def unguarded(stream: TextIO) -> TextIO:
    """Return the stream below a guard, for a writer that colours lines and escapes names itself."""
    return stream.unguarded if isinstance(stream, GuardedStream) else stream
