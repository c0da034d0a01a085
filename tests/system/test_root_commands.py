"""Commands that root runs in a home whose service is another user's."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from portraitd.store.database import Database
from portraitd.store.files import INBOX
from support.processes import Daemon, make_home, portraitd
from support.store import Store

USER = 65533

AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")


@pytest.fixture
def home() -> Iterator[Path]:
    """A home of another user, in a folder that this user can reach, in which a clip was read."""
    if os.geteuid() != 0 or subprocess.run([*AS_USER, "true"], check=False).returncode:
        pytest.skip("needs root, and setpriv")
    folder = Path(tempfile.mkdtemp(prefix="portraitd-"))
    folder.chmod(0o755)
    found = make_home(folder / "home")
    # Its network is shared with other homes, and must not change hands.
    shutil.rmtree(found / "state" / "models")
    with Database.open(found / "state") as database:
        store = Store(database)
        store.see()
        database.execute("update videos set tracked = 1")
        (clip,) = store.files.below(INBOX)
        assert "video 0.mp4" == str(clip)
    subprocess.run(["chown", "-R", f"{USER}:{USER}", found], check=True)
    yield found
    shutil.rmtree(folder)


def of_root(home: Path) -> list[str]:
    """Return what belongs to root below a home, apart from the logs of the test."""
    return [
        str(path.relative_to(home))
        for path in home.rglob("*")
        if path.lstat().st_uid == 0 and not path.name.startswith("log-")
    ]


def test_root_leaves_nothing_that_the_service_cannot_use(home: Path) -> None:
    """Beside the service its requests are carried out; a restored database can be opened."""
    more = {"HOME": str(home)}
    with Daemon(home, under=AS_USER, **more) as daemon:
        daemon.wait_for("service_started")
        made = portraitd("backup", home.parent / "b.sqlite3", "--home", home)
        forgotten = portraitd("forget", "video", "video 0.mp4", "--yes", "--home", home)
        retried = portraitd("retry", "--home", home)
        assert 0 == daemon.stop()

    assert (0, 0, 0) == (made.returncode, forgotten.returncode, retried.returncode)
    assert "1 video and 0 faces erased" in forgotten.stdout
    assert "0 files will be retried.\n" == retried.stdout
    assert [] == of_root(home)

    (home.parent / "b.sqlite3").chmod(0o600)
    restored = portraitd("restore", home.parent / "b.sqlite3", "--home", home)
    assert (0, "") == (restored.returncode, restored.stderr)
    assert [] == of_root(home)
    with Daemon(home, "--until-idle", under=AS_USER, **more) as daemon:
        assert 0 == daemon.process.wait(60), daemon.text
