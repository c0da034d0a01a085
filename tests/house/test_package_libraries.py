"""What the build of the Debian package does with shared libraries, on those of Pillow."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import PIL
import pytest

ROOT = Path(__file__).absolute().parents[2]
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

pytestmark = pytest.mark.skipif(
    shutil.which(f"{platform.machine()}-linux-gnu-ld") is None, reason="binutils is not installed"
)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Return a folder with Pillow alone."""
    installed = Path(PIL.__file__).parents[1]
    for name in ("PIL", "pillow.libs"):
        shutil.copytree(installed / name, tmp_path / name)
    return tmp_path


def shrink(packages: Path) -> subprocess.CompletedProcess[str]:
    """Shrink the libraries as the build does, in a process of its own."""
    arch = ARCHITECTURES[platform.machine()]
    code = f"from libraries import *; shrink_libraries(Path({str(packages)!r}), {arch!r})"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "packaging/deb",
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_an_empty_library_stands_for_one_that_is_not_used(packages: Path) -> None:
    """Pillow asks libxcb for pictures of a screen only; it opens photos without its code."""
    (screen,) = packages.glob("pillow.libs/libxcb-*")
    before = screen.stat().st_size

    assert shrink(packages).stderr == ""

    assert screen.stat().st_size < before / 5
    # Only the one that is empty now was linked to it.
    assert not list(packages.glob("pillow.libs/libXau-*"))
    code = (
        "import io, PIL; from PIL import Image; file = io.BytesIO()\n"
        "Image.new('RGB', (8, 8), 'red').save(file, 'JPEG'); print(PIL.__file__)\n"
        "assert Image.open(file).getpixel((4, 4))[0] > 250"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=packages, check=True, capture_output=True, text=True
    )
    assert found.stdout.startswith(str(packages))


def test_a_library_that_is_missing_ends_the_build(packages: Path) -> None:
    """Otherwise the package could not be used."""
    (jpeg,) = packages.glob("pillow.libs/libjpeg-*")
    jpeg.unlink()

    answer = shrink(packages)

    assert answer.returncode == 1
    assert jpeg.name in answer.stderr
