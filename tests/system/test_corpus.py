"""Everything bad at once, in one inbox: each file comes to one end, and nothing gets out.

The corpus is built by a script beside the repository, with ffmpeg. The daemon runs under strace,
which sees every file that it and its workers open.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conftest import MEDIA_DIR
from portraitd.config import load
from portraitd.model.reasons import ReasonCode
from support.home import assert_sound, connect
from support.processes import CONFIG, children, environment, is_alive, make_home, wait_until

BUILDER = MEDIA_DIR.parent / "faults" / "mkbad.py"
FFMPEG = Path(__file__).parents[1] / "support" / "corpus_ffmpeg.sh"

TERMINAL = {"done", "duplicate", "failed", "ignored"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not BUILDER.is_file(), reason=f"no corpus builder at {BUILDER}"),
    pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed"),
    pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed"),
]

EXPECTED: dict[str, tuple[str, ReasonCode]] = {
    "01_": ("failed", ReasonCode.EMPTY),
    "02_": ("failed", ReasonCode.ONLY_ZEROS),
    "03_": ("failed", ReasonCode.TEXT_FILE),
    "04_": ("failed", ReasonCode.UNKNOWN_FORMAT),
    "05_": ("failed", ReasonCode.ONLY_ZEROS),
    "06_": ("failed", ReasonCode.TEXT_FILE),
    "07_": ("done", ReasonCode.NONE),
    "08_": ("done", ReasonCode.NONE),
    "09_": ("failed", ReasonCode.INDEX_MISSING),
    "10_": ("failed", ReasonCode.OTHER_FILE_TYPE),
    "11_": ("failed", ReasonCode.OTHER_FILE_TYPE),
    "12_": ("failed", ReasonCode.BYTES_MISSING),
    "13_": ("done", ReasonCode.PARTLY_DECODED),
    "14_": ("done", ReasonCode.NONE),
    "15_": ("done", ReasonCode.NONE),
    "16_": ("failed", ReasonCode.NO_PICTURES),
    "17_": ("done", ReasonCode.PARTLY_DECODED),
    "18_": ("failed", ReasonCode.UNKNOWN_FORMAT),
    "21_": ("failed", ReasonCode.BYTES_MISSING),
    "22_": ("failed", ReasonCode.INDEX_MISSING),
    "23_": ("failed", ReasonCode.SOUND_ONLY),
    "24_": ("failed", ReasonCode.SOUND_ONLY),
    "25_": ("done", ReasonCode.NONE),
    "27_": ("failed", ReasonCode.NO_PICTURES),
    **dict.fromkeys(["33_", "55_", "60_", "61_"], ("done", ReasonCode.NONE)),
    "41_": ("failed", ReasonCode.INDEX_DAMAGED),
    "68_": ("done", ReasonCode.NONE),
    "72_": ("failed", ReasonCode.ENCRYPTED),
    "73_": ("failed", ReasonCode.INDEX_DAMAGED),
    **dict.fromkeys(["80_", "82_", "84_", "85_", "86_", "87_", "88_"],
                    ("failed", ReasonCode.PLAYLIST)),
    # Their names say that they are no videos.
    **dict.fromkeys(["81_", "83_"], ("ignored", ReasonCode.PLAYLIST)),
    "90_": ("failed", ReasonCode.UNKNOWN_FORMAT),
    **dict.fromkeys(["a0_", "a1_", "a2_"], ("failed", ReasonCode.SYMBOLIC_LINK)),
    "a3_": ("failed", ReasonCode.PIPE),
    "a5_": ("failed", ReasonCode.SOCKET),
}  # fmt: skip
"""By the start of a name: the state, and the code of its reason."""

GOOD_PICTURES = (
    "00_good.mp4", "00_good_faststart", "19_", "20_", "36_", "37_", "39_", "40_", "42_", "43_",
    "89_", "91_", "93_", "94_", "95_", "96_", "97_", "98_", "99_", "9a_", "9d_", "9e_", "a7_",
    "a8_", "a9_", "aa_", "ab_",
)  # fmt: skip
"""Starts of the names of copies of one clip: with another name, other metadata, or an index that is
wrong about what does not matter. The first that is read is processed."""

SAME_PICTURES = {
    ("done", ReasonCode.NONE),
    ("duplicate", ReasonCode.DUPLICATE_OF),
    ("duplicate", ReasonCode.SAME_PICTURES_AS),
}

IGNORED = (".9c_", "9b_")


@dataclass
class Opened:
    """A file that a process opened, or tried to."""

    pid: int
    path: str
    flags: str
    worked: bool


@dataclass
class Run:
    """What was seen of a daemon with the whole corpus in its inbox."""

    home: Path
    seconds: float
    files: dict[str, tuple[str, str]]
    videos: dict[str, tuple[int, str]]
    events: list[str]
    daemon: set[int]
    calls: list[str]
    exit_code: int
    text: str

    def opened(self) -> Iterator[Opened]:
        for line in self.calls:
            found = re.match(
                r'(\d+) +(?:open|openat)\((?:\w+, )?"(.*?)", ([\w|]+).*= (-?\d+)', line
            )
            if found:
                yield Opened(int(found[1]), found[2], found[3], int(found[4]) >= 0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About a hundred files, each bad in its own way."""
    folder = tmp_path_factory.mktemp("corpus")
    subprocess.run([sys.executable, BUILDER, folder, FFMPEG], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All files at once; when they have come to an end, a good clip."""
    home = make_home(tmp_path_factory.mktemp("bad") / "home")
    (home / "config.toml").write_text(CONFIG.replace("fps = 0.5", "fps = 0.2"))
    (home / "inbox").rmdir()
    corpus.rename(home / "inbox")
    calls, log = home / "calls", home / "log"
    began_s = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["strace", "-f", "--seccomp-bpf", "-qq", "-s", "4096", "-o", calls,
             "-e", "trace=open,openat,openat2,creat,connect,execve,execveat",
             sys.executable, "-m", "portraitd", "run", "--home", home],
            stdout=output, stderr=output, env=environment(),
        )  # fmt: skip
    daemon = 0
    try:
        wait_until(lambda: '"service_started"' in log.read_text(), "the daemon runs")
        daemon = min(children(process.pid))
        wait_until(lambda: has_ended(home), "every file came to an end", 900.0)
        seconds = time.monotonic() - began_s
        good = home / "good.mp4"
        subprocess.run(
            ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:duration=3",
             "-pix_fmt", "yuv420p", good], check=True,
        )  # fmt: skip
        good.rename(home / "inbox" / "zz-last.mp4")
        wait_until(
            lambda: files_of(home).get("zz-last.mp4", ("", ""))[0] in TERMINAL, "the good clip"
        )
        threads = {int(name) for name in os.listdir(f"/proc/{daemon}/task")}
        os.kill(daemon, signal.SIGTERM)
        exit_code = process.wait(60)
    finally:
        if daemon and is_alive(daemon):
            os.kill(daemon, signal.SIGKILL)
        process.kill()
        process.wait()
    text = log.read_text()
    return Run(
        home, seconds, files_of(home), videos_of(home),
        re.findall(r'"event": "(\w+)"', text), threads,
        calls.read_text(errors="replace").splitlines(), exit_code, text,
    )  # fmt: skip


def files_of(home: Path) -> dict[str, tuple[str, str]]:
    """State and reason code by path."""
    connection = connect(load(home).state_dir)
    try:
        rows: list[Any] = connection.execute(
            "select path, state, reason_code from files"
        ).fetchall()
    finally:
        connection.close()
    return {
        row["path"].decode("utf-8", "backslashreplace"): (row["state"], row["reason_code"])
        for row in rows
    }


def videos_of(home: Path) -> dict[str, tuple[int, str]]:
    """Id and state of the video by path."""
    connection = connect(load(home).state_dir)
    try:
        rows: list[Any] = connection.execute(
            "select path, videos.id, videos.state from files join videos on videos.id = video_id"
        ).fetchall()
    finally:
        connection.close()
    return {row["path"].decode("utf-8", "backslashreplace"): (row[1], row[2]) for row in rows}


def has_ended(home: Path) -> bool:
    files = files_of(home)
    time.sleep(1.0)
    return len(files) > 90 and all(state in TERMINAL for state, _ in files.values())


def test_every_file_comes_to_one_end(run: Run) -> None:
    """Done, a duplicate, or failed; and whoever dropped it can read why."""
    assert {} == {name: found for name, found in run.files.items() if found[0] not in TERMINAL}
    without_reason = [
        name for name, (state, code) in run.files.items() if state != "done" and not code
    ]
    assert [] == without_reason
    codes = {code for state, code in run.files.values() if state == "failed"}
    assert not codes & {ReasonCode.UNEXPECTED_ERROR, ReasonCode.INVALID_RESULT, ReasonCode.OTHER}


def test_what_is_ignored_is_no_file(run: Run) -> None:
    """Hidden, or on its way in."""
    assert [] == [name for name in run.files if name.startswith(IGNORED)]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_each_file_ends_as_it_should(run: Run, name: str) -> None:
    """As the table says."""
    found = {path: end for path, end in run.files.items() if path.startswith(name)}

    assert found, name
    for end in found.values():
        assert EXPECTED[name] == end


def test_copies_of_one_clip_are_one_video(run: Run) -> None:
    """Whatever their names and their metadata are."""
    copies = [name for name in run.files if name.startswith(GOOD_PICTURES)]

    assert len(GOOD_PICTURES) <= len(copies)
    assert {} == {name: run.files[name] for name in copies if run.files[name] not in SAME_PICTURES}
    assert 1 == len({run.videos[name] for name in copies})
    assert "done" == run.videos[copies[0]][1]


def test_the_good_clip_that_came_last_is_done(run: Run) -> None:
    """Nothing that came before stands in its way."""
    assert ("done", "") == run.files["zz-last.mp4"]


def test_the_service_never_restarted(run: Run) -> None:
    """One start, one orderly end, and no worker was lost."""
    assert 0 == run.exit_code
    assert 1 == run.events.count("service_started")
    assert 0 == run.events.count("slice_lost")
    assert "Traceback" not in run.text
    assert_sound(load(run.home))


def test_nobody_was_called(run: Run) -> None:
    """No connection, not even one that was refused: also not for what playlists name."""
    assert [] == [line for line in run.calls if re.match(r"\d+ +connect\(", line)]


def test_no_program_was_started_but_workers(run: Run) -> None:
    """And those before any file was looked at."""
    started = {found[1] for line in run.calls if (found := re.search(r'execve\("(.*?)"', line))}

    assert {sys.executable} == started


def test_workers_open_no_dropped_file(run: Run) -> None:
    """They are handed descriptors; only the daemon opens files of the inbox, also by name alone."""
    inbox = run.home / "inbox"
    dropped = {path.name for path in inbox.rglob("*")}
    opened = [
        call
        for call in run.opened()
        if call.path.startswith(str(inbox)) or Path(call.path).name in dropped
    ]

    assert any(call.pid in run.daemon for call in opened)
    assert [] == [call for call in opened if call.pid not in run.daemon]


def test_nothing_is_opened_but_what_is_needed(run: Run) -> None:
    """Libraries, the system's facts, the home."""
    allowed = (
        str(run.home), sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]), "/usr",
        "/lib", "/proc/", "/sys/", "/dev/", "/etc/ld.so", "/etc/localtime", "/etc/passwd",
        "/etc/nsswitch.conf", "/etc/ssl/openssl.cnf",
        # ONNX Runtime looks at the name of the system.
        "/etc/os-release",
    )  # fmt: skip
    strange = {call.path for call in run.opened() if call.worked}

    assert [] == sorted(
        path for path in strange if path.startswith("/") and not path.startswith(allowed)
    )
