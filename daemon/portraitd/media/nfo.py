"""Name the people of a video as actors in an NFO file, as Jellyfin and Kodi read it.

As with XMP sidecars, portraitd's part is listed in the file, and taken out before it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from portraitd.media.xml_tree import Element, UnmergeableFile, parse_xml

_ACTOR, _NAME = ("", "actor"), ("", "name")
_OWN = ("", "portraitd")
"""The element that lists whom portraitd added; media servers skip what they do not know."""

_EMPTY = '<?xml version="1.0" encoding="utf-8" standalone="yes"?>\n<movie>\n</movie>\n'


def write_nfo(nfo: bytes | None, names: Sequence[str]) -> bytes | None:
    """Return an NFO file with these people as actors, and with all that others wrote into it.

    Args:
        nfo: The file as it is; None if there is none.
        names: Who is in the video; those who are actors already are not added.

    Returns:
        The file as it should be; None if there should be none.

    Raises:
        UnmergeableFile: It is not such a file.
    """
    document = parse_xml(_EMPTY.encode() if nfo is None else nfo)
    root = document.elements[0]
    if root.name[0]:
        raise UnmergeableFile("not an NFO file")
    was_own = _take_out(root) or nfo is None
    known = {_name_of(actor) for actor in root.named(_ACTOR)}
    added = [name for name in dict.fromkeys(names) if name not in known]
    if added:
        listed = "".join(f"<name>{escape(name)}</name>" for name in added)
        actors = "".join(
            f"<actor><name>{escape(name)}</name><type>Actor</type></actor>" for name in added
        )
        root.append(f"{actors}<portraitd>{listed}</portraitd>")
        return document.source().encode()
    if not was_own:
        return nfo
    return document.source().encode() if root.elements or root.text.strip() else None


def _take_out(root: Element) -> bool:
    """Remove whom portraitd added. Return whether there was anything."""
    own = root.named(_OWN)
    added = {name.text for one in own for name in one.named(_NAME)}
    for actor in root.named(_ACTOR):
        if _name_of(actor) in added:
            added.discard(_name_of(actor))
            root.remove(actor)
    for one in own:
        root.remove(one)
    return bool(own)


def _name_of(actor: Element) -> str:
    return next((name.text.strip() for name in actor.named(_NAME)), "")
