"""Find what reviewers did in the tree that has no effect, so that they can be told. Pure.

A reviewer's own files and folders need no notice: they are welcome, and left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from portraitd.model.reasons import ReasonCode
from portraitd.model.review_notice import ReviewNotice
from portraitd.people.names import number_in, safe_name
from portraitd.people.tree.diff import RecordedState
from portraitd.people.tree.folder_state import UNSORTED_NAME, leaf_of
from portraitd.people.tree.reserved_folders import is_reserved
from portraitd.people.tree.tree_snapshot import Copies, TreeSnapshot


def find_notices(
    snapshot: TreeSnapshot, recorded: RecordedState, new_copies: Copies
) -> list[ReviewNotice]:
    """Return what reviewers did that has no effect.

    Args:
        snapshot: The tree now.
        recorded: What the database holds.
        new_copies: The copies that are to be mentioned.
    """
    deep = [ReviewNotice.of(ReasonCode.FOLDER_TOO_DEEP, one) for one in sorted(snapshot.too_deep)]
    return [
        *_find_folders_without_effect(snapshot),
        *_find_numbers_as_names(snapshot),
        *_find_copied_folders(snapshot),
        *deep,
        *_find_portraits_without_effect(snapshot, recorded, new_copies),
    ]


def _find_folders_without_effect(snapshot: TreeSnapshot) -> Iterator[ReviewNotice]:
    for number, folder in sorted(snapshot.owned.items()):
        if number > 0 and folder.location.startswith(f"{UNSORTED_NAME}/"):
            yield ReviewNotice.of(ReasonCode.FOLDER_IN_UNSORTED, folder.location)
        if number > 0 and is_reserved(folder.location):
            name = folder.location.partition("/")[0]
            yield ReviewNotice.of(ReasonCode.FOLDER_MISPLACED, folder.location, name=name)
        published_at = folder.published_location
        is_renamed = published_at is not None and folder.name != leaf_of(published_at)
        if number <= 0 or not is_renamed:
            continue
        if not safe_name(folder.name):
            yield ReviewNotice.of(ReasonCode.NAME_UNUSABLE, folder.location)
        if number_in(folder.name) not in (None, number):
            yield ReviewNotice.of(
                ReasonCode.NUMBER_OF_ANOTHER, published_at or "", name=folder.name
            )


def _find_numbers_as_names(snapshot: TreeSnapshot) -> Iterator[ReviewNotice]:
    """Yield the folders that reviewers made for a new person, with a number as their name."""
    in_place = _find_in_place(snapshot)
    for folder in snapshot.unowned:
        is_for_person = isinstance(folder.key, str) and not is_reserved(folder.location)
        moved = folder.faces_unlisted - folder.copied - in_place
        if is_for_person and moved and number_in(folder.name) is not None:
            yield ReviewNotice.of(ReasonCode.NUMBER_AS_NAME, folder.location)


def _find_copied_folders(snapshot: TreeSnapshot) -> Iterator[ReviewNotice]:
    above = "/"
    for folder in snapshot.uncounted:
        if folder.location.startswith(f"{above}/"):
            continue
        above = folder.location
        if folder.manifest.person is None:
            name = folder.manifest.label
            yield ReviewNotice.of(ReasonCode.OWN_FOLDER_MOVED, folder.location, name=name)
        else:
            yield ReviewNotice.of(ReasonCode.FOLDER_COPIED, folder.location)


def _find_in_place(snapshot: TreeSnapshot) -> set[int]:
    return {face for folder in snapshot.folders for face in folder.faces_in_place}


def _find_portraits_without_effect(
    snapshot: TreeSnapshot, recorded: RecordedState, new_copies: Copies
) -> Iterator[ReviewNotice]:
    """Yield how many portraits came into each person's folder without effect."""
    in_place = _find_in_place(snapshot)
    missing = {face for folder in snapshot.folders for face in folder.faces_missing}
    copied: Counter[str] = Counter()
    not_shown: Counter[str] = Counter()
    for number, folder in snapshot.owned.items():
        for one in folder.unlisted:
            if number <= 0 or one.face in folder.faces_in_place:
                continue
            if one.face in in_place:
                copied[folder.location] += (folder.key, one) in new_copies
            elif one.name in folder.manifest.copies or one.face in folder.copied:
                continue
            elif one.face not in recorded.person_of and one.face not in missing:
                not_shown[folder.location] += 1
    for code, counts in (
        (ReasonCode.PORTRAITS_COPIED, copied),
        (ReasonCode.PORTRAITS_NOT_SHOWN, not_shown),
    ):
        for location, count in sorted((+counts).items()):
            yield ReviewNotice.of(code, location, n=count)
