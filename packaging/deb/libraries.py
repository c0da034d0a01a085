"""Make the shared libraries of a package small; check that each one finds what it needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
"""Names of each architecture's tools and folders."""

SYSTEM_LIBRARIES = {
    "libc.so.6", "libm.so.6", "libmvec.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1",
    "libutil.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1",
    "libgcc_s.so.1", "libstdc++.so.6", "libz.so.1",
}  # fmt: skip
"""What the package depends on; any other library must be in the tree."""

EMPTY = (
    # OpenCV's FFmpeg: PyAV reads videos, with an FFmpeg of its own.
    "opencv_python_headless.libs/libavcodec-*",
    "opencv_python_headless.libs/libavformat-*",
    "opencv_python_headless.libs/libavutil-*",
    "opencv_python_headless.libs/libswscale-*",
    # Encoders of video. FFmpeg asks x265 what it can encode, and takes no answer for nothing.
    "av.libs/libx265-*",
    "av.libs/libSvtAv1Enc-*",
    # Screens and microphones.
    "av.libs/libxcb*", "av.libs/libasound-*", "pillow.libs/libxcb-*",
)  # fmt: skip
"""Libraries that another one is linked to, and that portraitd never calls."""

FROM_SYSTEM = {"opencv_python_headless.libs/libopenblas*": "liblapack.so.3"}
"""Libraries for which Debian has another one, which the package depends on."""

LAPACK = re.compile(r"cblas_[sdcz]gemm|[sd](geev|gels|geqrf|gesdd|gesv|getrf|posv|potrf)_")
"""What ``liblapack.so.3`` and its ``libblas.so.3`` have of what OpenCV calls."""

FROM_PACKAGE = {"opencv_python_headless.libs/libavif-*": "pillow.libs/libavif-*"}
"""Libraries that another package has in the same version, with its decoder in the same file."""

RETURN_ZERO = {"amd64": "31 c0 c3", "arm64": "00 00 80 d2 c0 03 5f d6"}
"""A function that returns 0, as machine code."""


@dataclass(frozen=True)
class Symbol:
    """A name that a library has or needs.

    Args:
        name: The name alone.
        version: The version of it; empty if it has none.
        kind: ``FUNC``, ``OBJECT`` and so on; ``NOTYPE`` if the library only needs it.
        is_defined: Whether the library has it.
    """

    name: str
    version: str
    kind: str
    is_defined: bool


def shrink_libraries(packages: Path, arch: str) -> None:
    """Remove what portraitd never uses of the libraries of all packages.

    Exits if a library would miss something afterwards.
    """
    _strip_all(packages, arch)
    for pattern in EMPTY:
        for library in packages.glob(pattern):
            _make_empty(library, packages, arch)
    for pattern, name in FROM_SYSTEM.items():
        for library in packages.glob(pattern):
            if all(LAPACK.fullmatch(one.name) for one in _list_used(library, packages)):
                library.unlink()
                library.symlink_to(f"/usr/lib/{TRIPLETS[arch]}/{name}")
    for pattern, other in FROM_PACKAGE.items():
        for library, replacement in product(packages.glob(pattern), packages.glob(other)):
            _link_if_equal(library, replacement, packages)
    _link_copies(packages)
    _remove_unneeded(packages)
    _check_needed(packages)


def _list_libraries(packages: Path) -> list[Path]:
    """Return all libraries that are files, not links."""
    found = (path for path in packages.rglob("*.so*") if not path.is_symlink())
    return sorted(path for path in found if path.is_file())


def _list_symbols(library: Path) -> Iterator[Symbol]:
    for line in run("readelf", "--dyn-syms", "-W", library).splitlines():
        words = line.split()
        if len(words) >= 8 and words[0].endswith(":"):
            name, _, version = words[7].partition("@")
            yield Symbol(name, version.lstrip("@"), words[3], words[6] != "UND")


def _list_needed(library: Path) -> set[str]:
    """Return the names of the libraries that one is linked to."""
    return set(re.findall(r"Shared library: \[(.*?)\]", run("readelf", "-dW", library)))


def _list_used(library: Path, packages: Path) -> list[Symbol]:
    """Return those symbols of a library that others need which are linked to it."""
    wanted = {
        (symbol.name, symbol.version)
        for user in _list_libraries(packages)
        if library.name in _list_needed(user)
        for symbol in _list_symbols(user)
        if not symbol.is_defined
    }
    symbols = (symbol for symbol in _list_symbols(library) if symbol.is_defined)
    return [one for one in symbols if (one.name, one.version) in wanted]


def _make_empty(library: Path, packages: Path, arch: str) -> None:
    """Replace a library by one whose functions do nothing and return 0."""
    used = _list_used(library, packages)
    if variables := [one.name for one in used if one.kind != "FUNC"]:
        sys.exit(f"{library.name}: its variables are used: {', '.join(variables)}")
    code = ", ".join(f"0x{byte}" for byte in RETURN_ZERO[arch].split())
    source = "\n".join(
        f".globl {one.name}\n.type {one.name}, %function\n{one.name}:\n.byte {code}" for one in used
    )
    versions: dict[str, list[str]] = {}
    for one in used:
        versions.setdefault(one.version, []).append(one.name)
    script = "\n".join(
        f"{version} {{ global: {'; '.join(names)}; }};"
        for version, names in versions.items()
        if version
    )
    assembled, map_file = library.with_name("empty.o"), library.with_name("empty.map")
    note = '.section .note.GNU-stack, "", %progbits'
    subprocess.run(
        [_tool("as", arch), "-o", assembled, "-"],
        input=f".text\n{source}\n{note}\n", text=True, check=True,
    )  # fmt: skip
    map_file.write_text(script)
    subprocess.run(
        [_tool("ld", arch), "-shared", "--strip-all", "-soname", library.name, "-o", library,
         *(["--version-script", map_file] if script else []), assembled],
        check=True,
    )  # fmt: skip
    assembled.unlink()
    map_file.unlink()


def _link_if_equal(library: Path, other: Path, packages: Path) -> None:
    """Replace a library by another one of the same version that needs no further library."""
    same_version = library.name.partition(".so.")[2] == other.name.partition(".so.")[2]
    names = {(one.name, one.version) for one in _list_symbols(other) if one.is_defined}
    used = {(one.name, one.version) for one in _list_used(library, packages)}
    if same_version and used <= names and _list_needed(other) <= SYSTEM_LIBRARIES:
        _link(library, other)


def _link_copies(packages: Path) -> None:
    """Keep one of the libraries with the same name, which has a hash of the content in it."""
    first: dict[str, Path] = {}
    for library in sorted(_list_libraries(packages), key=lambda path: path.stat().st_size):
        if re.search(r"-[0-9a-f]{8}\.so", library.name):
            if library.name in first:
                _link(library, first[library.name])
            else:
                first[library.name] = library


def _link(library: Path, target: Path) -> None:
    library.unlink()
    library.symlink_to(os.path.relpath(target, library.parent))


def _remove_unneeded(packages: Path) -> None:
    """Remove libraries beside the packages that no other one is linked to any more."""
    while True:
        needed = {name for path in _list_libraries(packages) for name in _list_needed(path)}
        unneeded = [path for path in packages.glob("*.libs/*.so*") if path.name not in needed]
        if not unneeded:
            return
        for path in unneeded:
            path.unlink()


def _strip_all(packages: Path, arch: str) -> None:
    """Remove the symbols of libraries where that leaves them loadable.

    Libraries in wheels were changed with patchelf, and strip moves segments of some off their page.
    """
    for path in _list_libraries(packages):
        stripped = path.with_name(path.name + ".stripped")
        answer = subprocess.run(
            [_tool("strip", arch), "--strip-unneeded", "-o", stripped, path],
            capture_output=True, check=False,
        )  # fmt: skip
        if answer.returncode == 0 and _is_aligned(stripped):
            shutil.copymode(path, stripped)
            stripped.replace(path)
        else:
            stripped.unlink(missing_ok=True)


def _is_aligned(library: Path) -> bool:
    """Return whether the loader can map every segment of a library."""
    rows = (line.split() for line in run("readelf", "-lW", library).splitlines())
    segments = [row for row in rows if row and row[0] == "LOAD"]
    return bool(segments) and all(
        (int(row[1], 16) - int(row[2], 16)) % int(row[-1], 16) == 0 for row in segments
    )


def _check_needed(packages: Path) -> None:
    """Refuse a library that is neither in the package nor in one that it depends on."""
    known = SYSTEM_LIBRARIES | {path.name for path in packages.rglob("*.so*")}
    for path in _list_libraries(packages):
        if missing := _list_needed(path) - known:
            sys.exit(f"{path.relative_to(packages)} needs {', '.join(sorted(missing))}")


def _tool(name: str, arch: str) -> str:
    """Return the name of a program of binutils for an architecture."""
    tool = f"{TRIPLETS[arch]}-{name}"
    if shutil.which(tool) is None:
        sys.exit(f"{tool} is missing: apt install binutils-{TRIPLETS[arch].replace('_', '-')}")
    return tool


def run(*command: str | Path) -> str:
    """Run a program that must succeed, and return what it printed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
