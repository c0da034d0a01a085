"""What a systemd service of this home needs: its places, settings, unit and Samba shares.

``service_scripts`` turns them into the script that installs them.
"""

from __future__ import annotations

import importlib.util
import json
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

UNIT = Path("/etc/systemd/system/portraitd.service")
"""Takes precedence over the unit of the Debian package, in /usr/lib."""

_PERSONAL = tuple(map(Path, ("/home", "/root", "/run/user")))


@dataclass(frozen=True, slots=True)
class Installation:
    """The places of a service.

    Attributes:
        program: The command.
        config: Its settings file.
        home, inbox, people, state, dataset: Its folders.
        openvino: Whether OpenVINO is installed, which generates code while it runs.
        metrics: The file with the metrics; None if there is none.
    """

    program: Path = PROGRAM
    config: Path = SYSTEM_CONFIG
    home: Path = HOME
    inbox: Path = HOME / "inbox"
    people: Path = HOME / "people"
    state: Path = STATE
    dataset: Path = HOME / "dataset"
    openvino: bool = False
    metrics: Path | None = None

    @property
    def shared(self) -> list[Path]:
        """Return the folders that reviewers use, too."""
        return list(dict.fromkeys((self.home, self.inbox, self.people)))

    @property
    def metrics_folder(self) -> Path | None:
        """Return the folder for the metrics, if it is not the one that systemd makes."""
        if self.metrics is None or self.metrics.is_relative_to(RUNTIME):
            return None
        return self.metrics.absolute().parent


def plan_installation(settings: Settings, config: Path | None) -> Installation:
    """Return the installation that the settings describe, with the usual places as defaults.

    Args:
        settings: If they set no home, the service gets its own, not the home of a user.
        config: The settings file given on the command line.
    """
    if "home" in settings.model_fields_set:
        beside = settings.home_dir / "config.toml"
        file = config or (beside if beside.exists() else SYSTEM_CONFIG)
        return _plan_in_home(settings, file.absolute())
    paths = settings.paths
    return Installation(
        _find_program(),
        config or SYSTEM_CONFIG,
        HOME,
        HOME / (paths.inbox or "inbox"),
        HOME / (paths.people or "people"),
        paths.state or STATE,
        HOME / (paths.dataset or "dataset"),
        _has_openvino(),
        settings.metrics.textfile,
    )


def plan_user_installation(settings: Settings) -> Installation:
    """Return the installation as a service of one user, who has a home for it."""
    return _plan_in_home(settings, settings.home_dir / "config.toml")


def _plan_in_home(settings: Settings, config: Path) -> Installation:
    """Return the installation for the home that the settings name."""
    return Installation(
        _find_program(),
        config,
        settings.home_dir,
        settings.inbox_dir,
        settings.people_dir,
        settings.state_dir,
        settings.dataset_dir,
        _has_openvino(),
        settings.metrics.textfile,
    )


def _find_program() -> Path:
    """Return the command of the environment that runs this."""
    program = Path(sys.prefix) / "bin" / "portraitd"
    return program if program.exists() else PROGRAM


def _has_openvino() -> bool:
    return importlib.util.find_spec("openvino") is not None


def render_settings(plan: Installation) -> Iterator[str]:
    """Yield the settings file: the places; all other settings have defaults."""
    # A JSON string is also a TOML string.
    yield f"home = {json.dumps(str(plan.home), ensure_ascii=False)}"
    yield "[paths]"
    for name in ("inbox", "people", "state", "dataset"):
        yield f"{name} = {json.dumps(str(getattr(plan, name)), ensure_ascii=False)}"


def render_shares(plan: Installation) -> str:
    """Return the definition of two Samba shares.

    ``force user`` makes the service the owner of every dropped file: only the owner can ask the
    kernel whether another program still has the file open for writing.
    """
    return _SHARES + "\n".join(
        _SHARE.format(name=name, comment=comment, path=path, user=USER)
        for name, comment, path in (
            ("portraits-inbox", "drop videos and photos here", plan.inbox),
            ("portraits", "one folder per person", plan.people),
        )
    )


def render_unit(plan: Installation) -> str:
    """Return the unit; ``systemd/portraitd.service`` is this text with the usual places."""
    shared = _outermost([*plan.shared, plan.dataset])
    below_lib = plan.state == STATE
    written = shared if below_lib else _outermost([*shared, plan.state])
    mounts = written
    if plan.metrics_folder:
        written = _outermost([*written, plan.metrics_folder])
    directories = "StateDirectory=portraitd\nStateDirectoryMode=0700\n" if below_lib else ""
    # systemd adds it for a StateDirectory by itself.
    state = "" if below_lib else f"{_STATE_MOUNT}{_escaped(plan.state)}\n"
    personal = any(path.is_relative_to(above) for path in (*written, plan.config, plan.program)
                   for above in _PERSONAL)  # fmt: skip
    return _UNIT.format(
        program=_escaped(plan.program),
        config=_escaped(plan.config),
        mounts=_listed(mounts),
        written=_listed(written),
        unexecuted=_listed(_outermost([*shared, plan.state])),
        directories=directories,
        state=state,
        life=_LIFE,
        limits=_LIMITS,
        final="no" if plan.openvino else "yes",
        # The homes of users are hidden, unless the service needs something there.
        homes="read-only" if personal else "yes",
    )


def render_user_unit(plan: Installation, config: Path | None) -> str:
    """Return the unit for the service manager of one user.

    Args:
        plan: The places.
        config: The settings file given on the command line; without, that of the home.
    """
    return _USER_UNIT.format(
        program=_escaped(plan.program),
        where=f"--config {_escaped(config)}" if config else f"--home {_escaped(plan.home)}",
        life=_LIFE,
        limits=_LIMITS,
        final="no" if plan.openvino else "yes",
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
# portraitd as a systemd service. `portraitd install-service` installs it, together with the user,
# the folders and the settings it needs.

[Unit]
Description=portraitd: one folder of portraits per person
Documentation=man:portraitd(1)
# privacy.keep_days erases by date, so the clock must be right.
After=local-fs.target remote-fs.target time-sync.target
{state}# Not RequiresMountsFor: systemd would not start the service while a share is not mounted,
# nor when it is mounted later. The service itself notices that a share is not mounted.
# systemd before version 256 ignores this line.
WantsMountsFor={mounts}
# A full disk or a missing share is temporary, however long it lasts.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} run --config {config}
{life}User=portraitd
Group=portraitd
# Reviewers are members of the group; all others have no access.
UMask=0007
# For metrics.textfile = "/run/portraitd/portraitd.prom": other users may read this folder.
RuntimeDirectory=portraitd
{directories}Environment=OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 ORT_DISABLE_TELEMETRY=1
{limits}ProtectSystem=strict
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

_STATE_MOUNT = """\
# Otherwise the service would create a new database before the disk is mounted.
RequiresMountsFor="""

_LIFE = """\
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

"""

_LIMITS = """\
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

"""

_USER_UNIT = """\
# portraitd as a service of one user. `portraitd install-service --user` installs it.

[Unit]
Description=portraitd: one folder of portraits per person
Documentation=man:portraitd(1)
# A full disk or a missing share is temporary, however long it lasts.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} run {where}
{life}Environment=OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 ORT_DISABLE_TELEMETRY=1
{limits}# What a service manager without root can enforce. Workers also have their own sandbox.
RestrictAddressFamilies=AF_UNIX
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute={final}
NoNewPrivileges=yes
SystemCallArchitectures=native

[Install]
WantedBy=default.target
"""

_SHARES = """\
# An empty `vfs objects` in each share disables a recycle bin of [global]: what a reviewer deletes
# must not be kept. For Macs, write `vfs objects = fruit streams_xattr` instead (Debian 12 has these
# modules in the package samba-vfs-modules).
"""

_SHARE = """\
[{name}]
    comment = {comment}
    path = {path}
    valid users = @{user}
    force user = {user}
    force group = {user}
    read only = no
    create mask = 0660
    directory mask = 2770
    hide dot files = yes
    vfs objects =
    # What the Finder leaves in every folder that it shows.
    veto files = /.DS_Store/
    delete veto files = yes"""
