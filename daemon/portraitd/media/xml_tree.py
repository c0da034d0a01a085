"""Read XML of other programs and write it again: what is not changed stays as it was, byte by byte.

A subset that everything harmless is in: UTF-8, no document type, no entities but the predefined
ones. Nothing is ever loaded or expanded, so a file costs what it is long. Pure Python: the files
are untrusted, and the service reads them itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

MAX_XML_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_ELEMENTS = 20_000
MAX_PREFIXES = 200

Name = tuple[str, str]
"""Namespace and local name."""

_XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"

_NAME = r"[^\s<>=\"'/!?&;]+"
_ATTRIBUTE = re.compile(rf"""\s+({_NAME})\s*=\s*("[^"<]*"|'[^'<]*')""")
_TOKEN = re.compile(
    rf"""(?P<text>[^<]+)|(?P<aside><!--.*?-->|<\?.*?\?>)|<!\[CDATA\[(?P<literal>.*?)\]\]>"""
    rf"""|</(?P<end>{_NAME})\s*>"""
    rf"""|<(?P<start>{_NAME})(?P<attributes>(?:\s+{_NAME}\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)"""
    rf"""\s*(?P<empty>/?)>""",
    re.DOTALL,
)
_ENCODING = re.compile(r"""<\?xml\s[^>]*?encoding\s*=\s*["']([\w.-]+)["']""")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_ENTITY = re.compile(r"&(?:#x([0-9a-fA-F]{1,6})|#([0-9]{1,7})|(amp|lt|gt|quot|apos));|(&)")
_CHARACTERS = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


MAX_TEXT_CHARACTERS = 4096


class UnmergeableFile(ValueError):
    """A file of another program cannot be read, or not be changed without a risk to its content."""


@dataclass(frozen=True, slots=True)
class Markup:
    """What is between elements: text, a comment or an instruction.

    Attributes:
        source: As it is in the file.
        text: What it means; empty for anything but text.
    """

    source: str
    text: str = ""


@dataclass(slots=True, eq=False)
class Element:
    """An element.

    Attributes:
        name: Empty for the document itself.
        attributes: Values by name, without those that declare namespaces.
        children: Elements and what is between them, in order.
        opening, closing: The tags as they are in the file; an empty element has no closing one.
    """

    name: Name
    attributes: Mapping[Name, str] = field(default_factory=dict)
    opening: str = ""
    closing: str = ""
    children: list[Element | Markup] = field(default_factory=list)

    @property
    def elements(self) -> list[Element]:
        """Return the elements in it."""
        return [child for child in self.children if isinstance(child, Element)]

    @property
    def text(self) -> str:
        """Return the text in it, without that of the elements in it."""
        return "".join(child.text for child in self.children if isinstance(child, Markup))

    def named(self, *names: Name) -> list[Element]:
        """Return the elements in it that have one of these names."""
        return [element for element in self.elements if element.name in names]

    def descend(self) -> Iterator[Element]:
        """Yield it and every element below it."""
        yield self
        for element in self.elements:
            yield from element.descend()

    def append(self, source: str) -> None:
        """Add XML at its end; the XML declares its namespaces itself."""
        if not self.closing and self.opening:
            tag = re.match(rf"<({_NAME})", self.opening)
            assert tag is not None
            self.opening = f"{self.opening.removesuffix('/>').rstrip()}>"
            self.closing = f"</{tag[1]}>"
        self.children.append(Markup(source))

    def remove(self, child: Element) -> None:
        """Remove an element in it."""
        self.children = [one for one in self.children if one is not child]

    def source(self) -> str:
        """Return it as XML."""
        parts: list[str] = []
        self._write(parts)
        return "".join(parts)

    def _write(self, parts: list[str]) -> None:
        parts.append(self.opening)
        for child in self.children:
            if isinstance(child, Markup):
                parts.append(child.source)
            else:
                child._write(parts)
        parts.append(self.closing)


def parse_xml(data: bytes) -> Element:
    """Return a document: an element without a name that holds the root and what is around it.

    Raises:
        UnmergeableFile: It is not well-formed, too large, or not of the subset.
    """
    if len(data) > MAX_XML_BYTES:
        raise UnmergeableFile("larger than 1 MB")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise UnmergeableFile("not UTF-8") from None
    declared = _ENCODING.match(text.removeprefix("\ufeff"))
    if declared and declared[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnmergeableFile(f"encoded as {declared[1][:20]}")
    if _FORBIDDEN.search(text):
        raise UnmergeableFile("control characters")
    return _Parser().parse(text)


class _Parser:
    """Builds the tree of one document."""

    def __init__(self) -> None:
        self._open = [Element(("", ""))]
        self._tags = [""]
        self._scopes: list[dict[str, str]] = [{"xml": _XML_NAMESPACE}]
        self._count = 0

    def parse(self, text: str) -> Element:
        at = 0
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None:
                what = "a document type" if text[at : at + 2] == "<!" else "a damaged tag"
                raise UnmergeableFile(what)
            at = token.end()
            if token["start"]:
                self._start(token)
            elif token["end"]:
                self._end(token)
            else:
                self._add(token)
        document = self._open[0]
        if len(self._open) > 1 or len(document.elements) != 1:
            raise UnmergeableFile("an element is not closed, or there is none")
        return document

    def _add(self, token: re.Match[str]) -> None:
        text = token["literal"] or _decoded(token["text"] or "")
        is_around = len(self._open) == 1
        if is_around and text.removeprefix("\ufeff").strip():
            raise UnmergeableFile("text outside of the root")
        self._open[-1].children.append(Markup(token[0], text))

    def _start(self, token: re.Match[str]) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS or len(self._open) > MAX_DEPTH:
            raise UnmergeableFile("too many elements")
        found = [(one[1], one[2][1:-1]) for one in _ATTRIBUTE.finditer(token["attributes"])]
        given = {name: _decoded(value) for name, value in found}
        if len(given) != len(found):
            raise UnmergeableFile("an attribute that is given twice")
        scope = self._scopes[-1]
        declared = {
            name.partition(":")[2]: value
            for name, value in given.items()
            if name == "xmlns" or name.startswith("xmlns:")
        }
        if declared:
            scope = scope | declared
            if len(scope) > MAX_PREFIXES:
                raise UnmergeableFile("too many namespaces")
        attributes = {
            _resolve(name, scope, is_attribute=True): value
            for name, value in given.items()
            if name != "xmlns" and not name.startswith("xmlns:")
        }
        element = Element(_resolve(token["start"], scope), attributes, token[0])
        self._open[-1].children.append(element)
        if not token["empty"]:
            self._open.append(element)
            self._tags.append(token["start"])
            self._scopes.append(scope)

    def _end(self, token: re.Match[str]) -> None:
        if token["end"] != self._tags[-1]:
            raise UnmergeableFile("a tag that closes another element")
        self._open.pop().closing = token[0]
        self._tags.pop()
        self._scopes.pop()


def _resolve(name: str, scope: Mapping[str, str], *, is_attribute: bool = False) -> Name:
    prefix, colon, local = name.rpartition(":")
    if not colon:
        # Without a prefix, an attribute has no namespace.
        return ("" if is_attribute else scope.get("", "")), local
    if prefix not in scope:
        raise UnmergeableFile("a prefix without a namespace")
    return scope[prefix], local


def _decoded(text: str) -> str:
    return _ENTITY.sub(_character, text) if "&" in text else text


def _character(entity: re.Match[str]) -> str:
    hexadecimal, decimal, name, other = entity.groups()
    if other:
        raise UnmergeableFile("an entity")
    if name:
        return _CHARACTERS[name]
    number = int(hexadecimal, 16) if hexadecimal else int(decimal)
    if number > 0x10FFFF or 0xD800 <= number < 0xE000:
        raise UnmergeableFile("a character that does not exist")
    return chr(number)


def clean_text(text: str) -> str:
    """Remove characters that XML cannot hold: control characters and lone surrogates."""
    return "".join(c for c in text if c.isprintable())[:MAX_TEXT_CHARACTERS]
