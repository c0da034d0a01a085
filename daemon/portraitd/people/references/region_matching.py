"""Find out which faces of a photo the named regions of other programs are about."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from portraitd.media.face_regions import FaceRegion
from portraitd.model.reasons import ReasonCode
from portraitd.people.names import number_in
from portraitd.people.references.reference_import import usable_name


class MatchedRegions(NamedTuple):
    """What regions say.

    Attributes:
        names: The name of each face, by its number.
        faults: Why other regions say nothing.
    """

    names: dict[int, str]
    faults: set[ReasonCode]


def match_regions(regions: Iterable[FaceRegion], faces: Mapping[int, FaceRegion]) -> MatchedRegions:
    """Return the faces that are each meant by one name, and by no other.

    Args:
        regions: With names, in the upright picture. They are untrusted.
        faces: Faces that were found, by number, likewise.
    """
    names_of: dict[int, set[str]] = defaultdict(set)
    faults = set()
    for region in regions:
        name = usable_name(region.name)
        meant = [number for number, face in faces.items() if region.matches(face)]
        if not name or number_in(name) is not None:
            faults.add(ReasonCode.REGION_NAME_UNUSABLE)
        elif not meant:
            faults.add(ReasonCode.REGION_WITHOUT_FACE)
        elif len(meant) > 1:
            faults.add(ReasonCode.REGION_OF_SEVERAL)
        else:
            names_of[meant[0]].add(name)
    # Two faces of one photo are two people.
    uses = Counter(name for names in names_of.values() for name in names)
    clear = {
        number: next(iter(names))
        for number, names in names_of.items()
        if len(names) == 1 and all(uses[name] == 1 for name in names)
    }
    if len(clear) < len(names_of):
        faults.add(ReasonCode.REGION_OF_SEVERAL)
    return MatchedRegions(clear, faults)
