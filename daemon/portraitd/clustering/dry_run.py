"""``portraitd regroup --dry-run``: show what regrouping from scratch would change."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from portraitd.clustering.grouping_methods import make_method
from portraitd.config import Settings
from portraitd.faces.models.cards import DLIB
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database
from portraitd.store.embedding_space import stored_embedder
from portraitd.store.faces import Faces
from portraitd.store.people import People
from portraitd.store.tracks import TrackStore
from portraitd.workers.pool import InlineExecutor


@dataclass(frozen=True, slots=True)
class Proposal:
    """What regrouping from scratch would change.

    Attributes:
        people_before, people_after: Number of people.
        unassigned_before, unassigned_after: Faces or tracks without a person.
        churn: Faces that would change to another person, or to none.
        merges: People who would become part of another person, with that person.
        splits: New people, and the person that most of their faces belong to now.
        names_lost: Named people who would have no face left.
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
    """Group everything with these settings, and record nothing.

    Raises:
        StoreError: There is no database yet, or its faces come from several models.
    """
    with (
        Database.open_to_read(settings.state_dir) as database,
        tempfile.TemporaryDirectory(prefix="portraitd-") as scratch,
    ):
        faces, people, tracks = Faces(database), People(database), TrackStore(database)
        method = make_method(
            settings.grouping,
            stored_embedder(database) or DLIB,
            faces,
            tracks,
            people,
            Ledger(database),
            InlineExecutor(),
            Path(scratch),
        )
        grouped = method.finish(method.begin(None).result())
        before = faces.persons() if grouped.unit == "faces" else tracks.rows().persons
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
    """Return a proposal as lines of text."""
    lines = [
        f"people      {proposal.people_before} -> {proposal.people_after}",
        f"unassigned  {proposal.unassigned_before} -> {proposal.unassigned_after}",
        f"faces with another person  {proposal.churn}",
        f"names lost  {len(proposal.names_lost)}",
    ]
    lines += [f"person {one} becomes part of {into}" for one, into in proposal.merges.items()]
    lines += [f"person {one} is new, split from {of}" for one, of in proposal.splits.items()]
    return lines
