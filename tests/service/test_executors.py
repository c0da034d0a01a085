"""Which jobs go to other machines, and which stay beside the files."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, TypeVar

from portraitd.ingest import media_jobs
from portraitd.service.executors import LOCAL_JOBS, REMOTE_JOBS
from portraitd.workers.pool import InlineExecutor, RoutedExecutor
from support.dataset_home import SECTIONS, name_two, with_photos
from support.home import Home

T = TypeVar("T")


class Noted(Executor):
    """Runs jobs at once, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._inline = InlineExecutor()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        self.seen.add(fn.__name__)
        return self._inline.submit(fn, *args, **kwargs)


def test_only_slices_go_to_other_machines(
    tmp_path: Path, photographs: list[Path], two_people: Path
) -> None:
    """A home's whole life: all else reads and writes what lies here."""
    near, far = Noted(), Noted()
    executor = RoutedExecutor(dict.fromkeys(LOCAL_JOBS, near) | dict.fromkeys(REMOTE_JOBS, far))
    home = Home(tmp_path / "home", **SECTIONS | {"dataset": {"auto": True, "formats": ("coco",)}})
    with_photos(home, photographs, count=4)
    home.drop(two_people, "clip.mp4")
    with home.opened(executor=executor) as service:
        home.run_until_idle(service)
    name_two(home)
    with home.opened(executor=executor) as service:
        home.run_until_idle(service)

    assert {"encode"} == far.seen
    assert {
        "hash_content",
        "probe",
        "track",
        "group",
        "draw_montage",
        "plan_dataset",
        "crop_frames",
        "write_dataset",
    } == near.seen


def test_no_job_has_two_places() -> None:
    """Encoding is not done here too when there is a cluster."""
    assert frozenset({media_jobs.encode}) == REMOTE_JOBS
    assert not REMOTE_JOBS & LOCAL_JOBS
