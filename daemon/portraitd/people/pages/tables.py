"""Tables of appearances as CSV, for video editors and spreadsheets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from portraitd.model.appearance import Appearance, Clip, format_clock
from portraitd.model.wording import to_display_text
from portraitd.people.pages.escaping import make_csv

COLUMNS = ("video", "start_s", "end_s", "start", "end", "faces", "date", "date_is")

RecordingAppearances = tuple[Clip, Sequence[Appearance]]


def make_person_table(recordings: Iterable[RecordingAppearances]) -> bytes:
    """Return a CSV file with one row per appearance; an appearance in a photo has no length."""
    return make_csv(COLUMNS, _rows(recordings))


def make_people_table(people: Iterable[tuple[int, str, Iterable[RecordingAppearances]]]) -> bytes:
    """Return a CSV file with the appearances of all people, given id, name and appearances."""
    rows = (
        (person_id, to_display_text(name), *line)
        for person_id, name, recordings in people
        for line in _rows(recordings)
    )
    return make_csv(("person", "name", *COLUMNS), rows)


def _rows(recordings: Iterable[RecordingAppearances]) -> Iterable[tuple[object, ...]]:
    for clip, stretches in recordings:
        for start_s, stop_s, faces in stretches:
            times = (f"{start_s:.3f}", f"{stop_s:.3f}", format_clock(start_s), format_clock(stop_s))
            yield (clip.name, *times, faces, clip.date.time.iso(), clip.date.kind)
