"""The stores that the stages of the people tree share."""

from __future__ import annotations

from typing import NamedTuple, Self

from portraitd.store.blocked_stages import BlockedStages
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database
from portraitd.store.faces import Faces
from portraitd.store.people import People
from portraitd.store.publications import Publications
from portraitd.store.review_notices import ReviewNotices


class TreeStores(NamedTuple):
    """What is read and recorded when the tree is reviewed and published.

    Attributes:
        faces: The portraits.
        people: The current grouping.
        ledger: The edits.
        publications: What should be published, and what is.
        blocked_stages: What only a person can remedy.
        notices: What reviewers did that was not understood.
    """

    faces: Faces
    people: People
    ledger: Ledger
    publications: Publications
    blocked_stages: BlockedStages
    notices: ReviewNotices

    @classmethod
    def of(cls, database: Database) -> Self:
        """Return the stores of a database."""
        return cls(
            Faces(database),
            People(database),
            Ledger(database),
            Publications(database),
            BlockedStages(database),
            ReviewNotices(database),
        )
