"""What it takes to run portraitd as a systemd service: printed, never done."""

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
USER = "portraitd"

_PERSONAL = tuple(map(Path, ("/home", "/root", "/run/user")))


@dataclass(frozen=True, slots=True)
class Installation:
    """Where a service lies.

    Attributes:
        program: The command.
        config: Its settings.
        home, inbox, people, state: Its folders.
        openvino: Whether that engine is installed: it makes its programs while it runs.
    """

    program: Path = PROGRAM
    config: Path = SYSTEM_CONFIG
    home: Path = HOME
    inbox: Path = HOME / "inbox"
    people: Path = HOME / "people"
    state: Path = STATE
    openvino: bool = False


def planned(settings: Settings, config: Path | None) -> Installation:
    """The installation that the settings ask for; where they say nothing, the usual places.

    Args:
        settings: In force here; a home that is not set is the service's own, not a person's.
        config: Given on the command line.
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
    )


def described(plan: Installation) -> Iterator[str]:
    """Everything in the order in which it is done, each with the command for it."""
    yield "# Nothing of this was done. Read it, then run it as root, step by step."
    yield "\n# 1. A user that nobody logs in as, and the folders. Reviewers join its group."
    yield from commands(plan)
    yield f"\n# 2. {plan.config}"
    yield from config(plan)
    yield "\n# 3. /etc/systemd/system/portraitd.service"
    yield unit(plan)
    yield "# 4. Start it"
    yield "systemctl daemon-reload && systemctl enable --now portraitd"
    yield "\n# 5. To drop and to review over the network: add this to /etc/samba/smb.conf"
    yield samba(plan)


def commands(plan: Installation) -> Iterator[str]:
    """Making the user and the folders; nothing that is there is changed."""
    yield f"useradd --system --user-group --home-dir {plan.state} --shell /usr/sbin/nologin {USER}"
    shared = dict.fromkeys((plan.home, plan.inbox, plan.people))
    folders = " ".join(shlex.quote(str(folder)) for folder in shared)
    yield f"install -d -o {USER} -g {USER} -m 2770 {folders}"
    yield f"install -d -o {USER} -g {USER} -m 0700 {shlex.quote(str(plan.state))}"
    yield f"install -d -m 0755 {shlex.quote(str(plan.config.parent))}"
    yield "# For each reviewer:  usermod -aG portraitd NAME && smbpasswd -a NAME"
    yield "# Mark the inbox, with the config below in place:"
    program, settings = shlex.quote(str(plan.program)), shlex.quote(str(plan.config))
    yield f"runuser -u {USER} -g {USER} -- {program} init --config {settings}"


def config(plan: Installation) -> Iterator[str]:
    """The settings that say where things are; all others have defaults."""
    yield f'home = "{plan.home}"'
    yield "[paths]"
    for name, path in (("inbox", plan.inbox), ("people", plan.people), ("state", plan.state)):
        yield f'{name} = "{path}"'


def samba(plan: Installation) -> str:
    """Two shares. Files belong to the service, whoever drops them: only so can it ask the
    kernel whether somebody still writes one."""
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


def unit(plan: Installation) -> str:
    """The unit. ``systemd/portraitd.service`` is this with the usual places."""
    shared = _outermost([plan.home, plan.inbox, plan.people])
    below_lib = plan.state == STATE
    written = shared if below_lib else _outermost([*shared, plan.state])
    directories = "StateDirectory=portraitd\nStateDirectoryMode=0700\n" if below_lib else ""
    personal = any(path.is_relative_to(above) for path in (*written, plan.config, plan.program)
                   for above in _PERSONAL)  # fmt: skip
    return _UNIT.format(
        program=_escaped(plan.program),
        config=_escaped(plan.config),
        mounts=_listed(written),
        written=_listed(written),
        unexecuted=_listed(_outermost([*shared, plan.state])),
        directories=directories,
        final="no" if plan.openvino else "yes",
        # Homes of people are hidden, unless something lies there that is needed.
        homes="read-only" if personal else "yes",
    )


def _outermost(paths: list[Path]) -> list[Path]:
    """Without those that lie in another."""
    return [
        path
        for path in dict.fromkeys(paths)
        if not any(path != other and path.is_relative_to(other) for other in paths)
    ]


def _listed(paths: list[Path]) -> str:
    return " ".join(map(_escaped, dict.fromkeys(paths)))


def _escaped(path: Path) -> str:
    """A path in a unit: % begins a specifier there, and a space another path."""
    text = str(path).replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')
    return f'"{text}"' if " " in text else text


_UNIT = """\
# portraitd as a systemd service. Printed by `portraitd install-service --print`, which also
# names the user, the folders, the settings and the shares that go with it.

[Unit]
Description=portraitd: one folder of portraits per person
Documentation=man:systemd.exec(5)
After=local-fs.target remote-fs.target
RequiresMountsFor={mounts}
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} run --config {config}
WatchdogSec=120
TimeoutStartSec=180
# A stop gives running slices 15 s; what is not finished is taken up again at the next start.
TimeoutStopSec=60
KillMode=mixed
Restart=on-failure
RestartSec=10
# 64 wrong command line, 75 another portraitd holds the home, 78 wrong configuration.
RestartPreventExitStatus=64 75 78
# The kernel may kill one worker for memory; the service goes on with the others.
OOMPolicy=continue

User=portraitd
Group=portraitd
# Reviewers are members of the group; others see nothing.
UMask=0007
{directories}Environment=OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 ORT_DISABLE_TELEMETRY=1
Nice=10
CPUWeight=20
IOWeight=20
# Of this machine's memory; each worker has a limit of its own, workers.memory_mb.
MemoryHigh=70%
MemoryMax=80%
MemorySwapMax=0
TasksMax=512
LimitNOFILE=4096
# A core dump of a worker holds faces.
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
# The extra openvino makes its programs while it runs; without it, "yes".
MemoryDenyWriteExecute={final}
NoNewPrivileges=yes
RemoveIPC=yes
KeyringMode=private
CapabilityBoundingSet=
AmbientCapabilities=
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @obsolete
# Limits and niceness of workers, and the calls by which they shut themselves off.
SystemCallFilter=setrlimit prlimit64 sched_setaffinity setpriority
SystemCallFilter=seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
