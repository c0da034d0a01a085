"""What ``read_photo_tags`` may return: a size, an orientation, and bytes that are not trusted."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from portraitd.media.xml_tree import MAX_XML_BYTES
from portraitd.model.errors import VideoError
from portraitd.model.media_file import Source
from portraitd.model.photo_tags import PhotoTags
from portraitd.workers.result_codec import Record, ResultSchema
from portraitd.workers.wire_types import Side


class TagsData(Record):
    """A ``PhotoTags``."""

    width_px: Side
    height_px: Side
    orientation: Annotated[int, Meta(ge=1, le=8)]
    xmp: Annotated[bytes, Meta(max_length=MAX_XML_BYTES)]


def _pack_tags(tags: PhotoTags) -> TagsData:
    return TagsData(int(tags.width_px), int(tags.height_px), int(tags.orientation), tags.xmp)


def _unpack_tags(found: TagsData, source: Source) -> PhotoTags:
    return PhotoTags(found.width_px, found.height_px, found.orientation, found.xmp)


TAGS = ResultSchema(
    TagsData, _pack_tags, _unpack_tags, errors=(VideoError,), max_bytes=MAX_XML_BYTES + (1 << 16)
)
