"""What a sidecar says about the people of its recording."""

from __future__ import annotations

from portraitd.media.face_regions import FaceRegion
from portraitd.media.nfo import write_nfo
from portraitd.media.xml_tree import clean_text
from portraitd.media.xmp_sidecar import NamedPhoto, write_xmp
from portraitd.model.photo_tags import PhotoTags
from portraitd.model.sidecar import NamedRecording, SidecarKind


def write_sidecar(
    kind: SidecarKind,
    recording: NamedRecording | None,
    tags: PhotoTags | None,
    content: bytes | None,
) -> bytes | None:
    """Return a sidecar with the people of a recording, and all that others wrote into it.

    Args:
        kind: Its kind.
        recording: The people; None to take portraitd's part out.
        tags: Of a photo, what its header says.
        content: The file as it is; None without one.

    Returns:
        The file as it should be; None if there should be none.

    Raises:
        UnmergeableFile: It cannot be changed safely.
    """
    if kind is SidecarKind.NFO:
        names = [name for name, _ in recording.faces] if recording else []
        return write_nfo(content, [clean_text(name) for name in names])
    photo = None
    if recording is not None and tags is not None:
        size_px = recording.width_px, recording.height_px
        regions = [
            FaceRegion.of(clean_text(name), box, *size_px).turned_back(tags.orientation)
            for name, box in recording.faces
            if box is not None
        ]
        photo = NamedPhoto(regions, tags.width_px, tags.height_px, tags.xmp)
    return write_xmp(content, photo)
