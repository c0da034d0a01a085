"""A Samba share that is mounted twice, as by two machines: SMB through FUSE (smbnetfs).

The kernel's own client (cifs) is missing in many virtual machines. This runs in namespaces of its
own, since the client knows only the standard port: ``run_on_a_share`` starts it as a program.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from support import samba
from support.processes import TESTS, environment_for_support, wait_until

SMBNETFS = shutil.which("smbnetfs")

_CLIENT_SETTINGS = """\
auth "guest" ""
host 127.0.0.1 WORKGROUP visible=true
"""


def reason_unsupported() -> str:
    """Return why a share cannot be mounted here; empty if it can."""
    if samba.MISSING or not SMBNETFS:
        return samba.MISSING or "Debian's smbnetfs is not installed"
    if not os.access("/dev/fuse", os.W_OK):
        return "FUSE cannot be used here"
    namespaces = subprocess.run(["unshare", "-n", "-m", "true"], capture_output=True, check=False)
    return "namespaces are not permitted here" if namespaces.returncode else ""


def run_on_a_share(act: Callable[[Path, Path, Path], Any]) -> Any:
    """Call a module-level function with two mounts of one share and an empty folder.

    Returns:
        What it returned, which must be plain data.
    """
    command = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    program = (sys.executable, "-m", "support.mounted_share", act.__module__, act.__name__)
    ended = subprocess.run(
        [*command, *program],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=240,
        cwd=TESTS,
        env=environment_for_support(),
    )
    assert 0 == ended.returncode, ended.stdout
    return json.loads(ended.stdout.splitlines()[-1])


@contextmanager
def _mounted(folder: Path, settings: Path) -> Iterator[Path]:
    """Mount what the server offers; gives the folder of the share."""
    assert SMBNETFS
    client, point = folder / "client", folder / "mount"
    (client / ".smb").mkdir(parents=True)
    point.mkdir()
    shutil.copyfile(settings, client / ".smb" / "smb.conf")
    (client / ".smb" / "smbnetfs.conf").write_text(_CLIENT_SETTINGS)
    (client / ".smb" / "smbnetfs.conf").chmod(0o600)
    served = subprocess.Popen(
        [SMBNETFS, "-f", str(point)], env={**os.environ, "HOME": str(client)}, stdout=sys.stderr
    )
    share = point / "127.0.0.1" / "people"
    try:
        wait_until(lambda: os.path.ismount(point) and share.is_dir(), "the share is mounted")
        yield share
    finally:
        subprocess.run(["umount", "-l", str(point)], check=False, capture_output=True)
        served.kill()
        served.wait()


def main() -> None:
    """Serve and mount a folder, and print what a function returns about it."""
    module, name = sys.argv[1:]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        for part in ("served", "server", "one", "two", "own"):
            (folder / part).mkdir()
        (folder / "served").chmod(0o777)
        stack.enter_context(samba.shared(folder / "served", folder / "server", port=445))
        settings = folder / "server" / "smb.conf"
        mounts = [stack.enter_context(_mounted(folder / one, settings)) for one in ("one", "two")]
        found = getattr(import_module(module), name)(*mounts, folder / "own")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
