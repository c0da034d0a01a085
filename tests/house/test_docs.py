"""What the documents say is so: commands exist, every setting is listed, links lead somewhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest

from portraitd.cli.main import commands
from portraitd.config import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])


def test_the_example_lists_every_setting_with_its_default() -> None:
    """No more, no less; a key without a default stands commented out."""
    text = (ROOT / "config.example.toml").read_text()
    listed = tomllib.loads(text)
    everything = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE))
    for name, section in everything.items():
        if isinstance(section, dict):
            listed[name] = {key: listed[name].get(key) for key in section}

    assert Settings().model_dump(mode="json") == listed


def test_the_readme_is_short() -> None:
    """What does not fit lives in docs/."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_that_are_named_exist(document: Path) -> None:
    """Each ``portraitd something`` is a command, and takes the options shown with it."""
    named = re.findall(r"\bportraitd (?!-)([a-z][a-z-]+)([^\n`]*)", _code(document))

    for command, rest in named:
        assert command in commands.commands, f"portraitd {command}"
        found = commands.commands[command]
        if isinstance(found, click.Group):
            # `build|check|watch` stands for three.
            names = re.match(r"\s*([a-z|]+)", rest)
            assert names, f"portraitd {command}"
            for name in names[1].split("|"):
                assert name in found.commands, f"portraitd {command} {name}"
            found = found.commands[names[1].split("|")[0]]
        options = {o for p in found.params for o in p.opts}
        for option in re.findall(r"--[a-z-]+", rest.split("#")[0].split("&&")[0]):
            assert option in options, f"portraitd {command} {option}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_settings_that_are_named_exist(document: Path) -> None:
    """Each `section.key` between backticks, where there is such a section."""
    sections = Settings().model_dump()
    named = re.findall(r"`(?:--set )?([a-z]+)\.([a-z_]+)(?: ?=[^`]*)?`", document.read_text())

    for section, key in named:
        if isinstance(sections.get(section), dict):
            assert key in sections[section], f"{section}.{key}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_a_file(document: Path) -> None:
    """Every relative link."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())

    assert [] == [link for link in links if not (document.parent / link).exists()]


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


def _code(document: Path) -> str:
    """What stands in code blocks and between backticks."""
    text = document.read_text()
    blocks = re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return "\n".join(blocks + inline)
