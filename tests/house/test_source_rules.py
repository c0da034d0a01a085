"""Rules on the source that neither ruff nor import-linter can check."""

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
HEAVY = ("cv2", "dlib", "sklearn", "face_recognition", "onnxruntime", "scipy", "matplotlib")


def calls(path: Path) -> Iterator[ast.Call]:
    """Yield every call in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Call):
            yield node


def test_the_folder_above_the_package_is_no_package() -> None:
    """It is called daemon, and would hide python-daemon."""
    assert ROOT / "daemon" / "portraitd" == PACKAGE
    assert not (ROOT / "daemon" / "__init__.py").exists()


def test_no_text_becomes_a_program() -> None:
    """ruff bans pickle, eval and exec; what is left is numpy's pickle and a shell."""
    modules = list(PACKAGE.rglob("*.py"))
    assert len(modules) > 100
    for path in modules:
        for call in calls(path):
            assert ast.unparse(call.func) not in {"compile", "__import__"}, path
            for keyword in call.keywords:
                is_allowed = getattr(keyword.value, "value", None) is False
                assert keyword.arg not in ("shell", "allow_pickle") or is_allowed, path


def test_opencv_reads_no_video() -> None:
    """PyAV does; the FFmpeg that OpenCV brings is loaded with it and must stay unused."""
    used = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for call in calls(path)
        if ast.unparse(call.func).endswith(("VideoCapture", "VideoWriter"))
    }

    # The demo writes its clip in the command line tool.
    assert {"cli/demo.py"} == used


def test_no_branch_asks_whether_it_is_tested() -> None:
    """The code that is tested is the code that runs."""
    for path in PACKAGE.rglob("*.py"):
        assert "is_testing" not in path.read_text(encoding="utf-8").lower(), path


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys; print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in answer.stdout.split()}


@pytest.mark.parametrize("package", ["cli.main", "service.daemon", "service.supervisor"])
def test_the_service_process_loads_no_heavy_library(package: str) -> None:
    """Their crashes, their threads and their memory belong into the workers."""
    assert set() == set(HEAVY) & loaded_by(f"import portraitd.{package}")


@pytest.mark.parametrize(
    "path",
    [
        path
        for name in ("service", "people", "datasets", "store", "ingest", "cli", "model")
        for path in sorted((PACKAGE / name).glob("__init__.py"))
    ],
    ids=lambda path: path.parent.name,
)
def test_a_package_without_workers_loads_no_heavy_library(path: Path) -> None:
    """Every module in it that is no worker's can be imported by the service."""
    of_workers = {"cropping", "contact_sheet", "face_light", "harvest_search", "demo"}
    names = [
        f"portraitd.{'.'.join(module.relative_to(PACKAGE).with_suffix('').parts)}"
        for module in path.parent.rglob("*.py")
        if module.stem not in of_workers and module.stem != "__init__"
    ]
    # One adapter needs Dask, which is an extra.
    names = [name for name in names if "dask" not in name and ".agent" not in name]

    assert set() == set(HEAVY) & loaded_by("import " + ", ".join(names))


def test_importing_the_package_is_cheap() -> None:
    """``portraitd --help`` waits for nothing."""
    assert set() == {"numpy", "watchdog", *HEAVY} & loaded_by("import portraitd")


def test_tests_are_functions_that_say_something() -> None:
    """Each has a docstring that is not its name, and a name that is a sentence."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"
                assert node.name.count("_") >= 3, f"{path.name}: {node.name}"
