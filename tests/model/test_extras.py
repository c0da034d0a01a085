"""The commands that install what an extra contains."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from portraitd.model.extras import describe_installation

ROOT = Path(__file__).parents[2]
OURS_IN_AN_INDEX = re.compile(r"pip install [^\n`&;]*\bportraitd\b(?!/)|portraitd\[\w")


@pytest.mark.parametrize(
    ("extra", "packages"),
    [
        ("dask", ["distributed"]),
        ("demo", ["matplotlib", "scikit-image"]),
        ("openvino", ["openvino"]),
    ],
)
def test_an_extra_is_installed_by_the_names_of_its_packages(
    extra: str, packages: list[str]
) -> None:
    """Our own name means another project in the public index."""
    command = describe_installation(extra)

    assert command.startswith(f"{sys.executable} -m pip install ")
    assert packages == re.findall(r"[' ]([a-z][a-z-]+)[<>=]", command)


MISSING = """
import sys
sys.modules["pkg_resources"] = None
from portraitd.faces.dlib_reference import face_recognition_api
from portraitd.model.errors import ModelError
try:
    face_recognition_api()
except ModelError as error:
    print(error)
"""


def test_without_the_reference_the_error_says_how_to_install_it() -> None:
    """face_recognition itself would end the process."""
    answer = subprocess.run(
        [sys.executable, "-c", MISSING], capture_output=True, text=True, check=True
    )

    assert 'encoder.kind = "dlib" needs face_recognition' in answer.stdout
    assert "pip install --no-deps" in answer.stdout


def test_no_document_or_message_installs_us_from_an_index() -> None:
    """There it would be a program of other people."""
    files = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("daemon/**/*.py"),
        ROOT / "config.example.toml",
        ROOT / "pyproject.toml",
    ]
    # A comment says why it must not be written.
    texts = {
        str(file.relative_to(ROOT)): re.sub(r"^\s*#.*", "", file.read_text(), flags=re.M)
        for file in files
    }

    assert [] == [name for name, text in texts.items() if OURS_IN_AN_INDEX.search(text)]
    assert len(texts) > 200
