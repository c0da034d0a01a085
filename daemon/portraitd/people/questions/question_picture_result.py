"""What ``draw_question`` may return: one picture of its width."""

from __future__ import annotations

from typing import Any

from portraitd.media.jpeg_structure import check_jpeg
from portraitd.people.questions.question_picture import MAX_HEIGHT_PX, WIDTH_PX
from portraitd.workers.result_codec import ResultSchema, pack_plain


def _unpack_picture(jpeg: bytes, *_question: Any) -> bytes:
    if check_jpeg(jpeg, WIDTH_PX, MAX_HEIGHT_PX)[0] != WIDTH_PX:
        raise ValueError("a picture of another width")
    return jpeg


QUESTION_PICTURE = ResultSchema(bytes, pack_plain, _unpack_picture, max_bytes=4 << 20)
