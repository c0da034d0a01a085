"""The printed installation is consistent, and systemd rates its unit as well confined."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from portraitd.cli.install import (
    Installation,
    list_steps,
    plan_installation,
    render_settings,
    render_shares,
    render_unit,
)
from portraitd.cli.options import EXIT_CONFIG, EXIT_UNUSABLE, EXIT_USAGE
from portraitd.config import load
from support.processes import portraitd

SHIPPED = Path(__file__).parents[2] / "systemd" / "portraitd.service"

MOST_EXPOSURE = 1.0

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed"
)
needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")


def test_the_shipped_unit_is_what_is_printed() -> None:
    """One template: they cannot disagree."""
    assert render_unit(Installation()) == SHIPPED.read_text()


def test_without_settings_the_usual_places_are_printed(tmp_path: Path) -> None:
    """Not the home of the user who runs the command."""
    answer = portraitd("install-service", "--print", HOME=str(tmp_path))

    assert 0 == answer.returncode
    assert "ReadWritePaths=/srv/portraits\n" in answer.stdout
    assert str(tmp_path) not in answer.stdout
    assert "path = /srv/portraits/inbox" in answer.stdout
    assert "useradd" in answer.stdout


def test_a_home_that_is_given_is_used_throughout(tmp_path: Path) -> None:
    """Unit, folders, settings and shares name the same places."""
    home = tmp_path / "faces"
    text = portraitd("install-service", "--print", "--home", home).stdout

    assert f"ReadWritePaths={home}\n" in text
    assert f"WantsMountsFor={home}\n" in text
    assert f"path = {home}/inbox" in text
    assert f'state = "{home}/state"' in text
    assert "StateDirectory=" not in text
    assert "/srv/portraits" not in text


def test_nothing_is_changed_and_nothing_without_being_asked(tmp_path: Path) -> None:
    """It only prints, and does not even create the home."""
    home = tmp_path / "faces"
    printed = portraitd("install-service", "--print", "--home", home)
    refused = portraitd("install-service", "--home", home)

    assert (0, 64) == (printed.returncode, refused.returncode)
    assert "--print" in refused.stderr
    assert [] == list(tmp_path.iterdir())


def test_the_printed_settings_are_valid_and_name_the_same_places(tmp_path: Path) -> None:
    """They can be pasted into the file."""
    plan = plan_installation(
        load(home=tmp_path / "with space", assignments=["paths.inbox=/mnt/drop"]), None
    )
    file = tmp_path / "config.toml"
    file.write_text("\n".join(render_settings(plan)))

    settings = load(config=file)

    assert (plan.inbox, plan.people, plan.state) == (
        settings.inbox_dir,
        settings.people_dir,
        settings.state_dir,
    )
    assert f'ReadWritePaths="{tmp_path}/with space" /mnt/drop' in render_unit(plan)


def test_temporary_trouble_is_retried_for_ever_and_what_needs_a_person_is_not() -> None:
    """There is no limit of starts, and the mount of a share is no condition of one."""
    lines = render_unit(Installation()).splitlines()
    (prevented,) = (line for line in lines if line.startswith("RestartPreventExitStatus="))
    codes = {int(code) for code in prevented.partition("=")[2].split()}

    assert {"StartLimitIntervalSec=0", "Restart=on-failure", "RestartSteps=6"} <= set(lines)
    assert not [line for line in lines if line.startswith(("RequiresMountsFor", "StartLimitB"))]
    assert {EXIT_USAGE, EXIT_UNUSABLE, EXIT_CONFIG} == codes
    assert "ExecReload=/bin/kill -HUP $MAINPID" in lines


def test_the_folder_of_the_metrics_can_be_written() -> None:
    """One is always there; another one is that of the settings."""
    textfile = "/var/lib/node exporter/portraitd.prom"
    plan = plan_installation(load(assignments=[f"metrics.textfile={textfile}"]), None)
    lines = render_unit(plan).splitlines()

    assert 'ReadWritePaths=/srv/portraits "/var/lib/node exporter"' in lines
    assert "WantsMountsFor=/srv/portraits" in lines
    assert "RuntimeDirectory=portraitd" in lines


def test_a_home_below_people_s_homes_can_be_reached() -> None:
    """They are hidden from the service unless its own home is there."""
    assert "ProtectHome=yes" in render_unit(Installation())
    assert "ProtectHome=read-only" in render_unit(Installation(home=Path("/home/ada/portraits")))


def test_dropped_files_belong_to_the_service() -> None:
    """Otherwise the kernel does not tell whether another program still writes them."""
    assert 2 == render_shares(Installation()).count("force user = portraitd")


def test_the_printed_commands_are_shell(tmp_path: Path) -> None:
    """The first part can be pasted: the shell parses it without an error."""
    text = "\n".join(list_steps(Installation(inbox=Path("/mnt/it's here"))))
    script = tmp_path / "steps.sh"
    script.write_text(text[: text.index("\n# 2.")])

    subprocess.run(["bash", "-n", script], check=True)


NEWER_KEYS = {"RestartSteps": 254, "RestartMaxDelaySec": 254, "WantsMountsFor": 256}
"""Keys that older versions of systemd ignore, and the first version that knows them."""


def systemd_version() -> int:
    answer = subprocess.run(
        ["systemd-analyze", "--version"], capture_output=True, text=True, check=True
    )
    return int(answer.stdout.split()[1])


@needs_systemd
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """Every line, without a warning; an old version says which ones it ignores."""
    plan = Installation(program=Path(sys.executable), home=tmp_path, config=tmp_path / "c.toml")
    place = tmp_path / "portraitd.service"
    place.write_text(render_unit(plan))

    answer = subprocess.run(
        ["systemd-analyze", "verify", place], capture_output=True, text=True, check=False
    )

    unknown = {key for key, since in NEWER_KEYS.items() if since > systemd_version()}
    names = "|".join(unknown) or "$^"
    ignored = re.compile(rf"Unknown key (name )?'({names})' in section")
    ours = [
        line
        for line in answer.stderr.splitlines()
        if "portraitd" in line and not ignored.search(line)
    ]
    assert [] == [line for line in ours if "Failed to open /dev/" not in line]


@needs_systemd
@pytest.mark.parametrize("home", ["/srv/portraits", "/home/ada/portraits"])
@pytest.mark.parametrize("openvino", [False, True])
def test_the_unit_is_tight(tmp_path: Path, home: str, openvino: bool) -> None:
    """By the exposure that systemd computes, from 0 to 10."""
    place = tmp_path / "portraitd.service"
    place.write_text(render_unit(Installation(home=Path(home), openvino=openvino)))

    answer = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager",
         f"--threshold={MOST_EXPOSURE * 10:.0f}", place],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    found = re.search(r"exposure level for .*: ([\d.]+)", answer.stdout)
    assert found, answer.stdout + answer.stderr
    assert float(found[1]) <= MOST_EXPOSURE
    assert 0 == answer.returncode


FOLDER = """
import os, sys
from portraitd.people.tree.folder_fs import make_hidden
os.umask(0o007)
root = os.open(sys.argv[1], os.O_RDONLY)
print(make_hidden(1, root, 0o2770))
"""


@needs_strace
def test_folders_can_be_shared_where_no_set_group_id_bit_may_be_set(tmp_path: Path) -> None:
    """As under the unit's RestrictSUIDSGID: the bit is inherited from the parent folder."""
    tmp_path.chmod(0o2770)
    answer = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fchmod,chmod:error=EPERM",
         sys.executable, "-c", FOLDER, tmp_path],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    made = tmp_path / answer.stdout.strip()
    assert 0o2770 == made.stat().st_mode & 0o7777
    assert made.stat().st_gid == os.stat(tmp_path).st_gid
