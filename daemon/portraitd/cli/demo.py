"""``portraitd demo``: a short clip of two people, dropped into the inbox of a fresh home.

The photographs are in the public domain and come with installed packages: NASA's portrait
of Eileen Collins (scikit-image) and the US Navy's of Grace Hopper (matplotlib).
"""

from __future__ import annotations

import os
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from portraitd.cli.model_advice import describe_missing
from portraitd.config import Settings
from portraitd.media.fs import replacing
from portraitd.model.errors import ConfigError
from portraitd.model.extras import describe_installation
from portraitd.model.wording import counted
from portraitd.people.tree.folder_state import UNSORTED_NAME
from portraitd.people.tree.people_tree import PeopleTree
from portraitd.service import daemon
from portraitd.service.home import make_home
from portraitd.service.model_overview import list_missing
from portraitd.store.files import display_path
from portraitd.workers.job_results import returns
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import WorkerLimits

SIZE_PX = (640, 480)
FPS = 12
SECONDS_EACH = 10

PHOTOGRAPHS = {
    "skimage": "data/astronaut.png",
    "matplotlib": "mpl-data/sample_data/grace_hopper.jpg",
}


def run_demo(settings: Settings, console: Console) -> None:
    """Run the whole pipeline once, and print where everything is.

    Raises:
        ConfigError: The packages with the photographs are not installed, or the home is not new.
    """
    photographs = list(demo_photographs())
    settings = _quick(settings)
    _require_new_folders(settings)
    make_home(settings)
    clip = settings.inbox_dir / "two-people.mp4"
    # In a worker, like everything that needs OpenCV.
    executor = LocalExecutor(1, WorkerLimits(nice=0, memory_mb=0, time_limit_s=300))
    executor.submit(make_clip, photographs, clip).result()
    executor.shutdown()
    console.print(
        f"Created {display_path(clip)}: {2 * SECONDS_EACH} s, two people. Running the service …"
    )
    daemon.run(settings, until_idle=True)
    portraits = PeopleTree(settings.people_dir).locate_portraits().values()
    folders = Counter(path.partition("/")[0] for path in portraits)
    del folders[UNSORTED_NAME]
    people = counted(len(folders), "person", "people")
    console.print(f"\nFound {people}. One folder each, with portraits and a montage:")
    for name, count in sorted(folders.items()):
        folder = display_path(settings.people_dir / name)
        console.print(f"  {folder}  {counted(count, 'portrait')}", markup=False, highlight=False)
    index = settings.people_dir / "index.html"
    console.print(f"Open them in a browser:  {index}", markup=False, highlight=False)
    console.print(
        f"\nFor your own videos, start  portraitd run --home {settings.home_dir}\n"
        f"and drop videos or photos into  {settings.inbox_dir}\n"
        f"Or process them once:  portraitd process VIDEO… --home {settings.home_dir}",
        markup=False,
        highlight=False,
    )
    if advice := describe_missing(list_missing(settings)):
        console.print(
            f"{advice} --home {settings.home_dir}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def demo_photographs() -> list[Path]:
    """Return the paths of the photographs in the installed packages.

    Raises:
        ConfigError: A package is not installed.
    """
    found = []
    for package, below in PHOTOGRAPHS.items():
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(
                "the demo's photographs come with scikit-image and matplotlib: "
                f"{describe_installation('demo')}"
            )
        found.append(Path(spec.submodule_search_locations[0]) / below)
    return found


@returns("portraitd.workers.plain_results:NOTHING")
def make_clip(photographs: list[Path], clip: Path) -> None:
    """Write a video that shows each photograph for some seconds, slowly moving.

    It is written under a hidden name and then renamed, so the inbox never holds half a clip.
    """
    from portraitd.media.opencv import cv2

    with replacing(clip, mode=0o644) as unfinished:
        writer = cv2.VideoWriter(str(unfinished), cv2.VideoWriter.fourcc(*"mp4v"), FPS, SIZE_PX)
        if not writer.isOpened():
            raise ConfigError(f"{unfinished} cannot be written: no MPEG-4 encoder in this OpenCV")
        for photograph in photographs:
            picture = cv2.imread(str(photograph))
            if picture is None:
                raise ConfigError(f"{photograph} cannot be read")
            for number in range(FPS * SECONDS_EACH):
                writer.write(_moved(picture, number / (FPS * SECONDS_EACH)))
        writer.release()


def _moved(picture: Any, progress: float) -> Any:
    """Return the picture filling the frame, zoomed in and shifted more as time goes on."""
    import numpy as np

    from portraitd.media.opencv import cv2

    height, width = picture.shape[:2]
    zoom = SIZE_PX[1] / height * (1.0 + 0.35 * progress)
    aside = 40 * np.sin(6.3 * progress)
    matrix = np.array(
        [
            [zoom, 0, SIZE_PX[0] / 2 - zoom * width / 2 + aside],
            [0, zoom, SIZE_PX[1] / 2 - zoom * height * (0.5 - 0.15 * progress)],
        ],
        np.float32,
    )
    turned = cv2.getRotationMatrix2D((SIZE_PX[0] / 2, SIZE_PX[1] / 2), 8 * (progress - 0.5), 1.0)
    placed = cv2.warpAffine(picture, matrix, SIZE_PX)
    moved = cv2.warpAffine(placed, turned, SIZE_PX)
    return cv2.convertScaleAbs(moved, alpha=0.85 + 0.3 * progress, beta=0)


def choose_home() -> Path:
    """Return a folder below the working directory that does not exist yet."""
    home, number = Path.cwd() / "portraitd-demo", 1
    while os.path.lexists(home):
        number += 1
        home = Path.cwd() / f"portraitd-demo-{number}"
    return home


def _require_new_folders(settings: Settings) -> None:
    """Check that the demo writes into no home that is in use.

    Raises:
        ConfigError: A folder of the home exists and is not empty.
    """
    folders = (
        settings.home_dir, settings.inbox_dir, settings.people_dir, settings.state_dir,
    )  # fmt: skip
    for folder in folders:
        try:
            entries = os.listdir(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(f"{folder}: {error.strerror}") from error
        if entries:
            raise ConfigError(f"{folder} is not empty; the demo needs a new folder")


def _quick(settings: Settings) -> Settings:
    """Return the settings with short waits: the clip is complete when it appears."""
    return settings.model_copy(
        update={
            "inbox": settings.inbox.model_copy(update={"quiet_s": 0.5}),
            "grouping": settings.grouping.model_copy(update={"settle_s": 0.0}),
        }
    )
