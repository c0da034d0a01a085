"""The package is laid out so that its parts can be found."""

from __future__ import annotations

import ast
from pathlib import Path

from support.structure import (
    cycles,
    describe,
    entries,
    graph_of_boxes,
    graph_of_modules,
    names_used_twice,
    read_modules,
)

MOST_ENTRIES = 14
TESTS = Path(__file__).absolute().parents[1]
VAGUE = {"core", "util", "utils", "helper", "helpers", "manager", "common", "misc", "base"}


def test_the_package_has_few_entries() -> None:
    """They are the stages of the pipeline in order, and what carries them."""
    assert len(entries()) <= MOST_ENTRIES


def test_no_two_modules_or_classes_share_a_name() -> None:
    """A search for a name finds one place."""
    assert ([], []) == names_used_twice(read_modules())


def test_imports_form_no_cycle() -> None:
    """Neither between the entries of the package nor between modules."""
    modules = read_modules()

    assert [] == cycles(graph_of_boxes(modules)) + cycles(graph_of_modules(modules))


def test_a_cycle_would_be_found(tmp_path: Path) -> None:
    """In a package with two modules that import each other, one of them inside a function."""
    package = tmp_path / "round"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text("from round import two\n\nclass Same: ...\n")
    (package / "two.py").write_text("def late():\n    import round.one\n\nclass Same: ...\n")

    modules = read_modules(package)

    assert [["one", "two"]] == cycles(graph_of_modules(modules))
    assert ([], ["Same"]) == names_used_twice(modules)
    assert any("one - two" in line for line in describe(package))


def test_no_module_has_a_vague_name() -> None:
    """If that is the honest name, it is two modules."""
    assert set() == {module.path.stem for module in read_modules()} & VAGUE


def test_test_files_mirror_the_package() -> None:
    """Each folder is a package of portraitd or a kind of test, and holds no test of its parent."""
    kinds = {"integration", "system", "house", "support"}
    packages = {name for name in entries() if not name.endswith(".py")}
    folders = {path.name for path in TESTS.iterdir() if path.is_dir() and path.name[0] not in "._"}

    assert folders <= packages | kinds
    assert {"test_config.py"} == {path.name for path in TESTS.glob("test_*.py")}


def test_no_test_module_imports_another() -> None:
    """What two tests share stands in ``support``."""
    tests = {path.stem for path in TESTS.rglob("test_*.py")}
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").rpartition(".")[2] not in tests, path
