"""A set that is built again: what stays as it is, and where its pictures come from."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from portraitd.datasets.validate import check_format
from portraitd.model.errors import AlreadyRunning
from support.dataset_home import (
    BEA,
    FORMATS,
    SECTIONS,
    Built,
    MakeHome,
    ann,
    below,
    copy_of,
    labels,
    name,
    name_two,
    stepped,
    with_photos,
)
from support.home import Home


@pytest.fixture
def copied(named_home: Home, built: Built, tmp_path: Path) -> MakeHome:
    """The same home in another place, to be changed."""
    return partial(copy_of, named_home, tmp_path / "copy")


def test_building_again_writes_nothing(copied: MakeHome) -> None:
    """Not even a time changes."""
    home = copied()
    stepped(home)
    before = below(home.settings.dataset_dir)

    done = stepped(home)

    assert (0, 0) == (done.written, done.removed)
    assert before == below(home.settings.dataset_dir)


def test_a_new_name_moves_folders_and_no_number(copied: MakeHome) -> None:
    """Labels stay to the byte, pictures are not cut again."""
    home = copied()
    before = below(home.settings.dataset_dir)

    name(home, ann(home), "Zoë")
    stepped(home)
    after = below(home.settings.dataset_dir)

    root = home.settings.dataset_dir
    assert ["Béa (née X)", "Zoë"] == sorted(p.name for p in (root / "chips150/val").iterdir())
    assert '  0: "Zoë"' in (root / "yolo/data.yaml").read_text()
    kept = [path for path in before if path.startswith(("yolo/labels", "yolo/images", "coco/val"))]
    assert [before[path] for path in kept] == [after[path] for path in kept]
    assert check_format(root, "imagefolder").is_valid


def test_somebody_without_a_name_is_unknown(copied: MakeHome) -> None:
    """Their class keeps its number; their folder is gone; in frames of others they are labelled."""
    home = copied()
    name(home, ann(home), None)
    stepped(home)
    root = home.settings.dataset_dir

    assert [BEA] == [path.name for path in (root / "imagefolder/train").iterdir()]
    lines = (root / "yolo/data.yaml").read_text().splitlines()
    assert ['  0: "unused-0"', f'  1: "{BEA}"', '  2: "unknown"'] == lines[3:]
    assert {1.0} == {line[0] for found in labels(root).values() for line in found}


def test_more_footage_moves_nobody_to_the_other_side(
    copied: MakeHome, photographs: list[Path]
) -> None:
    """What was train is train."""
    home = copied()

    def splits() -> dict[str, str]:
        found = home.settings.dataset_dir.glob("*/*/*/*.jpg")
        return {path.name: path.parent.parent.name for path in found if "report" not in path.parts}

    before = splits()
    with_photos(home, photographs, count=9)
    home.run()
    stepped(home)
    after = splits()

    assert len(after) > len(before)
    assert before.items() <= after.items()


def test_files_of_others_stay(copied: MakeHome) -> None:
    """Also one that was ours and was changed: it is put aside."""
    home = copied()
    root = home.settings.dataset_dir
    (root / "notes.txt").write_text("mine")
    changed = next(root.glob("yolo/labels/train/*.txt"))
    changed.unlink()
    changed.write_text("0 0.5 0.5 0.1 0.1\n")
    (root / "yolo/labels/train.cache").write_text("stale")

    done = stepped(home)

    assert "mine" == (root / "notes.txt").read_text()
    assert 1 == done.put_aside
    aside = root / "_changed" / changed.relative_to(root)
    assert "0 0.5 0.5 0.1 0.1\n" == aside.read_text()
    assert changed.read_text() != aside.read_text()
    assert not (root / "yolo/labels/train.cache").exists()


def test_a_format_that_is_not_wanted_any_more_is_removed(copied: MakeHome) -> None:
    """With its folders; the pictures of the others stay."""
    home = copied(formats=("coco", "chips150"))
    stepped(home)

    folders = {path.name for path in home.settings.dataset_dir.iterdir() if path.is_dir()}
    assert {"coco", "chips150", "report"} == folders
    assert check_format(home.settings.dataset_dir, "coco").is_valid


def test_a_lost_note_is_no_reason_to_write_everything_again(copied: MakeHome) -> None:
    """What lies there is recognised by its content."""
    home = copied()
    stepped(home)
    (home.settings.dataset_dir / ".portraitd-dataset.json").unlink()

    assert 0 == stepped(home).put_aside
    assert not (home.settings.dataset_dir / "_changed").exists()


def test_two_builds_at_once_are_refused(copied: MakeHome) -> None:
    """The second says so."""
    from portraitd.datasets.output import held

    home = copied()
    with (
        held(home.settings.dataset_dir),
        pytest.raises(AlreadyRunning, match="being built"),
    ):
        stepped(home)


# --- Where pictures come from.


def test_videos_that_are_gone_leave_what_was_cut(copied: MakeHome) -> None:
    """And what cannot be cut any more is left out, with a sentence."""
    home = copied()
    shutil.rmtree(home.inbox)
    home.inbox.mkdir()
    assert 0 == stepped(home).removed

    shutil.rmtree(home.settings.state_dir / "frames")
    done = stepped(home)

    assert {"train": 0, "val": 0} == done.frames
    assert "not there" in done.warnings[-1] or "removed" in done.warnings[-1]
    assert sum(done.faces.values()) > 0
    assert check_format(home.settings.dataset_dir, "imagefolder").is_valid


def test_kept_frames_need_no_video(
    tmp_path: Path, two_people: Path, photographs: list[Path]
) -> None:
    """They are written while the video is processed, and only if that is set."""
    sections = SECTIONS | {"dataset": {"frames": "keep", "near_duplicate": 0.0}}
    home = Home(tmp_path / "home", **sections)
    home.drop(two_people, "clip.mp4")
    with_photos(home, photographs, count=3)
    home.run()
    kept = list((home.settings.state_dir / "frames").rglob("*.jpg"))
    times = {(row["video_id"], row["t_s"]) for row in home.rows("faces")}
    assert len(times) == len(kept)
    shutil.rmtree(home.inbox)
    home.inbox.mkdir()
    name_two(home)

    done = stepped(home)

    assert sum(done.frames.values()) > 0
    assert not [one for one in done.warnings if "again" in one]
    for form in FORMATS:
        assert check_format(home.settings.dataset_dir, form).is_valid


def test_a_rebuild_keeps_frames_under_the_same_names(tmp_path: Path, two_people: Path) -> None:
    """They are of the same recording."""
    home = Home(tmp_path / "home", **(SECTIONS | {"dataset": {"frames": "keep"}}))
    home.drop(two_people, "clip.mp4")
    home.run()
    kept = below(home.settings.state_dir / "frames").keys()

    with home.opened() as service:
        service.reprocessing.begin(home.now.wall_s)
        home.run_until_idle(service)

    assert kept == below(home.settings.state_dir / "frames").keys()
    assert len(kept) > 10


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_set_that_cannot_be_written_says_so(copied: MakeHome) -> None:
    """It is a matter of the machine."""
    from portraitd.model.errors import PublishError

    home = copied()
    name(home, ann(home), "Zoë")
    home.settings.dataset_dir.chmod(0o500)
    try:
        with pytest.raises(PublishError):
            stepped(home)
    finally:
        home.settings.dataset_dir.chmod(0o700)
