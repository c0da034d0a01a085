"""The pool of each job, and that its sandbox allows what the job needs."""

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
    ALL_JOBS,
    HASHING_JOBS,
    MEDIA_JOBS,
    NUMBER_JOBS,
    PLANNING_JOBS,
    REEMBEDDING_JOBS,
    SET_JOBS,
    SURVEY_JOBS,
    make_workers,
)
from portraitd.workers.pool import InlineExecutor, RoutedExecutor
from support import bad_jobs
from support.dataset_home import SECTIONS, name_two, with_photos
from support.executors import CachingExecutor
from support.home import Home, connect

pytestmark = pytest.mark.slow

T = TypeVar("T")

ROOT = Path(portraitd.__file__).parent

ELSEWHERE = {
    # Decodes the photographs of the demo, before there is a service.
    ("portraitd.cli.demo", "make_clip"),
    # The self test of the sandbox, in its own pool.
    ("portraitd.service.pools", "try_forbidden"),
    # A model that the user brings, in a pool that sees nothing but its file.
    ("portraitd.service.own_model", "inspect_embedder"),
    # Threads.
    ("portraitd.clustering.neighbours", "searcher.search"),
    ("portraitd.service.remote.remote_executor", "self._send_and_start"),
    ("portraitd.service.remote.dask_client", "self._fetch"),
}
"""Jobs that are submitted outside the pools: module and job."""

PASSED_ON = {"fn", "job", "job.fn"}
"""Names of variables that hold a job."""


class WaitingExecutor(Executor):
    """Real workers; waits for each job, so that the next tick finds it finished."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Return the finished future."""
        future = self._inner.submit(fn, *args, **kwargs)
        wait([future])
        return future


# --- Every job has a pool.


def submitted_jobs() -> Iterator[tuple[str, str]]:
    """Yield module and job of every call that submits one."""
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(["portraitd", *path.relative_to(ROOT).with_suffix("").parts])
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) and node.args else None
            if isinstance(called, ast.Attribute) and called.attr in ("submit", "_submit"):
                yield module, ast.unparse(node.args[0])


def test_every_submitted_job_has_a_pool() -> None:
    """And every job of a pool is submitted somewhere."""
    found = {one for one in submitted_jobs() if one[1] not in PASSED_ON} - ELSEWHERE
    jobs = set()
    for module, name in found:
        place: Any = importlib.import_module(module)
        for part in name.split("."):
            place = getattr(place, part)
        jobs.add(place)

    pools = (
        MEDIA_JOBS, HASHING_JOBS, NUMBER_JOBS, REEMBEDDING_JOBS, PLANNING_JOBS,
        SURVEY_JOBS, SET_JOBS,
    )  # fmt: skip
    pooled = ALL_JOBS
    assert set() == jobs - pooled
    assert set() == pooled - jobs
    assert len(pooled) == sum(map(len, pools))
    assert len(found) > 8


def test_a_job_without_a_pool_is_refused() -> None:
    """It is a bug, and must not run in a sandbox that allows too much."""
    routed = RoutedExecutor({bad_jobs.add: InlineExecutor()})

    assert 5 == routed.submit(bad_jobs.add, 2, 3).result()
    with pytest.raises(LookupError, match=r"support\.bad_jobs\.what_was_seen has no workers"):
        routed.submit(bad_jobs.what_was_seen)


# --- Sandboxed workers produce the same results.


class TwoHomes(NamedTuple):
    """Homes with the same videos, processed in this process and in sandboxed ones."""

    open: Home
    sandboxed: Home


@pytest.fixture(scope="module", params=["cut", "keep"])
def two_homes(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    two_people: Path,
    photographs: list[Path],
) -> TwoHomes:
    """Process the same files two_homes, with a training set of two people."""
    folder = tmp_path_factory.mktemp("workers")
    dataset = {"auto": True, "near_duplicate": 0.0, "frames": request.param}
    homes = []
    for name in ("open", "sandboxed"):
        home = Home(folder / name, **(SECTIONS | {"dataset": dataset}))
        home.drop(two_people, "clip.mp4")
        with_photos(home, photographs, count=3)
        settings = home.settings
        workers: Executor = CachingExecutor()
        if name == "sandboxed":
            workers = make_workers(settings, encode_options(settings).encoder)
        try:
            with home.opened(executor=WaitingExecutor(workers)) as service:
                home.run_until_idle(service)
            name_two(home)
            with home.opened(executor=WaitingExecutor(workers)) as service:
                home.run_until_idle(service)
        finally:
            workers.shutdown(cancel_futures=True)
        homes.append(home)
    return TwoHomes(*homes)


def faces(home: Home) -> list[tuple[Any, ...]]:
    """Return all data of every face, except its id."""
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
    """Return the content of every file below a folder, except manifests."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def test_sandboxed_workers_find_the_same_faces(two_homes: TwoHomes) -> None:
    """Byte for byte: embeddings and portraits."""
    expected = faces(two_homes.open)

    assert expected == faces(two_homes.sandboxed)
    assert len(expected) > 20


def test_sandboxed_workers_build_the_same_training_sets(two_homes: TwoHomes) -> None:
    """Every image, label and number; also the cached frames and crops."""
    expected = contents(two_homes.open.settings.dataset_dir)

    assert expected == contents(two_homes.sandboxed.settings.dataset_dir)
    assert {"yolo", "coco", "chips150", "chips112"} <= {name.split("/")[0] for name in expected}
    pool = two_homes.sandboxed.settings.state_dir / "frames"
    assert contents(two_homes.open.settings.state_dir / "frames") == contents(pool)
    # Hard links, not copies.
    assert {2} <= {path.stat().st_nlink for path in pool.rglob("*.jpg")}


def test_a_removed_set_can_be_built_again(two_homes: TwoHomes) -> None:
    """The sandbox of each of its workers is of the folder that exists then."""
    home = two_homes.sandboxed
    workers = make_workers(home.settings, encode_options(home.settings).encoder, loads=False)
    before = contents(home.settings.dataset_dir)
    try:
        for _ in range(2):
            shutil.rmtree(home.settings.dataset_dir)
            with home.opened(executor=WaitingExecutor(workers)) as service:
                home.run_until_idle(service)
            assert before.keys() == contents(home.settings.dataset_dir).keys()
    finally:
        workers.shutdown(cancel_futures=True)


# --- What a compromised worker cannot put into a training set.


class Tampering(InlineExecutor):
    """Adds images that were not requested to the crops."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Return the result of a compromised worker."""
        future: Future[Any] = super().submit(fn, *args, **kwargs)
        if fn is not crop_frames:
            return future
        changed: Future[Any] = Future()
        changed.set_result([self._tampered(cut) for cut in future.result()])
        return changed

    def _tampered(self, cut: CropResult) -> CropResult:
        jpeg = cut.images[0].jpeg
        foreign = ("../../../escaped.jpg", "not-requested.jpg")
        return CropResult(
            (*cut.images, *(CroppedImage(name, jpeg) for name in foreign)), cut.reason
        )


def test_only_requested_crops_are_stored(tmp_path: Path, photographs: list[Path]) -> None:
    """Whatever names the result of a worker contains."""
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
    assert [] == [path for path in made if path.name in ("escaped.jpg", "not-requested.jpg")]
