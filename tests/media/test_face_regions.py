"""Regions of faces: turned with the picture, matched with faces, read from what others wrote."""

from __future__ import annotations

import numpy as np
import pytest

from portraitd.media.face_regions import FaceRegion, format_region, read_regions
from portraitd.media.photo import _turned
from portraitd.media.xml_tree import Element, parse_xml
from portraitd.model.face import Box

SPACES = " ".join(
    f'xmlns:{prefix}="{space}"'
    for prefix, space in {
        "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
        "stArea": "http://ns.adobe.com/xmp/sType/Area#",
        "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
        "MP": "http://ns.microsoft.com/photo/1.2/",
        "MPRI": "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
        "MPReg": "http://ns.microsoft.com/photo/1.2/t/Region#",
    }.items()
)


def listed(items: str, size: str = "") -> list[Element]:
    """An MWG list with these items."""
    return properties(
        f'<mwg-rs:Regions rdf:parseType="Resource">{size}'
        f"<mwg-rs:RegionList><rdf:Bag>{items}</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"
    )


def properties(text: str) -> list[Element]:
    (root,) = parse_xml(f"<rdf:Description {SPACES}>{text}</rdf:Description>".encode()).elements
    return root.elements


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_region_turns_with_its_picture(orientation: int) -> None:
    """As the decoder turns the pixels; and back."""
    stored = np.zeros((30, 40, 3), np.uint8)
    stored[3:9, 20:36] = 255
    upright = _turned(stored, orientation)
    rows, columns = (np.flatnonzero(upright.any(axis=(axis, 2))) for axis in (1, 0))
    box = Box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)

    of_stored = FaceRegion.of("", Box(20, 3, 36, 9), 40, 30)
    of_upright = FaceRegion.of("", box, upright.shape[1], upright.shape[0])

    assert pytest.approx(of_upright.area) == of_stored.turned(orientation).area
    assert pytest.approx(of_stored.area) == of_upright.turned_back(orientation).area


FACE = FaceRegion("Ann", 0.5, 0.4, 0.1, 0.2)


@pytest.mark.parametrize(
    ("other", "is_match"),
    [
        (FaceRegion("", 0.52, 0.45, 0.06, 0.12), True),
        (FaceRegion("", 0.5, 0.42, 0.2, 0.3), True),
        (FaceRegion("", 0.5, 0.6, 0.4, 0.8), False),
        (FaceRegion("", 0.6, 0.4, 0.1, 0.2), False),
        (FaceRegion("", 0.5, 0.45, 0.02, 0.02), False),
    ],
    ids=["smaller", "larger", "whole-person", "beside", "nose"],
)
def test_each_holds_the_centre_of_the_other(other: FaceRegion, is_match: bool) -> None:
    """Whichever program drew the larger one; a whole person does not count as a face."""
    assert is_match == FACE.matches(other) == other.matches(FACE)


def test_what_is_written_is_read() -> None:
    """Whatever characters are in the name."""
    region = FaceRegion('Ann & "Bo" <x>', 0.5, 0.4, 0.1, 0.2)

    assert [region] == read_regions(listed(format_region(region)))


def test_the_forms_of_other_programs_are_read() -> None:
    """As exiftool and Lightroom write it, and Microsoft's, which digiKam writes as well."""
    of_exiftool = """<rdf:li rdf:parseType='Resource'><mwg-rs:Area rdf:parseType='Resource'>
        <stArea:h>0.2</stArea:h><stArea:w>0.1</stArea:w><stArea:x>0.5</stArea:x>
        <stArea:y>0.4</stArea:y></mwg-rs:Area><mwg-rs:Name>Ann</mwg-rs:Name></rdf:li>"""
    microsoft = """<MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag>
        <rdf:li MPReg:PersonDisplayName="Ann" MPReg:Rectangle="0.45, 0.3, 0.1, 0.2"/>
        <rdf:li MPReg:PersonDisplayName="Bo" MPReg:Rectangle="0.1,0.1,0.2,0.2"/>
        </rdf:Bag></MPRI:Regions></MP:RegionInfo>"""

    assert [FACE] == read_regions(listed(of_exiftool))
    assert ["Ann", "Bo"] == [
        one.name for one in read_regions([*listed(of_exiftool), *properties(microsoft)])
    ]


@pytest.mark.parametrize(
    "area",
    [
        'x="nan" y="0.4" w="0.1" h="0.2"',
        'x="0.5" y="0.4" w="0" h="0.2"',
        'x="0.5" y="-1" w="0.1" h="0.2"',
        'x="0.5" y="0.4" w="1e9" h="0.2"',
        'x="0.5" y="0.4" w="0.1"',
        'x="500" y="400" w="10" h="20" unit="pixel"',
        'x="0.5" y="0.5" w="1" h="1"',
    ],
)
def test_a_place_that_cannot_be_meant_is_left_out(area: str) -> None:
    """It is outside the picture, empty, not a number, or all of it."""
    fields = " ".join(f"stArea:{field}" for field in area.split())
    item = f'<rdf:li><rdf:Description mwg-rs:Name="Ann"><mwg-rs:Area {fields}/></rdf:Description>'

    assert [] == read_regions(listed(f"{item}</rdf:li>"))


def test_a_pet_is_no_face_and_regions_of_another_crop_are_not_of_this_picture() -> None:
    """A smaller copy of the picture has the same regions."""
    size = '<mwg-rs:AppliedToDimensions stDim:w="400" stDim:h="300"/>'
    pet = format_region(FACE).replace("Face", "Pet")

    assert [] == read_regions(listed(pet))
    assert [FACE] == read_regions(listed(format_region(FACE), size), (4000, 3000))
    assert [] == read_regions(listed(format_region(FACE), size), (3000, 4000))
