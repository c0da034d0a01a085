"""A share that two machines have mounted: one of their services works on it."""

from __future__ import annotations

import pytest

from portraitd.cli import options
from support import clock_on_share, lease_on_share, mounted_share

pytestmark = pytest.mark.skipif(
    bool(mounted_share.reason_unsupported()), reason=mounted_share.reason_unsupported()
)


def test_one_of_two_machines_holds_the_lease_of_a_share() -> None:
    """Where locks of files count on one machine only, and contents are cached."""
    found = mounted_share.run_on_a_share(lease_on_share.watch_leases)

    assert "fuse.smbnetfs" == found["kind"]
    assert 1 == found["after both began"]
    assert [1] * 39 == found["renewed"]
    assert "another portraitd works on this tree: process" in found["named"]
    assert not found["soon after a crash"]
    assert found["later"]
    assert not found["left"]


def test_a_command_on_another_machine_leaves_a_tree_in_use_alone() -> None:
    """It names the home whose service works there, and erases nothing."""
    found = mounted_share.run_on_a_share(lease_on_share.forget_beside_a_service)

    assert found["held"]
    assert options.EXIT_UNAVAILABLE == found["code"]
    assert "home /home/one" in found["error"]
    assert 1 == found["videos"]


@pytest.mark.slow
@pytest.mark.skipif(not clock_on_share.FAKETIME, reason="Debian's faketime is not installed")
def test_a_file_server_with_another_time_stops_retention() -> None:
    """A clock that is ahead, but within what is plausible since the last run, erases nothing."""
    found = mounted_share.run_on_a_share(clock_on_share.retain_with_a_wrong_clock)

    assert 60.0 > abs(found["difference"])
    assert [[6, "retention_clock"], [5, ""]] == found["left"]
    assert [".portraitd-root"] == [name for name in found["in the tree"] if name[0] == "."]
