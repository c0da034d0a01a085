"""Questions answered over a network share: the real service, a real Samba server, two clients."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.home import Home
from support.processes import Daemon, wait_until
from support.questions import answered, cards, deferred, leave_open, unsorted_faces
from support.reviews import ANN, BOB, copied, faces, folders, ledger
from support.samba import MISSING, Share, shared

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

CONFIG = """\
[sampling]
fps = 0.5
[encoder]
kind = "dlib"
detector = "hog"
[detection]
upsample = 0
[workers]
count = 1
slice_s = 5.0
[grouping]
min_samples = 3
settle_s = 1.0
[review]
portraits_per_track = 0
unsorted_portraits = 0
"""

WHICH = "01 which of these 2 are right.jpg"
"""Whether two people are one, and whether a face shows the second."""


@pytest.fixture
def home(two_found: Home, tmp_path: Path) -> Home:
    """Two people who may be one, and a face without a person that may show the second."""
    home = copied(two_found, tmp_path)
    (face,) = unsorted_faces(home)
    leave_open(home, {(1, 2): 0.9}, {face: 2})
    (home.settings.home_dir / "config.toml").write_text(CONFIG)
    return home


@pytest.fixture
def service(home: Home) -> Iterator[Daemon]:
    with Daemon(home.settings.home_dir) as running:
        running.wait_for("questions_published")
        yield running


@pytest.fixture
def share(home: Home, tmp_path: Path) -> Iterator[Share]:
    own = tmp_path / "samba"
    own.mkdir()
    with shared(home.people, own) as running:
        yield running


def test_a_picture_is_answered_with_one_gesture(home: Home, service: Daemon, share: Share) -> None:
    """It is renamed to the number that is right; the log says how long that took."""
    assert WHICH in share.do(r'ls "_questions\*"')
    before = faces(home)

    began_s = time.monotonic()
    share.do(rf'rename "_questions\{WHICH}" "_questions\2.jpg"')
    wait_until(lambda: sorted(ledger(home)) == ["place", "separate"], "both are answered")
    wait_until(lambda: not cards(home) + answered(home), "the picture is gone")
    print(f"the answer took effect after {time.monotonic() - began_s:.1f} s")
    assert before[2] + 1 == faces(home)[2]


def test_a_picture_is_dragged_into_a_folder_under_any_name(
    home: Home, service: Daemon, share: Share
) -> None:
    """None of it is right."""
    share.do(rf'rename "_questions\{WHICH}" "_questions\no\IMG_0001.jpg"')
    wait_until(lambda: sorted(ledger(home)) == ["reject", "separate"], "both are answered")
    wait_until(lambda: not cards(home) + answered(home), "the picture is gone")
    assert [ANN, BOB] == list(folders(home))


def test_a_deleted_picture_stays_away(home: Home, service: Daemon, share: Share) -> None:
    """With all that it asks."""
    share.do(rf'del "_questions\{WHICH}"')
    wait_until(lambda: len(deferred(home)) == 1, "it is put off")
    wait_until(lambda: not cards(home) + answered(home), "nothing is asked any more")
    assert [] == ledger(home)


def test_a_copy_made_by_the_server_answers_as_well(
    home: Home, service: Daemon, share: Share
) -> None:
    """Under the numbers, beside the picture itself."""
    share.do(rf'scopy "_questions\{WHICH}" "_questions\1, 2.jpg"')
    wait_until(lambda: sorted(ledger(home)) == ["merge", "place"], "both are answered")
    wait_until(lambda: not cards(home) + answered(home), "nothing is asked any more")


def test_two_clients_disagree(home: Home, service: Daemon, share: Share) -> None:
    """The question is asked again, and both are right about it then."""
    share.do(rf'scopy "_questions\{WHICH}" "_questions\yes\mine.jpg"')
    share.do(rf'rename "_questions\{WHICH}" "_questions\2.jpg"')
    service.wait_for("questions_published", times=2)

    wait_until(lambda: WHICH in [card.name for card in cards(home)], "it is asked again")
    wait_until(lambda: not answered(home), "the other picture is gone")
    assert [] == ledger(home)
    share.do(rf'scopy "_questions\{WHICH}" "_questions\yes\2.jpg"')
    share.do(rf'rename "_questions\{WHICH}" "_questions\2.jpg"')
    wait_until(lambda: sorted(ledger(home)) == ["place", "separate"], "answered once")
    wait_until(lambda: not cards(home) + answered(home), "both pictures are gone")
