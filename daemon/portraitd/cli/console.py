"""The consoles of rich: in colour, and safe whatever the names in them contain."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from portraitd.model.wording import escape_unprintable_lines
from portraitd.service.safe_output import encodable, unguarded


class SafeConsole(Console):
    """A console that prints escape sequences of its own only, and reads no markup in text."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return text with what is not printable escaped, so that it is measured as it is shown."""
        return super().render_str(self._escape(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render an object; escape what is not printable in its text."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                text = self._escape(segment.text)
                yield segment if text == segment.text else Segment(text, segment.style)

    def _escape(self, text: str) -> str:
        return escape_unprintable_lines(encodable(text, self.encoding))


def make_console(stderr: bool = False) -> Console:
    """Return a console for standard output or standard error."""
    stream = unguarded(sys.stderr if stderr else sys.stdout)
    return SafeConsole(file=stream, markup=False, emoji=False)
