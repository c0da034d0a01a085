"""Commands that run in this process, which is faster, and what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from portraitd.cli.main import main

Answer = subprocess.CompletedProcess[str]
Run = Callable[..., Answer]


def runner(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """What runs a command here, in the name of somebody without a home."""
    for name in os.environ:
        if name.startswith("PORTRAITD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))

    def run(*arguments: str | Path) -> Answer:
        monkeypatch.setattr(sys, "argv", ["portraitd", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Answer(arguments, ended.value.code or 0, printed.out, printed.err)

    return run


def said(answer: Answer) -> str:
    """Standard error, as one line a message; never a traceback."""
    assert "Traceback" not in answer.stderr, answer.stderr
    return answer.stderr
