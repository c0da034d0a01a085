"""Named regions of photos, as photo managers write them into XMP: MWG, and Microsoft's.

The coordinates of a region are shares of the picture as it is stored, before its EXIF orientation
is applied: that is how digiKam and Immich read them. Faces that
portraitd finds are in the upright picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from xml.sax.saxutils import quoteattr

from portraitd.media.xml_tree import Element, Name
from portraitd.model.face import Box

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
MWG = "http://www.metadataworkinggroup.com/schemas/regions/"
AREA = "http://ns.adobe.com/xmp/sType/Area#"
DIMENSIONS = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
_MP = "http://ns.microsoft.com/photo/1.2/"
_MPRI = "http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
_MPREG = "http://ns.microsoft.com/photo/1.2/t/Region#"

DESCRIPTION: Name = (RDF, "Description")
ITEM: Name = (RDF, "li")
CONTAINERS: tuple[Name, ...] = ((RDF, "Bag"), (RDF, "Seq"), (RDF, "Alt"))
REGIONS: Name = (MWG, "Regions")
REGION_LIST: Name = (MWG, "RegionList")
_MP_REGIONS: Name = (_MP, "RegionInfo")
_NO_NAME: Name = ("", "")

_LIST_OF: dict[Name, Name] = {REGIONS: REGION_LIST, _MP_REGIONS: (_MPRI, "Regions")}
"""The field of each property that is a list of regions."""

REGION_PROPERTIES = tuple(_LIST_OF)

MAX_REGIONS = 200
MAX_NAME_CHARACTERS = 500

_SAME = 2e-5
"""Coordinates are written with six digits; other programs repeat some with fewer bits."""

_ASPECT = 0.02
"""Regions that were drawn into a picture whose aspect differs by more are not of this one."""

_TURNED_BACK = {6: 8, 8: 6}
"""The orientation that undoes another one, where it is not the same."""


@dataclass(frozen=True, slots=True)
class FaceRegion:
    """A rectangle with a name.

    Attributes:
        name: Empty if it has none.
        x, y: Its centre, as shares of width and height.
        w, h: Its size, likewise.
    """

    name: str
    x: float
    y: float
    w: float
    h: float

    @classmethod
    def of(cls, name: str, box: Box, width_px: int, height_px: int) -> FaceRegion:
        """Return the region of a box in pixels of a picture of this size."""
        part = box.clipped(width_px, height_px)
        return cls(
            name,
            (part.left + part.right) / 2 / width_px,
            (part.top + part.bottom) / 2 / height_px,
            part.width / width_px,
            part.height / height_px,
        )

    def turned(self, orientation: int) -> FaceRegion:
        """Return the region of a stored picture in the upright one.

        Args:
            orientation: By EXIF, 1 to 8.
        """
        x, y, w, h = self.x, self.y, self.w, self.h
        if orientation >= 5:
            x, y, w, h = y, x, h, w
        if orientation in (2, 3, 6, 7):
            x = 1 - x
        if orientation in (3, 4, 7, 8):
            y = 1 - y
        return FaceRegion(self.name, x, y, w, h)

    def turned_back(self, orientation: int) -> FaceRegion:
        """Return the region of an upright picture in the one that is stored."""
        return self.turned(_TURNED_BACK.get(orientation, orientation))

    def matches(self, other: FaceRegion) -> bool:
        """Return whether both may be the same face: each holds the centre of the other.

        Programs draw faces of different sizes; a whole person's centre is not in their face.
        """
        apart = abs(self.x - other.x), abs(self.y - other.y)
        return apart[0] <= min(self.w, other.w) / 2 and apart[1] <= min(self.h, other.h) / 2

    def is_same(self, other: FaceRegion) -> bool:
        """Return whether both are one region with one name, as far as the digits go."""
        if self.name != other.name:
            return False
        pairs = zip(self.area, other.area, strict=True)
        return all(abs(one - two) <= _SAME for one, two in pairs)

    @property
    def area(self) -> tuple[float, float, float, float]:
        """Return its centre and size."""
        return self.x, self.y, self.w, self.h


def format_region(region: FaceRegion) -> str:
    """Return a region as an item of an MWG list, without the declarations of its prefixes."""
    name = f"mwg-rs:Name={quoteattr(region.name)} " if region.name else ""
    return (
        f'<rdf:li><rdf:Description {name}mwg-rs:Type="Face">\n'
        f'<mwg-rs:Area stArea:x="{region.x:.6f}" stArea:y="{region.y:.6f}" '
        f'stArea:w="{region.w:.6f}" stArea:h="{region.h:.6f}" stArea:unit="normalized"/>\n'
        "</rdf:Description></rdf:li>"
    )


def format_dimensions(width_px: int, height_px: int) -> str:
    """Return the size of the picture that regions are of, likewise."""
    return (
        f'<mwg-rs:AppliedToDimensions stDim:w="{width_px}" stDim:h="{height_px}" '
        'stDim:unit="pixel"/>'
    )


def read_regions(
    properties: Sequence[Element], size_px: tuple[int, int] | None = None
) -> list[FaceRegion]:
    """Return the regions of faces among the properties of a picture, one for each name and place.

    Args:
        properties: Elements of the XMP, in any order.
        size_px: Width and height of the picture as it is stored; those of a picture with another
            aspect are left out. None to return all.
    """
    found = [
        region
        for one in properties
        if size_px is None or one.name != REGIONS or _is_of_size(one, size_px)
        for item in list_regions(one)
        if (region := read_region(item))
    ]
    distinct: list[FaceRegion] = []
    for region in found[:MAX_REGIONS]:
        # digiKam writes each into both lists.
        if not any(one.name == region.name and one.matches(region) for one in distinct):
            distinct.append(region)
    return distinct


def list_regions(regions: Element) -> list[Element]:
    """Return the items of a property that is a list of regions; none of another property."""
    return [
        item
        for listed in _fields(regions, _LIST_OF.get(regions.name, _NO_NAME))
        for container in listed.named(*CONTAINERS)
        for item in container.named(ITEM)
    ]


def read_region(item: Element) -> FaceRegion | None:
    """Return the region of a face that an item of such a list is; None if it is something else."""
    rectangle = _value(item, (_MPREG, "Rectangle"))
    if rectangle:
        return _read_microsoft(rectangle, _value(item, (_MPREG, "PersonDisplayName")))
    areas = _fields(item, (MWG, "Area"))
    if not areas or _value(item, (MWG, "Type")) not in ("Face", ""):
        return None
    if _value(areas[0], (AREA, "unit")) not in ("normalized", ""):
        return None
    numbers = [_number(_value(areas[0], (AREA, side))) for side in "xywh"]
    return _checked(FaceRegion(_value(item, (MWG, "Name")), *numbers))


def _read_microsoft(rectangle: str, name: str) -> FaceRegion | None:
    numbers = [_number(part) for part in rectangle.split(",")]
    if len(numbers) != 4:
        return None
    left, top, w, h = numbers
    return _checked(FaceRegion(name, left + w / 2, top + h / 2, w, h))


def _checked(region: FaceRegion) -> FaceRegion | None:
    """Return a region whose name and place can be meant; None if they cannot."""
    is_inside = all(0 <= one <= 1 for one in region.area) and region.w > 0 and region.h > 0
    if not is_inside or len(region.name) > MAX_NAME_CHARACTERS:
        return None
    # Some cameras write a region that is the whole picture.
    return None if region.w == region.h == 1 else replace(region, name=region.name.strip())


def _is_of_size(regions: Element, size_px: tuple[int, int]) -> bool:
    """Return whether regions were drawn into a picture with the aspect of this size."""
    applied = _fields(regions, (MWG, "AppliedToDimensions"))
    if not applied:
        return True
    width, height = (_number(_value(applied[0], (DIMENSIONS, side))) for side in "wh")
    if not (width > 0 and height > 0):
        return True
    return abs(width / height * size_px[1] / size_px[0] - 1) <= _ASPECT


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if len(text) < 40 else math.nan


def _value(element: Element, name: Name) -> str:
    """Return a simple field of a structure, written as an attribute or as an element."""
    for place in _structures(element):
        if name in place.attributes:
            return place.attributes[name]
    fields = _fields(element, name)
    return fields[0].text.strip() if fields else ""


def _fields(element: Element, name: Name) -> list[Element]:
    return [one for place in _structures(element) for one in place.named(name)]


def _structures(element: Element) -> list[Element]:
    """Return where the fields of a structure may be: in it, or in a description within it."""
    return [element, *element.named(DESCRIPTION)]
