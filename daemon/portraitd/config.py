"""The settings: defaults, settings file, environment and command line; the last one wins.

Every key is a line of ``config.example.toml``; a test compares the two. Every number has an upper
limit, so that a typing error cannot ask for more than the machine, SQLite or the kernel can hold.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
)

from portraitd.model.dataset_format import Format
from portraitd.model.errors import ConfigError
from portraitd.model.sidecar import SidecarKind

SYSTEM_CONFIG = Path("/etc/portraitd/config.toml")

MODELS_FOLDER = "models"
"""The folder below the state for networks that were built or added."""

MAX_CONFIG_BYTES = 1 << 20

MAX_SHOWN_CHARACTERS = 80
"""Longest part of a wrong value that an error shows."""

DAY_S = 86_400.0
YEAR_S = 366 * DAY_S
CENTURY_DAYS = 36_525.0


def _check_path(value: object) -> object:
    """Return a path for a text; refuse an empty one, which would be the working directory."""
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("a path must not be empty")
        if "\0" in value:
            raise ValueError("a path cannot contain a NUL character")
        value = Path(value)
    if isinstance(value, Path):
        try:
            value.expanduser()
        except RuntimeError:
            raise ValueError("this user's home directory is unknown") from None
    return value


def _list_one(value: object) -> object:
    """Return a list for a single value, and an empty one for an empty text."""
    return ([value] if value else []) if isinstance(value, str) else value


AnyPath = Annotated[Path, BeforeValidator(_check_path)]

Interval = Annotated[float, Field(gt=0, le=DAY_S)]
"""Seconds between two looks."""

Delay = Annotated[float, Field(ge=0, le=DAY_S)]
"""Seconds to wait for something to settle."""

Patience = Annotated[float, Field(ge=0, le=YEAR_S)]
"""Seconds to wait for something that may never come."""

Distance = Annotated[float, Field(gt=0, le=10)]
"""Between two embeddings, which have a length of about 1."""

_PAGE_ADDRESS = re.compile(r"((https?|file)://[^\s\"<>]*|[^:\s\"<>]*)")


def _check_address(value: str) -> str:
    """Refuse what is neither an address nor a path: a page must not run what a link contains."""
    if _PAGE_ADDRESS.fullmatch(value) is None:
        raise ValueError(
            "give an address that starts with http://, https:// or file://, or a path relative to "
            'people/ such as ../inbox, without spaces, quotes, < or >; a space is written "%20"'
        )
    return value


Priority = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]


@dataclass(frozen=True, slots=True)
class SchedulerAddress:
    """The address of the Dask scheduler, and how to connect to it.

    Attributes:
        address: For instance ``tls://coordinator:8786``; empty if a file contains it.
        scheduler_file: The file that ``dask scheduler --scheduler-file`` writes.
        ca, cert, key: PEM files for TLS: CA certificate, own certificate, private key.
    """

    address: str = ""
    scheduler_file: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


class Section(BaseModel):
    """A table of the settings file. An unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PathSettings(Section):
    """Folders outside the home; None means below the home."""

    inbox: AnyPath | None = None
    people: AnyPath | None = None
    state: AnyPath | None = None
    dataset: AnyPath | None = None


class InboxSettings(Section):
    """When a dropped file is picked up, and what happens to it afterwards."""

    quiet_s: Patience = 10.0
    quiet_remote_s: Patience = 60.0
    unfinished_s: Patience = 3600.0
    scan_s: Interval = 10.0
    watch: Literal["auto", "events", "poll"] = "auto"
    after: Literal["keep", "move"] = "keep"
    read_names: bool = False

    def quiet_time_s(self, *, is_remote: bool) -> float:
        """Return how long a file must not have changed, on a local or a remote file system."""
        return max(self.quiet_s, self.quiet_remote_s) if is_remote else self.quiet_s


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
    memory_mb: Annotated[int, Field(ge=0, le=1 << 24)] = 3000
    slice_s: Annotated[float, Field(ge=1, le=DAY_S)] = 60.0
    time_limit_s: Annotated[float, Field(gt=0, le=7 * DAY_S)] = 1800.0
    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    sandbox: Literal["required", "reduced"] = "required"
    kind: Literal["local", "dask"] = "local"
    address: str = ""
    scheduler_file: AnyPath | None = None
    insecure_address: bool = False
    tls_ca: AnyPath | None = None
    tls_cert: AnyPath | None = None
    tls_key: AnyPath | None = None
    ahead: Annotated[int, Field(ge=0, le=64)] = 1
    cache_mb: Annotated[int, Field(ge=1, le=1 << 30)] = 20_000

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
        )


class GroupingSettings(Section):
    """How faces are grouped into people, and when."""

    method: Literal["people", "dbscan"] = "people"
    eps: Distance | None = None
    min_samples: Annotated[int, Field(ge=1, le=10_000)] | None = None
    linkage: Distance | None = None
    settle_s: Delay = 15.0
    max_wait_s: Patience = 600.0


class PeopleSettings(Section):
    """The appearance of the folders of people."""

    portrait_width: Annotated[int, Field(ge=64, le=2048)] = 400


class ReviewSettings(Section):
    """What is shown in the people tree, and how edits are read."""

    unit: Literal["track", "face"] = "track"
    portraits_per_track: Annotated[int, Field(ge=0, le=9)] = 3
    unsorted_portraits: Annotated[int, Field(ge=0, le=1_000_000)] = 300
    scan_s: Interval = 10.0
    settle_s: Delay = 2.0
    questions: Annotated[int, Field(ge=0, le=100)] = 20
    edit_cards: Annotated[int, Field(ge=0, le=100)] = 20
    sidecars: Annotated[tuple[SidecarKind, ...], BeforeValidator(_list_one)] = ()


class PagesSettings(Section):
    """The pages in ``people/``."""

    recordings: Annotated[str, Field(max_length=2000), AfterValidator(_check_address)] = ""
    vtt: bool = False


class DatasetSettings(Section):
    """Training sets: when they are built, and what they contain."""

    auto: bool = False
    formats: tuple[Format, ...] = (
        "yolo",
        "darknet",
        "coco",
        "imagefolder",
        "chips150",
        "chips112",
        "cvat",
    )
    people: Literal["named", "all"] = "named"
    consent: Literal["off", "required"] = "off"
    unknown: Literal["class", "blur", "leave_out"] = "class"
    frames: Literal["cut", "keep"] = "cut"
    val_share: Annotated[float, Field(ge=0, le=0.9)] = 0.2
    test_share: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    folds: Annotated[int, Field(ge=0, le=100)] = 0
    min_train_faces: Annotated[int, Field(ge=0, le=10_000)] = 5
    min_px: Annotated[float, Field(ge=0, le=10_000)] = 32.0
    min_sharpness: Annotated[float, Field(ge=0, le=100_000)] = 4.0
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.3
    max_turn: Annotated[float, Field(ge=0, le=1)] = 1.0
    min_cell_faces: Annotated[int, Field(ge=1, le=1_000)] = 10
    harvest_fps: Annotated[float, Field(gt=0, le=60)] = 5.0
    near_duplicate: Annotated[float, Field(ge=0, le=10)] | None = None
    apart_s: Delay = 1.0
    background_share: Annotated[float, Field(ge=0, le=10)] = 0.1


class PrivacySettings(Section):
    """How long faces are kept, and what happens when an erased file is dropped again."""

    keep_days: Annotated[float, Field(ge=0, le=CENTURY_DAYS)] = 0.0
    dropped_again: Literal["refuse", "skip-faces"] = "refuse"


class MetricsSettings(Section):
    """The metrics file for Prometheus."""

    textfile: AnyPath | None = None
    every_s: Interval = 15.0


class Settings(Section):
    """All settings. Environment variables are named like ``PORTRAITD_GROUPING__EPS``."""

    home: AnyPath = Path("~/portraits")
    paths: PathSettings = PathSettings()
    inbox: InboxSettings = InboxSettings()
    sampling: SamplingSettings = SamplingSettings()
    detection: DetectionSettings = DetectionSettings()
    encoder: EncoderSettings = EncoderSettings()
    workers: WorkerSettings = WorkerSettings()
    grouping: GroupingSettings = GroupingSettings()
    people: PeopleSettings = PeopleSettings()
    review: ReviewSettings = ReviewSettings()
    pages: PagesSettings = PagesSettings()
    priorities: dict[str, Priority] = {}
    dataset: DatasetSettings = DatasetSettings()
    privacy: PrivacySettings = PrivacySettings()
    metrics: MetricsSettings = MetricsSettings()

    _config_file: Path | None = PrivateAttr(default=None)

    @property
    def config_file(self) -> Path | None:
        """The settings file that was read; None if there was none."""
        return self._config_file

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


class _Layer(NamedTuple):
    """The settings that one source gives.

    Attributes:
        source: A settings file, ``environment`` or ``command line``.
        values: What it gives, by section.
        has_own_home: Whether its paths belong to the home that applies whatever it is: the file
            is in that home, or was given on the command line and names no other.
    """

    source: str
    values: Mapping[str, Any]
    has_own_home: bool = False


ENVIRONMENT, COMMAND_LINE = "environment", "command line"

PLACES = (("metrics", "textfile"), *(("paths", name) for name in PathSettings.model_fields))
"""Settings of one home: with the same path, another home would write to its folders."""


def load(
    home: Path | None = None,
    config: Path | None = None,
    assignments: Sequence[str] = (),
    system_config: Path = SYSTEM_CONFIG,
) -> Settings:
    """Read the settings.

    Paths belong to the home that their source means: if a more specific source names another
    home, the absolute paths of the less specific one do not apply. Otherwise ``--home`` would
    work on the folders of the installed service.

    Args:
        home: From ``--home``; overrides the file and the environment.
        config: From ``--config``; by default ``HOME/config.toml``, or else the system's file.
        assignments: From ``--set``, each ``section.key=value``.
        system_config: The file of the installed service.

    Raises:
        ConfigError: A file is missing or not valid TOML, or a key or value is wrong.
    """
    given: dict[str, Any] = _nested(assignments)
    if home is not None:
        given["home"] = home
    environment = _from_environment(os.environ)
    default = Settings.model_fields["home"].default
    layers = [_Layer(ENVIRONMENT, environment), _Layer(COMMAND_LINE, given)]
    wanted = given.get("home", environment.get("home", default))
    file = config or _config_beside(wanted, system_config)
    if file:
        values = _read(file)
        is_own = file != system_config if config is None else "home" not in values
        layers.insert(0, _Layer(str(file), values, is_own))
    try:
        settings = Settings.model_validate(_combine(layers))
    except ValidationError as error:
        raise ConfigError("\n".join(_describe(error, layers))) from error
    try:
        _ = settings.home_dir
    except (RuntimeError, OSError):
        # No home directory for the default, or a relative home below a removed folder.
        raise ConfigError(f"{settings.home}: cannot tell where this is; use --home") from None
    settings._config_file = file
    return settings


def _combine(layers: Sequence[_Layer]) -> dict[str, Any]:
    """Merge the layers, the most specific last; drop paths that were set for another home."""
    home = Settings.model_fields["home"].default
    meant = []
    for layer in layers:
        home = layer.values.get("home", home)
        meant.append(home)
    found: dict[str, Any] = {}
    for layer, own in zip(layers, meant, strict=True):
        keeps_places = layer.has_own_home or _is_same_folder(own, home)
        found = _merged(found, layer.values if keeps_places else _without_places(layer.values))
    return found


def _is_same_folder(one: object, other: object) -> bool:
    try:
        places = [os.path.realpath(Path(str(path)).expanduser()) for path in (one, other)]
    except (RuntimeError, OSError, ValueError):
        return False
    return places[0] == places[1]


def _without_places(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings without absolute paths that belong to one home."""
    kept = dict(values)
    for section, name in PLACES:
        table = kept.get(section)
        path = table.get(name) if isinstance(table, Mapping) else None
        if isinstance(table, Mapping) and isinstance(path, str) and path.startswith(("/", "~")):
            kept[section] = {key: value for key, value in table.items() if key != name}
    return kept


def _from_environment(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of variables such as ``PORTRAITD_GROUPING__EPS``.

    A list or a table is JSON. Other variables with our prefix are not for the settings.
    """
    tree: dict[str, Any] = {}
    for name, text in sorted(variables.items()):
        prefix, _, key = name.lower().partition("_")
        parts = key.split("__")
        if prefix != "portraitd" or (len(parts) == 1 and parts[0] not in Settings.model_fields):
            continue
        value: Any = text
        if text.lstrip()[:1] in ("[", "{"):
            with suppress(ValueError, RecursionError):
                value = json.loads(text)
        for part in reversed(parts):
            value = {part: value}
        tree = _merged(tree, value)
    return tree


def _config_beside(home: object, system_config: Path) -> Path | None:
    """Return the settings file that applies when none was given."""
    candidates = [system_config]
    # A home that is not a path is reported when all settings are checked.
    if isinstance(home, str | Path):
        with suppress(RuntimeError):
            candidates.insert(0, Path(home).expanduser() / "config.toml")
    for candidate in candidates:
        try:
            if candidate.is_file():
                return candidate
            # Such as a link to a share that is not mounted: the defaults are other folders.
            if candidate.is_symlink() or candidate.exists():
                raise ConfigError(f"{candidate}: not a file, or a link to nothing")
        except (OSError, ValueError) as error:
            raise ConfigError(f"{candidate}: {_reason(error)}") from error
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_CONFIG_BYTES + 1)
        if len(data) > MAX_CONFIG_BYTES:
            raise ConfigError(f"{file}: larger than a settings file of portraitd can be")
        # Editors of Windows write a byte order mark, which TOML does not allow.
        return tomllib.loads(data.decode().removeprefix("\ufeff"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such settings file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file}: not UTF-8 (byte {error.start + 1}); save it in that encoding"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        # tomllib raises ValueError also for a number of many thousand digits.
        raise ConfigError(f"{file}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return why a file cannot be read, without its name."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _nested(assignments: Sequence[str]) -> dict[str, Any]:
    """Return ``["a.b=1"]`` as ``{"a": {"b": 1}}``; a value that is not valid TOML is text."""
    tree: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        parts = name.strip().split(".")
        if not equals or not all(parts):
            raise ConfigError(f"--set {assignment}: write section.key=value")
        value: Any = text.strip()
        with suppress(ValueError, RecursionError):
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


def _describe(error: ValidationError, layers: Sequence[_Layer]) -> Iterator[str]:
    """Yield one line per problem: the source, the key, the given value and what is wrong."""
    for problem in error.errors(include_url=False):
        parts = [str(part) for part in problem["loc"]]
        key = ".".join(parts)
        source = _source_of(parts, layers)
        if problem["type"] == "extra_forbidden":
            nearest = nearest_setting(parts)
            advice = f"; did you mean {nearest}?" if nearest else ""
            yield f"{source}: {key}: unknown setting{advice}"
            continue
        shown = repr(problem["input"])
        if len(shown) > MAX_SHOWN_CHARACTERS:
            shown = f"{shown[:MAX_SHOWN_CHARACTERS]}…"
        message = problem["msg"].removeprefix("Value error, ")
        yield f"{source}: {key} = {shown}: {message}"


def _source_of(parts: Sequence[str], layers: Sequence[_Layer]) -> str:
    """Return where a setting was given: a file, a variable or an option."""
    for layer in reversed(layers):
        found: Any = layer.values
        depth = 0
        while depth < len(parts) and isinstance(found, Mapping) and parts[depth] in found:
            found = found[parts[depth]]
            depth += 1
        # A wrong item of a list has the number of the item as its last part.
        if depth == len(parts) or (depth and not isinstance(found, Mapping)):
            variable = f"variable PORTRAITD_{'__'.join(parts[:depth]).upper()}"
            return variable if layer.source == ENVIRONMENT else str(layer.source)
    return COMMAND_LINE


def nearest_setting(parts: Sequence[str]) -> str:
    """Return the setting that was probably meant by an unknown one; empty if none is similar."""
    fields = Settings.model_fields
    known: set[str] = {
        f"{section}.{key}"
        for section, field in fields.items()
        if isinstance(field.default, Section)
        for key in type(field.default).model_fields
    } | set(fields)
    beside = [name for name in known if name.rpartition(".")[0] == ".".join(parts[:-1])]
    ends = {name.rpartition(".")[2]: name for name in sorted(beside)}
    if similar := difflib.get_close_matches(parts[-1], ends, 1):
        return ends[similar[0]]
    # The right key in the wrong section, or without one.
    if elsewhere := sorted(name for name in known if name.rpartition(".")[2] == parts[-1]):
        return elsewhere[0]
    return "".join(difflib.get_close_matches(".".join(parts), sorted(known), 1))
