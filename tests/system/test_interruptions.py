"""A service that is killed, stopped or reloaded while its workers read a file, and goes on."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import closing
from pathlib import Path

import pytest

from support.home import connect
from support.processes import Daemon, children, make_home

ENDINGS = ("kill", "kill", "stop all", "kill", "reload")


def make_strict_home(folder: Path) -> Path:
    """Make a home in which a job has one attempt."""
    home = make_home(folder, is_slow=True)
    config = home / "config.toml"
    config.write_text(config.read_text().replace("[workers]\n", "[workers]\nattempts = 1\n"))
    return home


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["file_ready", "slice_started"])
def test_what_ends_the_service_counts_nothing_against_its_jobs(
    tmp_path: Path, two_people: Path, moment: str
) -> None:
    """Each job has one attempt: anything that was counted would have failed the clip."""
    home = make_strict_home(tmp_path / "home")
    for number, ending in enumerate(ENDINGS):
        with Daemon(home) as daemon:
            if number == 0:
                shutil.copyfile(two_people, home / "inbox" / "clip.mp4")
            if number == 0 or moment == "slice_started":
                daemon.wait_for(moment)
            else:
                daemon.wait_for("service_started")
            if ending == "reload":
                config = home / "config.toml"
                config.write_text(config.read_text().replace("count = 2", "count = 1"))
                for pid in (daemon.process.pid, *children(daemon.process.pid)):
                    os.kill(pid, signal.SIGHUP)
                daemon.wait_for("video_done")
                assert 0 == daemon.stop()
            elif ending == "stop all":
                # As systemd does by default, and a terminal that closes.
                for pid in (*children(daemon.process.pid), daemon.process.pid):
                    os.kill(pid, signal.SIGTERM)
                assert 0 == daemon.process.wait(60.0)
            lost = [line for line in daemon.log if line["event"] in ("slice_lost", "file_failed")]
            assert [] == lost
        # Otherwise it was killed when the block ended.
    with closing(connect(home / "state")) as store:
        assert [("done",)] == [tuple(row) for row in store.execute("select state from files")]
        assert {1} == {row["attempts"] for row in store.execute("select attempts from slices")}
