"""The settings: defaults, config file, environment, command line, in rising order.

Every key is one line of ``config.example.toml``; a test keeps the two together.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from portraitd.model.errors import ConfigError

SYSTEM_CONFIG = Path("/etc/portraitd/config.toml")

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class SchedulerAddress:
    """Where the scheduler is, and how to speak to it.

    Attributes:
        address: Such as ``tls://coordinator:8786``; empty where a file says it.
        scheduler_file: As ``dask scheduler --scheduler-file`` writes it.
        ca, cert, key: Files for TLS: whom to trust, and who we are.
        insecure: Whether a plain connection may leave this machine.
    """

    address: str = ""
    scheduler_file: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    insecure: bool = False


class Section(BaseModel):
    """A table of the config file. An unknown key is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PathSettings(Section):
    """Where things lie; empty means below the home."""

    inbox: Path | None = None
    people: Path | None = None
    state: Path | None = None
    dataset: Path | None = None


class InboxSettings(Section):
    """When a dropped file is taken, and what becomes of it."""

    quiet_s: NotNegative = 10.0
    quiet_remote_s: NotNegative = 60.0
    unfinished_s: NotNegative = 3600.0
    scan_s: Positive = 10.0
    watch: Literal["auto", "events", "poll"] = "auto"
    after: Literal["keep", "move"] = "keep"


class SamplingSettings(Section):
    """Which frames are looked at."""

    mode: Literal["interval", "keyframes"] = "interval"
    fps: Annotated[float, Field(gt=0, le=1000)] = 1.0
    reuse_unchanged: bool = True


class DetectionSettings(Section):
    """The reduced copy that the detector sees."""

    max_width: Annotated[int, Field(ge=80, le=8192)] = 700
    max_height: Annotated[int, Field(ge=80, le=8192)] = 500
    upsample: Annotated[int, Field(ge=0, le=2)] = 1


class EncoderSection(Section):
    """What finds and embeds the faces."""

    kind: Literal["onnx", "dlib"] = "onnx"
    detector: Literal["auto", "mmod", "yunet", "hog", "cnn"] = "auto"
    runtime: Literal["auto", "onnxruntime", "openvino"] = "auto"
    min_face_px: Annotated[int, Field(ge=1, le=4096)] = 24
    mirror: bool = True


class WorkerSettings(Section):
    """How much of the machine may be used."""

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
        """The number of worker processes: ``count``, or one a core."""
        return self.count or len(os.sched_getaffinity(0))

    @property
    def cluster(self) -> SchedulerAddress:
        """Where the scheduler is, and how to speak to it."""
        return SchedulerAddress(
            self.address,
            self.scheduler_file,
            self.tls_ca,
            self.tls_cert,
            self.tls_key,
            self.insecure_address,
        )


class GroupingSettings(Section):
    """How faces become people, and when."""

    method: Literal["people", "dbscan"] = "people"
    eps: Positive | None = None
    min_samples: Annotated[int, Field(ge=1)] | None = None
    linkage: Positive = 0.55
    settle_s: NotNegative = 15.0
    max_wait_s: NotNegative = 600.0

    @property
    def density(self) -> tuple[float, int]:
        """``eps`` and ``min_samples`` as set, or what suits the method."""
        eps, min_samples = (0.36, 3) if self.method == "people" else (0.5, 5)
        return self.eps or eps, self.min_samples or min_samples


class PeopleSettings(Section):
    """How the folders look."""

    portrait_width: Annotated[int, Field(ge=64, le=2048)] = 400


class ReviewSettings(Section):
    """What people see in the tree, and how what they do there is read."""

    unit: Literal["track", "face"] = "track"
    portraits_per_track: Annotated[int, Field(ge=0, le=9)] = 3
    unsorted_portraits: Annotated[int, Field(ge=0)] = 300
    scan_s: Positive = 10.0
    settle_s: NotNegative = 2.0


class DatasetSettings(Section):
    """Training sets: when they are made, and what they hold."""

    auto: bool = False
    formats: tuple[
        Literal["yolo", "darknet", "coco", "imagefolder", "chips150", "chips112", "cvat"], ...
    ] = ("yolo", "darknet", "coco", "imagefolder", "chips150", "chips112", "cvat")
    people: Literal["named", "all"] = "named"
    unknown: Literal["class", "blur", "leave_out"] = "class"
    frames: Literal["cut", "keep"] = "cut"
    val_share: Annotated[float, Field(ge=0, le=0.9)] = 0.2
    near_duplicate: NotNegative = 0.2
    apart_s: NotNegative = 1.0
    background_share: Annotated[float, Field(ge=0, le=10)] = 0.1


class PrivacySettings(Section):
    """How long faces are kept, and what becomes of a file that was forgotten."""

    keep_days: NotNegative = 0.0
    dropped_again: Literal["refuse", "skip-faces"] = "refuse"


class MetricsSettings(Section):
    """Figures for a monitoring system."""

    textfile: Path | None = None
    every_s: Positive = 15.0


class Settings(BaseSettings):
    """Everything that can be set. Environment variables: ``PORTRAITD_GROUPING__EPS=0.44``."""

    model_config = SettingsConfigDict(
        env_prefix="PORTRAITD_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    home: Path = Path("~/portraits")
    paths: PathSettings = PathSettings()
    inbox: InboxSettings = InboxSettings()
    sampling: SamplingSettings = SamplingSettings()
    detection: DetectionSettings = DetectionSettings()
    encoder: EncoderSection = EncoderSection()
    workers: WorkerSettings = WorkerSettings()
    grouping: GroupingSettings = GroupingSettings()
    people: PeopleSettings = PeopleSettings()
    review: ReviewSettings = ReviewSettings()
    priorities: dict[str, int] = {}
    dataset: DatasetSettings = DatasetSettings()
    privacy: PrivacySettings = PrivacySettings()
    metrics: MetricsSettings = MetricsSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment alone: file and command line are merged by ``load``."""
        return (init_settings, env_settings)

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
        """Where commands ask a running service."""
        return self.state_dir / "requests"

    @property
    def dataset_dir(self) -> Path:
        return self._below_home(self.paths.dataset, "dataset")

    @property
    def models_dir(self) -> Path:
        """Networks that were built or added."""
        return self.state_dir / "models"

    def _below_home(self, path: Path | None, name: str) -> Path:
        return self.home_dir / (path.expanduser() if path else name)


def load(
    home: Path | None = None, config: Path | None = None, assignments: Sequence[str] = ()
) -> Settings:
    """Read the settings that are in force.

    Args:
        home: From ``--home``; beats the file and the environment.
        config: From ``--config``; without it ``HOME/config.toml``, then the system's file.
        assignments: From ``--set``, each ``section.key=value``.

    Raises:
        ConfigError: A file is missing or no TOML, or a key or value is wrong.
    """
    given: dict[str, Any] = _nested(assignments)
    if home is not None:
        given["home"] = home
    try:
        environment = Settings().model_dump(exclude_unset=True)
        default = Settings.model_fields["home"].default
        file = config or _config_beside(given.get("home", environment.get("home", default)))
        below = _merged(_read(file) if file else {}, environment)
        return Settings.model_validate(_merged(below, given))
    except ValidationError as error:
        raise ConfigError(_readable(error)) from error


def _config_beside(home: object) -> Path | None:
    """The config file that applies when none was named."""
    candidates = [SYSTEM_CONFIG]
    # A home that is no path gets its line when all settings are checked.
    if isinstance(home, str | Path):
        candidates.insert(0, Path(home).expanduser() / "config.toml")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such config file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from error


def _nested(assignments: Sequence[str]) -> dict[str, Any]:
    """``["a.b=1"]`` as ``{"a": {"b": 1}}``; a value that is no TOML is text."""
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
    """Two nested mappings as one; ``above`` wins key by key."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        both_tables = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(old, value) if both_tables else value  # type: ignore[arg-type]
    return result


def _readable(error: ValidationError) -> str:
    """One line a key, with what was given and what is wanted."""
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"{key}: there is no such setting")
        else:
            lines.append(f"{key} = {problem['input']!r}: {problem['msg']}")
    return "\n".join(lines)
