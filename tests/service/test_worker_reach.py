"""What each kind of worker reaches in a home: the files of its jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from portraitd.config import Settings
from portraitd.service.pools import (
    assembling_policy,
    computing_policy,
    decoding_policy,
    hashing_policy,
    list_hidden_folders,
    planning_policy,
)
from portraitd.store.database import FILE_NAME, Database
from portraitd.workers import sandbox
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import SandboxPolicy
from support import bad_jobs, sandbox_jobs
from support.home import Home
from support.sealing import SEALED_LIMITS, needs_sandbox

ANSWER_S = 240.0

pytestmark = needs_sandbox


def media_policy(settings: Settings) -> SandboxPolicy:
    """Of workers that decode, without the time that their models take."""
    policy = decoding_policy(None, list_hidden_folders(settings))
    access = replace(policy.access, writable=(settings.models_dir,))
    return replace(policy, access=access)


class HomeInUse(NamedTuple):
    """A home with a file of each sort, and those that a worker of the service could look for."""

    settings: Settings
    sorts: dict[str, Path]


@pytest.fixture(scope="module")
def home_in_use(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HomeInUse]:
    """The database is open, as that of a service."""
    settings = Home(tmp_path_factory.mktemp("reach") / "home").settings
    state = settings.state_dir
    files = {
        "clip": settings.inbox_dir / "clip.mp4",
        "person": settings.people_dir / "Ann" / "portrait.jpg",
        "set": settings.dataset_dir / "yolo" / "data.yaml",
        "frame": state / "frames" / "1" / "abc" / "frame.jpg",
        "model": settings.models_dir / "model.onnx",
        "snapshot": state / "grouping-1.npz",
        "matrix": state / "tracks.f32",
        "settings": settings.home_dir / "config.toml",
    }
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content")
    database = {"database": FILE_NAME, "journal": f"{FILE_NAME}-wal", "index": f"{FILE_NAME}-shm"}
    paths = {sort: state / name for sort, name in database.items()}
    with Database.open(state) as opened:
        opened.execute("select count(*) from files").fetchone()
        yield HomeInUse(
            settings,
            files
            | paths
            | {
                "home": settings.home_dir,
                "state": state,
                "inbox": settings.inbox_dir,
                "library": Path(sandbox.__file__),
                "password": Path("/etc/passwd"),
            },
        )


LIBRARY = "libBrokenLocale.so.1"
"""A part of the C library that nothing needs."""

DATABASE = {"database", "journal", "index"}


@pytest.mark.parametrize(
    ("make", "readable", "writable"),
    [
        (media_policy, {"model", "library"}, set()),
        (hashing_policy, {"model"}, set()),
        (computing_policy, set(), set()),
        (planning_policy, DATABASE, set()),
        (assembling_policy, {*DATABASE, "frame", "set"}, {"frame", "set"}),
    ],
)
def test_each_kind_of_worker_reaches_its_own_files_only(
    home_in_use: HomeInUse,
    make: Callable[[Settings], SandboxPolicy],
    readable: set[str],
    writable: set[str],
) -> None:
    """And changes none otherwise, loads no further library, starts no program, and reaches no
    network and no process."""
    policy = make(home_in_use.settings)
    assert policy.prepare
    policy = replace(policy, prepare=(sandbox_jobs.prepare_and_import_this, (policy.prepare,)))
    paths = {str(path): sort for sort, path in home_in_use.sorts.items()}
    executor = LocalExecutor(1, SEALED_LIMITS, policy)
    try:
        read = executor.submit(sandbox_jobs.try_to_read, list(paths)).result(ANSWER_S)
        written = executor.submit(sandbox_jobs.try_to_write, list(paths)).result(ANSWER_S)
        changed = executor.submit(sandbox_jobs.try_to_change, list(paths)).result(ANSWER_S)
        moved = executor.submit(
            sandbox_jobs.try_to_move,
            [path for path, sort in paths.items() if sort not in writable],
            [str(home_in_use.settings.dataset_dir), str(home_in_use.settings.people_dir)],
        ).result(ANSWER_S)
        loaded = executor.submit(sandbox_jobs.try_to_load, LIBRARY).result(ANSWER_S)
        started = executor.submit(bad_jobs.starts).result(ANSWER_S)
    finally:
        executor.shutdown(cancel_futures=True)

    assert readable == {paths[path] for path, error in read.items() if error == "done"}
    assert writable == {paths[path] for path, error in written.items() if error == "done"}
    assert {"EACCES", "done"} >= {*read.values(), *written.values()}
    assert [] == changed
    assert [] == moved
    assert loaded.startswith(LIBRARY)
    assert "done" == sandbox_jobs.try_to_load(LIBRARY)
    assert {"PermissionError"} == set(started.values())
