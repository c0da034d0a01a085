"""WebVTT files that say who is visible when in a video, for players and editors.

Format: https://www.w3.org/TR/webvtt1/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from portraitd.model.appearance import Appearance, Clip
from portraitd.model.wording import to_display_text
from portraitd.people.names import safe_name

MIN_CHAPTER_S = 2.0
"""A shorter stretch with other people is part of the chapter before it."""

PersonAppearances = tuple[str, Sequence[Appearance]]


def subtitle_file_names(clip: Clip) -> tuple[str, str]:
    """Return the names of the files with the subtitles and with the chapters of a video."""
    name = safe_name(clip.name.replace("/", " ")) or "video"
    return f"{clip.id:06d} {name}.vtt", f"{clip.id:06d} {name}.chapters.vtt"


def make_subtitles(people: Iterable[PersonAppearances]) -> bytes:
    """Return a WebVTT file with one cue for each appearance, given names and appearances."""
    cues = sorted(
        (stretch.start_s, stretch.stop_s, name) for name, found in people for stretch in found
    )
    return _make_vtt(cues)


def make_chapters(people: Iterable[PersonAppearances]) -> bytes:
    """Return a WebVTT file with a chapter for each stretch in which the same people are visible."""
    stretches = [
        (stretch.start_s, stretch.stop_s, name) for name, found in people for stretch in found
    ]
    return _make_vtt(_join_chapters(stretches))


def _join_chapters(
    stretches: Sequence[tuple[float, float, str]],
) -> Iterator[tuple[float, float, str]]:
    """Yield start, end and the names of the people of each chapter."""
    times = sorted({time for start_s, stop_s, _ in stretches for time in (start_s, stop_s)})
    chapter: tuple[float, float, str] | None = None
    for start_s, stop_s in pairwise(times):
        visible = sorted(
            {name for one, other, name in stretches if one < stop_s and other > start_s}
        )
        if not visible:
            continue
        title = ", ".join(visible)
        follows = chapter is not None and chapter[1] == start_s
        if chapter and follows and (title == chapter[2] or stop_s - start_s < MIN_CHAPTER_S):
            chapter = chapter[0], stop_s, chapter[2]
            continue
        if chapter:
            yield chapter
        chapter = start_s, stop_s, title
    if chapter:
        yield chapter


def _make_vtt(cues: Iterable[tuple[float, float, str]]) -> bytes:
    blocks = [
        f"{_timestamp(start_s)} --> {_timestamp(max(stop_s, start_s + 0.001))}\n{_cue_text(name)}\n"
        for start_s, stop_s, name in cues
    ]
    return "\n".join(["WEBVTT\n", *blocks]).encode()


def _timestamp(seconds: float) -> str:
    total_ms = round(1000 * seconds)
    minutes, ms = divmod(total_ms, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms / 1000:06.3f}"


def _cue_text(name: str) -> str:
    """Return a name as the text of a cue: on one line, without markup and without an arrow."""
    text = " ".join(to_display_text(name).split())
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
