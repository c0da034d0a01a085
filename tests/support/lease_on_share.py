"""What two machines see of a lease on a share that both have mounted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portraitd.ingest.mounts import file_system_type, needs_polling
from portraitd.model.stage import Now
from portraitd.people.tree.lease import CONFIRM_S, LEASE_NAME, RENEW_S, STALE_S, TreeLease
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.store.database import Database
from support.processes import portraitd
from support.store import Store, video_facts


def watch_leases(one: Path, two: Path, own: Path) -> dict[str, Any]:
    """Have two services take, keep, lose and give back the lease of one tree."""
    kind = file_system_type(one)
    PeopleTree(one, store="a").create()
    first, second = (
        TreeLease(root, "a", Path(home), lambda: needs_polling(kind))
        for root, home in ((one, "/home/one"), (two, "/home/two"))
    )

    def held(steady_s: float) -> tuple[bool, bool]:
        for lease in (first, second):
            lease.tick(Now(0.0, steady_s))
        return not first.blocked, not second.blocked

    found: dict[str, Any] = {"kind": kind}
    held(0.0)
    # Both may have written before either saw what the other wrote.
    found["after both began"] = sum(held(CONFIRM_S))
    found["renewed"] = [sum(held(CONFIRM_S + RENEW_S * turn)) for turn in range(1, 40)]
    holder, other = (first, second) if not first.blocked else (second, first)
    found["named"] = other.blocked.text
    holder.close()
    began_s = CONFIRM_S + 40 * RENEW_S

    def watched(steady_s: float) -> bool:
        other.tick(Now(0.0, steady_s))
        return not other.blocked

    found["soon after a crash"] = watched(began_s) or watched(began_s + STALE_S - 1.0)
    found["later"] = watched(began_s + STALE_S + 1.0) or watched(
        began_s + STALE_S + CONFIRM_S + 1.0
    )
    other.give_up()
    found["left"] = ((one if other is first else two) / LEASE_NAME).exists()
    return found


def forget_beside_a_service(one: Path, two: Path, own: Path) -> dict[str, Any]:
    """Have a service hold the lease, and a copied home forget on its mount of the share."""
    home = own / "copy"
    for name in ("inbox", "state"):
        (home / name).mkdir(parents=True)
    (home / "config.toml").write_text(f'[paths]\npeople = "{two}"\n')
    with Database.open(home / "state") as database:
        store = Store(database)
        store.slice_queue.admit(store.file("clip.mp4"), video_facts(), 60.0, 1.0)
        name = database.name
    PeopleTree(one, store=name).create()
    service = TreeLease(one, name, Path("/home/one"), lambda: True)
    for steady_s in (0.0, CONFIRM_S):
        service.tick(Now(0.0, steady_s))
    ended = portraitd("forget", "video", "clip.mp4", "--yes", "--home", home)
    with Database.open(home / "state") as database:
        videos = database.execute("select count(*) from videos").fetchone()[0]
    return {
        "held": not service.blocked,
        "code": ended.returncode,
        "error": ended.stderr,
        "videos": videos,
    }
