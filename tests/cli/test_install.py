"""The script of the installation is consistent, and systemd rates its unit as well confined."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from portraitd.cli.install import (
    UNIT,
    Installation,
    plan_installation,
    plan_user_installation,
    render_settings,
    render_shares,
    render_unit,
    render_user_unit,
)
from portraitd.cli.options import EXIT_CONFIG, EXIT_UNUSABLE, EXIT_USAGE
from portraitd.cli.service_scripts import (
    USER_UNIT,
    list_installation,
    list_removal,
    list_user_installation,
    list_user_removal,
)
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
    assert "useradd" in answer.stdout
    assert "path = /srv/portraits/inbox" in portraitd("install-service", "--samba").stdout


def test_a_home_that_is_given_is_used_throughout(tmp_path: Path) -> None:
    """Unit, folders, settings and shares name the same places."""
    home = tmp_path / "faces"
    text = portraitd("install-service", "--print", "--home", home).stdout

    assert f"ReadWritePaths={home}\n" in text
    assert f"WantsMountsFor={home}\n" in text
    shares = portraitd("install-service", "--samba", "--home", home).stdout
    assert f"path = {home}/inbox" in shares
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
    """systemd starts it without a limit, and does not wait for the mount of a share."""
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


ODD = Installation(home=Path("/mnt/it's 100% here"), inbox=Path("/mnt/a drop"))


@pytest.mark.parametrize(
    "lines",
    [
        [*list_installation(ODD, ("ada",))],
        [*list_user_installation(ODD, None)],
        [*list_removal(ODD)],
        [*list_user_removal(ODD)],
    ],
    ids=["install", "install --user", "uninstall", "uninstall --user"],
)
def test_the_scripts_are_shell_and_stop_at_the_first_error(lines: list[str]) -> None:
    """The shell parses them; each also says what it is for."""
    assert "#!/bin/sh" == lines[0]
    assert lines[1].startswith("# ")
    assert "set -eu" in lines
    subprocess.run(["sh", "-n", "-c", "\n".join(lines)], check=True)


def test_each_step_has_what_it_needs() -> None:
    """The user, then the folders, the settings, the markers, and finally the service."""
    text = "\n".join(list_installation(Installation(), ("ada", "bob")))
    steps = ("useradd", "-m 2770 /srv/portraits/people", "cat >/etc/portraitd/config.toml",
             " init --config", "cat >/etc/systemd/system", "systemctl restart")  # fmt: skip

    places = [text.index(step) for step in steps]

    assert sorted(places) == places
    assert "--groups portraitd ada\n" in text
    assert "--groups portraitd bob\n" in text


def test_reviewers_and_the_service_can_change_what_the_other_made() -> None:
    """Also in a folder that a reviewer makes with the usual umask, 022."""
    text = "\n".join(list_installation(Installation(), ()))

    assert 3 == text.count("setfacl -d -m group:portraitd:rwx")


def test_the_folder_of_the_metrics_is_made() -> None:
    """Otherwise the service could not start: a path that it may write must exist."""
    plan = plan_installation(load(assignments=["metrics.textfile=/var/lib/exporter/p.prom"]), None)

    assert "install -d -o portraitd -g portraitd -m 0755 /var/lib/exporter\n" in "\n".join(
        list_installation(plan, ())
    )


def test_a_training_set_elsewhere_can_be_written() -> None:
    """It is a folder of the settings like the others."""
    plan = plan_installation(load(assignments=["paths.dataset=/mnt/sets"]), None)

    assert "ReadWritePaths=/srv/portraits /mnt/sets" in render_unit(plan)
    assert "install -d -o portraitd -g portraitd -m 2770 /mnt/sets" in "\n".join(
        list_installation(plan, ())
    )


def test_a_state_on_another_disk_waits_for_it() -> None:
    """Otherwise the service would create a new database and process everything again."""
    assert "RequiresMountsFor=/mnt/fast" in render_unit(Installation(state=Path("/mnt/fast")))


def test_a_share_keeps_a_recycle_bin_of_the_server_away() -> None:
    """What was deleted or erased must not stay in a hidden folder."""
    assert 2 == render_shares(Installation()).count("\n    vfs objects =\n")


def test_root_alone_installs_and_removes_and_not_without_asking() -> None:
    """The tests have no terminal; the message depends on the user who runs them."""
    for command in ("install-service", "uninstall-service"):
        refused = portraitd(command)
        assert EXIT_USAGE == refused.returncode
        assert "--print" in refused.stderr


def test_without_a_service_manager_of_the_user_nothing_is_made(tmp_path: Path) -> None:
    """As after su or in a cron job: the user learns how to get one."""
    home = tmp_path / "faces"
    answer = subprocess.run(
        [sys.executable, "-m", "portraitd", "install-service", "--user", "--yes", "--home", home],
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path), "DBUS_SESSION_BUS_ADDRESS": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert EXIT_CONFIG == answer.returncode
    assert "loginctl enable-linger" in answer.stderr
    assert [] == list(tmp_path.iterdir())


def test_a_removal_says_how_to_erase_the_rest() -> None:
    """The script does not erase it, because that cannot be undone."""
    lines = [*list_removal(Installation())]
    of_user = [*list_user_removal(Installation())]

    for found, unit in ((lines, UNIT), (of_user, USER_UNIT.expanduser())):
        assert "#   rm -r /var/lib/portraitd /srv/portraits/people /srv/portraits/dataset" in found
        assert [f"rm -f {unit}"] == [line for line in found if line.startswith("rm ")]


@needs_systemd
def test_systemd_understands_the_unit_of_a_user(tmp_path: Path) -> None:
    """Every line, without a warning."""
    plan = plan_user_installation(load(home=tmp_path / "my faces"))
    place = tmp_path / "portraitd.service"
    unit = render_user_unit(plan, None)
    place.write_text(unit.replace(str(plan.program), sys.executable))

    answer = subprocess.run(
        ["systemd-analyze", "--user", "verify", place],
        capture_output=True, text=True, check=False,
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
    )  # fmt: skip

    assert [] == list_complaints(answer.stderr)
    assert f'run --home "{tmp_path}/my faces"\n' in unit
    assert not re.search(r"^(User|Group|StateDirectory|ProtectSystem)=", unit, re.MULTILINE)


NEWER_KEYS = {"RestartSteps": 254, "RestartMaxDelaySec": 254, "WantsMountsFor": 256}
"""Keys that older versions of systemd ignore, and the first version that knows them."""


def systemd_version() -> int:
    answer = subprocess.run(
        ["systemd-analyze", "--version"], capture_output=True, text=True, check=True
    )
    return int(answer.stdout.split()[1])


def list_complaints(stderr: str) -> list[str]:
    """Return what systemd says of the unit, without keys that its version is too old for."""
    unknown = {key for key, since in NEWER_KEYS.items() if since > systemd_version()}
    names = "|".join(unknown) or "$^"
    ignored = re.compile(rf"Unknown key (name )?'({names})' in section")
    # The manual page is not installed where the tests run.
    other = ("Failed to open /dev/", "Command 'man portraitd(1)' failed")
    return [
        line
        for line in stderr.splitlines()
        if "portraitd" in line and not ignored.search(line) and not any(o in line for o in other)
    ]


@needs_systemd
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """Every line, without a warning; an old version says which ones it ignores."""
    plan = Installation(program=Path(sys.executable), home=tmp_path, config=tmp_path / "c.toml")
    place = tmp_path / "portraitd.service"
    place.write_text(render_unit(plan))

    answer = subprocess.run(
        ["systemd-analyze", "verify", place], capture_output=True, text=True, check=False
    )

    assert [] == list_complaints(answer.stderr)


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
