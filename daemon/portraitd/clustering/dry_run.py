"""``portraitd regroup --dry-run``: what would change before it changes."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from portraitd.clustering.grouping_methods import make_method
from portraitd.config import Settings
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database
from portraitd.store.faces import Faces
from portraitd.store.people import People
from portraitd.store.tracks import TrackStore
from portraitd.workers.pool import InlineExecutor


@dataclass(frozen=True, slots=True)
class Proposal:
    """What grouping everything from the beginning would change.

    Attributes:
        people_before, people_after: How many people.
        unassigned_before, unassigned_after: Faces or tracks of nobody.
        churn: Faces that would have another person, or none.
        merges: Who would become part of whom.
        splits: New people, and whom most of them was before.
        names_lost: People with a name who would have no face left.
    """

    people_before: int
    people_after: int
    unassigned_before: int
    unassigned_after: int
    churn: int
    merges: dict[int, int]
    splits: dict[int, int]
    names_lost: tuple[int, ...]


def propose(settings: Settings) -> Proposal:
    """Group everything as these settings say, and put nothing in force.

    Raises:
        StoreError: There is no store yet, or its faces cannot be grouped together.
    """
    database = Database.open_to_read(settings.state_dir)
    try:
        with tempfile.TemporaryDirectory(prefix="portraitd-") as scratch:
            faces, people, tracks = Faces(database), People(database), TrackStore(database)
            method = make_method(
                settings.grouping,
                faces,
                tracks,
                people,
                Ledger(database),
                InlineExecutor(),
                Path(scratch),
            )
            grouped = method.finish(method.begin(None).result())
            before = faces.persons() if grouped.unit == "faces" else tracks.rows().persons
    finally:
        database.close()
    after, carried = grouped.carried.people, grouped.carried
    return Proposal(
        people_before=len(np.unique(before[before > 0])),
        people_after=len(np.unique(after[after > 0])),
        unassigned_before=int((before == 0).sum()),
        unassigned_after=int((after == 0).sum()),
        churn=carried.churn,
        merges=carried.merged_into,
        splits=carried.split_from,
        names_lost=carried.names_lost,
    )


def describe_proposal(proposal: Proposal) -> list[str]:
    """A proposal in lines for people."""
    lines = [
        f"people      {proposal.people_before} -> {proposal.people_after}",
        f"unassigned  {proposal.unassigned_before} -> {proposal.unassigned_after}",
        f"faces that change person  {proposal.churn}",
        f"names lost  {len(proposal.names_lost)}",
    ]
    lines += [f"person {one} becomes part of {into}" for one, into in proposal.merges.items()]
    lines += [f"person {one} is new, parted from {of}" for one, of in proposal.splits.items()]
    return lines
