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

SAME, IS = "01 person-0001 and person-0002, the same.jpg", "02 is this person-0002.jpg"


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


def test_a_question_is_answered_with_one_drag(home: Home, service: Daemon, share: Share) -> None:
    """Under any name; the log says how long that took."""
    listing = share.do(r'ls "_questions\*"')
    assert SAME in listing
    assert IS in listing
    before = faces(home)

    began_s = time.monotonic()
    share.do(rf'rename "_questions\{IS}" "_questions\yes\IMG_0001.jpg"')
    wait_until(lambda: ledger(home) == ["place"], "the face was assigned")
    wait_until(lambda: not answered(home), "the picture is gone")
    print(f"the answer took effect after {time.monotonic() - began_s:.1f} s")
    assert before[2] + 1 == faces(home)[2]


def test_a_deleted_picture_stays_away(home: Home, service: Daemon, share: Share) -> None:
    """The other one stays where it is."""
    share.do(rf'del "_questions\{SAME}"')
    wait_until(lambda: deferred(home) == ["same:1,2"], "it is put off")

    share.do(rf'rename "_questions\{IS}" "_questions\no\{IS}"')
    wait_until(lambda: ledger(home) == ["reject"], "the other one is answered")
    wait_until(lambda: not cards(home) + answered(home), "nothing is asked any more")


def test_a_copy_made_by_the_server_answers_as_well(
    home: Home, service: Daemon, share: Share
) -> None:
    """Both questions in one session."""
    share.do(
        rf'scopy "_questions\{SAME}" "_questions\no\Kopie.jpg"',
        rf'scopy "_questions\{IS}" "_questions\yes\{IS}"',
    )
    wait_until(lambda: sorted(ledger(home)) == ["place", "separate"], "both are answered")
    wait_until(lambda: not cards(home) + answered(home), "nothing is asked any more")
    assert [ANN, BOB] == list(folders(home))


def test_two_clients_disagree(home: Home, service: Daemon, share: Share) -> None:
    """The question is asked again, and both are right about the other one."""
    share.do(rf'scopy "_questions\{SAME}" "_questions\yes\mine.jpg"')
    share.do(rf'rename "_questions\{SAME}" "_questions\no\{SAME}"')
    service.wait_for("questions_published", times=2)

    wait_until(lambda: SAME in [card.name for card in cards(home)], "it is asked again")
    wait_until(lambda: not answered(home), "both pictures are gone")
    assert [] == ledger(home)
    share.do(rf'scopy "_questions\{IS}" "_questions\yes\a.jpg"')
    share.do(rf'rename "_questions\{IS}" "_questions\yes\b.jpg"')
    wait_until(lambda: ledger(home) == ["place"], "the face was assigned once")
    wait_until(lambda: not answered(home), "both pictures are gone")
