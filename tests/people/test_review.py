"""When an edit is recorded: tick by tick, with a tree whose edits the test sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from portraitd.config import ReviewSettings
from portraitd.model.edit import (
    AssignFaces,
    Edit,
    ExcludeFaces,
    IgnoreFaces,
    NamePerson,
    Placement,
    SplitPerson,
)
from portraitd.model.errors import PublishError, StoreError
from portraitd.model.reasons import NO_REASON, ReasonCode
from portraitd.model.review_notice import ReviewNotice
from portraitd.model.stage import Now
from portraitd.people.review import Review
from portraitd.people.tree.diff import NO_LOSSES, Losses, RecordedState
from portraitd.store.blocked_stages import BlockedStages
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.database import Database
from portraitd.store.publications import Publication, Publications
from portraitd.store.review_notices import MAX_NOTICES, ReviewNotices
from portraitd.store.tree_stores import TreeStores
from support.clock import at
from support.store import Store, embedding

LOST = Losses(frozenset({1, 2, 3}), frozenset(), 4)


class Tree:
    """A tree with the edits that the test sets."""

    def __init__(self) -> None:
        self.found: list[Edit] = []
        self.error: Exception | None = None
        self.readings = 0
        self.known: RecordedState | None = None
        self.adopted: list[tuple[str, int]] = []
        self.accepts = False
        self.notices: list[ReviewNotice] = []
        self.root = Path("people")
        self.lost = self.losses = self.withheld = NO_LOSSES
        self.awaits_answer = False

    def create(self) -> None:
        self.error = None

    def read_edits(
        self,
        recorded: RecordedState,
        accept_losses: bool = False,
        *,
        awaits_answer: bool = False,
        restored: Losses = NO_LOSSES,
    ) -> Sequence[Edit]:
        self.readings += 1
        self.known, self.accepts = recorded, accept_losses
        self.awaits_answer = awaits_answer
        if self.error is not None:
            raise self.error
        self.losses = self.lost
        self.withheld = NO_LOSSES if accept_losses else self.lost.without(restored)
        return list(self.found)

    def adopt(self, location: str, person_id: int) -> None:
        self.adopted.append((location, person_id))


class ReviewFixture:
    """Two people with four published faces, and the stage that reads edits."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(Database.open(folder))
        for seed in (1, 1, 2, 2):
            self.store.see(embedding(seed))
        self.store.track()
        self.store.group([0, 0, 1, 1])
        self.tree, self.publications = Tree(), Publications(self.store.database)
        self.show({1: 1, 2: 1, 3: 2, 4: 2})
        self.troubles = BlockedStages(self.store.database)
        self.notices = ReviewNotices(self.store.database)
        self.republished = 0
        self.start()

    def start(self) -> None:
        database = self.store.database
        self.review = Review(
            self.tree,
            EditRecorder(database, self.store.ledger, self.publications, True),
            TreeStores(
                self.store.faces,
                self.store.people,
                self.store.ledger,
                self.publications,
                self.troubles,
                self.notices,
            ),
            ReviewSettings(scan_s=10.0, settle_s=2.0),
            republish=self._republish,
        )

    def _republish(self) -> None:
        self.republished += 1

    def show(self, places: dict[int, int]) -> None:
        """The tree shows what was done so far."""
        self.publications.record(Publication(1, self.store.ledger.last_id(), "look"), places, 1.0)

    def at(self, *times_s: float) -> None:
        for steady_s in times_s:
            self.review.tick(Now(1000.0 + steady_s, steady_s))

    def rows(self) -> list[str]:
        return [row.kind for row in self.store.ledger.summaries()]


@pytest.fixture
def desk(memory_path: Path) -> ReviewFixture:
    return ReviewFixture(memory_path)


def test_an_edit_is_recorded_when_two_readings_agree(desk: ReviewFixture) -> None:
    """At least the settling time apart."""
    desk.tree.found = [AssignFaces((3,), 1)]

    desk.at(0.0, 1.0)
    assert [] == desk.rows()
    assert desk.review.pending
    desk.at(2.0)

    assert ["place"] == desk.rows()
    assert [1, 1, 1, 2] == desk.store.faces.persons().tolist()
    assert not desk.review.pending


def test_an_edit_that_continues_is_waited_for(desk: ReviewFixture) -> None:
    """A file manager moves the second file a moment after the first."""
    desk.tree.found = [AssignFaces((3,), 1)]
    desk.at(0.0, 1.0)
    desk.tree.found = [AssignFaces((3, 4), 1)]
    desk.at(2.0, 3.0)
    assert [] == desk.rows()

    desk.at(4.0)

    assert ["place"] == desk.rows()
    assert [1, 1, 1, 1] == desk.store.faces.persons().tolist()


def test_an_edit_that_disappears_again_is_dropped(desk: ReviewFixture) -> None:
    """Cut and paste: for a moment the portrait is in no folder."""
    desk.tree.found = [ExcludeFaces((3,))]
    desk.at(0.0)
    desk.tree.found = []
    desk.at(1.0, 2.0, 30.0)
    desk.tree.found = [ExcludeFaces((3,))]
    desk.at(40.0, 41.0)

    assert [] == desk.rows()


def test_repeated_readings_add_one_entry(desk: ReviewFixture) -> None:
    """An edit is read again until it is published."""
    desk.tree.found = [NamePerson(1, "Ann"), IgnoreFaces((3,))]

    desk.at(*range(60))

    assert ["name", "ignore-faces"] == desk.rows()


def test_the_tree_is_read_at_each_scan_or_when_woken(desk: ReviewFixture) -> None:
    """And at most once a second."""
    desk.at(0.0)
    assert 1 == desk.tree.readings
    desk.at(1.0, 5.0, 9.9)
    assert 1 == desk.tree.readings
    assert 0.5 == desk.review.wait_s(9.5)

    desk.at(10.0)
    desk.review.wake()
    desk.at(10.5)
    assert 2 == desk.tree.readings

    desk.at(11.0)
    assert 3 == desk.tree.readings


def test_a_tree_that_was_never_published_has_no_edits(memory_path: Path) -> None:
    """Every portrait is missing in it."""
    desk = ReviewFixture(memory_path)
    desk.store.database.execute("delete from publications")

    desk.at(0.0, 10.0, 20.0)

    assert 0 == desk.tree.readings
    assert desk.review.allows_publishing(at(20.0))


def test_nothing_is_published_over_an_edit_that_waits(desk: ReviewFixture) -> None:
    """Nor before the tree was read at all."""
    assert not desk.review.allows_publishing(at(0.0))
    desk.at(0.0)
    assert desk.review.allows_publishing(at(0.0))

    desk.tree.found = [AssignFaces((3,), 1)]
    desk.at(10.0)
    assert not desk.review.allows_publishing(at(10.0))
    desk.at(11.0, 12.0)

    assert desk.review.allows_publishing(at(12.0))
    assert not desk.review.allows_publishing(at(12.5))


def test_nothing_is_published_over_a_tree_that_could_not_be_read(desk: ReviewFixture) -> None:
    """Nor in the tick in which recording an edit failed."""
    desk.at(0.0)
    desk.tree.error = PublishError("the share is not mounted")
    with pytest.raises(PublishError):
        desk.at(10.0)
    assert not desk.review.allows_publishing(at(10.0))

    desk.tree.error = None
    desk.tree.found = [AssignFaces((3,), 1)]
    desk.at(20.0, 21.0)
    desk.store.database.execute("pragma query_only = on")
    with pytest.raises(StoreError):
        desk.at(22.0)
    desk.store.database.execute("pragma query_only = off")

    assert not desk.review.allows_publishing(at(22.0))


def test_a_recorded_edit_does_not_delay_publishing(desk: ReviewFixture) -> None:
    """Two edits some time apart are read until they are published; neither is new again."""
    desk.tree.found = [AssignFaces((3,), 1)]
    desk.at(0.0, 1.0, 2.0, 3.0)
    desk.tree.found = [AssignFaces((3,), 1), AssignFaces((4,), 1)]
    for second in range(4, 20):
        desk.review.wake()
        desk.at(float(second))

    assert ["place", "place"] == desk.rows()
    assert desk.review.allows_publishing(at(19.0))


def test_a_mass_disappearance_is_reported_until_it_is_over(desk: ReviewFixture) -> None:
    """In the store and as a notice, and the tree learns that a person was asked."""
    desk.tree.lost = LOST
    desk.at(0.0)
    assert not desk.tree.awaits_answer
    desk.at(1.0, 5.0, 10.0)
    assert desk.tree.awaits_answer
    blocked = desk.troubles.all()["review"]
    assert desk.review.blocked == blocked
    assert ReasonCode.PORTRAITS_DISAPPEARED == blocked.code
    assert "3 of 4 portraits in people are missing" in blocked.text
    assert [{"location": "", "missing": 3, "published": 4}] == [
        one.values for one in desk.notices.newest()
    ]

    desk.tree.lost = NO_LOSSES
    desk.at(20.0)

    assert {} == desk.troubles.all()
    assert NO_REASON == desk.review.blocked
    assert () == desk.notices.newest()


def test_other_edits_take_effect_while_losses_wait(desk: ReviewFixture) -> None:
    """And may be published; what replaces all faces waits for the answer."""
    desk.tree.lost = LOST
    desk.tree.found = [NamePerson(2, "Bob")]
    desk.at(0.0, 1.0, 2.0)

    assert ["name"] == desk.rows()
    assert desk.review.allows_publishing(at(2.0))
    assert not desk.review.has_read_everything(at(2.0))
    desk.tree.lost = NO_LOSSES
    desk.at(13.0)
    assert desk.review.has_read_everything(at(13.0))


def test_what_is_missing_is_put_back(desk: ReviewFixture) -> None:
    """It stays blocked until everything is back; what is back can be deleted at once."""
    desk.tree.lost = LOST
    desk.at(0.0)
    desk.review.put_back()
    desk.at(1.0)
    assert 1 == desk.republished
    assert not desk.tree.withheld
    assert "review" in desk.troubles.all()

    desk.tree.lost = replace(LOST, faces=frozenset({2}))
    desk.at(12.0)
    assert "review" in desk.troubles.all()
    desk.tree.lost = NO_LOSSES
    desk.at(23.0)
    assert {} == desk.troubles.all()

    desk.tree.lost = LOST
    desk.at(34.0)
    assert LOST == desk.tree.withheld
    assert 1 == desk.republished


def test_there_may_be_nothing_to_put_back(desk: ReviewFixture) -> None:
    """Then nothing is put back later either."""
    desk.review.put_back()
    desk.at(0.0)
    desk.tree.lost = LOST
    desk.at(11.0)

    assert 0 == desk.republished
    assert LOST == desk.tree.withheld


def test_accepting_applies_once(desk: ReviewFixture) -> None:
    """The next disappearance has to be accepted again."""
    desk.tree.lost = LOST
    desk.at(0.0)
    desk.tree.found = [ExcludeFaces((3, 4))]

    desk.review.accept()
    desk.at(1.0, 2.0)
    assert desk.tree.accepts
    desk.at(3.0)

    assert ["exclude"] == desk.rows()
    assert {} == desk.troubles.all()
    desk.tree.found = []
    desk.at(14.0)
    desk.at(25.0)
    assert not desk.tree.accepts


def test_an_unreadable_tree_drops_waiting_edits(desk: ReviewFixture) -> None:
    """Two readings agree only if no failed one is between them."""
    desk.tree.found = [ExcludeFaces((3,))]
    desk.at(0.0)
    desk.tree.error = PublishError("away")
    with pytest.raises(PublishError):
        desk.at(1.0)
    desk.tree.error = None

    desk.at(11.0)

    assert [] == desk.rows()
    assert {} == desk.troubles.all()


def test_a_folder_becomes_the_new_persons(desk: ReviewFixture) -> None:
    """Also if the service stopped between ledger entry and folder."""
    desk.tree.found = [SplitPerson((3,), "Eve", "Eve")]
    desk.at(0.0, 2.0)
    assert [("Eve", 3)] == desk.tree.adopted

    desk.start()
    desk.at(0.0, 2.0)

    assert [("Eve", 3)] * 2 == desk.tree.adopted
    assert ["split"] == desk.rows()
    assert 3 == len(desk.store.people.present())


def test_the_tree_is_compared_with_what_is_recorded(desk: ReviewFixture) -> None:
    """Where each portrait was published, and which edits are recorded."""
    desk.show({1: 1, 2: Placement.UNSORTED, 3: Placement.IGNORED, 4: 2})
    desk.tree.found = [ExcludeFaces((1,)), NamePerson(2, "Bob")]
    desk.at(0.0, 2.0)
    desk.tree.found = []

    desk.at(13.0)

    expected = RecordedState(
        person_of={1: 1, 2: None, 3: 2, 4: 2},
        excluded={1},
        ignored_faces=set(),
        ignored_people=set(),
        names={1: None, 2: "Bob"},
        empty=set(),
        last_entry=2,
    )
    assert expected == desk.tree.known


COPIED = ReviewNotice.of(ReasonCode.FOLDER_COPIED, "Copy of Ann")
"""True as long as the folder is there."""

INTO_BOB = ReviewNotice.of(ReasonCode.PORTRAITS_COPIED, "Bob", n=2)
"""Said once, about what was done."""


def noticed(desk: ReviewFixture) -> set[str]:
    return {one.location for one in desk.notices.newest()}


def test_a_notice_is_recorded_when_two_readings_agree(desk: ReviewFixture) -> None:
    """A portrait that is copied and then deleted elsewhere was moved after all."""
    desk.tree.notices = [INTO_BOB]
    desk.at(0.0, 1.0)
    assert set() == noticed(desk)
    assert not desk.review.allows_publishing(at(1.0))
    desk.tree.notices = []
    desk.at(2.0, 3.0)
    assert set() == noticed(desk)

    desk.tree.notices = [COPIED, INTO_BOB]
    desk.at(20.0, 21.0, 22.0)

    assert {"Copy of Ann", "Bob"} == noticed(desk)
    assert desk.review.allows_publishing(at(22.0))


def test_more_notices_than_are_kept_are_recorded_once(desk: ReviewFixture) -> None:
    """Those without room do not keep the review waiting; an erasure makes room for them."""
    many = [replace(COPIED, location=f"copy {number:03}") for number in range(MAX_NOTICES + 50)]
    desk.tree.notices = many
    desk.at(0.0, 1.0, 2.0)
    recorded = noticed(desk)
    desk.at(20.0)

    assert MAX_NOTICES == len(recorded)
    assert recorded == noticed(desk)
    assert desk.review.allows_publishing(at(20.0))

    desk.store.database.execute("delete from review_notices")
    desk.at(40.0, 41.0, 42.0)
    assert MAX_NOTICES == len(noticed(desk))


def test_a_notice_lasts_as_long_as_it_is_true(desk: ReviewFixture) -> None:
    """One about what was done is kept for a day."""
    desk.tree.notices = [COPIED, INTO_BOB]
    desk.at(0.0, 1.0, 2.0)
    desk.tree.notices = []
    desk.at(20.0)
    assert {"Bob"} == noticed(desk)
    desk.tree.notices = [COPIED]
    desk.at(40.0, 41.0, 42.0, 86_000.0)
    assert {"Copy of Ann", "Bob"} == noticed(desk)

    desk.at(87_000.0)

    assert {"Copy of Ann"} == noticed(desk)
