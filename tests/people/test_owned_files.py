"""Portraitd's own files beside people's folders, on a real disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from portraitd.model.errors import PublishError
from portraitd.people.tree.owned_files import ROOT, OwnedFiles, OwnedFilesResult
from portraitd.people.tree.people_tree import PeopleTree
from support.permissions import run_without_special_bits
from support.tree import jpeg_of, person, publish, snapshot, visible


@pytest.fixture
def root(tmp_path: Path) -> Path:
    PeopleTree(tmp_path / "people").create()
    return tmp_path / "people"


def put(root: Path, location: str, owner: str = "gallery", **files: str) -> OwnedFilesResult:
    """Files by name without their ending; each one's text is its identity as well."""
    desired = {f"{name}.js": text for name, text in files.items()}
    return OwnedFiles(root, owner).publish(location, desired, lambda name: desired[name].encode())


def test_the_group_reads_the_pages_under_systemd(root: Path) -> None:
    """Where the service may not set the set-group-id bit of a folder, it sets the others."""
    publication = OwnedFiles(root, "gallery")
    before = os.umask(0o077)
    try:
        run_without_special_bits(
            lambda: publication.publish("gallery/data", {"a.js": "1"}, lambda name: b"a")
        )
    finally:
        os.umask(before)

    places = [root / "gallery", root / "gallery/data", root / "gallery/data/a.js"]
    assert [0o770, 0o770, 0o660] == [stat.S_IMODE(one.stat().st_mode) & 0o777 for one in places]


def test_files_are_published_into_their_folder(root: Path) -> None:
    """The folder is created if it is missing, and the files are complete."""
    done = put(root, "gallery/data", a="1", b="2")

    assert ["gallery", "gallery/data", "gallery/data/a.js", "gallery/data/b.js"] == visible(root)
    assert (2, 0) == (done.written, done.removed)
    assert "2" == (root / "gallery/data/b.js").read_text()


def test_an_up_to_date_file_is_not_written(root: Path) -> None:
    """Its content is not even requested."""
    put(root, "gallery", a="1", b="2")
    before = snapshot(root)

    done = OwnedFiles(root, "gallery").publish(
        "gallery", {"a.js": "1", "b.js": "2"}, lambda name: b"never"
    )

    assert OwnedFilesResult(0, 0) == done
    assert before == snapshot(root)


def test_only_what_changed_changes(root: Path) -> None:
    """One is written, one is removed, one is unchanged."""
    put(root, "gallery", a="1", b="2", c="3")
    before = snapshot(root)

    assert OwnedFilesResult(1, 1) == put(root, "gallery", a="1", b="new")

    after = snapshot(root)
    assert "new" == (root / "gallery/b.js").read_text()
    assert before["gallery/a.js"] == after["gallery/a.js"]
    assert "gallery/c.js" not in after


def test_a_file_that_a_person_changed_stays(root: Path) -> None:
    """The new one is put beside it, and other files of theirs are not touched."""
    put(root, "gallery", a="1")
    (root / "gallery/a.js").write_text("my own")
    (root / "gallery/b.js").write_text("mine too")

    put(root, "gallery", a="2", b="3")

    assert "my own" == (root / "gallery/a.js").read_text()
    assert "mine too" == (root / "gallery/b.js").read_text()
    assert "2" == (root / "gallery/a (portraitd).js").read_text()


def test_a_removed_file_is_written_again(root: Path) -> None:
    """Removing a page is not an edit."""
    put(root, "gallery", a="1")
    (root / "gallery/a.js").unlink()

    put(root, "gallery", a="1")

    assert "1" == (root / "gallery/a.js").read_text()


def test_two_owners_share_a_folder(root: Path) -> None:
    """Neither removes the other's files."""
    put(root, "gallery", "gallery", a="1")
    put(root, "gallery", "status", b="2")
    put(root, "gallery", "gallery", c="3")

    assert ["b.js", "c.js"] == sorted(path.name for path in (root / "gallery").glob("*.js"))


def test_the_root_keeps_what_the_tree_put_there(root: Path) -> None:
    """And the tree keeps the files beside its folders."""
    tree = PeopleTree(root)
    publish(tree, [person(1, 1)], [], jpeg_of, {})
    put(root, ROOT, index="1")
    before = snapshot(root)

    publish(tree, [person(1, 1)], [], jpeg_of, {})

    assert before == snapshot(root)
    assert {"README.txt", "index.js", "person-0001"} <= set(os.listdir(root))


def test_an_interrupted_write_leaves_nothing(root: Path) -> None:
    """The unfinished file is removed, and the rest is written."""
    put(root, "gallery", a="1")
    (root / "gallery/.portraitd-new-a.js").write_text("half")

    put(root, "gallery", a="2")

    assert [".portraitd-gallery", "a.js"] == sorted(os.listdir(root / "gallery"))


@pytest.mark.parametrize("name", ["gallery", "gallery/data"])
@pytest.mark.parametrize("target", ["elsewhere", "nowhere", None])
def test_what_has_the_name_of_a_folder_is_moved_aside(
    root: Path, tmp_path: Path, name: str, target: str | None
) -> None:
    """A link could lead anywhere: it is not followed, and it is kept, as a file is."""
    (tmp_path / "elsewhere").mkdir()
    planted = root / name
    planted.parent.mkdir(exist_ok=True)
    planted.symlink_to(tmp_path / target) if target else planted.write_text("mine")

    with pytest.raises(PublishError, match="a part of this path is a link, or not a folder"):
        put(root, "gallery/data", a="1")
    for text in ("1", "2"):
        OwnedFiles(root, "gallery", clears_way=True).publish(
            "gallery/data", {"a.js": text}, lambda name, text=text: text.encode()
        )

    assert [] == os.listdir(tmp_path / "elsewhere")
    assert "2" == (root / "gallery/data/a.js").read_text()
    (aside,) = planted.parent.glob(f"{planted.name} *")
    if target:
        assert str(tmp_path / target) == os.readlink(aside)
    else:
        assert "mine" == aside.read_text()


def test_without_the_marker_nothing_is_put(tmp_path: Path) -> None:
    """An empty folder may be where a share should be mounted."""
    with pytest.raises(PublishError, match="the share may not be mounted"):
        put(tmp_path, "gallery", a="1")

    assert [] == os.listdir(tmp_path)
