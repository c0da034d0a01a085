"""Actors in NFO files, beside what others wrote."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from portraitd.media.nfo import write_nfo
from portraitd.media.xml_tree import UnmergeableFile

OF_JELLYFIN = b"""\xef\xbb\xbf<?xml version="1.0" encoding="utf-8" standalone="yes"?>
<movie>
  <title>Trip &amp; back</title>
  <actor>
    <name>Ann</name>
    <role>Herself</role>
  </actor>
</movie>
"""


def actors(nfo: bytes | None) -> list[str | None]:
    assert nfo is not None
    return [actor.findtext("name") for actor in ET.fromstring(nfo).findall("actor")]


def test_a_new_file_names_everybody() -> None:
    """It is portraitd's: it changes with the people, and goes with the last one."""
    nfo = write_nfo(None, ["Ann", "Bo & <Co>"])

    assert ["Ann", "Bo & <Co>"] == actors(nfo)
    assert nfo == write_nfo(nfo, ["Ann", "Bo & <Co>"])
    assert ["Eve"] == actors(write_nfo(nfo, ["Eve"]))
    assert write_nfo(nfo, []) is None
    assert write_nfo(None, []) is None


def test_what_others_wrote_stays() -> None:
    """Byte by byte, and so does an actor whom another program has listed."""
    nfo = write_nfo(OF_JELLYFIN, ["Ann", "Bo"])

    assert ["Ann", "Bo"] == actors(nfo)
    assert OF_JELLYFIN == write_nfo(nfo, [])
    assert OF_JELLYFIN == write_nfo(OF_JELLYFIN, ["Ann"])


@pytest.mark.parametrize("other", [b"https://example.org/film/1", b"<movie/>\nhttps://x", b""])
def test_what_is_no_xml_is_left_alone(other: bytes) -> None:
    """Kodi reads such files, too."""
    with pytest.raises(UnmergeableFile):
        write_nfo(other, ["Ann"])
