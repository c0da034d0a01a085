"""Rules of the house that no linter checks."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import portraitd

ROOT = Path(__file__).absolute().parents[2]
PACKAGE = Path(portraitd.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
BESIDE = sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")])
"""What tests and measures the package."""

MOST_LINES = 400
HEAVY = ("cv2", "dlib", "sklearn", "face_recognition", "onnxruntime", "scipy", "matplotlib")


def short(path: Path) -> str:
    return str(path.relative_to(PACKAGE if path in MODULES else ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imported(path: Path) -> Iterator[str]:
    """The top of every module that a file imports, anywhere in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]


def called(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """The name of every function that a file calls, as ``eval`` or ``os.system``."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_the_rules_look_at_something() -> None:
    """The package is where this test thinks it is."""
    assert len(MODULES) > 40
    assert len(BESIDE) > 100
    assert ROOT / "daemon" / "portraitd" == PACKAGE


@pytest.mark.parametrize("path", [*MODULES, *BESIDE], ids=short)
def test_no_module_is_long(path: Path) -> None:
    """A module that grows is two modules; find their names."""
    assert MOST_LINES >= len(path.read_text().splitlines())


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_every_module_says_what_it_is(path: Path) -> None:
    """In its first line."""
    assert ast.get_docstring(tree(path))


def test_no_module_has_a_name_that_says_nothing() -> None:
    """If that is the honest name, it is two modules."""
    nothing = {"core", "util", "utils", "helper", "helpers", "manager", "common", "misc", "base"}

    assert set() == {path.stem for path in MODULES} & nothing


def test_the_folder_above_the_package_is_no_package() -> None:
    """It is called daemon, and would hide python-daemon."""
    assert not (ROOT / "daemon" / "__init__.py").exists()


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_nothing_is_pickled(path: Path) -> None:
    """A pickle is a program; neither the store nor a file may hold one.

    `answers` takes the programs out of those that multiprocessing sends.
    """
    if path.name == "answers.py":
        return
    assert set() == {"pickle", "marshal", "shelve", "joblib", "dill", "cloudpickle"} & set(
        imported(path)
    )


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_no_text_becomes_a_program(path: Path) -> None:
    """Neither Python's nor a shell's; and numpy reads no pickle either."""
    forbidden = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
    for name, call in called(path):
        assert name not in forbidden
        for keyword in call.keywords:
            says_yes = getattr(keyword.value, "value", None) is not False
            assert not (keyword.arg in ("shell", "allow_pickle") and says_yes)


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_no_branch_asks_whether_it_is_tested(path: Path) -> None:
    """What is tested is what runs."""
    assert "pytest" not in set(imported(path))
    assert "is_testing" not in path.read_text().lower()


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after a statement."""
    code = f"{statement}\nimport sys; print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in answer.stdout.split()}


@pytest.mark.parametrize(
    "module",
    [
        "portraitd.service.pipeline",
        "portraitd.cli.main",
        "portraitd.service.status",
        "portraitd.cli.listing",
        "portraitd.cli.progress",
        "portraitd.people.tree.people_tree",
        "portraitd.people.pages.gallery",
        "portraitd.people.pages.status_stage",
        "portraitd.datasets.dataset_stage",
        "portraitd.cli.dataset_builds",
        "portraitd.store",
    ],
)
def test_the_daemon_process_loads_no_heavy_library(module: str) -> None:
    """Their crashes, their threads and their memory belong into the workers."""
    assert set() == set(HEAVY) & loaded_by(f"import {module}")


def test_a_job_names_heavy_libraries_and_loads_none() -> None:
    """The daemon hands it over by name."""
    assert set() == set(HEAVY) & loaded_by(
        "from portraitd.ingest.media_jobs import encode, cluster, montage"
    )
    steps = "from portraitd.datasets.build import plan, run_orders, assemble"
    assert set() == set(HEAVY) & loaded_by(steps)


def test_importing_the_package_is_cheap() -> None:
    """``portraitd --help`` waits for nothing."""
    assert set() == {"numpy", "watchdog", *HEAVY} & loaded_by("import portraitd")


def test_tests_are_functions_that_say_something() -> None:
    """Each has a docstring that is not its name, and a name that is a sentence."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"
                assert node.name.count("_") >= 3, f"{path.name}: {node.name}"
