"""Manifests of portraitd 0.1.0 are read as they are, and written in the same format."""

from __future__ import annotations

import json
from pathlib import Path

from portraitd.model.edit import Placement
from portraitd.people.tree.folder_fs import WrittenFile
from portraitd.people.tree.manifest import (
    FolderManifest,
    ManifestEntry,
    face_of,
    read_manifest,
)
from portraitd.people.tree.people_tree import PeopleTree
from support.tree import face, known, person, picture_of, refuse, snapshot

PERSON_0_1_0 = (
    b'{"portraitd": 1, "person": 1, "label": "Anna", "folder": "Family/Anna", "inode": 7, '
    b'"strays": {"copy 1.jpg": 4}, "files": {\n'
    b'"000004.jpg": ["portrait 4 0,0,240,300 5d", "ab", 12, 34]\n}}\n'
)


def test_a_manifest_of_0_1_0_is_read_and_written_byte_for_byte() -> None:
    """The keys on disk keep their names, whatever the attributes are called."""
    manifest = FolderManifest(
        1,
        "Anna",
        "Family/Anna",
        7,
        {"000004.jpg": ManifestEntry("portrait 4 0,0,240,300 5d", WrittenFile("ab", 12, 34))},
        {"copy 1.jpg": 4},
    )

    assert manifest == read_manifest(PERSON_0_1_0)
    assert PERSON_0_1_0 == manifest.to_bytes()
    assert 4 == face_of(manifest.files["000004.jpg"].identity)


def test_a_tree_of_0_1_0_is_taken_over_without_a_write(tmp_path: Path) -> None:
    """The root recorded ``_ignored`` under another number. That is neither missing nor an edit."""
    root = tmp_path / "people"
    people, ignored = [person(1, 1)], [person(2, 2)]
    tree = PeopleTree(root, store="a")
    tree.create()
    tree.publish(people, [], picture_of, {}, ignored=ignored, ignored_faces=[face(3)])
    marker = root / ".portraitd-root"
    facts = json.loads(marker.read_text())
    facts["homes"]["-2"] = facts["homes"].pop(str(int(Placement.IGNORED)))
    marker.write_text(json.dumps(facts))
    before = snapshot(root)
    recorded = known(*people, *ignored, ignored_faces=[3], ignored_people=[2])

    again = PeopleTree(root, store="a")
    assert [] == again.read_edits(recorded)
    done = again.publish(people, [], refuse, {}, ignored=ignored, ignored_faces=[face(3)])

    assert (0, 0) == (done.written, done.removed)
    assert before == snapshot(root)
