"""Implements ``portraitd dataset freeze``, ``list`` and ``compare``: versions of a training set."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from portraitd import __version__
from portraitd.cli.dataset_rules import read_rule
from portraitd.config import Settings
from portraitd.datasets.consents import list_expired
from portraitd.datasets.frozen_sets import (
    FrozenSet,
    SetComparison,
    compare_sets,
    find_changed,
    find_frozen,
    freeze_set,
    list_frozen,
    read_current,
)
from portraitd.model.wording import counted, escape_unprintable
from portraitd.store.database import Database
from portraitd.store.embedding_space import stored_embedder


def freeze(settings: Settings, name: str) -> FrozenSet:
    """Freeze the set as it is.

    Raises:
        ConfigError: The name cannot be used, or there is no complete set.
        PublishError: A file of the set was changed, or nothing can be written.
        AlreadyRunning: The set is being built.
    """
    with Database.open_to_read(settings.state_dir) as database:
        embedder = stored_embedder(database)
    facts = {"Made by": f"portraitd {__version__}"}
    if embedder:
        facts["Embedding model"] = embedder.space
    return freeze_set(settings.dataset_dir, name, read_rule(settings), facts)


def read_versions(settings: Settings) -> list[FrozenSet]:
    """Return all versions, the oldest first."""
    return list_frozen(settings.dataset_dir)


def verify(settings: Settings, version: FrozenSet) -> list[str]:
    """Return the files of a version that were changed or removed."""
    return list(find_changed(settings.dataset_dir, version))


def compare(settings: Settings, old: str, new: str) -> SetComparison:
    """Return how a version differs from an earlier one.

    Args:
        settings: The home.
        old: Name of a version.
        new: Name of a version; empty for the set as it is now.

    Raises:
        ConfigError: There is no such version, or no set.
    """
    root = settings.dataset_dir
    later = find_frozen(root, new) if new else read_current(root, read_rule(settings))
    return compare_sets(find_frozen(root, old), later)


def format_version(version: FrozenSet) -> str:
    """Return a version in one line."""
    if not version.frozen_at:
        return f"{version.name:<20} something in it was erased; freeze the set again"
    frames = sum(version.summary["frames"].values())
    faces = sum(version.summary["faces"].values())
    parts = [counted(frames, "frame"), counted(faces, "face"), counted(len(version.files), "file")]
    note = "" if version.is_whole else "; something in it was erased"
    if expired := find_expired(version):
        listed = ", ".join(f"{name} ({version.consents[name]})" for name in expired)
        note += f"; consent expired: {escape_unprintable(listed)}"
    return f"{version.name:<20} {version.frozen_at}  {', '.join(parts)}{note}"


def find_expired(version: FrozenSet) -> list[str]:
    """Return the names of people whose consent has ended since a version was frozen."""
    return list_expired(version.consents, datetime.now().astimezone().date())


def format_comparison(found: SetComparison) -> Iterator[str]:
    """Return a comparison as lines for people."""
    for key, (before, after) in found.settings.items():
        yield f"setting  dataset.{key}: {before} -> {after}"
    for sign, names in (("+", found.added_classes), ("-", found.removed_classes)):
        for name in names:
            yield f"class    {sign} {escape_unprintable(name)}"
    for before, after in found.renamed_classes:
        yield f"class    {escape_unprintable(before)} -> {escape_unprintable(after)}"
    yield f"pictures {found.common:,} in both, {found.added:,} new, {found.removed:,} gone"
    for (before, after), count in sorted(found.moved.items()):
        yield f"moved    {counted(count, 'picture')} from {before} to {after}"
    if any(before == "train" for before, _ in found.moved):
        yield "note     A model of the old version saw pictures that are now outside train."
