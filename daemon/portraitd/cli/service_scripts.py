"""The scripts of ``portraitd install-service`` and ``uninstall-service``.

What ``--print`` shows is what is run.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from portraitd.cli.install import (
    UNIT,
    USER,
    Installation,
    render_settings,
    render_unit,
    render_user_unit,
)
from portraitd.model.errors import ConfigError

USER_UNIT = Path("~/.config/systemd/user/portraitd.service")

_END = "END-OF-FILE"

_REQUIRE_MANAGER = """\
user=$(id -un)
if ! systemctl --user show-environment >/dev/null; then
    cat >&2 <<END
The service manager of your user cannot be reached. Log in as $user, not with su or
sudo. Or run, as root,
    loginctl enable-linger $user
and then, as $user,
    export XDG_RUNTIME_DIR=/run/user/$(id -u)
END
    exit 1
fi"""

_ENABLE_LINGER = """\
# So that it also runs while you are not logged in
linger=$(loginctl show-user "$user" -p Linger --value)
if [ "$linger" != yes ] && ! loginctl enable-linger "$user"; then
    echo 'It runs only while you are logged in. To change that, run as root:' >&2
    echo "    loginctl enable-linger $user" >&2
fi"""


def list_installation(plan: Installation, reviewers: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of a script that root can run, and run again.

    Args:
        plan: The places.
        reviewers: Users who may drop files and review.
    """
    yield "#!/bin/sh"
    yield "# Installs portraitd as a systemd service. Run it as root. Running it again changes only"
    yield "# the unit."
    yield "set -eu"
    yield "\n# 1. A system user without a login. Reviewers are members of its group."
    yield f"getent group {USER} >/dev/null || groupadd --system {USER}"
    yield (
        f"getent passwd {USER} >/dev/null || useradd --system --gid {USER} --no-create-home "
        f"--home-dir {_quoted(plan.state)} --shell /usr/sbin/nologin {USER}"
    )
    for name in reviewers:
        yield f"usermod --append --groups {USER} {shlex.quote(name)}"
    yield "# For each further reviewer: usermod --append --groups portraitd NAME"
    yield "\n# 2. The folders. The service can change what a reviewer creates in them."
    for folder in plan.shared:
        yield from _make_shared_folder(folder)
    yield _make_folder(plan.state, f"-o {USER} -g {USER} -m 0700")
    if not any(plan.dataset.is_relative_to(folder) for folder in plan.shared):
        yield _make_folder(plan.dataset, f"-o {USER} -g {USER} -m 2770")
    if plan.metrics_folder:
        yield _make_folder(plan.metrics_folder, f"-o {USER} -g {USER} -m 0755")
    yield "\n# 3. The settings"
    yield _make_folder(plan.config.parent, "-m 0755")
    yield f"[ -e {_quoted(plan.config)} ] ||"
    yield from _write(plan.config, "\n".join(render_settings(plan)))
    yield "\n# 4. The markers by which the service notices that a share is not mounted"
    yield (
        f"systemctl is-active --quiet portraitd || runuser -u {USER} -- "
        f"{_quoted(plan.program)} init --config {_quoted(plan.config)}"
    )
    yield "\n# 5. The service"
    yield from _write(UNIT, render_unit(plan))
    yield "systemctl daemon-reload"
    yield "systemctl enable portraitd"
    yield "systemctl restart portraitd"
    yield "\n# To drop files and review over the network, add the shares that this prints to"
    yield "# /etc/samba/smb.conf, and give each reviewer a password with smbpasswd -a NAME:"
    yield f"# {_quoted(plan.program)} install-service --samba --config {_quoted(plan.config)}"


def list_user_installation(plan: Installation, config: Path | None) -> Iterator[str]:
    """Yield the lines of a script that installs the service for the user who runs it.

    Args:
        plan: The places.
        config: The settings file given on the command line.
    """
    where = f"--config {_quoted(config)}" if config else f"--home {_quoted(plan.home)}"
    unit = USER_UNIT.expanduser()
    yield "#!/bin/sh"
    yield "# Installs portraitd as a service of the user who runs this. Running it again changes"
    yield "# only the unit."
    yield "set -eu"
    yield _REQUIRE_MANAGER
    yield "\n# 1. The home folder"
    yield (
        "systemctl --user is-active --quiet portraitd || "
        f"{_quoted(plan.program)} init {where}"
    )  # fmt: skip
    yield "\n# 2. The service"
    yield f"mkdir -p {_quoted(unit.parent)}"
    yield from _write(unit, render_user_unit(plan, config))
    yield "systemctl --user daemon-reload"
    yield "systemctl --user enable portraitd"
    yield "systemctl --user restart portraitd"
    yield _ENABLE_LINGER


def list_removal(plan: Installation) -> Iterator[str]:
    """Yield the lines of a script that removes the service, and keeps all that it has made."""
    yield "#!/bin/sh"
    yield "# Removes the systemd service. Run it as root. Folders, settings and user stay."
    yield "set -eu"
    yield "systemctl disable --now portraitd || true"
    yield f"rm -f {UNIT}"
    yield "systemctl daemon-reload"
    yield "systemctl reset-failed portraitd 2>/dev/null || true"
    yield "# The Debian package has its own unit. To use that one again, run"
    yield "# systemctl enable --now portraitd"
    yield from _explain_erasure(plan)
    yield "# And the settings, the user and your own videos:"
    yield f"#   rm {_quoted(plan.config)}; userdel {USER}; rm -r {_quoted(plan.inbox)}"


def list_user_removal(plan: Installation) -> Iterator[str]:
    """Yield the lines of a script that removes the service of the user who runs it."""
    yield "#!/bin/sh"
    yield "# Removes your systemd service. The home folder stays."
    yield "set -eu"
    yield "systemctl --user disable --now portraitd || true"
    yield f"rm -f {_quoted(USER_UNIT.expanduser())}"
    yield "systemctl --user daemon-reload"
    yield "systemctl --user reset-failed portraitd 2>/dev/null || true"
    yield from _explain_erasure(plan)
    yield "# And the settings and your own videos:"
    yield f"#   rm {_quoted(plan.config)}; rm -r {_quoted(plan.inbox)}"


def run_script(lines: Iterator[str]) -> None:
    """Run a script with its output on ours.

    Raises:
        ConfigError: One of its commands failed.
    """
    answer = subprocess.run(["/bin/sh", "-c", "\n".join(lines)], check=False)
    if answer.returncode:
        raise ConfigError(
            "a command failed, see above; correct the cause and run this again, or run the steps "
            "of --print yourself"
        )


def _explain_erasure(plan: Installation) -> Iterator[str]:
    yield "# To erase all faces, names and training sets as well:"
    places = dict.fromkeys((plan.state, plan.people, plan.dataset))
    yield f"#   rm -r {' '.join(map(_quoted, places))}"


def _make_shared_folder(folder: Path) -> Iterator[str]:
    """Yield the lines that make a folder of reviewers, unless it exists."""
    place = _quoted(folder)
    # In a folder that exists, an administrator may have chosen other rights.
    yield f"if ! [ -d {place} ]; then"
    yield f"    install -d -o {USER} -g {USER} -m 2770 {place}"
    # The set-group-ID bit passes on the group; this passes on its access, whatever the umask is.
    yield f"    setfacl -d -m group:{USER}:rwx,mask::rwx,other::--- {place} 2>/dev/null ||"
    yield "        echo 'no access control lists: reviewers need umask 0007' >&2"
    yield "fi"


def _make_folder(folder: Path, options: str) -> str:
    return f"[ -d {_quoted(folder)} ] || install -d {options} {_quoted(folder)}"


def _write(file: Path, content: str) -> Iterator[str]:
    yield f"cat >{_quoted(file)} <<'{_END}'"
    yield content.rstrip("\n")
    yield _END


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
