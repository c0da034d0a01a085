"""Read what decides the content of training sets: the settings, and the consents in people/."""

from __future__ import annotations

from datetime import datetime

from portraitd.config import Settings
from portraitd.datasets.annotations import DatasetRule
from portraitd.datasets.consents import judge_consents
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.service.share_probe import require_share
from portraitd.store.database import Database


def read_rule(settings: Settings) -> DatasetRule:
    """Return the rule of training sets as it is today.

    Raises:
        PublishError: The people tree cannot be read, so that consents are not known.
        StoreError: Nothing has been processed in this home yet.
    """
    if settings.dataset.consent == "off":
        return DatasetRule.of(settings.dataset)
    require_share(settings.people_dir)
    with Database.open_to_read(settings.state_dir) as database:
        tree = PeopleTree(settings.people_dir, store=database.name)
    today = datetime.now().astimezone().date()
    return DatasetRule.of(settings.dataset, judge_consents(tree.read_consents(), today))
