"""What ``status`` shows of remote workers."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from portraitd.cli.status_output import describe_worker, print_json, print_table
from portraitd.service.status import read_status
from portraitd.store.database import Database
from portraitd.store.remote_workers import ClusterState, RemoteWorker, RemoteWorkers
from support.home import Home

FAST = RemoteWorker("tcp://a:1", "alpha", "accepted", "", 4, 5, 20, 600.0, 300.0, False)
REFUSED = RemoteWorker("tcp://b:1", "beta", "refused", "another encoder", 4, 0, 0, 0.0, 0.0, True)
CLUSTER = ClusterState("tcp://c:8786", "http://c:8787/status", True, 9.0)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with remote workers and one queued slice."""
    found = Home(tmp_path, workers={"kind": "dask", "address": "tcp://127.0.0.1:1"})
    database = Database.open(found.settings.state_dir)
    RemoteWorkers(database).record(CLUSTER, [REFUSED, FAST])
    database.close()
    return found


def test_the_last_record_is_shown(tmp_path: Path) -> None:
    """By address; without a cluster nothing is recorded."""
    remote_workers = RemoteWorkers(Database.open(tmp_path))
    assert (None, []) == (remote_workers.cluster(), remote_workers.members())

    remote_workers.record(CLUSTER, [FAST])
    remote_workers.record(replace(CLUSTER, reached=False), [REFUSED, FAST])

    assert replace(CLUSTER, reached=False) == remote_workers.cluster()
    assert [FAST, REFUSED] == remote_workers.members()
    remote_workers.clear()
    assert (None, []) == (remote_workers.cluster(), remote_workers.members())


def test_status_names_each_worker_and_its_speed(home: Home) -> None:
    """And why one was refused, and the URL of the dashboard."""
    out = io.StringIO()
    print_table(read_status(home.settings), Console(file=out, width=200))

    said = out.getvalue()
    assert "http://c:8787/status" in said
    assert "alpha tcp://a:1: 4 at once, 5 slices out, 20 done, 8.0 s of footage per second" in said
    assert "beta tcp://b:1: refused, another encoder" in said


def test_status_for_scripts_has_the_workers(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """Every figure with its key."""
    print_json(read_status(home.settings))

    said = json.loads(capsys.readouterr().out)
    assert [5, 0] == [worker["slices_out"] for worker in said["workers"]]
    assert "http://c:8787/status" == said["cluster"]["dashboard"]


def test_a_worker_that_receives_files_is_marked() -> None:
    """The network may limit its speed."""
    assert describe_worker(replace(FAST, receives_files=True)).endswith("files are sent")


def test_a_service_without_a_cluster_clears_the_record(home: Home) -> None:
    """Workers of an earlier configuration are not shown."""
    with home.opened() as service:
        home.tick(service)

    snapshot = read_status(home.settings).snapshot
    assert ([], None) == (snapshot.workers, snapshot.cluster)
