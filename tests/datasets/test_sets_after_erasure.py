"""A set after ``forget``: only what must go goes, and all else is where it was."""

from __future__ import annotations

import json
from pathlib import Path

from portraitd.datasets.set_erasure import erase_sets
from portraitd.datasets.validate import check_format
from portraitd.model.fingerprints import ERASED_MARGIN_S
from portraitd.store.database import Database
from portraitd.store.erasure.eraser import Eraser
from support.dataset_home import ANN, BEA, MakeHome, build_set, move_to_val


def splits_of(root: Path) -> dict[str, str]:
    """Return the split of each picture of Ann, by name."""
    return {path.name: path.parent.parent.name for path in root.glob(f"imagefolder/*/{ANN}/*.jpg")}


def test_the_others_keep_class_and_splits(copied: MakeHome) -> None:
    """Pictures of them that are far from the erased person stay, also in what the user moved."""
    home = copied()
    state, root = home.settings.state_dir, home.settings.dataset_dir
    moved = next(name for name, split in splits_of(root).items() if split == "train")[:12]
    move_to_val(home, moved)
    build_set(home)
    before = splits_of(root)

    with Database.open(state) as database:
        eraser = Eraser(database)
        gone = {
            (row["sha256"][:12], row["t_s"])
            for row in database.execute(
                "select sha256, t_s from faces join videos on videos.id = video_id "
                "join people on people.id = person_id where name = ?",
                (BEA,),
            )
        }
        eraser.erase(eraser.person(BEA), 6.0)
        for erasure in eraser.pending_erasures():
            erase_sets(state, root, erasure.stems, eraser.erased_classes())
            eraser.finish(erasure.id, 7.0)
    assert not [path for path in root.rglob("*") if BEA in path.name]
    build_set(home)

    def must_go(name: str) -> bool:
        sha256, at_ms = name[:12], int(name[13:22])
        return any(
            sha256 == one and abs(at_ms / 1000 - t_s) <= ERASED_MARGIN_S for one, t_s in gone
        )

    assert {name: split for name, split in before.items() if not must_go(name)} == splits_of(root)
    assert {"val"} == {split for name, split in before.items() if name.startswith(moved)}
    classes = json.loads((root / "class_index.json").read_text())
    assert [(0, ANN), (1, "unused-1")] == [(one["class"], one["name"]) for one in classes[:2]]
    for form in ("yolo", "coco", "imagefolder", "embeddings", "webdataset"):
        assert check_format(root, form).is_valid
