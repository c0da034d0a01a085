"""Frozen versions of a training set: copies that no build changes, with hashes and a datasheet.

A version is in ``_frozen/<name>/`` below the folder of the set. It has copies, so that a program
that changes a picture of the set cannot change it; equal pictures of one version share their space.
Only an erasure changes a version: it has the manifest of a set, so that it is erased like one.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from portraitd.datasets.annotations import SPLITS, DatasetRule, make_set_fingerprint
from portraitd.datasets.content import format_json, join_lines
from portraitd.datasets.formats.imagefolder import CLASS_INDEX
from portraitd.datasets.output import (
    SetManifest,
    lock_set,
    read_set_manifest,
    save_set_manifest,
)
from portraitd.datasets.quality_floor import list_left_out
from portraitd.model.errors import ConfigError, PublishError
from portraitd.people.tree.folder_fs import (
    UNFINISHED,
    digest,
    open_made,
    open_parent,
    open_root,
    raise_as_publish_error,
    read_regular,
)
from portraitd.people.tree.manifest import ManifestEntry
from portraitd.people.tree.published_folder import PublishedFolder

FROZEN_NAME = "_frozen"
FACTS_NAME, SUMS_NAME, DATASHEET_NAME = "frozen.json", "SHA256SUMS", "DATASHEET.md"

MAX_FILE_BYTES = 1 << 32
MAX_FACTS_BYTES = 256 << 20

_FILE_MODE, _FOLDER_MODE = 0o440, 0o750


@dataclass(frozen=True, slots=True)
class FrozenSet:
    """A frozen version.

    Attributes:
        frozen_at: ISO 8601, in UTC; empty if the facts are missing, as after an erasure.
        settings: The rule of the set.
        summary: The figures of its build.
        classes: The entries of ``class_index.json``.
        files: SHA-256 of each file, by path.
        is_whole: Whether nothing of it was erased.
    """

    name: str
    frozen_at: str
    settings: Mapping[str, Any]
    summary: Mapping[str, Any]
    classes: tuple[Mapping[str, Any], ...]
    files: Mapping[str, str]
    is_whole: bool

    @property
    def consents(self) -> Mapping[str, str]:
        """The last day of each consent, by name of the person; empty if none was required."""
        return dict(self.summary.get("consents", {}))

    def as_json(self) -> dict[str, Any]:
        """Return the version as an object for JSON, without its files and classes."""
        return {
            "name": self.name,
            "frozen_at": self.frozen_at,
            "settings": dict(self.settings),
            "summary": dict(self.summary),
            "classes": len(self.classes),
            "files": len(self.files),
            "is_whole": self.is_whole,
        }


class SetComparison(NamedTuple):
    """How a version differs from another.

    Attributes:
        settings: Old and new value of each setting that differs.
        added_classes, removed_classes: Names.
        renamed_classes: Old and new name of each class whose name differs.
        added, removed, common: Number of pictures: frames and faces, each once for all formats.
        moved: Number of pictures by old and new split.
    """

    settings: dict[str, tuple[Any, Any]]
    added_classes: list[str]
    removed_classes: list[str]
    renamed_classes: list[tuple[str, str]]
    added: int
    removed: int
    common: int
    moved: dict[tuple[str, str], int]


def freeze_set(root: Path, name: str, rule: DatasetRule, facts: Mapping[str, Any]) -> FrozenSet:
    """Freeze the set as it is.

    Args:
        root: The folder of the set.
        name: Name of the version.
        rule: The rule that the set was built by.
        facts: What else the datasheet says, by heading.

    Raises:
        ConfigError: The name cannot be used, or there is no complete set.
        PublishError: A file of the set was changed or cannot be read, or nothing can be written.
        AlreadyRunning: The set is being built.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ConfigError(
            f"{name!r} cannot be the name of a version; use letters, digits, dots and hyphens"
        )
    with lock_set(root):
        manifest = read_set_manifest(root)
        if manifest is None or not manifest.fingerprint:
            raise ConfigError(
                f"{root}: there is no complete training set; run `portraitd dataset build`"
            )
        if not manifest.fingerprint.endswith(make_set_fingerprint("", rule)):
            raise ConfigError(
                f"{root} was built with other settings; run `portraitd dataset build` first"
            )
        folder = root / FROZEN_NAME
        target, unfinished = folder / name, folder / f"{UNFINISHED}{name}"
        if target.exists():
            raise ConfigError(f"{target} exists; a version is never overwritten")
        with raise_as_publish_error(root):
            remove_unfinished(root)
            with (
                open_root(root) as root_fd,
                open_made(f"{FROZEN_NAME}/{unfinished.name}", root_fd, _FOLDER_MODE) as fd,
            ):
                _copy_set(root, root_fd, fd, name, manifest, rule, facts)
            unfinished.rename(target)
    return _read_version(target)


def _copy_set(
    root: Path,
    root_fd: int,
    fd: int,
    name: str,
    manifest: SetManifest,
    rule: DatasetRule,
    facts: Mapping[str, Any],
) -> None:
    """Copy every file of a set into an open folder, and describe it there."""
    files: dict[str, ManifestEntry] = {}
    folder = PublishedFolder(fd, files, lambda: None, _FILE_MODE)
    sums: dict[str, str] = {}
    first: dict[str, str] = {}
    source = PublishedFolder(root_fd, dict(manifest.files), lambda: None, _FILE_MODE)
    for path, entry in sorted(manifest.files.items()):
        data = _read_below(root_fd, path)
        if data is None or not source.is_owned(path):
            raise PublishError(
                f"{root / path} was changed or removed; run `portraitd dataset build` first"
            )
        parent = path.rpartition("/")[0]
        if parent:
            with open_made(parent, fd, _FOLDER_MODE):
                pass
        sums[path] = digest(data)
        place = root / FROZEN_NAME / f"{UNFINISHED}{name}" / first.setdefault(sums[path], path)
        if first[sums[path]] == path:
            folder.write(path, entry.identity, data, hashes=False)
        else:
            folder.link(path, entry.identity, place)
    classes = json.loads(_read_below(root_fd, CLASS_INDEX) or b"[]")
    content = {
        "name": name,
        "frozen_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": rule.as_settings(),
        "summary": dict(manifest.summary),
        "classes": classes,
        "files": sums,
    }
    described = {
        FACTS_NAME: format_json(content),
        SUMS_NAME: join_lines([f"{value}  {path}" for path, value in sums.items()]),
        DATASHEET_NAME: _format_datasheet(content, facts),
    }
    for path, text in described.items():
        folder.write(path, f"frozen {path}", text.encode(), hashes=False)
    save_set_manifest(fd, SetManifest(f"frozen {name}", manifest.summary, files))


def _read_below(root_fd: int, path: str) -> bytes | None:
    with suppress(OSError), open_parent(path, root_fd) as (fd, leaf):
        return read_regular(fd, leaf, MAX_FILE_BYTES)
    return None


def list_frozen(root: Path) -> list[FrozenSet]:
    """Return all versions, the oldest first."""
    found = [_read_version(place) for place in find_frozen_roots(root)]
    return sorted(found, key=lambda one: (one.frozen_at, one.name))


def find_frozen(root: Path, name: str) -> FrozenSet:
    """Return a version.

    Raises:
        ConfigError: There is no such version.
    """
    for place in find_frozen_roots(root):
        if place.name == name:
            return _read_version(place)
    raise ConfigError(f"there is no version {name!r}; `portraitd dataset list` lists them")


def find_frozen_roots(root: Path) -> list[Path]:
    """Return the folders of all versions."""
    folder = root / FROZEN_NAME
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(
        place
        for place in folder.iterdir()
        if place.is_dir() and not place.is_symlink() and not place.name.startswith(UNFINISHED)
    )


def remove_unfinished(root: Path) -> None:
    """Remove what an interrupted command left.

    Raises:
        OSError: Something cannot be removed.
    """
    folder = root / FROZEN_NAME
    if not folder.is_symlink() and folder.is_dir():
        for place in folder.iterdir():
            if place.name.startswith(UNFINISHED) and not place.is_symlink():
                shutil.rmtree(place)


def _read_version(place: Path) -> FrozenSet:
    manifest = read_set_manifest(place)
    try:
        with open_root(place) as fd:
            content = json.loads(read_regular(fd, FACTS_NAME, MAX_FACTS_BYTES) or b"")
        return FrozenSet(
            place.name,
            str(content["frozen_at"]),
            dict(content["settings"]),
            dict(content["summary"]),
            tuple(content["classes"]),
            dict(content["files"]),
            manifest is not None and bool(manifest.fingerprint),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return FrozenSet(place.name, "", {}, {}, (), {}, False)


def find_changed(root: Path, frozen: FrozenSet) -> Iterator[str]:
    """Yield the files of a version that were changed or removed."""
    with open_root(root / FROZEN_NAME / frozen.name) as fd:
        for path, expected in frozen.files.items():
            data = _read_below(fd, path)
            if data is None or digest(data) != expected:
                yield path


def read_current(root: Path, rule: DatasetRule) -> FrozenSet:
    """Return the set as it is now, to compare a version with it; its files have no hashes.

    Raises:
        ConfigError: There is no set.
    """
    manifest = read_set_manifest(root)
    if manifest is None:
        raise ConfigError(f"{root}: there is no training set yet; run `portraitd dataset build`")
    with open_root(root) as fd:
        classes = json.loads(_read_below(fd, CLASS_INDEX) or b"[]")
    files = dict.fromkeys(manifest.files, "")
    return FrozenSet("", "", rule.as_settings(), manifest.summary, tuple(classes), files, True)


def compare_sets(old: FrozenSet, new: FrozenSet) -> SetComparison:
    """Return how a set differs from an earlier one."""
    # As JSON has it: lists instead of tuples.
    before, after = (json.loads(json.dumps(dict(one.settings))) for one in (old, new))
    settings = {
        key: (before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    }
    names_before, names_after = (
        {int(entry["class"]): str(entry["name"]) for entry in one.classes} for one in (old, new)
    )
    common = names_before.keys() & names_after.keys()
    places_before, places_after = _find_places(old), _find_places(new)
    shared = places_before.keys() & places_after.keys()
    return SetComparison(
        settings,
        [names_after[number] for number in sorted(names_after.keys() - common)],
        [names_before[number] for number in sorted(names_before.keys() - common)],
        [
            (names_before[number], names_after[number])
            for number in sorted(common)
            if names_before[number] != names_after[number]
        ],
        len(places_after.keys() - shared),
        len(places_before.keys() - shared),
        len(shared),
        dict(
            Counter(
                (places_before[key], places_after[key])
                for key in shared
                if places_before[key] != places_after[key]
            )
        ),
    )


def _find_places(one: FrozenSet) -> dict[str, str]:
    """Return the split of each picture, by file name, which is the same in all formats."""
    found: dict[str, str] = {}
    for path in one.files:
        *folders, name = path.split("/")
        # The first: a person may have the name of a split.
        split = next((folder for folder in folders[1:] if folder in SPLITS), None)
        if split and name.endswith(".jpg"):
            found[name] = split
    return found


def _format_consents(consents: Mapping[str, str]) -> list[str]:
    """Return until when each person agreed, as lines of a datasheet."""
    if not consents:
        return []
    listed = (f"- {name}: until {until}." for name, until in consents.items())
    return ["", "## Consent", "", "By a file in the folder of each person:", "", *listed]


def _format_datasheet(content: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Return what Gebru et al., "Datasheets for Datasets" (2018) ask, as far as it is known."""
    summary, rule = content["summary"], content["settings"]
    names = [str(entry["name"]) for entry in content["classes"] if entry.get("in_use")]
    frames = ", ".join(f"{count:,} in {split}" for split, count in summary["frames"].items())
    faces = ", ".join(f"{count:,} in {split}" for split, count in summary["faces"].items())
    return join_lines(
        [
            f"# {content['name']}",
            "",
            f"Frozen by portraitd on {content['frozen_at']}. `sha256sum -c {SUMS_NAME}` checks "
            "the files.",
            "",
            "## Composition",
            "",
            f"- Frames: {frames}.",
            f"- Faces in face folders: {faces}.",
            f"- Left out: {list_left_out(summary['left_out']) or 'nothing'}.",
            f"- People: {', '.join(names)}.",
            *(f"- {heading}: {value}." for heading, value in facts.items()),
            *_format_consents(summary.get("consents", {})),
            "",
            "## Preprocessing",
            "",
            *(f"- `dataset.{key}` = {json.dumps(value)}" for key, value in rule.items()),
            "",
            "## Known limits",
            "",
            *(f"- {sentence}" for sentence in summary["warnings"]),
            "- Faces that the detector did not find are not labelled.",
            "- The pictures come from videos and photos of the inbox; portraitd does not know "
            "whether the people in them agreed"
            + (", beyond what is listed above." if summary.get("consents") else "."),
        ]
    )
