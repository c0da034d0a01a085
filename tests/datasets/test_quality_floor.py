"""The quality floor: which faces are left out, and that this is said."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from portraitd.datasets.annotations import DatasetRule
from portraitd.datasets.planner import plan_from_store
from portraitd.datasets.quality_floor import describe_left_out, find_fault, list_left_out
from portraitd.model.face import Box
from portraitd.model.reasons import ReasonCode
from portraitd.store.database import Database
from portraitd.store.dataset_store import DatasetFace, DatasetStore
from portraitd.store.files import Files
from support.dataset_home import MakeHome, build_set

GOOD = DatasetFace(1, 1, 0.0, Box(0, 0, 90, 90), 1.0, 90.0, 50.0, 1.0, 1.0, None, 1, 1, False)
RULE = DatasetRule((), max_turn=0.8)


@pytest.mark.parametrize(
    ("face", "fault"),
    [
        (GOOD, None),
        (replace(GOOD, size_px=31.0), ReasonCode.TOO_SMALL),
        (replace(GOOD, size_px=32.0, sharpness=4.0, confidence=0.3, frontal=0.25), None),
        (replace(GOOD, sharpness=3.9), ReasonCode.BLURRED),
        (replace(GOOD, confidence=0.29), ReasonCode.UNCERTAIN),
        (replace(GOOD, frontal=0.1), ReasonCode.TURNED_AWAY),
        (replace(GOOD, size_px=1.0, sharpness=0.0), ReasonCode.TOO_SMALL),
    ],
)
def test_the_first_reason_counts(face: DatasetFace, fault: ReasonCode | None) -> None:
    """A face at a threshold is used."""
    assert fault == find_fault(face, RULE)


def test_a_poor_face_hides_no_good_one(copied: MakeHome) -> None:
    """The first of several alike is used, of those that are good enough."""
    home = copied(near_duplicate=10.0)
    database = Database.open(home.settings.state_dir)
    store = DatasetStore(database, Files(database, home.inbox))
    rule = DatasetRule.of(home.settings.dataset)

    def used() -> list[int]:
        crops = plan_from_store(store, rule._replace(val_share=0.0)).counts.values()
        return [one.found - sum(one.left_out.values()) for one in crops]

    assert [1, 1] == used()
    database.execute(
        "update faces set sharpness = 0 where id in (select min(id) from faces group by person_id)"
    )
    assert [1, 1] == used()


def test_reasons_are_listed_in_words() -> None:
    """Codes are for programs."""
    counts = {"too_small": 3, "in_another_split": 1200}
    assert "3 too small, 1,200 in another split" == list_left_out(counts)


def test_no_frame_is_used_for_a_poor_face(copied: MakeHome) -> None:
    """Beside a good one it is labelled; the report says what was left out, in words and codes."""
    home = copied(min_px=10_000)
    done = build_set(home)

    assert done.left_out.keys() == {"too_small"}
    assert {"train": 0, "val": 0} == done.frames
    page = (home.settings.dataset_dir / "report/index.html").read_text()
    rule = DatasetRule.of(home.settings.dataset)
    cells = re.escape(describe_left_out("too_small", rule)) + r"<br><code>too_small</code></td>"
    assert re.search(rf"{cells}\n?<td>{done.left_out['too_small']:,}</td>", page)
