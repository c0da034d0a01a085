"""Only one portraitd works on a tree; one that ended does not keep others out for ever."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from portraitd.model.errors import TreeInUse
from portraitd.model.reasons import ReasonCode
from portraitd.model.stage import Now
from portraitd.people.tree.lease import (
    CONFIRM_S,
    LEASE_NAME,
    RENEW_S,
    STALE_S,
    TreeLease,
    read_process,
)
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.service.daemon import open_service
from portraitd.service.wakeup import Doorbell
from support.home import Home
from support.permissions import permissions_count
from support.tree import make_sparse


@pytest.fixture
def root(tmp_path: Path) -> Path:
    PeopleTree(tmp_path / "people", store="a").create()
    return tmp_path / "people"


def lease(root: Path, home: str = "/home/one", *, shared: bool = False) -> TreeLease:
    return TreeLease(root, "a", Path(home), lambda: shared)


def at(steady_s: float, wall_s: float = 0.0) -> Now:
    return Now(wall_s, steady_s)


def is_held(one: TreeLease, steady_s: float) -> bool:
    one.tick(at(steady_s))
    return not one.blocked


def write_record(root: Path, **facts: object) -> None:
    """As a portraitd of another machine writes it, on a share without locks."""
    record = {
        "portraitd": 1, "token": "theirs", "renewals": 1, "machine": "nas", "home": "/srv/copy",
        "process": ["another kernel", 1, 2, 3],
    } | facts  # fmt: skip
    (root / LEASE_NAME).write_text(json.dumps(record))


def test_a_second_service_is_refused_and_the_first_one_named(root: Path) -> None:
    """At once, and for as long as the first one lives, whatever the clocks say."""
    first, second = lease(root), lease(root, "/home/copy")
    assert is_held(first, 0.0)

    for steady_s, wall_s in ((0.0, 0.0), (10.0 * STALE_S, -1e9), (20.0 * STALE_S, 1e12)):
        second.tick(at(steady_s, wall_s))
        assert ReasonCode.TREE_IN_USE is second.blocked.code
        assert "home /home/one" in second.blocked.text
        assert second.is_locked_out
        assert is_held(first, steady_s)


def test_a_service_that_ended_keeps_nobody_out(root: Path) -> None:
    """On a local disk the kernel says so: after a crash, and after an orderly end."""
    first, second = lease(root), lease(root)
    assert is_held(first, 0.0)
    first.close()
    assert is_held(second, 1.0)

    second.give_up()

    assert not (root / LEASE_NAME).exists()
    assert second.blocked
    assert is_held(lease(root), 2.0)


def test_on_a_share_a_lease_is_stale_when_it_does_not_change(root: Path) -> None:
    """By the clock of the one who watches; a renewed lease is never taken."""
    other = lease(root, shared=True)
    for turn in range(100):
        write_record(root, renewals=turn)
        assert not is_held(other, 3.0 * RENEW_S * turn)
    last_s = 3.0 * RENEW_S * 99
    assert not is_held(other, last_s + STALE_S - 1.0)
    assert "process 2 on nas, home /srv/copy" in other.blocked.text

    assert is_held(other, last_s + STALE_S) is False, "the take-over is to be confirmed"
    assert is_held(other, last_s + STALE_S + CONFIRM_S)


def test_a_holder_that_was_suspended_stands_back(root: Path) -> None:
    """It reads the lease before each turn, and finds it taken over."""
    suspended = lease(root, shared=True)
    assert not is_held(suspended, -CONFIRM_S)
    assert is_held(suspended, 0.0)
    write_record(root)

    assert not is_held(suspended, 1.0)
    assert not is_held(suspended, 2.0)
    assert "theirs" in (root / LEASE_NAME).read_text()


def test_of_two_that_take_over_at_once_one_works(root: Path) -> None:
    """Both wrote; the one whose token is there goes on after both have looked again."""
    write_record(root)
    both = [lease(root, shared=True), lease(root, shared=True)]
    for one in both:
        assert not is_held(one, 0.0)
    held = [is_held(one, STALE_S) or is_held(one, STALE_S + CONFIRM_S) for one in both]

    assert 1 == sum(held)


def test_a_lease_that_was_removed_is_written_again(root: Path) -> None:
    """A reviewer may have tidied up."""
    one = lease(root)
    assert is_held(one, 0.0)
    (root / LEASE_NAME).unlink()

    assert is_held(one, 1.0)
    assert (root / LEASE_NAME).is_file()
    assert not is_held(lease(root), 1.0)


def test_a_process_of_this_machine_that_ended_is_known_to_have(root: Path) -> None:
    """Also on a share: the next service does not wait until the lease is stale."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    process = read_process(ended.pid)
    ended.wait()
    write_record(root, process=[*process])
    one = lease(root, shared=True)
    one.tick(at(0.0))

    assert is_held(one, CONFIRM_S)


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        make_sparse,
        lambda path: path.mkdir(),
        lambda path: (path / "mine").mkdir(parents=True),
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.write_bytes(b"\xff\x00" * 100),
        lambda path: path.write_text('{"process": [NaN, 1e999], "token": ' + "[" * 5000),
    ],
    ids=["pipe", "sparse", "folder", "full folder", "link", "bytes", "nested"],
)
def test_whatever_has_its_name_the_lease_is_got(root: Path, make: Callable[[Path], object]) -> None:
    """And nothing is written through a link."""
    make(root / LEASE_NAME)

    assert is_held(lease(root), 0.0)
    assert (root / LEASE_NAME).stat().st_size < 1000


def test_a_tree_that_cannot_be_written_is_read(root: Path) -> None:
    """What cannot be written there is reported by those who try."""
    root.chmod(0o500)

    with permissions_count():
        held = is_held(lease(root), 0.0)
    root.chmod(0o700)

    assert held
    assert not (root / LEASE_NAME).exists()


def test_a_lease_on_a_local_disk_is_written_once(root: Path) -> None:
    """A service without work must not wake a disk."""
    one, shared = lease(root), lease(root, shared=True)
    assert is_held(one, 0.0)
    before = (root / LEASE_NAME).read_text()
    assert is_held(one, 10.0 * RENEW_S)
    assert before == (root / LEASE_NAME).read_text()
    one.give_up()
    assert not is_held(shared, -CONFIRM_S), "on a share another one may have written, too"
    assert is_held(shared, 0.0)
    before = (root / LEASE_NAME).read_text()
    assert is_held(shared, RENEW_S)

    assert before != (root / LEASE_NAME).read_text()


def test_nothing_is_written_through_a_hard_link(root: Path, tmp_path: Path) -> None:
    """Neither when the lease is got nor when it is renewed."""
    outside = tmp_path / "outside"
    outside.write_text("mine")
    os.link(outside, root / LEASE_NAME)
    one = lease(root)
    assert is_held(one, 0.0)
    os.link(root / LEASE_NAME, root / "note.txt")
    is_held(one, RENEW_S)
    assert is_held(one, 2.0 * RENEW_S)

    assert "mine" == outside.read_text()


def test_without_our_marker_there_is_no_lease(root: Path) -> None:
    """The share is not mounted, or the tree is another's: that is reported elsewhere."""
    strange = TreeLease(root, "b", Path("/home/two"))
    missing = TreeLease(root / "missing", "a", Path("/home/two"))
    for one in (strange, missing):
        assert is_held(one, 0.0)

    assert not (root / LEASE_NAME).exists()


def test_a_copied_home_leaves_the_tree_alone(tmp_path: Path) -> None:
    """Until the service of the first one has ended."""
    first = Home(tmp_path / "first")
    first.run()
    shutil.copytree(first.settings.state_dir, tmp_path / "second/state")
    copied = Home(tmp_path / "second", paths={"people": first.people})

    with first.opened() as one, copied.opened() as other:
        first.tick(one)
        before = {path: path.stat().st_mtime_ns for path in first.people.rglob("*")}
        copied.tick(other)
        copied.tick(other)
        blocked = other.blocked
        first.tick(one)
        after = {path: path.stat().st_mtime_ns for path in first.people.rglob("*")}
        assert not one.blocked

    assert ReasonCode.TREE_IN_USE is blocked.code
    assert f"home {first.settings.home_dir}" in blocked.text
    assert before == after
    copied.run()


def test_a_start_on_a_tree_in_use_is_refused(tmp_path: Path) -> None:
    """With a line that says by which home."""
    first = Home(tmp_path / "first")
    first.run()
    shutil.copytree(first.settings.state_dir, tmp_path / "second/state")
    copied = Home(tmp_path / "second", paths={"people": first.people})

    with first.opened() as one:
        first.tick(one)
        with (
            pytest.raises(TreeInUse, match=f"home {first.settings.home_dir}") as refused,
            open_service(copied.settings, Doorbell()),
        ):
            pass

    assert ReasonCode.TREE_IN_USE is refused.value.reason.code
    with open_service(copied.settings, Doorbell()):
        assert (copied.people / LEASE_NAME).is_file()
    assert not (copied.people / LEASE_NAME).exists()
