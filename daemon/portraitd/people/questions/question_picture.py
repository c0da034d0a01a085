"""Draw the picture of a question: the portraits of both sides, with names and recordings.

``draw_question`` is a worker function. OpenCV and Pillow are imported inside the functions, because
the service names the function and must not load them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from portraitd.model.face import Image
from portraitd.people.montage import crop_to_tile, decode_portrait
from portraitd.workers.job_results import returns

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

WIDTH_PX = 900
"""A phone shows the whole width, and its text can be read there."""

MAX_HEIGHT_PX = 4000

MAX_COLUMNS = 5

_SMALL_COLUMNS = 3
"""Portraits of one side beside each other, where there are several rows."""

_MARGIN_PX, _GAP_PX, _TILE_GAP_PX = 28, 28, 8
_TITLE_PX, _NAME_PX, _CAPTION_PX = 44, 34, 26
_NUMBER_PX, _NUMBER_WIDTH_PX = 56, 84
_LINE = 1.3
"""Height of a line, in sizes of its font."""

_PAPER, _INK, _GREY, _EMPTY = (250, 250, 248), (28, 28, 30), (105, 105, 110), 225

_TILE_RATIO = 1.25
"""Height of a portrait divided by its width."""

_CENTRED = 0.12
"""A face this close to the middle of its portrait, as a fraction, does not need a frame."""

_FONT_FILES = (
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
)
"""Fonts of the system that draw more than Pillow's own, which has the letters of English only."""

_LETTERS = str.maketrans({
    "ß": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
    "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i", "ŋ": "n",
    "–": "-", "—": "-", "…": "...", "·": "-",
})  # fmt: skip
"""Letters that have no accent to leave out."""


class FacePlace(NamedTuple):
    """Where the face is in a portrait: middle and size, as fractions of the portrait."""

    x: float
    y: float
    width: float
    height: float


class QuestionSide(NamedTuple):
    """One of the people, or the faces, that may be one person.

    Attributes:
        name: The heading.
        without_name: The heading where the name cannot be drawn.
        captions: Lines below the portraits.
        jpegs: Portraits, the best first.
        places: Where the face is in each of them.
    """

    name: str
    without_name: str
    captions: tuple[str, ...]
    jpegs: tuple[bytes, ...]
    places: tuple[FacePlace, ...]


@returns("portraitd.people.questions.question_picture_result:QUESTION_PICTURE")
def draw_question(
    title: str, title_name: str, rows: Sequence[Sequence[QuestionSide]], hint: str
) -> bytes:
    """Return the picture of a question as a JPEG of ``WIDTH_PX``.

    Args:
        title: The question; ``{name}`` in it stands for a name.
        title_name: That name, or empty.
        rows: What it is about: one or two sides each, which may be one person. Several rows are
            numbered.
        hint: How to answer.
    """
    from portraitd.media.jpeg import PORTRAIT_QUALITY, encode_jpeg

    sheet = _Sheet()
    inner_px = WIDTH_PX - 2 * _MARGIN_PX
    name = make_drawable(title_name) or rows[0][-1].without_name
    sheet.write(title.replace("{name}", name), _TITLE_PX, _INK, _MARGIN_PX, inner_px)
    sheet.skip(_GAP_PX // 2)
    if len(rows) == 1:
        sheet.draw_row(rows[0], _MARGIN_PX, inner_px)
    for number, row in enumerate(rows if len(rows) > 1 else (), 1):
        top_px = sheet.at_px
        sheet.write(str(number), _NUMBER_PX, _INK, _MARGIN_PX, _NUMBER_WIDTH_PX)
        bottom_px, sheet.at_px = sheet.at_px, top_px
        left_px = _MARGIN_PX + _NUMBER_WIDTH_PX
        sheet.draw_row(row, left_px, inner_px - _NUMBER_WIDTH_PX, is_small=True)
        sheet.at_px = max(bottom_px, sheet.at_px)
        sheet.draw_line(_MARGIN_PX, inner_px)
    sheet.skip(_GAP_PX // 2)
    sheet.write(hint, _CAPTION_PX, _GREY, _MARGIN_PX, inner_px)
    return encode_jpeg(sheet.finish(), PORTRAIT_QUALITY)


def make_drawable(text: str) -> str:
    """Return what the fonts can draw of a text; empty if that is less than half of its letters.

    Letters lose their accents where that is enough: ``Muller`` is better than a box.
    """
    text = unicodedata.normalize("NFC", text)
    if _find_font(text) is not None:
        return text
    plain = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    known = _can_draw(_load_fonts()[0])
    drawn = "".join(c for c in plain if c in known)
    letters = sum(not c.isspace() for c in text)
    return drawn.strip() if 2 * sum(not c.isspace() for c in drawn) >= letters > 0 else ""


class _Sheet:
    """A picture that grows downwards."""

    def __init__(self) -> None:
        self.at_px = _MARGIN_PX
        self._pixels: Image = np.empty((MAX_HEIGHT_PX, WIDTH_PX, 3), np.uint8)
        # OpenCV's order of colours.
        self._pixels[:] = _PAPER[::-1]

    def skip(self, height_px: int) -> None:
        self.at_px += height_px

    def draw_line(self, left_px: int, width_px: int) -> None:
        """Draw a line between two rows."""
        self._pixels[self.at_px : self.at_px + 2, left_px : left_px + width_px] = _EMPTY
        self.skip(_GAP_PX // 2)

    def draw_row(
        self, sides: Sequence[QuestionSide], left_px: int, width_px: int, *, is_small: bool = False
    ) -> None:
        """Draw one side, or two beside each other."""
        if len(sides) == 1:
            columns = 2 * _SMALL_COLUMNS if is_small else MAX_COLUMNS
            self._draw_side(sides[0], left_px, width_px, columns, is_small)
            return
        half_px = (width_px - _GAP_PX) // 2
        top_px, bottoms = self.at_px, []
        for at, side in enumerate(sides):
            self.at_px = top_px
            count = len(side.jpegs)
            columns = _SMALL_COLUMNS if is_small else 1 if count == 1 else 2 if count <= 4 else 3
            self._draw_side(side, left_px + at * (half_px + _GAP_PX), half_px, columns, is_small)
            bottoms.append(self.at_px)
        self.at_px = max(bottoms)

    def _draw_side(
        self, side: QuestionSide, left_px: int, width_px: int, columns: int, is_small: bool
    ) -> None:
        """Draw a heading, portraits in rows, and captions."""
        name = make_drawable(side.name) or side.without_name
        self.write(name, _CAPTION_PX if is_small else _NAME_PX, _INK, left_px, width_px, lines=1)
        self.skip(6)
        count = len(side.jpegs)
        tile_px = (width_px - (columns - 1) * _TILE_GAP_PX) // columns
        tile = tile_px, round(tile_px * _TILE_RATIO)
        for start in range(0, count, columns):
            row = list(zip(side.jpegs, side.places, strict=True))[start : start + columns]
            for column, (jpeg, place) in enumerate(row):
                self._paste(jpeg, place, left_px + column * (tile_px + _TILE_GAP_PX), tile)
            self.skip(tile[1] + _TILE_GAP_PX)
        self.skip(4)
        for caption in side.captions[: 1 if is_small else None]:
            self.write(caption, _CAPTION_PX, _GREY, left_px, width_px, lines=1)
        self.skip(_GAP_PX // 2)

    def write(
        self,
        text: str,
        size_px: int,
        colour: tuple[int, int, int],
        left_px: int,
        width_px: int,
        lines: int = 3,
    ) -> None:
        """Write a text in as many lines as it needs; what is too long ends with dots."""
        from PIL import Image as Pictures
        from PIL import ImageDraw

        text = make_drawable(text) or "?"
        font = (_find_font(text) or _load_fonts()[0])[size_px]
        height_px = round(size_px * _LINE)
        for line in _break_lines(text, font, width_px, lines):
            area = self._pixels[self.at_px : self.at_px + height_px, left_px : left_px + width_px]
            if area.shape[:2] != (height_px, width_px):
                return
            picture = Pictures.fromarray(np.ascontiguousarray(area[:, :, ::-1]))
            ImageDraw.Draw(picture).text((0, 0), line, fill=colour, font=font)
            area[:] = np.asarray(picture)[:, :, ::-1]
            self.skip(height_px)

    def finish(self) -> Image:
        return self._pixels[: min(self.at_px + _MARGIN_PX, MAX_HEIGHT_PX)]

    def _paste(self, jpeg: bytes, place: FacePlace, left_px: int, tile: tuple[int, int]) -> None:
        area = self._pixels[self.at_px : self.at_px + tile[1], left_px : left_px + tile[0]]
        picture = decode_portrait(jpeg)
        if picture is None or area.shape[:2] != (tile[1], tile[0]):
            area[:] = _EMPTY
        else:
            area[:] = crop_to_tile(picture, tile)
            if max(abs(place.x - 0.5), abs(place.y - 0.5)) > _CENTRED:
                # At the edge of a frame, the face in the middle may be another person's.
                height_px, width_px = picture.shape[:2]
                _frame(area, place, width_px, height_px)


def _frame(area: Image, place: FacePlace, width_px: int, height_px: int) -> None:
    """Draw a frame around a face in its tile."""
    from portraitd.media.opencv import cv2

    tile_height_px, tile_width_px = area.shape[:2]
    scale = max(tile_width_px / width_px, tile_height_px / height_px)
    x = place.x * width_px * scale - (width_px * scale - tile_width_px) / 2
    y = place.y * height_px * scale - (height_px * scale - tile_height_px) / 2
    half = place.width * width_px * scale / 2, place.height * height_px * scale / 2
    corners = (round(x - half[0]), round(y - half[1])), (round(x + half[0]), round(y + half[1]))
    drawn = np.ascontiguousarray(area)
    for colour, thickness_px in ((_INK[::-1], 5), (_PAPER[::-1], 2)):
        cv2.rectangle(drawn, *corners, colour, thickness_px, cv2.LINE_AA)
    area[:] = drawn


class _Font:
    """One font in all sizes."""

    def __init__(self, data: bytes | None) -> None:
        self._data = data
        self._sizes: dict[int, FreeTypeFont] = {}

    def __getitem__(self, size_px: int) -> FreeTypeFont:
        from PIL import ImageFont

        if size_px not in self._sizes:
            font: Any = (
                ImageFont.load_default(size_px)
                if self._data is None
                else ImageFont.truetype(BytesIO(self._data), size_px)
            )
            self._sizes[size_px] = font
        return self._sizes[size_px]


class _Glyphs:
    """The characters that a font can draw."""

    def __init__(self, font: FreeTypeFont) -> None:
        self._font = font
        self._missing = _render(font, "\uffff")
        self._known: dict[str, bool] = {" ": True}

    def __contains__(self, character: str) -> bool:
        if character not in self._known:
            is_mark = unicodedata.category(character)[0] in "CZ"
            self._known[character] = not is_mark and _render(self._font, character) != self._missing
        return self._known[character]


@cache
def _load_fonts() -> tuple[_Font, ...]:
    """Return Pillow's own font and those of the system, which a sealed worker cannot read later."""
    fonts = [_Font(None)]
    for path in map(Path, _FONT_FILES):
        try:
            fonts.append(_Font(path.read_bytes()))
        except OSError:
            continue
    return tuple(fonts)


@cache
def _can_draw(font: _Font) -> _Glyphs:
    return _Glyphs(font[_CAPTION_PX])


def _find_font(text: str) -> _Font | None:
    """Return the first font that can draw every character of a text."""
    for font in _load_fonts():
        known = _can_draw(font)
        if all(character in known for character in text):
            return font
    return None


def _render(font: FreeTypeFont, text: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(text)
    return mask.size, bytes(mask)


def _break_lines(text: str, font: FreeTypeFont, width_px: int, most: int) -> list[str]:
    """Return a text in lines of at most this width, broken between words."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    return [_shorten(line, font, width_px) for line in lines]


def _shorten(line: str, font: FreeTypeFont, width_px: int) -> str:
    shortened = line
    while len(shortened) > 1 and font.getlength(shortened) > width_px:
        line = line[:-1]
        shortened = f"{line.rstrip()}..."
    return shortened


def warm_up() -> None:
    """Load the fonts and what draws them: a sealed worker cannot load a library or read a file."""
    for font in _load_fonts():
        _render(font[_CAPTION_PX], "A")
    draw_question("A?", "", [[QuestionSide("A", "A", ("a",), (), ())] * 2], "b")
