"""The documents agree with the code: what they name exists, and every setting is listed."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

import click
import pytest

import portraitd
from portraitd.cli.main import commands
from portraitd.config import Settings
from portraitd.model.reasons import ReasonCode

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "daemon" / "portraitd"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
OF_TODAY = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
"""The change log also names what has another name now."""


def named(path: Path) -> str:
    return path.name


def test_the_example_lists_every_setting_with_its_default() -> None:
    """No more, no less; a key without a default is commented out."""
    text = (ROOT / "config.example.toml").read_text()
    listed = tomllib.loads(text)
    everything = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE))
    for name, section in everything.items():
        if isinstance(section, dict):
            listed[name] = {key: listed[name].get(key) for key in section}

    assert Settings().model_dump(mode="json") == listed


def test_every_setting_is_explained() -> None:
    """Each key, or the group of keys that it belongs to, follows a comment."""
    block: list[str] = []
    for line in (ROOT / "config.example.toml").read_text().splitlines():
        if not line.strip() or line.startswith("["):
            block = []
            continue
        is_key = re.match(r"(# )?[\w\"/-]+ = ", line)
        assert not is_key or any(one.startswith("# ") for one in block), line
        block.append(line)


@pytest.mark.parametrize(("name", "limit"), [("README.md", 120), ("ARCHITECTURE.md", 200)])
def test_the_first_documents_are_short(name: str, limit: int) -> None:
    """Details are in docs/ and in the docstrings of the packages."""
    assert len((ROOT / name).read_text().splitlines()) <= limit


def test_the_readme_has_the_line_that_runs_the_tests() -> None:
    """The continuous integration pastes it; it must be the first line with pytest."""
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if "pytest" in line]

    assert lines[0].endswith("uv run -q pytest")


def test_the_version_and_the_licence_are_the_same_everywhere() -> None:
    """In the package, from where the build takes it, and at the top of the change log."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.M)

    assert ["version"] == project["dynamic"]
    assert portraitd.__version__ == versions[0]
    assert f"{project['license']} License" == (ROOT / "LICENSE").read_text().splitlines()[0]


@pytest.mark.parametrize("document", OF_TODAY, ids=named)
def test_commands_that_are_named_exist(document: Path) -> None:
    """Each ``portraitd something`` is a command, and takes the options shown with it."""
    found_in_text = re.findall(r"\bportraitd (?!-)([a-z][a-z-]+)([^\n`]*)", _code(document))

    for command, rest in found_in_text:
        found = commands.get_command(click.Context(commands), command)
        assert found is not None, f"portraitd {command}"
        if isinstance(found, click.Group):
            if not rest.strip():
                continue
            # `build|check|watch` stands for three.
            names = re.match(r"\s*([a-z|]+)", rest)
            assert names, f"portraitd {command}"
            for name in names[1].split("|"):
                assert name in found.commands, f"portraitd {command} {name}"
            found = found.commands[names[1].split("|")[0]]
        options = {o for p in found.params for o in p.opts}
        for option in re.findall(r"--[a-z-]+", rest.split("#")[0].split("&&")[0]):
            assert option in options, f"portraitd {command} {option}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_settings_that_are_named_exist(document: Path) -> None:
    """Each `section.key` between backticks, where there is such a section."""
    sections = Settings().model_dump()
    found = re.findall(r"`(?:--set )?([a-z]+)\.([a-z_]+)(?: ?=[^`]*)?`", document.read_text())

    for section, key in found:
        # `grouping.py` is a file.
        if isinstance(sections.get(section), dict) and key != "py":
            assert key in sections[section], f"{section}.{key}"


@pytest.mark.parametrize("document", OF_TODAY, ids=named)
def test_files_and_modules_that_are_named_exist(document: Path) -> None:
    """Each path between backticks that ends in ``.py`` or names a folder of the repository."""
    inline = re.findall(r"`([\w./-]+)`", document.read_text())
    paths = [one for one in inline if one.endswith(".py") and "/" in one]
    modules = re.findall(r"`((?:cli|service|ingest|clustering|store|workers)/[\w/]*)`",
                         document.read_text())  # fmt: skip

    for path in [*paths, *modules]:
        places = (ROOT / path, PACKAGE / path, PACKAGE / f"{path}.py")
        assert any(place.exists() for place in places), path


def test_the_modules_on_the_way_of_a_video_and_an_edit_exist() -> None:
    """ARCHITECTURE.md lists them in order."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    listed = re.findall(r"^  ([a-z]+/[\w/]+)", text, re.MULTILINE)

    assert len(listed) > 15
    assert [] == [one for one in listed if not (PACKAGE / f"{one}.py").exists()]


def test_every_package_is_in_the_picture() -> None:
    """ARCHITECTURE.md draws the folders that are there, and no other."""
    picture = re.search(r"```\nportraitd/\n(.*?)```", (ROOT / "ARCHITECTURE.md").read_text(), re.S)
    assert picture
    drawn = set(re.findall(r"(\w+)/  ", picture[1])) | set(re.findall(r"(\w+)/$", picture[1], re.M))
    there = {
        path.parent.name for path in PACKAGE.glob("*/**/__init__.py") if path.parent != PACKAGE
    }

    assert there == drawn


@pytest.mark.parametrize("document", [ROOT / "docs" / "operations.md"], ids=named)
def test_events_metrics_and_codes_that_operators_see_exist(document: Path) -> None:
    """Each word with an underscore between backticks stands in the source as a string."""
    words = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)", document.read_text()))

    assert len(words) > 10
    assert [] == sorted(word for word in words if f'"{word}"' not in _source())


def test_every_reason_code_is_documented() -> None:
    """Scripts compare the codes."""
    text = "\n".join(path.read_text() for path in ROOT.glob("docs/*.md"))

    assert [] == [code for code in ReasonCode if code and f"`{code}`" not in text]


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_to_a_file(document: Path) -> None:
    """Every relative link."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())

    assert [] == [link for link in links if not (document.parent / link).exists()]


def test_every_document_can_be_reached_from_the_readme() -> None:
    """In one step."""
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text())

    assert {path.name for path in DOCUMENTS} - {"README.md"} <= {Path(one).name for one in links}


def test_every_dependency_has_a_reason() -> None:
    """ARCHITECTURE.md names each package that pyproject asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    names = [re.split(r"[<>=\[ ]", one)[0] for one in project["dependencies"] + extras]
    text = (ROOT / "ARCHITECTURE.md").read_text()

    assert [] == [name for name in names if f"`{name}`" not in text]


def test_the_pinned_list_is_as_new_as_the_project() -> None:
    """Every direct dependency is pinned, with hashes, and no download address is recorded."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = (ROOT / "requirements.txt").read_text()
    names = [re.split(r"[<>=\[ ]", one)[0] for one in project["dependencies"]]

    assert [] == [name for name in names if not re.search(rf"^{name}==", pinned, re.MULTILINE)]
    assert "--hash=sha256:" in pinned
    assert "://" not in pinned


@cache
def _source() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))


def _code(document: Path) -> str:
    """Return what is in code blocks and between backticks."""
    text = document.read_text()
    blocks = re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return "\n".join(blocks + inline)
