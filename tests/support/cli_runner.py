"""Run commands in this process, which is faster than starting one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from portraitd.cli.main import main

CommandResult = subprocess.CompletedProcess[str]
RunCommand = Callable[..., CommandResult]


def make_runner(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> RunCommand:
    """Return a function that runs a command as a user without a home folder."""
    for name in os.environ:
        if name.startswith("PORTRAITD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))

    def run(*arguments: str | Path) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["portraitd", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return CommandResult(arguments, ended.value.code or 0, printed.out, printed.err)

    return run


def stderr_of(answer: CommandResult) -> str:
    """Return standard error, which must not contain a traceback."""
    assert "Traceback" not in answer.stderr, answer.stderr
    return answer.stderr
