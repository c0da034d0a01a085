"""Write and read the XMP packet of a portrait, which identifies its face.

Photo managers read the name and the position of the face from the MWG region and the keywords;
portraitd recognises a file by its own fields, under any name and in any folder. The image data
stays unchanged, byte by byte.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO
from xml.sax.saxutils import escape, quoteattr

from portraitd.media.face_regions import FaceRegion, format_dimensions, format_region
from portraitd.media.jpeg import read_size
from portraitd.media.xml_tree import clean_text
from portraitd.model.face import Box
from portraitd.model.person import PublishedFace

_OWN = "urn:portraitd:face:"
"""The namespace of portraitd's own fields."""

_HEADER = b"http://ns.adobe.com/xap/1.0/\0"

_MAX_SEGMENTS = 200

_MAX_EDGE = 1 << 24
"""Larger than any picture, and small enough for every calculation."""

_SOI, _APP0, _APP1, _SOS, _EOI = 0xD8, 0xE0, 0xE1, 0xDA, 0xD9

_PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:digiKam="http://www.digikam.org/ns/1.0/"
 xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"
 xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
 xmlns:portraitd="{own}"
{fields}>
{keywords}<mwg-rs:Regions rdf:parseType="Resource">
{dimensions}
<mwg-rs:RegionList><rdf:Bag>{region}</rdf:Bag></mwg-rs:RegionList>
</mwg-rs:Regions>
</rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""

_KEYWORDS = """\
<dc:subject><rdf:Bag><rdf:li>{name}</rdf:li></rdf:Bag></dc:subject>
<digiKam:TagsList><rdf:Seq><rdf:li>People/{tag}</rdf:li></rdf:Seq></digiKam:TagsList>
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """The fields by which portraitd recognises a portrait.

    Attributes:
        store: Name of the store that the face id belongs to; empty if unknown.
        sha256: Hash of the video or photo.
        t_s: Timestamp in the video.
        box: The face in pixels of the full-size frame.
    """

    store: str
    face_id: int
    sha256: str
    t_s: float
    box: Box


def with_mark(jpeg: bytes, face: PublishedFace, name: str | None, store: str) -> bytes:
    """Return the image with an XMP packet that identifies its face.

    Equal arguments give equal bytes. Data that is not a JPEG is returned unchanged.

    Args:
        jpeg: The portrait, without an XMP packet.
        face: The face it shows.
        name: Name of the person, if a person has given one.
        store: Name of the store that the face id belongs to.
    """
    size = read_size(io.BytesIO(jpeg))
    if size is None:
        return jpeg
    body = _HEADER + _packet(face, name, store, size)
    if len(body) + 2 > 0xFFFF:
        return jpeg
    at = 2
    for marker, _, stop in _segments(jpeg):
        if marker != _APP0:
            break
        at = stop
    segment = bytes([0xFF, _APP1]) + (len(body) + 2).to_bytes(2, "big") + body
    return jpeg[:at] + segment + jpeg[at:]


def read_mark(file: BinaryIO) -> Mark | None:
    """Read the fields of portraitd; None without a complete and valid packet.

    Reads only the segments before the image data, whatever the size of the file. The content is
    untrusted: people and other programs write to the people tree.
    """
    if file.read(2) != bytes([0xFF, _SOI]):
        return None
    for _ in range(_MAX_SEGMENTS):
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF or head[1] in (_SOS, _EOI):
            return None
        length = int.from_bytes(head[2:], "big") - 2
        if length < 0:
            return None
        if head[1] != _APP1:
            file.seek(length, 1)
            continue
        body = file.read(length)
        if body.startswith(_HEADER):
            mark = _parsed(body[len(_HEADER) :])
            if mark is not None:
                return mark
    return None


def _packet(face: PublishedFace, name: str | None, store: str, size: tuple[int, int]) -> bytes:
    area = face.area
    clean = clean_text(name or "")
    box = face.box.shifted(-area.left, -area.top)
    fields = {
        "store": store,
        "face": str(face.face_id),
        "video": face.sha256,
        "source": clean_text(face.source),
        "time": repr(float(face.t_s)),
        "box": ",".join(map(str, face.box)),
    }
    text = _PACKET.format(
        own=_OWN,
        fields="\n".join(f" portraitd:{key}={quoteattr(value)}" for key, value in fields.items()),
        # A slash separates the levels of a keyword.
        keywords=_KEYWORDS.format(name=escape(clean), tag=escape(clean.replace("/", "-")))
        if clean
        else "",
        dimensions=format_dimensions(*size),
        region=format_region(FaceRegion.of(clean, box, area.width, area.height)),
    )
    return text.encode()


def _parsed(packet: bytes) -> Mark | None:
    try:
        text = packet.decode()
        prefix = re.search(rf"""xmlns:([\w.-]{{1,64}})\s*=\s*["']{re.escape(_OWN)}["']""", text)
        if prefix is None:
            return None
        left, top, right, bottom = map(int, _field(text, prefix[1], "box").split(","))
        face_id = int(_field(text, prefix[1], "face"))
        t_s = float(_field(text, prefix[1], "time"))
        store = _field(text, prefix[1], "store")
        sha256 = _field(text, prefix[1], "video")
    except ValueError:
        return None
    box = Box(left, top, right, bottom)
    if not 0 < face_id < 1 << 63 or not math.isfinite(t_s):
        return None
    if any(abs(edge) > _MAX_EDGE for edge in box):
        return None
    return Mark(store, face_id, sha256, t_s, box)


def _field(text: str, prefix: str, name: str) -> str:
    """Return the value of a field, written as an attribute or, by other programs, as an element.

    Raises:
        ValueError: The field is missing.
    """
    key = re.escape(f"{prefix}:{name}")
    found = re.search(
        rf"""[\s<]{key}(?:\s*=\s*["']([\w.,:+ -]{{0,200}})["']|>([^<]{{0,200}})<)""", text
    )
    if found is None:
        raise ValueError(name)
    return (found[1] if found[1] is not None else found[2]).strip()


def _segments(jpeg: bytes) -> Iterator[tuple[int, int, int]]:
    """Return marker, start and end of each segment before the image data."""
    if jpeg[:2] != bytes([0xFF, _SOI]):
        return
    at = 2
    while len(jpeg) >= at + 4 and jpeg[at] == 0xFF and jpeg[at + 1] not in (_SOS, _EOI):
        stop = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if stop < at + 4 or stop > len(jpeg):
            return
        yield jpeg[at + 1], at, stop
        at = stop
