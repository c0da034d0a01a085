"""What is in which split and why, and the user's changes to it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from portraitd.datasets.annotations import SPLITS
from portraitd.datasets.planner import SetFaces
from portraitd.model.fingerprints import make_video_key
from portraitd.model.wording import counted
from portraitd.people.names import folder_name
from portraitd.store.dataset_store import DatasetStore

AS_ASSIGNED = "auto"
"""In place of a split: the recording is again where portraitd put it."""

DIVIDED = "divided"
"""In place of a split: the recording is divided in time."""

UNUSED = "unused"
"""In place of a split: faces that would show the same shot or person in two splits."""


class RecordingSplit(NamedTuple):
    """The split of one recording.

    Attributes:
        name: Its path in the inbox, or its absolute path; the hash if it has no file any more.
        split: A split, or ``divided``.
        origin: The user moved it there, or it is stored, or the next build will store it.
        faces: Number of faces by split and ``unused``, without near-duplicates.
    """

    sha256: str
    name: str
    split: str
    origin: Literal["moved", "stored", "new"]
    faces: Mapping[str, int]


class PersonSplit(NamedTuple):
    """The faces of one person by split and ``unused``, without near-duplicates."""

    person_id: int
    name: str
    faces: Mapping[str, int]

    def share(self, split: str) -> float:
        """Return the share of a split in the faces that are used."""
        used = sum(self.faces[one] for one in SPLITS)
        return self.faces[split] / used if used else 0.0


class SplitOverview(NamedTuple):
    """All recordings with people of a set, and these people."""

    recordings: tuple[RecordingSplit, ...]
    people: tuple[PersonSplit, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the overview as an object for JSON."""
        return {
            "recordings": [one._asdict() for one in self.recordings],
            "people": [one._asdict() for one in self.people],
        }


def make_overview(found: SetFaces, inbox_dir: Path) -> SplitOverview:
    """Return the splits of the next set, as far as they follow from what is stored now."""
    of_person: defaultdict[int, Counter[str]] = defaultdict(Counter)
    recordings = []
    for seen in found.seen:
        faces: Counter[str] = Counter()
        for face in seen.distinct:
            split = found.splits.split_of(face) or UNUSED
            faces[split] += 1
            of_person[face.person_id or 0][split] += 1
        sources = found.recordings[seen.video_id].sources
        key = make_video_key(seen.sha256)
        stored = found.splits.stored_split(seen.sha256)
        recordings.append(
            RecordingSplit(
                seen.sha256,
                _name(sources[0].path, inbox_dir) if sources else seen.sha256[:12],
                stored if stored in SPLITS else DIVIDED,
                "moved" if key in found.moved else "stored" if key in found.known else "new",
                faces,
            )
        )
    order = [*SPLITS, DIVIDED]
    recordings.sort(key=lambda one: (order.index(one.split), one.name))
    people = [
        PersonSplit(person.id, folder_name(person.id, person.name), of_person[person.id])
        for person in found.people
    ]
    return SplitOverview(tuple(recordings), tuple(people))


def _name(path: Path, inbox_dir: Path) -> str:
    return str(path.relative_to(inbox_dir) if path.is_relative_to(inbox_dir) else path)


def move_recording(store: DatasetStore, word: str, split: str, now_s: float) -> str:
    """Put a whole recording into a split for good, or back where it was assigned.

    Args:
        store: Where this is recorded.
        word: The path of the recording, or the start of its SHA-256.
        split: A split, or ``AS_ASSIGNED``.
        now_s: Seconds since 1970.

    Returns:
        A sentence about it.

    Raises:
        ConfigError: No recording, or more than one, matches.
    """
    recording = store.find(word)
    is_assigned = split == AS_ASSIGNED
    store.move_recording(recording.sha256, "" if is_assigned else split, now_s)
    where = "where portraitd assigns it" if is_assigned else f"in {split}"
    return f"{word} is now {where}; the next build of the set moves its pictures."


def reset_splits(store: DatasetStore, now_s: float) -> str:
    """Forget all assigned splits; return a sentence about it."""
    count = store.reset_splits(now_s)
    return (
        f"The next build of the set assigns {counted(count, 'recording')} again; those that you "
        "moved stay. Train from scratch: earlier models have seen pictures that may now be in val."
    )
