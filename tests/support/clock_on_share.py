"""Retention with a people tree on a share, while the clock of this machine is wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from portraitd.config import Settings
from portraitd.model.stage import Now
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.service.clock_check import read_server_clock
from portraitd.service.erasure_stage import ErasureStage
from portraitd.service.home import make_home
from portraitd.store.database import Database
from portraitd.store.erasure.eraser import Eraser
from portraitd.store.erasure.retention_record import RetentionRecord, write_record
from support.processes import environment
from support.store import Store, video_facts

FAKETIME = shutil.which("faketime")

DAY_S = 86_400.0


def retain_with_a_wrong_clock(one: Path, two: Path, own: Path) -> dict[str, Any]:
    """Have retention look at a store twice: with the clock ten days ahead, and with the right one.

    Within what the last run of the service allows.
    """
    assert FAKETIME
    home = own / "home"
    settings = _settings(home, one)
    make_home(settings)
    now_s = time.time()
    with Database.open(settings.state_dir) as database:
        store = Store(database)
        for number in range(6):
            file = store.file(f"{number}.mp4")
            facts = video_facts(sha256=f"sha of {number}")
            store.slice_queue.admit(file, facts, 60.0, now_s - (5.0 if number else 12.0) * DAY_S)
        PeopleTree(one, store=database.name).create()
    write_record(settings.state_dir, RetentionRecord(now_s - 2.0 * DAY_S))
    server_s = read_server_clock(one)
    assert server_s is not None
    code = (
        "from pathlib import Path; import sys; from support.clock_on_share import retain; "
        "retain(*map(Path, sys.argv[1:]))"
    )
    left = []
    # Only the clock of the day: waiting uses the other one.
    changed = environment(DONT_FAKE_MONOTONIC="1")
    for ahead in (["-f", "+10d"], ["-f", "+0d"]):
        command = [FAKETIME, *ahead, sys.executable, "-c", code, str(home), str(one)]
        ended = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=changed)
        left.append(json.loads(ended.stdout.splitlines()[-1]))
    return {
        "difference": server_s - now_s,
        "left": left,
        "in the tree": sorted(path.name for path in one.iterdir()),
    }


def retain(home: Path, people: Path) -> None:
    """Tick the retention of a home once; print how many videos are left, and why it waits."""
    settings = _settings(home, people)
    with Database.open(settings.state_dir) as database:
        stage = ErasureStage(Eraser(database), settings, clock_is_synchronised=lambda: False)
        stage.tick(Now.read())
        count = database.execute("select count(*) from videos").fetchone()[0]
    print(json.dumps([count, stage.blocked.code]))


def _settings(home: Path, people: Path) -> Settings:
    sections = {"paths": {"people": people}, "privacy": {"keep_days": 10.0}}
    return Settings.model_validate({"home": home, **sections})
