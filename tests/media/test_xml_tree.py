"""XML of other programs comes back byte by byte, and what is not harmless is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portraitd.media.xml_tree import (
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_PREFIXES,
    MAX_XML_BYTES,
    Element,
    UnmergeableFile,
    parse_xml,
)

ALL_OF_IT = """\ufeff<?xml version='1.0' encoding="UTF-8"?>
<!-- a note <b> -->
<a:one  xmlns:a="urn:a"
   a:key = 'it&apos;s "it"' other="&#x41;&#10;">
  text &amp; &lt;more&gt; &#38;lt;<![CDATA[ <raw> & ]]>
  <two xmlns='urn:b'/><two xmlns="urn:b" ></two >\r\n
</a:one>
<?end of="it"?>
""".encode()


def test_what_is_not_changed_stays_as_it_was() -> None:
    """Quotes, white space, comments, instructions and kinds of tags included."""
    document = parse_xml(ALL_OF_IT)

    assert ALL_OF_IT == document.source().encode()


def test_it_is_understood() -> None:
    """Names with their namespaces, attributes and text with their entities."""
    (root,) = parse_xml(ALL_OF_IT).elements

    assert ("urn:a", "one") == root.name
    assert {("urn:a", "key"): 'it\'s "it"', ("", "other"): "A\n"} == root.attributes
    assert "text & <more> &lt; <raw> &" == root.text.strip()
    assert [("urn:b", "two")] * 2 == [one.name for one in root.elements]


def test_an_empty_element_can_be_filled_and_emptied() -> None:
    """Its tag gets an end, and keeps its attributes."""
    document = parse_xml(b"<a><b c='1' /><d/></a>")
    (root,) = document.elements
    one, other = root.elements
    one.append("<e/>")
    root.remove(other)

    assert "<a><b c='1'><e/></b></a>" == document.source()


BOMB = """<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;">]><a>&c;</a>"""


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        "<a>&unknown;</a>",
        "<a b='&unknown;'/>",
        "<a>&</a>",
        "<a>&#xD800;</a>",
        "<a>&#x110000;</a>",
        "<a><b></a></b>",
        "<a>",
        "</a>",
        "",
        "text",
        "<a/>text",
        "<a/><b/>",
        "<a b='1' b='2'/>",
        "<a b='<'/>",
        "<a b=1/>",
        "<a <b/>",
        "<p:a/>",
        "<a p:b='1'/>",
        "<a>\0</a>",
        "<!-- <a/>",
        "<?xml version='1.0' encoding='utf-16'?><a/>",
        "<a>" * (MAX_DEPTH + 1) + "</a>" * (MAX_DEPTH + 1),
        "<a>" + "<b/>" * MAX_ELEMENTS + "</a>",
        "<a>" + " " * MAX_XML_BYTES + "</a>",
        "<a " + " ".join(f'xmlns:p{number}="x"' for number in range(MAX_PREFIXES + 1)) + "/>",
    ],
    ids=range(27),
)
def test_what_is_not_harmless_is_refused(text: str) -> None:
    """A document type, entities, other encodings, and everything but XML."""
    with pytest.raises(UnmergeableFile):
        parse_xml(text.encode())


@given(st.binary(max_size=200) | st.text("<a/>b='&;!-[?]x ", max_size=80).map(str.encode))
@example("<a/>".encode("utf-16"))
@example(b"<a>\xff</a>")
def test_any_bytes_are_refused_or_come_back(data: bytes) -> None:
    """Nothing else happens, whatever they are."""
    try:
        document = parse_xml(data)
    except UnmergeableFile:
        return
    assert isinstance(document.elements[0], Element)
    assert data == document.source().encode()
