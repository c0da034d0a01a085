"""The job that reads the header of a photo, for its sidecar and for the names in its regions."""

from __future__ import annotations

from portraitd.model.media_file import Source
from portraitd.model.photo_tags import PhotoTags
from portraitd.workers.job_results import returns


@returns("portraitd.people.sidecars.photo_tag_results:TAGS")
def read_photo_tags(source: Source) -> PhotoTags:
    """Read orientation, size and XMP of a photo; its picture is not decoded.

    Raises:
        VideoError: The file is not a photo, or changed meanwhile.
    """
    from portraitd.media.content_hash import opened
    from portraitd.media.photo import read_tags

    with opened(source) as fd, open(fd, "rb", closefd=False) as file:
        return read_tags(file)
