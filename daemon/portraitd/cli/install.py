"""``portraitd install-service``: print what a systemd service needs; install nothing."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from portraitd.config import SYSTEM_CONFIG, Settings

HOME = Path("/srv/portraits")
STATE = Path("/var/lib/portraitd")
PROGRAM = Path("/opt/portraitd/bin/portraitd")
RUNTIME = Path("/run/portraitd")
USER = "portraitd"

_PERSONAL = tuple(map(Path, ("/home", "/root", "/run/user")))


@dataclass(frozen=True, slots=True)
class Installation:
    """The places of a service.

    Attributes:
        program: The command.
        config: Its settings file.
        home, inbox, people, state: Its folders.
        openvino: Whether OpenVINO is installed, which generates code while it runs.
        metrics: The file with the metrics; None if there is none.
    """

    program: Path = PROGRAM
    config: Path = SYSTEM_CONFIG
    home: Path = HOME
    inbox: Path = HOME / "inbox"
    people: Path = HOME / "people"
    state: Path = STATE
    openvino: bool = False
    metrics: Path | None = None


def plan_installation(settings: Settings, config: Path | None) -> Installation:
    """Return the installation that the settings describe, with the usual places as defaults.

    Args:
        settings: If they set no home, the service gets its own, not the home of a user.
        config: The settings file given on the command line.
    """
    openvino = importlib.util.find_spec("openvino") is not None
    program = Path(sys.prefix) / "bin" / "portraitd"
    program = program if program.exists() else PROGRAM
    if "home" not in settings.model_fields_set:
        paths = settings.paths
        return Installation(
            program,
            config or SYSTEM_CONFIG,
            HOME,
            HOME / (paths.inbox or "inbox"),
            HOME / (paths.people or "people"),
            paths.state or STATE,
            openvino,
            settings.metrics.textfile,
        )
    beside = settings.home_dir / "config.toml"
    return Installation(
        program,
        (config or (beside if beside.exists() else SYSTEM_CONFIG)).absolute(),
        settings.home_dir,
        settings.inbox_dir,
        settings.people_dir,
        settings.state_dir,
        openvino,
        settings.metrics.textfile,
    )


def list_steps(plan: Installation) -> Iterator[str]:
    """Yield all steps in order, each with its commands."""
    yield "# Nothing has been installed. Read these steps, then run them as root, one by one."
    yield "\n# 1. A system user without a login, and the folders. Reviewers join its group."
    yield from list_commands(plan)
    yield f"\n# 2. {plan.config}"
    yield from render_settings(plan)
    yield "\n# 3. /etc/systemd/system/portraitd.service"
    yield render_unit(plan)
    yield "# 4. Start it"
    yield "systemctl daemon-reload && systemctl enable --now portraitd"
    yield "\n# 5. To drop files and review over the network, add this to /etc/samba/smb.conf"
    yield render_shares(plan)


def list_commands(plan: Installation) -> Iterator[str]:
    """Yield the commands that create the user and the folders, and mark the inbox."""
    yield f"useradd --system --user-group --home-dir {plan.state} --shell /usr/sbin/nologin {USER}"
    shared = dict.fromkeys((plan.home, plan.inbox, plan.people))
    folders = " ".join(shlex.quote(str(folder)) for folder in shared)
    yield f"install -d -o {USER} -g {USER} -m 2770 {folders}"
    yield f"install -d -o {USER} -g {USER} -m 0700 {shlex.quote(str(plan.state))}"
    yield f"install -d -m 0755 {shlex.quote(str(plan.config.parent))}"
    yield "# For each reviewer:  usermod -aG portraitd NAME && smbpasswd -a NAME"
    yield "# When the settings file below is in place, mark the inbox:"
    program, settings = shlex.quote(str(plan.program)), shlex.quote(str(plan.config))
    yield f"runuser -u {USER} -g {USER} -- {program} init --config {settings}"


def render_settings(plan: Installation) -> Iterator[str]:
    """Yield the settings file: the places; all other settings have defaults."""
    yield f'home = "{plan.home}"'
    yield "[paths]"
    for name, path in (("inbox", plan.inbox), ("people", plan.people), ("state", plan.state)):
        yield f'{name} = "{path}"'


def render_shares(plan: Installation) -> str:
    """Return the definition of two Samba shares.

    ``force user`` makes the service the owner of every dropped file: only the owner can ask the
    kernel whether another program still has the file open for writing.
    """
    return f"""\
[portraits-inbox]
    comment = drop videos and photos here
    path = {plan.inbox}
    valid users = @{USER}
    force user = {USER}
    force group = {USER}
    read only = no
    create mask = 0660
    directory mask = 2770
    hide dot files = yes
[portraits]
    comment = one folder per person
    path = {plan.people}
    valid users = @{USER}
    force user = {USER}
    force group = {USER}
    read only = no
    create mask = 0660
    directory mask = 2770
    hide dot files = yes"""


def render_unit(plan: Installation) -> str:
    """Return the unit; ``systemd/portraitd.service`` is this text with the usual places."""
    shared = _outermost([plan.home, plan.inbox, plan.people])
    below_lib = plan.state == STATE
    written = shared if below_lib else _outermost([*shared, plan.state])
    mounts = written
    if plan.metrics and not plan.metrics.is_relative_to(RUNTIME):
        written = _outermost([*written, plan.metrics.absolute().parent])
    directories = "StateDirectory=portraitd\nStateDirectoryMode=0700\n" if below_lib else ""
    personal = any(path.is_relative_to(above) for path in (*written, plan.config, plan.program)
                   for above in _PERSONAL)  # fmt: skip
    return _UNIT.format(
        program=_escaped(plan.program),
        config=_escaped(plan.config),
        mounts=_listed(mounts),
        written=_listed(written),
        unexecuted=_listed(_outermost([*shared, plan.state])),
        directories=directories,
        final="no" if plan.openvino else "yes",
        # The homes of users are hidden, unless the service needs something there.
        homes="read-only" if personal else "yes",
    )


def _outermost(paths: list[Path]) -> list[Path]:
    """Return the paths that are not below another one."""
    return [
        path
        for path in dict.fromkeys(paths)
        if not any(path != other and path.is_relative_to(other) for other in paths)
    ]


def _listed(paths: list[Path]) -> str:
    return " ".join(map(_escaped, dict.fromkeys(paths)))


def _escaped(path: Path) -> str:
    """Return a path as a unit needs it: % starts a specifier there, and a space the next path."""
    text = str(path).replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')
    return f'"{text}"' if " " in text else text


_UNIT = """\
# portraitd as a systemd service. `portraitd install-service --print` prints it, together with
# the user, the folders, the settings and the Samba shares it needs.

[Unit]
Description=portraitd: one folder of portraits per person
Documentation=man:systemd.exec(5)
After=local-fs.target remote-fs.target
# Not RequiresMountsFor: if the share could not be mounted, systemd would not start the service, not
# even when the share is mounted later. The service itself notices that a share is not mounted.
# systemd before version 256 ignores this line.
WantsMountsFor={mounts}
# A full disk or a missing share is temporary, however long it lasts.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} run --config {config}
WatchdogSec=120
TimeoutStartSec=180
# A stop gives running slices 15 s to finish; the others are resumed at the next start.
TimeoutStopSec=60
KillMode=mixed
Restart=on-failure
# After 10 s, then at growing intervals of up to five minutes. systemd before version 254 ignores
# the last two lines, and tries every 10 s.
RestartSec=10
RestartSteps=6
RestartMaxDelaySec=300
# A person must correct these. 64: wrong command line. 65: a database that is damaged or from a
# newer version. 78: wrong setting, or no home folder.
RestartPreventExitStatus=64 65 78
ExecReload=/bin/kill -HUP $MAINPID
# If the kernel kills a worker that is out of memory, the service continues with the others.
OOMPolicy=continue

User=portraitd
Group=portraitd
# Reviewers are members of the group; all others have no access.
UMask=0007
# For metrics.textfile = "/run/portraitd/portraitd.prom": other users may read this folder.
RuntimeDirectory=portraitd
{directories}Environment=OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 ORT_DISABLE_TELEMETRY=1
Nice=10
CPUWeight=20
IOWeight=20
# Of the memory of the machine. Each worker also has its own limit, workers.memory_mb.
MemoryHigh=70%
MemoryMax=80%
MemorySwapMax=0
TasksMax=512
LimitNOFILE=4096
# A core dump of a worker would contain faces.
LimitCORE=0

ProtectSystem=strict
ReadWritePaths={written}
NoExecPaths={unexecuted}
ProtectHome={homes}
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateNetwork=yes
IPAddressDeny=any
RestrictAddressFamilies=AF_UNIX
PrivateIPC=yes
PrivateUsers=yes
PrivateMounts=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
# OpenVINO generates code while it runs, so with that extra this is "no".
MemoryDenyWriteExecute={final}
NoNewPrivileges=yes
RemoveIPC=yes
KeyringMode=private
CapabilityBoundingSet=
AmbientCapabilities=
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @obsolete
# For the limits and the niceness of the workers, and for the sandbox they enter.
SystemCallFilter=setrlimit prlimit64 sched_setaffinity setpriority
SystemCallFilter=seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
