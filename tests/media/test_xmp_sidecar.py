"""Names in XMP sidecars: read back by exiftool, merged with what others wrote, and taken out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from portraitd.media.face_regions import FaceRegion
from portraitd.media.xml_tree import UnmergeableFile
from portraitd.media.xmp_sidecar import NamedPhoto, read_foreign_regions, write_xmp
from support.tags import needs_exiftool, write_tags

ANN = FaceRegion("Ann", 0.25, 0.3, 0.1, 0.12)
BO = FaceRegion("Bo & <Co>", 0.7, 0.4, 0.1, 0.12)
BOTH = NamedPhoto([ANN, BO], 400, 300)
SIZE = (400, 300)

OF_DIGIKAM = """\
<?xml version="1.0" encoding="UTF-8"?>
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:digiKam="http://www.digikam.org/ns/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
    xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
    xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"
    xmlns:MP="http://ns.microsoft.com/photo/1.2/"
    xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
    xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#"
   digiKam:ColorLabel="3"
   xmp:Rating="4">
   <digiKam:TagsList>
    <rdf:Seq>
     <rdf:li>Places/Rome</rdf:li>
     <rdf:li>People/Annette</rdf:li>
    </rdf:Seq>
   </digiKam:TagsList>
   <dc:subject>
    <rdf:Bag>
     <rdf:li>Rome</rdf:li>
     <rdf:li>Annette</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <mwg-rs:Regions rdf:parseType="Resource">
    <mwg-rs:AppliedToDimensions stDim:w="400" stDim:h="300" stDim:unit="pixel"/>
    <mwg-rs:RegionList>
     <rdf:Bag>
      <rdf:li>
       <rdf:Description mwg-rs:Name="Annette" mwg-rs:Type="Face">
        <mwg-rs:Area stArea:x="0.26" stArea:y="0.31" stArea:w="0.08" stArea:h="0.1"
          stArea:unit="normalized"/>
       </rdf:Description>
      </rdf:li>
     </rdf:Bag>
    </mwg-rs:RegionList>
   </mwg-rs:Regions>
   <MP:RegionInfo rdf:parseType="Resource">
    <MPRI:Regions>
     <rdf:Bag>
      <rdf:li MPReg:PersonDisplayName="Annette" MPReg:Rectangle="0.22, 0.26, 0.08, 0.1"/>
     </rdf:Bag>
    </MPRI:Regions>
   </MP:RegionInfo>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()

EMPTY_PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta>'
)


def exif(data: bytes | None, folder: Path) -> dict[str, Any]:
    """What exiftool reads."""
    assert data is not None
    path = folder / "photo.jpg.xmp"
    path.write_bytes(data)
    command = ["exiftool", "-json", "-struct", "-n", path]
    found = subprocess.run(command, check=True, capture_output=True)
    facts: dict[str, Any] = json.loads(found.stdout)[0]
    return facts


def tagged(data: bytes | None, folder: Path, *tags: str) -> bytes:
    """The sidecar after exiftool has written to it, in its own arrangement."""
    assert data is not None
    path = folder / "tagged.xmp"
    path.write_bytes(data)
    return write_tags(path, *tags).read_bytes()


def named(facts: dict[str, Any]) -> list[str]:
    return [region["Name"] for region in facts["RegionInfo"]["RegionList"]]


@needs_exiftool
def test_a_new_sidecar_names_everybody(tmp_path: Path) -> None:
    """As keywords, as people in the picture, and at their places."""
    facts = exif(write_xmp(None, BOTH), tmp_path)

    assert ["Ann", "Bo & <Co>"] == facts["Subject"] == facts["PersonInImage"] == named(facts)
    assert ["People/Ann", "People/Bo & <Co>"] == facts["TagsList"]
    assert {"W": 400, "H": 300, "Unit": "pixel"} == facts["RegionInfo"]["AppliedToDimensions"]
    assert {
        "Name": "Ann",
        "Type": "Face",
        "Area": {"X": 0.25, "Y": 0.3, "W": 0.1, "H": 0.12, "Unit": "normalized"},
    } == facts["RegionInfo"]["RegionList"][0]


def test_a_sidecar_of_its_own_changes_with_the_people() -> None:
    """Without a change it stays as it is, and without people it goes."""
    sidecar = write_xmp(None, BOTH)
    renamed = NamedPhoto([FaceRegion("Eve", *ANN.area)], 400, 300)

    assert sidecar == write_xmp(sidecar, BOTH)
    assert write_xmp(None, renamed) == write_xmp(sidecar, renamed)
    assert write_xmp(sidecar, None) is None
    assert write_xmp(None, None) is None


@needs_exiftool
def test_what_a_human_put_there_stays(tmp_path: Path) -> None:
    """Also for a face that portraitd calls something else; the other face is added."""
    merged = write_xmp(OF_DIGIKAM, BOTH)
    facts = exif(merged, tmp_path)

    assert ["Annette", "Bo & <Co>"] == named(facts)
    assert ["Rome", "Annette", "Bo & <Co>"] == facts["Subject"]
    assert ["Places/Rome", "People/Annette", "People/Bo & <Co>"] == facts["TagsList"]
    assert ["Bo & <Co>"] == facts["PersonInImage"]
    assert (4, 3) == (facts["Rating"], facts["ColorLabel"])
    assert OF_DIGIKAM == write_xmp(merged, None)
    assert merged == write_xmp(merged, BOTH)


@needs_exiftool
def test_a_sidecar_of_exiftool_is_merged(tmp_path: Path) -> None:
    """And portraitd's part is known after exiftool has rearranged it."""
    path = tmp_path / "of-exiftool.xmp"
    write_tags(path, "-XMP-dc:Subject=beach", "-XMP:Title=Two\nlines")
    foreign = path.read_bytes()

    merged = write_xmp(foreign, BOTH)
    assert foreign == write_xmp(merged, None)
    again = tagged(merged, tmp_path, "-XMP:Rating=5", "-XMP-dc:Subject+=Ann's hat")
    assert ["beach", "Ann", "Bo & <Co>", "Ann's hat"] == exif(again, tmp_path)["Subject"]

    left = exif(write_xmp(again, None), tmp_path)
    assert ["beach", "Ann's hat"] == left["Subject"]
    assert ("Two\nlines", 5) == (left["Title"], left["Rating"])
    assert {"RegionInfo", "TagsList", "PersonInImage"}.isdisjoint(left)


def test_a_region_that_a_human_renamed_is_theirs() -> None:
    """It was portraitd's, and a person corrected it in another program."""
    sidecar = write_xmp(None, BOTH)
    assert sidecar is not None
    corrected = sidecar.replace(b'Name="Ann"', b'Name="Eve"')

    left = write_xmp(corrected, BOTH)
    assert ["Eve"] == [one.name for one in read_foreign_regions(left or b"", SIZE)]
    assert ["Eve"] == [one.name for one in read_foreign_regions(write_xmp(left, None) or b"", SIZE)]


@needs_exiftool
def test_what_only_the_photo_has_is_repeated(tmp_path: Path) -> None:
    """Otherwise programs would not see it any more; and it goes with portraitd's part."""
    photo = NamedPhoto([ANN, BO], 400, 300, OF_DIGIKAM)
    sidecar = write_xmp(None, photo)
    facts = exif(sidecar, tmp_path)

    assert ["Annette", "Bo & <Co>"] == named(facts)
    assert ["Places/Rome", "People/Annette", "People/Bo & <Co>"] == facts["TagsList"]
    assert "Rating" not in facts
    assert write_xmp(sidecar, None) is None
    assert write_xmp(None, NamedPhoto([ANN], 400, 300, OF_DIGIKAM)) is None
    assert write_xmp(None, NamedPhoto([ANN], 400, 300, b"<damaged")) is not None


@pytest.mark.parametrize(
    ("other", "cause"),
    [
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><x/>", "a document type"),
        (OF_DIGIKAM.decode().encode("utf-16"), "not UTF-8"),
        (b"<x/>", "not XMP"),
        (OF_DIGIKAM.replace(b"rdf:Seq", b"rdf:What"), "TagsList is not a list"),
        (
            EMPTY_PACKET.replace(
                b"></rdf:RDF>",
                b"><rdf:Description xmlns:dc='http://purl.org/dc/elements/1.1/' "
                b"dc:subject='Rome'/></rdf:RDF>",
            ),
            "a list is written as a text",
        ),
    ],
)
def test_what_cannot_be_merged_safely_is_refused(other: bytes, cause: str) -> None:
    """It stays as it is, and the cause can be told."""
    with pytest.raises(UnmergeableFile, match=cause):
        write_xmp(other, BOTH)


def test_an_empty_file_of_another_program_stays() -> None:
    """It is not of portraitd, although nothing is in it."""
    assert EMPTY_PACKET == write_xmp(EMPTY_PACKET, None)


def test_only_the_regions_of_others_are_names() -> None:
    """What portraitd wrote is its own guess."""
    assert [] == read_foreign_regions(write_xmp(None, BOTH) or b"", SIZE)
    assert [] == read_foreign_regions(b"", SIZE)
    merged = write_xmp(OF_DIGIKAM, BOTH) or b""
    assert ["Annette"] == [one.name for one in read_foreign_regions(merged, SIZE)]


NAMES = st.text(min_size=1, max_size=20).filter(
    lambda name: name.isprintable() and name.strip() == name
)


@settings(max_examples=50)
@given(st.lists(NAMES, min_size=1, max_size=4), st.booleans())
@example(["]]>", "a/b", "&amp;", '"'], False)
def test_any_names_are_written_and_taken_out(names: list[str], is_foreign: bool) -> None:
    """And nothing of them is left."""
    regions = [FaceRegion(name, 0.1 + at / 5, 0.8, 0.05, 0.05) for at, name in enumerate(names)]
    before = OF_DIGIKAM if is_foreign else None

    sidecar = write_xmp(before, NamedPhoto(regions, 400, 300))

    assert sidecar != before
    assert before == write_xmp(sidecar, None)
