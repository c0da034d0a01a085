"""``ledger``, ``undo`` and ``accept``, with a running service and without one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from support.processes import Daemon, make_home, portraitd, wait_until


def rows(home: Path) -> list[dict[str, object]]:
    answer = portraitd("ledger", "--json", "--home", home)
    assert 0 == answer.returncode, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


def test_what_people_do_is_listed_and_undone(tmp_path: Path, two_people: Path) -> None:
    """While the service runs, and after it was stopped."""
    home = make_home(tmp_path / "home")
    shutil.copyfile(two_people, home / "inbox" / "clip.mp4")
    with Daemon(home) as daemon:
        wait_until(daemon.has_settled, "everything is shown", 120.0)
        (home / "people" / "person-0001").rename(home / "people" / "Ann")
        daemon.wait_for("edit")

        assert [("name", 1, "Ann", False)] == [
            (row["kind"], row["person_id"], row["name"], row["is_undone"]) for row in rows(home)
        ]
        assert "person-0001 was named Ann" in portraitd("ledger", "--home", home).stdout

        answer = portraitd("undo", "--home", home)
        assert "Undone: person-0001 was named Ann (entry 1)\n" == answer.stdout
        wait_until((home / "people" / "person-0001").is_dir, "the folder has its number again")

        refused = portraitd("undo", "99", "--home", home)
        assert 78 == refused.returncode
        assert "there is no entry 99" in refused.stderr
        assert 0 == daemon.stop()

    answer = portraitd("undo", "2", "--home", home)
    assert (
        "Redone: person-0001 was named Ann (entry 2); `portraitd run` will update people/.\n"
        == answer.stdout
    )
    assert [False, True, False] == [row["is_undone"] for row in rows(home)]
    answer = portraitd("accept", "--home", home)
    assert (
        "The service is not running. The request is queued and will be carried out when "
        "`portraitd run` starts.\n" == answer.stdout
    )


def test_a_home_without_a_store_has_no_ledger(tmp_path: Path) -> None:
    """The error is one line."""
    for command in ("ledger", "undo", "accept", "rebuild"):
        answer = portraitd(command, "--home", tmp_path)

        assert 74 == answer.returncode
        assert "nothing has been processed in this home yet" in answer.stderr
