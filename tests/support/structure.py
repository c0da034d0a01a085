"""Describe how a Python package is laid out: entries, lines, import levels, cycles, names.

Run ``python tests/support/structure.py [PACKAGE]``; without an argument it describes portraitd.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).absolute().parents[2] / "daemon" / "portraitd"

Graph = Mapping[str, frozenset[str]]
"""What each node imports."""


@dataclass(frozen=True)
class Module:
    """One source file.

    Attributes:
        name: Dotted, without the package's own name; ``store`` for ``store/__init__.py``.
        lines: How many it has.
        classes: Public classes at its top level.
        imports: Modules of the same package that it imports, anywhere but for type checking.
    """

    name: str
    path: Path
    lines: int
    classes: tuple[str, ...]
    imports: frozenset[str]

    @property
    def box(self) -> str:
        """The entry of the package's folder that it belongs to."""
        return self.name.partition(".")[0]


def read_modules(package: Path = PACKAGE) -> list[Module]:
    """Return every module below a package's folder, sorted by name."""
    paths = {
        ".".join(_parts(path.relative_to(package))): path for path in sorted(package.rglob("*.py"))
    }
    modules = []
    for name, path in paths.items():
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source, str(path))
        modules.append(
            Module(
                name,
                path,
                len(source.splitlines()),
                tuple(
                    node.name
                    for node in tree.body
                    if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
                ),
                frozenset(_imports(tree, package.name, paths)) - {name},
            )
        )
    return modules


def entries(package: Path = PACKAGE) -> list[str]:
    """Return the entries of the package's folder that are not dunder files or markers."""
    return sorted(
        path.name
        for path in package.iterdir()
        if not path.name.startswith(("__", ".")) and path.name != "py.typed"
    )


def names_used_twice(modules: Iterable[Module]) -> tuple[list[str], list[str]]:
    """Return the module file names and the public class names that occur more than once."""
    files: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    for module in modules:
        files[module.path.name] += module.path.name != "__init__.py"
        classes.update(module.classes)
    return _repeated(files), _repeated(classes)


def graph_of_modules(modules: Iterable[Module]) -> Graph:
    """Return what each module imports."""
    return {module.name: module.imports for module in modules}


def graph_of_boxes(modules: Iterable[Module]) -> Graph:
    """Return what each entry of the package's folder imports of the others."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for module in modules:
        found[module.box] |= {name.partition(".")[0] for name in module.imports} - {module.box}
    return {box: frozenset(targets) for box, targets in found.items()}


def cycles(graph: Graph) -> list[list[str]]:
    """Return the strongly connected components of more than one node (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def levels(graph: Graph) -> int:
    """Return the length of the longest chain of imports; nodes in a cycle count once."""
    depth: dict[str, int] = {}

    def measure(node: str, above: frozenset[str]) -> int:
        if node not in depth:
            below = [
                measure(target, above | {node})
                for target in graph.get(node, ())
                if target not in above
            ]
            depth[node] = 1 + max(below, default=0)
        return depth[node]

    return max((measure(node, frozenset({node})) for node in graph), default=0)


def describe(package: Path = PACKAGE) -> Iterator[str]:
    """Yield the description, line by line."""
    modules = read_modules(package)
    lines: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for module in modules:
        lines[module.box] += module.lines
        files[module.box] += 1
    yield f"{'entry':<28}{'modules':>8}{'lines':>8}"
    for box in sorted(lines):
        if box:
            yield f"{box:<28}{files[box]:>8}{lines[box]:>8}"
    longest = max(modules, key=lambda module: module.lines)
    by_box, by_module = graph_of_boxes(modules), graph_of_modules(modules)
    yield f"entries of the folder: {len(entries(package))}"
    yield f"modules: {len(modules)}, lines: {sum(lines.values())}"
    yield f"longest module: {longest.name}, {longest.lines} lines"
    yield f"imports between entries: {sum(map(len, by_box.values()))}"
    yield f"import levels of the entries: {levels(by_box)}"
    yield f"cycles between entries: {_joined(cycles(by_box))}"
    yield f"cycles between modules: {_joined(cycles(by_module))}"
    file_names, class_names = names_used_twice(modules)
    yield f"module names that occur twice: {', '.join(file_names) or 'none'}"
    yield f"class names that occur twice: {', '.join(class_names) or 'none'}"


def _parts(path: Path) -> tuple[str, ...]:
    parts = path.with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def _imports(tree: ast.Module, package: str, known: Mapping[str, Path]) -> Iterator[str]:
    for node in _running_code(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            top, _, rest = name.partition(".")
            if top != package:
                continue
            while rest and rest not in known:
                rest = rest.rpartition(".")[0]
            if rest:
                yield rest


def _running_code(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node that is not below ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _running_code(node)


def _repeated(counts: Counter[str]) -> list[str]:
    return sorted(name for name, count in counts.items() if count > 1)


def _joined(found: list[list[str]]) -> str:
    return "; ".join(" - ".join(cycle) for cycle in found) or "none"


if __name__ == "__main__":
    print("\n".join(describe(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE)))
