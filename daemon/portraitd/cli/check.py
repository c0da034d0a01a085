"""``portraitd check``: find problems of a home folder and of the installation."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from portraitd.cli.model_advice import describe_indistinct, describe_missing
from portraitd.config import Settings
from portraitd.faces.models.model_registry import model_path
from portraitd.ingest.dispatcher import encode_options
from portraitd.ingest.mounts import file_system_type, needs_polling
from portraitd.model.errors import ConfigError, PortraitdError, StoreError
from portraitd.service.active_settings import read_active
from portraitd.service.home import check_folders
from portraitd.service.model_overview import (
    ModelsInUse,
    find_models_in_use,
    list_missing,
    list_models,
)
from portraitd.service.pools import run_self_test
from portraitd.service.repair import FaultKind, faults
from portraitd.store.database import SQLITE_VERSION, Database
from portraitd.store.embedding_space import name_stored_embedder
from portraitd.store.people import People
from portraitd.workers import sandbox

LOW_DISK_BYTES = 1 << 30

REDUCED_LIMIT = 0.01
"""Largest accepted difference of an embedding in bfloat16: a hundredth of the distance between two
people. On labelled photographs it changes no figure by more than 0.0005."""

PACKAGES = (
    "dlib-bin",
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "scikit-learn",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    sound: bool
    what: str
    detail: str


def findings(settings: Settings) -> Iterator[Finding]:
    """Run all checks, and yield each result."""
    yield from _versions()
    for what, folder in (
        ("inbox", settings.inbox_dir),
        ("people", settings.people_dir),
        ("state", settings.state_dir),
    ):
        yield _folder(what, folder)
    try:
        check_folders(settings)
    except ConfigError as error:
        yield Finding(False, "folders", str(error))
    if settings.state_dir.is_dir():
        yield from _service(settings)
        yield from _models(settings)
        yield from _encoder(settings)
        yield from _workers(settings)
        yield _local(settings.state_dir)
        yield from _store(settings.state_dir)
        yield from _home(settings)


def grouping_findings(settings: Settings) -> Iterator[Finding]:
    """Check that the current clusters are those that scikit-learn finds from scratch."""
    from portraitd.clustering.verification import verify_grouping

    problems = verify_grouping(settings)
    yield Finding(not problems, "DBSCAN against scikit-learn", "; ".join(problems) or "equal")
    with Database.open_to_read(settings.state_dir) as database:
        last = People(database).last_grouping_run()
        embedder = name_stored_embedder(database)
    line = describe_indistinct(last.indistinct_faces if last else 0, embedder)
    yield Finding(True, "people who cannot be told apart", line or "none")


def _versions() -> Iterator[Finding]:
    for package in PACKAGES:
        try:
            yield Finding(True, package, version(package))
        except PackageNotFoundError:
            yield Finding(False, package, "not installed")
    yield Finding(True, "SQLite", SQLITE_VERSION)


def _encoder(of: Settings) -> Iterator[Finding]:
    """Check that the runtime in use gives what the models should give. Loads the networks."""
    from portraitd.faces.dlib_comparison import EMBEDDING_LIMIT, SCORE_LIMIT
    from portraitd.faces.factory import (
        compare_with_dlib,
        describe_detector_runtime,
        measure_runtime_difference,
    )

    try:
        settings = replace(encode_options(of).encoder, embedder=find_models_in_use(of).embedder)
        exact = compare_with_dlib(replace(settings, runtime="onnxruntime"))
        reduced = measure_runtime_difference(settings)
        runs_detector = describe_detector_runtime(settings)
    except ConfigError as error:
        yield Finding(False, "encoder", str(error))
        return
    yield Finding(True, "runtime of the detector", runs_detector)
    if exact.embedding is not None:
        yield Finding(
            exact.embedding <= EMBEDDING_LIMIT,
            "embedding against dlib",
            f"largest difference {exact.embedding:.1e} ({settings.kind})",
        )
    if exact.score is not None:
        detail = f"scores differ by {exact.score:.1e} on a drawn face"
        yield Finding(exact.score <= SCORE_LIMIT, "detector against dlib", detail)
    yield Finding(
        reduced <= REDUCED_LIMIT,
        "runtime in use against float32",
        f"largest difference {reduced:.1e}",
    )


def _service(settings: Settings) -> Iterator[Finding]:
    """Say which process uses the home, and whether its settings differ from these."""
    active = read_active(settings.state_dir)
    if active is None:
        return
    changed = ", ".join(
        f"{key} = {there} instead of {here}"
        for key, (there, here) in active.differences(settings).items()
    )
    detail = f"process {active.process}"
    if changed:
        detail += f" uses other settings: {changed}; reload it with `systemctl reload portraitd`"
    yield Finding(not changed, "running service", detail)


def _models(settings: Settings) -> Iterator[Finding]:
    """Say which models the service uses, which may not be those that the settings ask for."""
    try:
        listed, used = list_models(settings), find_models_in_use(settings)
        if active := read_active(settings.state_dir):
            # What it has loaded, whatever the settings and the folder of models say by now.
            used = ModelsInUse(active.detector, active.embedder, active.target)
    except ConfigError as error:
        yield Finding(False, "models", str(error))
        return
    yield Finding(True, "detector", used.detector)
    change = f"; stored faces are changing over to {used.target}" if used.target else ""
    yield Finding(True, "embedder", used.embedder + change)
    for damaged in (one.card for one in listed if one.state == "damaged"):
        path = model_path(damaged, settings.models_dir)
        yield Finding(False, damaged.name, f"{path} is damaged; {damaged.file.remedy}")
    if advice := describe_missing(list_missing(settings)):
        yield Finding(True, "recommended models", advice)


def _workers(settings: Settings) -> Iterator[Finding]:
    """Check what a worker taken over by a hostile file could do.

    What this kernel does not support is reported, but is not a fault if the service starts without.
    """
    essential = list(sandbox.missing_essentials())
    accepted = settings.workers.sandbox == "reduced"
    for reason in (*sandbox.missing_features(), *sandbox.missing_namespaces()):
        yield Finding(accepted or reason not in essential, "sandbox, on this kernel", reason)
    try:
        tried = run_self_test(settings, encode_options(settings).encoder)
    except PortraitdError as error:
        yield Finding(False, "workers", str(error))
        return
    for what, refused in tried.items():
        detail = "blocked" if refused else "NOT blocked; see docs/security.md"
        yield Finding(refused or bool(essential), f"a worker cannot {what}", detail)


def _folder(what: str, folder: Path) -> Finding:
    if not folder.is_dir():
        return Finding(False, what, f"{folder} does not exist; run `portraitd init` to create it")
    free = shutil.disk_usage(folder).free
    detail = f"{folder} ({file_system_type(folder)}, {free / 1e9:.1f} GB free)"
    return Finding(free >= LOW_DISK_BYTES, what, detail)


def _local(state_dir: Path) -> Finding:
    """Check that the state is on a local disk: SQLite's locks are unreliable on network mounts."""
    kind = file_system_type(state_dir)
    remote = needs_polling(kind)
    detail = f"{kind}; set paths.state to a local disk" if remote else kind
    return Finding(not remote, "state on a local disk", detail)


def _home(settings: Settings) -> Iterator[Finding]:
    """Run the checks of `portraitd check --repair`."""
    try:
        found = faults(settings)
    except StoreError:
        # Reported by the check of the database.
        return
    except ConfigError as error:
        yield Finding(False, "model of the stored faces", str(error))
        return
    for fault in found:
        if fault.what is not FaultKind.DATABASE:
            hint = "; `portraitd check --repair` repairs it" if fault.repair else ""
            yield Finding(False, fault.what, fault.detail + hint)


def _store(state_dir: Path) -> Iterator[Finding]:
    try:
        database = Database.open_to_read(state_dir)
    except StoreError as error:
        yield Finding(False, "database", str(error))
        return
    with database:
        problems = database.problems()
    yield Finding(not problems, "database", "; ".join(problems) or "intact")
