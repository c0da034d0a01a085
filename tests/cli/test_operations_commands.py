"""``backup``, ``restore`` and ``forget``, next to a running service."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from support.home import Home
from support.processes import Daemon, make_home, portraitd, wait_until


def test_a_backup_beside_a_running_store_opens(tmp_path: Path, nobody: Path) -> None:
    """SQLite finds the copy intact; a restore waits until the service has stopped."""
    home = Home(tmp_path / "home")
    home.drop(nobody, "nobody.mp4")
    home.run()
    with home.opened():
        answer = portraitd("backup", tmp_path / "b.sqlite3", "--home", home.settings.home_dir)
        refused = portraitd("restore", tmp_path / "b.sqlite3", "--home", home.settings.home_dir)

    assert 0 == answer.returncode, answer.stderr
    assert "checked; 1 file, 1 video, 0 faces, 0 people\n" in answer.stdout
    assert 75 == refused.returncode
    with closing(sqlite3.connect(tmp_path / "b.sqlite3")) as db:
        assert ("ok",) == db.execute("pragma integrity_check").fetchone()
    restored = portraitd("restore", tmp_path / "b.sqlite3", "--home", home.settings.home_dir)
    assert 0 == restored.returncode, restored.stderr
    assert "portraitd.sqlite3.old-" in restored.stdout


def test_a_running_service_erases_what_a_command_asks_for(tmp_path: Path, nobody: Path) -> None:
    """The command waits for the service and prints what it did."""
    home = make_home(tmp_path / "home")
    (home / "inbox" / "nobody.mp4").write_bytes(nobody.read_bytes())
    with Daemon(home) as daemon:
        daemon.wait_for("video_done")
        wait_until(lambda: daemon.status()["files"] == {"done": 1}, "the clip is done")
        answer = portraitd("forget", "video", "nobody.mp4", "--yes", "--home", home)

        assert 0 == answer.returncode, answer.stderr
        assert "1 video and 0 faces erased" in answer.stdout
        assert {"forgotten": 1} == daemon.status()["files"]
