"""Appearances as tables, for editors and spreadsheets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from portraitd.model.appearance import Appearance, Clip, format_clock
from portraitd.people.pages.escaping import make_csv, to_display_text

WHERE = ("video", "start_s", "end_s", "start", "end", "faces")

RecordingAppearances = tuple[Clip, Sequence[Appearance]]


def make_person_table(seen: Iterable[RecordingAppearances]) -> bytes:
    """One line for each appearance of a person; a photo has one, of no length."""
    return make_csv(WHERE, _lines(seen))


def make_people_table(people: Iterable[tuple[int, str, Iterable[RecordingAppearances]]]) -> bytes:
    """The appearances of all people: number, name, and where they are seen."""
    rows = (
        (person_id, to_display_text(name), *line)
        for person_id, name, seen in people
        for line in _lines(seen)
    )
    return make_csv(("person", "name", *WHERE), rows)


def _lines(seen: Iterable[RecordingAppearances]) -> Iterable[tuple[object, ...]]:
    for clip, stretches in seen:
        for start_s, stop_s, faces in stretches:
            times = (f"{start_s:.3f}", f"{stop_s:.3f}", format_clock(start_s), format_clock(stop_s))
            yield (clip.name, *times, faces)
