"""Name the people of a photo in an XMP sidecar: keywords, and a region for each face.

What portraitd adds is listed in the sidecar itself, in properties of its own, so that it can be
told from what other programs and people wrote, however they arrange the file. A sidecar is always
merged: portraitd's part is taken out, and put in again as it should be. Where nothing else is left,
the file was portraitd's.

Programs that read a sidecar take a property from it instead of that in the photo. So a property
that only the photo has is repeated in the sidecar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from xml.sax.saxutils import escape

from portraitd.media.face_regions import (
    AREA,
    CONTAINERS,
    DESCRIPTION,
    DIMENSIONS,
    ITEM,
    MAX_REGIONS,
    MWG,
    RDF,
    REGION_LIST,
    REGION_PROPERTIES,
    REGIONS,
    FaceRegion,
    format_dimensions,
    format_region,
    read_region,
    read_regions,
)
from portraitd.media.xml_tree import Element, Name, UnmergeableFile, parse_xml

_OWN = "urn:portraitd:sidecar:"
"""The namespace of the lists of what portraitd added: one for each property."""

_OWN_PORTRAIT = "urn:portraitd:face:"

_DC = "http://purl.org/dc/elements/1.1/"
_DIGIKAM = "http://www.digikam.org/ns/1.0/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"

_PREFIXES = {
    "rdf": RDF,
    "dc": _DC,
    "digiKam": _DIGIKAM,
    "Iptc4xmpExt": _IPTC,
    "mwg-rs": MWG,
    "stArea": AREA,
    "stDim": DIMENSIONS,
    "portraitd": _OWN,
}

_MAX_LISTED = 1000
"""Longest list that portraitd writes, and reads as its own."""

_EMPTY = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""


@dataclass(frozen=True, slots=True)
class _ListProperty:
    """A property that is a list of texts.

    Attributes:
        prefix: Of its name.
        container: Kind of the list, where it is new.
        before: What stands before a person's name.
    """

    prefix: str
    local: str
    container: str = "Bag"
    before: str = ""

    @property
    def name(self) -> Name:
        return _PREFIXES[self.prefix], self.local

    def item(self, name: str) -> str:
        """Return the item for a person."""
        # A slash separates the levels of a keyword.
        return self.before + (name.replace("/", "-") if self.before else name)


_LISTS = (
    _ListProperty("dc", "subject"),
    _ListProperty("digiKam", "TagsList", "Seq", "People/"),
    _ListProperty("Iptc4xmpExt", "PersonInImage"),
)


@dataclass(frozen=True, slots=True)
class NamedPhoto:
    """The people of a photo.

    Attributes:
        regions: One for each face, in the picture as it is stored.
        width_px, height_px: Of that picture.
        xmp: The XMP in the photo itself; empty without any.
    """

    regions: Sequence[FaceRegion]
    width_px: int
    height_px: int
    xmp: bytes = b""


def write_xmp(sidecar: bytes | None, photo: NamedPhoto | None) -> bytes | None:
    """Return a sidecar with the people of its photo, and with all that others wrote into it.

    A face around which another program has a region with a name is left to that program.

    Args:
        sidecar: The file as it is; None if there is none.
        photo: Whom to name; None to take all names out.

    Returns:
        The file as it should be; None if there should be none.

    Raises:
        UnmergeableFile: It is not such a file, or not written as expected.
    """
    document = parse_xml(_EMPTY.encode() if sidecar is None else sidecar)
    rdf = _find_rdf(document)
    was_own = _take_out(rdf) or sidecar is None
    if photo is not None and _put_in(rdf, photo):
        return document.source().encode()
    if not was_own:
        return sidecar
    return document.source().encode() if rdf.elements else None


def read_foreign_regions(xmp: bytes, size_px: tuple[int, int]) -> list[FaceRegion]:
    """Return the regions with names in a photo or sidecar that portraitd did not write.

    Args:
        xmp: The packet; empty without any.
        size_px: Width and height of the picture as it is stored.

    Raises:
        UnmergeableFile: It cannot be read.
    """
    if not xmp:
        return []
    rdf = _find_rdf(parse_xml(xmp))
    if any(name[0] == _OWN_PORTRAIT for one in rdf.elements for name in one.attributes):
        # A portrait that portraitd wrote: its name may be a guess.
        return []
    _take_out(rdf)
    return [one for one in read_regions(_properties(rdf), size_px) if one.name]


def _find_rdf(document: Element) -> Element:
    found = [one for one in document.descend() if one.name == (RDF, "RDF")]
    if len(found) != 1:
        raise UnmergeableFile("not XMP")
    return found[0]


def _properties(rdf: Element) -> list[Element]:
    return [one for description in rdf.named(DESCRIPTION) for one in description.elements]


def _take_out(rdf: Element) -> bool:
    """Remove what portraitd added. Return whether there was anything."""
    own = [one for one in _properties(rdf) if one.name[0] == _OWN]
    if not own:
        return False
    written = {one.name[1]: _texts(one) for one in own}
    texts = written.get("Regions", [])[:MAX_REGIONS]
    regions = [region for text in texts if (region := _unpack(text))]
    for description in rdf.named(DESCRIPTION):
        for found in description.elements:
            if found.name[0] == _OWN:
                description.remove(found)
        for prop in _LISTS:
            is_own = partial(_count_off, Counter(written.get(prop.local, ())))
            for found in description.named(prop.name):
                if _take_out_items(found, is_own):
                    description.remove(found)
        for found in description.named(*REGION_PROPERTIES):
            if _take_out_items(found, partial(_is_listed, regions)):
                description.remove(found)
        is_used = any(name != (RDF, "about") for name in description.attributes)
        if not description.elements and not is_used:
            rdf.remove(description)
    return True


def _take_out_items(prop: Element, is_own: Callable[[Element], bool]) -> bool:
    """Remove items of the lists in a property. Return whether nothing is left of them."""
    removed = left = 0
    for container in prop.descend():
        if container.name in CONTAINERS:
            for item in container.named(ITEM):
                if is_own(item):
                    container.remove(item)
                    removed += 1
                else:
                    left += 1
    return removed > 0 and left == 0


def _count_off(left: Counter[str], item: Element) -> bool:
    """Return whether an item is one of those that are left, and count it off."""
    left[item.text] -= 1
    return left[item.text] >= 0


def _is_listed(regions: Sequence[FaceRegion], item: Element) -> bool:
    found = read_region(item)
    return found is not None and any(one.is_same(found) for one in regions)


def _put_in(rdf: Element, photo: NamedPhoto) -> bool:
    """Add the people who are not named yet. Return whether there were any."""
    present = _properties(rdf)
    embedded = _embedded_properties(photo.xmp)
    has_regions = any(one.name == REGIONS for one in present)
    size_px = photo.width_px, photo.height_px
    # Those in the sidecar count instead of those in the photo.
    repeated = [] if has_regions else [one for one in read_regions(embedded, size_px) if one.name]
    named = [one for one in (*read_regions(present), *repeated) if one.name]
    added = [one for one in photo.regions if not any(one.matches(other) for other in named)]
    if not added:
        return False
    in_attributes = {name for one in rdf.named(DESCRIPTION) for name in one.attributes}
    if not in_attributes.isdisjoint((REGIONS, *(prop.name for prop in _LISTS))):
        raise UnmergeableFile("a list is written as a text")
    regions = [*repeated, *added][:MAX_REGIONS]
    block = []
    if has_regions:
        _append_regions(present, regions)
    else:
        block.append(_format_regions(regions, photo))
    block.append(_format_own("Regions", map(_pack, regions)))
    names = dict.fromkeys(one.name for one in added)
    for prop in _LISTS:
        block += _put_in_items(prop, present, embedded, map(prop.item, names))
    rdf.append(_format_description(block))
    return True


def _put_in_items(
    prop: _ListProperty,
    present: Sequence[Element],
    embedded: Sequence[Element],
    items: Iterable[str],
) -> list[str]:
    """Add items to a list, and return the properties that are to be written with it."""
    found = [one for one in present if one.name == prop.name]
    if not found:
        repeated = [text for one in embedded if one.name == prop.name for text in _texts(one)]
        added = list(dict.fromkeys([*repeated, *items]))[:_MAX_LISTED]
        name = f"{prop.prefix}:{prop.local}"
        return [_format_list(name, prop.container, added), _format_own(prop.local, added)]
    containers = [one for prop_found in found for one in prop_found.named(*CONTAINERS)]
    if len(containers) != 1:
        raise UnmergeableFile(f"{prop.prefix}:{prop.local} is not a list")
    known = {item.text for item in containers[0].named(ITEM)}
    added = [item for item in items if item not in known][:_MAX_LISTED]
    for item in added:
        containers[0].append(f'<rdf:li xmlns:rdf="{RDF}">{escape(item)}</rdf:li>')
    return [_format_own(prop.local, added)] if added else []


def _append_regions(present: Sequence[Element], regions: Sequence[FaceRegion]) -> None:
    containers = [
        container
        for one in present
        if one.name == REGIONS
        for listed in one.descend()
        if listed.name == REGION_LIST
        for container in listed.named(*CONTAINERS)
    ]
    if len(containers) != 1:
        raise UnmergeableFile("mwg-rs:Regions is not a list")
    declared = _declare("rdf", "mwg-rs", "stArea")
    for region in regions:
        containers[0].append(format_region(region).replace("<rdf:li", f"<rdf:li{declared}", 1))


def _embedded_properties(xmp: bytes) -> list[Element]:
    """Return the properties in a photo; none where they cannot be read."""
    try:
        return _properties(_find_rdf(parse_xml(xmp))) if xmp else []
    except ValueError:
        return []


def _format_description(block: Sequence[str]) -> str:
    declared = _declare(*_PREFIXES)
    lines = "\n".join(block)
    return f'<rdf:Description rdf:about=""{declared}>\n{lines}\n</rdf:Description>'


def _declare(*prefixes: str) -> str:
    return "".join(f'\n xmlns:{prefix}="{_PREFIXES[prefix]}"' for prefix in prefixes)


def _format_regions(regions: Sequence[FaceRegion], photo: NamedPhoto) -> str:
    items = "\n".join(map(format_region, regions))
    return (
        '<mwg-rs:Regions rdf:parseType="Resource">\n'
        f"{format_dimensions(photo.width_px, photo.height_px)}\n"
        f"<mwg-rs:RegionList><rdf:Bag>\n{items}\n</rdf:Bag></mwg-rs:RegionList>\n"
        "</mwg-rs:Regions>"
    )


def _format_list(name: str, container: str, items: Iterable[str]) -> str:
    listed = "".join(f"<rdf:li>{escape(item)}</rdf:li>" for item in items)
    return f"<{name}><rdf:{container}>{listed}</rdf:{container}></{name}>"


def _format_own(local: str, items: Iterable[str]) -> str:
    return _format_list(f"portraitd:{local}", "Bag", items)


def _pack(region: FaceRegion) -> str:
    return " ".join([*(f"{one:.6f}" for one in region.area), region.name])


def _unpack(text: str) -> FaceRegion | None:
    try:
        x, y, w, h, name = text.split(" ", 4)
        return FaceRegion(name, float(x), float(y), float(w), float(h))
    except ValueError:
        return None


def _texts(prop: Element) -> list[str]:
    items = [item.text for one in prop.named(*CONTAINERS) for item in one.named(ITEM)]
    return items[:_MAX_LISTED]
