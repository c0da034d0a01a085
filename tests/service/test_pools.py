"""Which workers a job runs in, and that what it needs reaches it there."""

from __future__ import annotations

import ast
import importlib
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, wait
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

import portraitd
from portraitd.datasets.crop_jobs import crop_frames
from portraitd.datasets.crop_requests import CroppedImage, CropResult
from portraitd.ingest.dispatcher import encode_options
from portraitd.service.pools import (
    MEDIA_JOBS,
    NUMBER_JOBS,
    SET_JOBS,
    assembling_policy,
    computing_policy,
    make_workers,
    worker_limits,
)
from portraitd.workers import sandbox
from portraitd.workers.pool import InlineExecutor, LocalExecutor, RoutedExecutor
from portraitd.workers.process import SandboxPolicy, WorkerLimits
from portraitd.workers.sandbox.self_test import try_forbidden
from support import bad_jobs
from support.dataset_home import SECTIONS, name_two, with_photos
from support.home import Home, connect

T = TypeVar("T")

LIMITS = WorkerLimits(nice=0, memory_mb=0, time_limit_s=120.0)

ROOT = Path(portraitd.__file__).parent

ELSEWHERE = {
    # Of our own pictures, before there is a service.
    ("portraitd.cli.demo", "make_clip"),
    # The self test of the sandbox, in its own pool.
    ("portraitd.service.pools", "try_forbidden"),
    # Threads.
    ("portraitd.clustering.neighbours", "searcher.search"),
    ("portraitd.service.remote.remote_executor", "self._send_and_start"),
    ("portraitd.service.remote.dask_client", "self._fetch"),
}
"""What is handed out without a service: module and job."""

PASSED_ON = {"fn", "job", "job.fn"}
"""Names under which a job is handed from one function to the next."""


class Awaited(Executor):
    """Real workers, each waited for: a turn of a test finds its jobs done."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """The finished future."""
        future = self._inner.submit(fn, *args, **kwargs)
        wait([future])
        return future


# --- Every job has a home.


def submitted() -> Iterator[tuple[str, str]]:
    """Module and job of every call that hands one out."""
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(["portraitd", *path.relative_to(ROOT).with_suffix("").parts])
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) and node.args else None
            if isinstance(called, ast.Attribute) and called.attr in ("submit", "_submit"):
                yield module, ast.unparse(node.args[0])


def test_every_job_that_is_handed_out_has_a_home() -> None:
    """And no home is for a job that nobody knows."""
    found = {one for one in submitted() if one[1] not in PASSED_ON} - ELSEWHERE
    jobs = set()
    for module, name in found:
        place: Any = importlib.import_module(module)
        for part in name.split("."):
            place = getattr(place, part)
        jobs.add(place)

    homes = MEDIA_JOBS | NUMBER_JOBS | SET_JOBS
    assert set() == jobs - homes
    # Reading without looking is for measurements.
    assert {"decode"} == {job.__name__ for job in homes - jobs}
    assert len(homes) == len(MEDIA_JOBS) + len(NUMBER_JOBS) + len(SET_JOBS)
    assert len(found) > 8


def test_a_job_without_a_home_runs_nowhere() -> None:
    """It is our mistake, and must not run where it may do too much."""
    routed = RoutedExecutor({bad_jobs.add: InlineExecutor()})

    assert 5 == routed.submit(bad_jobs.add, 2, 3).result()
    with pytest.raises(LookupError, match=r"support\.bad_jobs\.what_was_seen has no workers"):
        routed.submit(bad_jobs.what_was_seen)


# --- The same comes out of closed workers as of open ones.


class Twice(NamedTuple):
    """The same videos, worked on by open workers and by closed ones."""

    open: Home
    closed: Home


@pytest.fixture(scope="module", params=["cut", "keep"])
def twice(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    two_people: Path,
    photographs: list[Path],
) -> Twice:
    """Both with a training set of two people."""
    folder = tmp_path_factory.mktemp("workers")
    dataset = {"auto": True, "near_duplicate": 0.0, "frames": request.param}
    homes = []
    for name in ("open", "closed"):
        home = Home(folder / name, **(SECTIONS | {"dataset": dataset}))
        home.drop(two_people, "clip.mp4")
        with_photos(home, photographs, count=3)
        settings = home.settings
        workers: Executor = LocalExecutor(2, worker_limits(settings))
        if name == "closed":
            workers.shutdown()
            workers = make_workers(settings, encode_options(settings).encoder)
        try:
            with home.opened(executor=Awaited(workers)) as service:
                home.run_until_idle(service)
            name_two(home)
            with home.opened(executor=Awaited(workers)) as service:
                home.run_until_idle(service)
        finally:
            workers.shutdown(cancel_futures=True)
        homes.append(home)
    return Twice(*homes)


def faces(home: Home) -> list[tuple[Any, ...]]:
    """Everything about every face, whatever its number is."""
    connection = connect(home.settings.state_dir)
    rows = connection.execute(
        """
        select sha256, t_s, box_left, box_top, box_right, box_bottom, score, landmarks, size_px,
               sharpness, frontal, confidence, encoder, embedding, jpeg
        from faces join videos on videos.id = video_id join portraits on face_id = faces.id
        order by sha256, t_s, box_left, box_top
        """
    ).fetchall()
    connection.close()
    return [tuple(row) for row in rows]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but our own notes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def test_closed_workers_find_the_same_faces(twice: Twice) -> None:
    """To the byte: embeddings and portraits."""
    expected = faces(twice.open)

    assert expected == faces(twice.closed)
    assert len(expected) > 20


def test_closed_workers_build_the_same_training_sets(twice: Twice) -> None:
    """Every picture, label and number; what was cut or kept for them too."""
    expected = contents(twice.open.settings.dataset_dir)

    assert expected == contents(twice.closed.settings.dataset_dir)
    assert {"yolo", "coco", "chips150", "chips112"} <= {name.split("/")[0] for name in expected}
    pool = twice.closed.settings.state_dir / "frames"
    assert contents(twice.open.settings.state_dir / "frames") == contents(pool)
    # Linked, not copied.
    assert {2} <= {path.stat().st_nlink for path in pool.rglob("*.jpg")}


def test_a_set_can_be_built_again_where_its_folder_was_removed(twice: Twice) -> None:
    """The worker that writes it is not bound to the folder that it saw first."""
    home = twice.closed
    workers = make_workers(home.settings, encode_options(home.settings).encoder, loads=False)
    before = contents(home.settings.dataset_dir)
    try:
        for _ in range(2):
            shutil.rmtree(home.settings.dataset_dir)
            with home.opened(executor=Awaited(workers)) as service:
                home.run_until_idle(service)
            assert before.keys() == contents(home.settings.dataset_dir).keys()
    finally:
        workers.shutdown(cancel_futures=True)


# --- What workers can reach that compute and write.

closing = pytest.mark.skipif(
    bool(list(sandbox.missing_features())),
    reason=f"not supported here: {list(sandbox.missing_features())}",
)


def tried(policy: SandboxPolicy, unreadable: Path) -> dict[str, bool]:
    """What was refused in a worker."""
    executor = LocalExecutor(1, LIMITS, policy)
    try:
        return executor.submit(try_forbidden, unreadable).result()
    finally:
        executor.shutdown(cancel_futures=True)


@closing
def test_a_worker_that_computes_reaches_the_state_alone(tmp_path: Path) -> None:
    """Neither the inbox nor anybody else."""
    home = Home(tmp_path / "home")
    dropped = home.drop(b"a video", "clip.mp4")

    found = tried(computing_policy(home.settings), dropped)

    assert dict.fromkeys(found, True) == found


@closing
def test_a_worker_that_writes_sets_reaches_nobody(tmp_path: Path) -> None:
    """It may read and write, wherever the set lies."""
    other = tmp_path / "other"
    other.write_text("")

    assert {
        "reach the network": True,
        "read other files": False,
        "write files": False,
        "start a program": True,
        "signal the service": True,
    } == tried(assembling_policy(), other)


# --- What a worker that was taken over cannot put into the pool.


class Tampering(InlineExecutor):
    """Adds pictures that nobody ordered to what is cut."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """The answer, as a worker gives it that is no longer ours."""
        future: Future[Any] = super().submit(fn, *args, **kwargs)
        if fn is not crop_frames:
            return future
        changed: Future[Any] = Future()
        changed.set_result([self._tampered(cut) for cut in future.result()])
        return changed

    def _tampered(self, cut: CropResult) -> CropResult:
        jpeg = cut.images[0].jpeg
        foreign = ("../../../escaped.jpg", "nobody-ordered-it.jpg")
        return CropResult(
            (*cut.images, *(CroppedImage(name, jpeg) for name in foreign)), cut.reason
        )


def test_only_what_was_ordered_comes_into_the_pool(tmp_path: Path, photographs: list[Path]) -> None:
    """Whatever names a worker answers with."""
    dataset = {"auto": True, "near_duplicate": 0.0, "formats": ("coco",)}
    home = Home(tmp_path / "home", **(SECTIONS | {"dataset": dataset}))
    with_photos(home, photographs, count=4)
    home.run()
    name_two(home)
    before = {path for path in tmp_path.rglob("*.jpg") if home.people not in path.parents}

    with home.opened(executor=Tampering()) as service:
        home.run_until_idle(service)

    made = {path for path in tmp_path.rglob("*.jpg") if home.people not in path.parents} - before
    assert made
    pool = home.settings.state_dir / "frames"
    stray = [path for path in made if {pool, home.settings.dataset_dir}.isdisjoint(path.parents)]
    assert [] == stray
    assert [] == [path for path in made if path.name in ("escaped.jpg", "nobody-ordered-it.jpg")]
