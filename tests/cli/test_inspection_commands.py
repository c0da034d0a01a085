"""What commands that only look load: they are run often, by people and by monitoring."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.home import Home

CODE = """
import sys
from portraitd.cli.main import commands
commands(sys.argv[1:], standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""

DECODERS = {"cv2", "av", "dlib", "onnxruntime", "onnx", "sklearn", "scipy", "PIL"}
NEVER = DECODERS | {"numpy", "structlog", "asyncio", "multiprocessing"}


@pytest.mark.parametrize(
    ("command", "forbidden"),
    [
        (("status",), NEVER),
        (("status", "--json"), NEVER | {"rich"}),
        (("faces",), NEVER | {"rich"}),
        (("ledger",), NEVER | {"rich"}),
        (("explain", "clip.mp4"), DECODERS),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_looking_loads_no_library_for_arrays_or_media(
    named_home: Home, command: tuple[str, ...], forbidden: set[str]
) -> None:
    """On a home with people; importing numpy alone takes longer than the command."""
    answer = subprocess.run(
        [sys.executable, "-c", CODE, *command, "--home", named_home.settings.home_dir],
        capture_output=True,
        text=True,
        check=True,
    )

    assert set() == forbidden & {name.partition(".")[0] for name in answer.stderr.split()}
