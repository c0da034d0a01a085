"""What other numbers would change, and the proof of the grouping, on a real home."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from portraitd.clustering.dry_run import propose
from portraitd.clustering.grouping_snapshot import (
    finish_snapshot,
    load_snapshot,
    save_snapshot,
)
from portraitd.clustering.verification import (
    describe_distances,
    measure_pair_distances,
    verify_grouping,
)
from portraitd.store.database import Database
from portraitd.store.people import People
from support.home import Home, dump


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, two_people: Path) -> Home:
    """Two people, grouped by the default method."""
    home = Home(tmp_path_factory.mktemp("regroup"), grouping={"method": "people"})
    home.drop(two_people, "clip.mp4")
    home.run()
    return home


def test_a_proposal_with_the_same_numbers_changes_nothing(home: Home) -> None:
    """Grouping from the beginning finds what grouping after grouping found."""
    proposal = propose(home.settings)

    assert 2 == proposal.people_before == proposal.people_after
    assert 0 == proposal.churn
    assert {} == proposal.merges == proposal.splits


def test_a_proposal_says_what_would_change_and_changes_nothing(home: Home) -> None:
    """The original with a reach that covers everybody makes one person of two."""
    before = dump(home.settings)
    grouping = home.settings.grouping.model_copy(update={"method": "dbscan", "eps": 5.0})

    proposal = propose(home.settings.model_copy(update={"grouping": grouping}))

    assert (2, 1) == (proposal.people_before, proposal.people_after)
    assert 1 == len(proposal.merges)
    assert proposal.churn > 0
    assert before == dump(home.settings)


def test_the_clusters_are_those_of_scikit_learn(home: Home) -> None:
    """Equal, as long as nothing is wrong with what the grouping remembers."""
    assert [] == verify_grouping(home.settings)


def test_wrong_clusters_are_found(home: Home) -> None:
    """One track that is said to be a core, or not to be one."""
    state_dir = home.settings.state_dir
    database = Database.open_to_read(state_dir)
    grouping_run = People(database).last_grouping_run()
    database.close()
    assert grouping_run
    path = state_dir / grouping_run.snapshot
    whole = path.read_bytes()
    grouping = load_snapshot(path, 128)
    components = grouping.dbscan.components
    components[0] = -1 if components[0] >= 0 else 0
    save_snapshot(path, grouping)
    assert finish_snapshot(path)

    assert [] != verify_grouping(home.settings)

    path.write_bytes(whole)


def test_distances_are_measured_without_labels(home: Home) -> None:
    """Neighbours in a track are near; tracks seen in one frame are far."""
    measured = measure_pair_distances(home.settings)
    lines = describe_distances(measured)

    assert len(measured.same) > 3
    assert np.median(measured.same) < 0.36
    assert (measured.different > 0.6).all()
    assert "grouping.eps = " in lines[-2] or "none in this database yet" in lines[2]
