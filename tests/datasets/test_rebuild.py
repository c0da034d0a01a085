"""Building a set again: what stays the same, and where its images come from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from portraitd.datasets.validate import check_format
from portraitd.model.errors import AlreadyRunning
from support.dataset_home import (
    BEA,
    FORMATS,
    SECTIONS,
    MakeHome,
    ann,
    build_set,
    file_stats,
    labels,
    name,
    name_two,
    with_photos,
)
from support.home import Home


def test_building_again_writes_nothing(copied: MakeHome) -> None:
    """Even file times stay the same."""
    home = copied()
    build_set(home)
    before = file_stats(home.settings.dataset_dir)

    done = build_set(home)

    assert (0, 0) == (done.written, done.removed)
    assert before == file_stats(home.settings.dataset_dir)


def test_renaming_a_person_keeps_the_class_number(copied: MakeHome) -> None:
    """Labels stay the same byte for byte, and images are not cropped again."""
    home = copied()
    before = file_stats(home.settings.dataset_dir)

    name(home, ann(home), "Zoë")
    build_set(home)
    after = file_stats(home.settings.dataset_dir)

    root = home.settings.dataset_dir
    assert ["Béa (née X)", "Zoë"] == sorted(p.name for p in (root / "chips150/val").iterdir())
    assert '  0: "Zoë"' in (root / "yolo/data.yaml").read_text()
    kept = [path for path in before if path.startswith(("yolo/labels", "yolo/images", "coco/val"))]
    assert [before[path] for path in kept] == [after[path] for path in kept]
    assert check_format(root, "imagefolder").is_valid


def test_a_person_without_a_name_becomes_unknown(copied: MakeHome) -> None:
    """The class keeps its number without a folder; faces in frames of others are unknown."""
    home = copied()
    name(home, ann(home), None)
    build_set(home)
    root = home.settings.dataset_dir

    assert [BEA] == [path.name for path in (root / "imagefolder/train").iterdir()]
    lines = (root / "yolo/data.yaml").read_text().splitlines()
    assert ['  0: "unused-0"', f'  1: "{BEA}"', '  2: "unknown"'] == lines[3:]
    assert {1.0} == {line[0] for found in labels(root).values() for line in found}


def test_more_footage_keeps_the_splits(copied: MakeHome, photographs: list[Path]) -> None:
    """What was in train stays in train."""
    home = copied()

    def splits() -> dict[str, str]:
        found = home.settings.dataset_dir.glob("*/*/*/*.jpg")
        return {path.name: path.parent.parent.name for path in found if "report" not in path.parts}

    before = splits()
    with_photos(home, photographs, count=9)
    home.run()
    build_set(home)
    after = splits()

    assert len(after) > len(before)
    assert before.items() <= after.items()


def test_foreign_files_stay(copied: MakeHome) -> None:
    """A file of the set that was changed is moved aside."""
    home = copied()
    root = home.settings.dataset_dir
    (root / "notes.txt").write_text("mine")
    changed = next(root.glob("yolo/labels/train/*.txt"))
    changed.unlink()
    changed.write_text("0 0.5 0.5 0.1 0.1\n")
    (root / "yolo/labels/train.cache").write_text("stale")

    done = build_set(home)

    assert "mine" == (root / "notes.txt").read_text()
    assert 1 == done.put_aside
    aside = root / "_changed" / changed.relative_to(root)
    assert "0 0.5 0.5 0.1 0.1\n" == aside.read_text()
    assert changed.read_text() != aside.read_text()
    assert not (root / "yolo/labels/train.cache").exists()


def test_a_deselected_format_is_removed(copied: MakeHome) -> None:
    """Its folders are removed; the images of other formats stay."""
    home = copied(formats=("coco", "chips150"))
    build_set(home)

    folders = {path.name for path in home.settings.dataset_dir.iterdir() if path.is_dir()}
    assert {"coco", "chips150", "report"} == folders
    assert check_format(home.settings.dataset_dir, "coco").is_valid


def test_a_lost_manifest_does_not_move_files_aside(copied: MakeHome) -> None:
    """Existing files are recognised by their content."""
    home = copied()
    build_set(home)
    (home.settings.dataset_dir / ".portraitd-dataset.json").unlink()

    assert 0 == build_set(home).put_aside
    assert not (home.settings.dataset_dir / "_changed").exists()


def test_two_builds_at_once_are_rejected(copied: MakeHome) -> None:
    """The second build fails."""
    from portraitd.datasets.output import lock_set

    home = copied()
    with (
        lock_set(home.settings.dataset_dir),
        pytest.raises(AlreadyRunning, match="being built"),
    ):
        build_set(home)


# --- Source of the images.


def test_cropped_images_outlive_their_videos(copied: MakeHome) -> None:
    """Images that can no longer be cropped are left out with a warning."""
    home = copied()
    shutil.rmtree(home.inbox)
    home.inbox.mkdir()
    assert 0 == build_set(home).removed

    shutil.rmtree(home.settings.state_dir / "frames")
    done = build_set(home)

    assert {"train": 0, "val": 0} == done.frames
    assert "not there" in done.warnings[-1] or "removed" in done.warnings[-1]
    assert sum(done.faces.values()) > 0
    assert check_format(home.settings.dataset_dir, "imagefolder").is_valid


def test_kept_frames_replace_the_video(
    tmp_path: Path, two_people: Path, photographs: list[Path]
) -> None:
    """They are stored while the video is processed, if the setting asks for it."""
    sections = SECTIONS | {"dataset": SECTIONS["dataset"] | {"frames": "keep"}}
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

    done = build_set(home)

    assert sum(done.frames.values()) > 0
    assert not [one for one in done.warnings if "could not be cropped" in one]
    for form in FORMATS:
        assert check_format(home.settings.dataset_dir, form).is_valid


def test_a_rebuild_keeps_frames_under_the_same_names(tmp_path: Path, two_people: Path) -> None:
    """They belong to the same recording."""
    home = Home(tmp_path / "home", **(SECTIONS | {"dataset": {"frames": "keep"}}))
    home.drop(two_people, "clip.mp4")
    home.run()
    kept = file_stats(home.settings.state_dir / "frames").keys()

    with home.opened() as service:
        service.reprocessing.begin(home.now.wall_s)
        home.run_until_idle(service)

    assert kept == file_stats(home.settings.state_dir / "frames").keys()
    assert len(kept) > 10


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_set_is_an_error(copied: MakeHome) -> None:
    """The build raises PublishError."""
    from portraitd.model.errors import PublishError

    home = copied()
    name(home, ann(home), "Zoë")
    home.settings.dataset_dir.chmod(0o500)
    try:
        with pytest.raises(PublishError):
            build_set(home)
    finally:
        home.settings.dataset_dir.chmod(0o700)
