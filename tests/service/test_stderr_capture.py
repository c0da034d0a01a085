"""A journal holds JSON only, whoever prints to standard error: a library, a worker, an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from portraitd.service.stderr_capture import MAX_LINES
from support.processes import make_home, portraitd


def run(code: str) -> tuple[int, list[dict[str, Any]]]:
    """Run code with a JSON log; return the exit code and the log, every line of it."""
    before = (
        "import ctypes, os, subprocess, sys, warnings\n"
        "from portraitd.service import log_setup\n"
        "from portraitd.service.stderr_capture import capture_stderr\n"
        "log_setup.configure()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", before + code], capture_output=True, text=True, check=False
    )
    return ended.returncode, [json.loads(line) for line in ended.stderr.splitlines()]


def test_whatever_is_printed_is_a_line_of_json() -> None:
    """By C code, by a child process, by Python; bytes that are no text as well."""
    code, lines = run(
        "with capture_stderr():\n"
        "    ctypes.CDLL(None).dprintf(2, b'cpuinfo: unknown\\n')\n"
        "    subprocess.run(['sh', '-c', 'echo from a child >&2'])\n"
        "    os.write(2, b'\\xff\\n' + ('%04d' * 600 % (*range(600),)).encode() + b'\\n')\n"
        "    warnings.warn('a warning')\n"
    )

    texts = [line["text"] for line in lines]
    assert 0 == code
    assert {"stderr"} == {line["event"] for line in lines}
    assert ["cpuinfo: unknown", "from a child", "\ufffd"] == texts[:3]
    assert [1000, 1000, 400] == [len(text) for text in texts[3:6]]
    assert "a warning" in texts[6]


def test_a_flood_is_counted_not_logged() -> None:
    """A worker that was taken over must not fill the journal."""
    code, lines = run(
        "with capture_stderr():\n"
        "    for number in range(5000):\n"
        "        print(number, file=sys.stderr)\n"
    )

    assert 0 == code
    assert MAX_LINES == len(lines)


def test_an_error_of_portraitd_is_one_line_with_its_traceback() -> None:
    """It ends with 1, which systemd retries."""
    code, (line,) = run("with capture_stderr():\n    {}['missing']\n")

    assert 1 == code
    assert "crashed" == line["event"]
    assert "KeyError: 'missing'" in line["exception"]


def test_what_ends_the_service_at_its_start_is_json(tmp_path: Path) -> None:
    """Also before the settings are known."""
    home = make_home(tmp_path / "home")
    ended = portraitd("run", "--home", home, "--set", "grouping.eps=often")

    (line,) = map(json.loads, ended.stderr.splitlines())
    assert 78 == ended.returncode == line["exit_code"]
    assert ("service_failed", True) == (line["event"], "grouping.eps" in line["reason"])


def test_onnx_runtime_is_quiet_where_the_processor_is_hidden() -> None:
    """As under ``ProcSubset=pid``, and where a container hides it."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-mpf", "true"], check=False).returncode:
        pytest.skip("mounting needs root")
    code = (
        "import os, pathlib\n"
        "assert not pathlib.Path('/proc/cpuinfo').exists()\n"
        "from portraitd.faces.runtime import import_onnxruntime\n"
        "print(import_onnxruntime().get_device())\n"
        "os.write(2, b'not held back')\n"
    )
    mount = 'mount -t proc -o subset=pid proc /proc && exec "$@"'
    ended = subprocess.run(
        ["unshare", "-mpf", "sh", "-c", mount, "sh", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "CPU\n", "not held back") == (ended.returncode, ended.stdout, ended.stderr)
