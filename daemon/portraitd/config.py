"""The settings: defaults, settings file, environment and command line; the last one wins.

Every key is a line of ``config.example.toml``; a test compares the two.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from portraitd.model.errors import ConfigError

SYSTEM_CONFIG = Path("/etc/portraitd/config.toml")

MODELS_FOLDER = "models"
"""The folder below the state for networks that were built or added."""

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class SchedulerAddress:
    """The address of the Dask scheduler, and how to connect to it.

    Attributes:
        address: For instance ``tls://coordinator:8786``; empty if a file contains it.
        scheduler_file: The file that ``dask scheduler --scheduler-file`` writes.
        ca, cert, key: PEM files for TLS: CA certificate, own certificate, private key.
        insecure: Whether an unencrypted connection beyond localhost is allowed.
    """

    address: str = ""
    scheduler_file: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    insecure: bool = False


class Section(BaseModel):
    """A table of the settings file. An unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PathSettings(Section):
    """Folders outside the home; None means below the home."""

    inbox: Path | None = None
    people: Path | None = None
    state: Path | None = None
    dataset: Path | None = None


class InboxSettings(Section):
    """When a dropped file is picked up, and what happens to it afterwards."""

    quiet_s: NotNegative = 10.0
    quiet_remote_s: NotNegative = 60.0
    unfinished_s: NotNegative = 3600.0
    scan_s: Positive = 10.0
    watch: Literal["auto", "events", "poll"] = "auto"
    after: Literal["keep", "move"] = "keep"


class SamplingSettings(Section):
    """Which frames are processed."""

    mode: Literal["interval", "keyframes"] = "interval"
    fps: Annotated[float, Field(gt=0, le=1000)] = 1.0
    reuse_unchanged: bool = True


class DetectionSettings(Section):
    """The copies of the frame in which faces are detected."""

    max_width: Annotated[int, Field(ge=80, le=8192)] = 700
    max_height: Annotated[int, Field(ge=80, le=8192)] = 500
    small_faces: Literal["all", "photos", "off"] = "all"
    upsample: Annotated[int, Field(ge=0, le=2)] = 1


class EncoderSettings(Section):
    """The models that find and embed faces."""

    kind: Literal["onnx", "dlib"] = "onnx"
    embedder: Literal["auto", "dlib", "mobilefacenet", "sface", "arcface"] = "auto"
    detector: Literal["auto", "mmod", "yunet", "hog", "cnn"] = "auto"
    runtime: Literal["auto", "onnxruntime", "openvino"] = "auto"
    min_face_px: Annotated[int, Field(ge=1, le=4096)] = 24
    mirror: bool = True


class WorkerSettings(Section):
    """How many workers run, where, and within which limits."""

    count: Annotated[int, Field(ge=0, le=1024)] = 0
    nice: Annotated[int, Field(ge=0, le=19)] = 10
    memory_mb: Annotated[int, Field(ge=0)] = 3000
    slice_s: Annotated[float, Field(ge=1)] = 60.0
    time_limit_s: Positive = 1800.0
    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    kind: Literal["local", "dask"] = "local"
    address: str = ""
    scheduler_file: Path | None = None
    insecure_address: bool = False
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    ahead: Annotated[int, Field(ge=0, le=64)] = 1
    cache_mb: Annotated[int, Field(ge=1)] = 20_000

    @property
    def processes(self) -> int:
        """Return the number of worker processes: ``count``, or one per core."""
        return self.count or len(os.sched_getaffinity(0))

    @property
    def cluster(self) -> SchedulerAddress:
        """Return the address of the Dask scheduler, and how to connect to it."""
        return SchedulerAddress(
            self.address,
            self.scheduler_file,
            self.tls_ca,
            self.tls_cert,
            self.tls_key,
            self.insecure_address,
        )


class GroupingSettings(Section):
    """How faces are grouped into people, and when."""

    method: Literal["people", "dbscan"] = "people"
    eps: Positive | None = None
    min_samples: Annotated[int, Field(ge=1)] | None = None
    linkage: Positive | None = None
    settle_s: NotNegative = 15.0
    max_wait_s: NotNegative = 600.0


class PeopleSettings(Section):
    """The appearance of the folders of people."""

    portrait_width: Annotated[int, Field(ge=64, le=2048)] = 400


class ReviewSettings(Section):
    """What is shown in the people tree, and how edits are read."""

    unit: Literal["track", "face"] = "track"
    portraits_per_track: Annotated[int, Field(ge=0, le=9)] = 3
    unsorted_portraits: Annotated[int, Field(ge=0)] = 300
    scan_s: Positive = 10.0
    settle_s: NotNegative = 2.0


class DatasetSettings(Section):
    """Training sets: when they are built, and what they contain."""

    auto: bool = False
    formats: tuple[
        Literal["yolo", "darknet", "coco", "imagefolder", "chips150", "chips112", "cvat"], ...
    ] = ("yolo", "darknet", "coco", "imagefolder", "chips150", "chips112", "cvat")
    people: Literal["named", "all"] = "named"
    unknown: Literal["class", "blur", "leave_out"] = "class"
    frames: Literal["cut", "keep"] = "cut"
    val_share: Annotated[float, Field(ge=0, le=0.9)] = 0.2
    near_duplicate: NotNegative | None = None
    apart_s: NotNegative = 1.0
    background_share: Annotated[float, Field(ge=0, le=10)] = 0.1


class PrivacySettings(Section):
    """How long faces are kept, and what happens when an erased file is dropped again."""

    keep_days: NotNegative = 0.0
    dropped_again: Literal["refuse", "skip-faces"] = "refuse"


class MetricsSettings(Section):
    """The metrics file for Prometheus."""

    textfile: Path | None = None
    every_s: Positive = 15.0


class Settings(Section):
    """All settings. Environment variables are named like ``PORTRAITD_GROUPING__EPS``."""

    home: Path = Path("~/portraits")
    paths: PathSettings = PathSettings()
    inbox: InboxSettings = InboxSettings()
    sampling: SamplingSettings = SamplingSettings()
    detection: DetectionSettings = DetectionSettings()
    encoder: EncoderSettings = EncoderSettings()
    workers: WorkerSettings = WorkerSettings()
    grouping: GroupingSettings = GroupingSettings()
    people: PeopleSettings = PeopleSettings()
    review: ReviewSettings = ReviewSettings()
    priorities: dict[str, int] = {}
    dataset: DatasetSettings = DatasetSettings()
    privacy: PrivacySettings = PrivacySettings()
    metrics: MetricsSettings = MetricsSettings()

    @property
    def home_dir(self) -> Path:
        return self.home.expanduser().absolute()

    @property
    def inbox_dir(self) -> Path:
        return self._below_home(self.paths.inbox, "inbox")

    @property
    def people_dir(self) -> Path:
        return self._below_home(self.paths.people, "people")

    @property
    def state_dir(self) -> Path:
        return self._below_home(self.paths.state, "state")

    @property
    def requests_dir(self) -> Path:
        """The folder for control requests to the running service."""
        return self.state_dir / "requests"

    @property
    def dataset_dir(self) -> Path:
        return self._below_home(self.paths.dataset, "dataset")

    @property
    def models_dir(self) -> Path:
        """The folder for networks that were built or added."""
        return self.state_dir / MODELS_FOLDER

    def _below_home(self, path: Path | None, name: str) -> Path:
        return self.home_dir / (path.expanduser() if path else name)


def load(
    home: Path | None = None, config: Path | None = None, assignments: Sequence[str] = ()
) -> Settings:
    """Read the settings.

    Args:
        home: From ``--home``; overrides the file and the environment.
        config: From ``--config``; by default ``HOME/config.toml``, or else the system's file.
        assignments: From ``--set``, each ``section.key=value``.

    Raises:
        ConfigError: A file is missing or not valid TOML, or a key or value is wrong.
    """
    given: dict[str, Any] = _nested(assignments)
    if home is not None:
        given["home"] = home
    try:
        environment = _from_environment(os.environ)
        default = Settings.model_fields["home"].default
        file = config or _config_beside(given.get("home", environment.get("home", default)))
        below = _merged(_read(file) if file else {}, environment)
        return Settings.model_validate(_merged(below, given))
    except ValidationError as error:
        raise ConfigError(_readable(error)) from error


def _from_environment(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of variables such as ``PORTRAITD_GROUPING__EPS``.

    A list or a table is JSON. Other variables with our prefix are not for the settings.
    """
    tree: dict[str, Any] = {}
    for name, text in sorted(variables.items()):
        prefix, _, key = name.lower().partition("_")
        parts = key.split("__")
        if prefix != "portraitd" or parts[0] not in Settings.model_fields:
            continue
        value: Any = text
        if text.lstrip()[:1] in ("[", "{"):
            with suppress(ValueError):
                value = json.loads(text)
        for part in reversed(parts):
            value = {part: value}
        tree = _merged(tree, value)
    return tree


def _config_beside(home: object) -> Path | None:
    """Return the settings file that applies when none was given."""
    candidates = [SYSTEM_CONFIG]
    # A home that is not a path is reported when all settings are checked.
    if isinstance(home, str | Path):
        candidates.insert(0, Path(home).expanduser() / "config.toml")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such settings file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from error


def _nested(assignments: Sequence[str]) -> dict[str, Any]:
    """Return ``["a.b=1"]`` as ``{"a": {"b": 1}}``; a value that is not valid TOML is text."""
    tree: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        parts = name.strip().split(".")
        if not equals or not all(parts):
            raise ConfigError(f"--set {assignment}: write section.key=value")
        value: Any = text.strip()
        with suppress(tomllib.TOMLDecodeError):
            value = tomllib.loads(f"value = {text}")["value"]
        for part in reversed(parts):
            value = {part: value}
        tree = _merged(tree, value)
    return tree


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two nested mappings; ``above`` wins key by key."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        both_tables = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(old, value) if both_tables else value  # type: ignore[arg-type]
    return result


def _readable(error: ValidationError) -> str:
    """Return one line per key, with the given value and the problem."""
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown setting")
        else:
            lines.append(f"{key} = {problem['input']!r}: {problem['msg']}")
    return "\n".join(lines)
