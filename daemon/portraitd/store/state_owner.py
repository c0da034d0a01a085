"""Commands that root runs act as the owner of the state.

Otherwise they would leave files there, and in people/, that the service cannot read or replace.
"""

from __future__ import annotations

import os
import pwd
import sys
from importlib.util import find_spec
from pathlib import Path

from portraitd.model.errors import ConfigError
from portraitd.workers import capabilities
from portraitd.workers.libc import prctl

_PR_SET_DUMPABLE, _PR_SET_KEEPCAPS = 4, 8


def find_owner(state_dir: Path) -> tuple[int, int]:
    """Return the user and the group of a state folder, or of the folder that it will be made in.

    Raises:
        ConfigError: A folder cannot be looked at.
    """
    for folder in (state_dir.absolute(), *state_dir.absolute().parents):
        try:
            facts = os.stat(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(f"{folder}: {error.strerror}") from error
        return facts.st_uid, facts.st_gid
    return os.geteuid(), os.getegid()


def become_owner(state_dir: Path) -> None:
    """If this process is root's, make it the owner's of the state, for good.

    Where the owner cannot read the program, as with an interpreter in root's home, it keeps the
    right to read.

    Raises:
        ConfigError: The system does not allow it.
    """
    if os.geteuid() != 0:
        return
    user, group = find_owner(state_dir)
    if user == 0:
        return
    try:
        try:
            os.initgroups(pwd.getpwuid(user).pw_name, group)
        except KeyError:
            # A user of another machine, or of a container.
            os.setgroups([group])
        can_read = _can_read_program(user, group)
        if not can_read:
            prctl(_PR_SET_KEEPCAPS, 1)
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
        if not can_read:
            capabilities.keep_for_programs(capabilities.TO_READ)
        # A process that changed its user cannot look at its own descriptors, which workers need.
        prctl(_PR_SET_DUMPABLE, 1)
    except OSError as error:
        raise ConfigError(
            f"{state_dir} belongs to user {user}, and this process cannot become that user "
            f"({error.strerror}); run the command as that user"
        ) from error


def _can_read_program(user: int, group: int) -> bool:
    """Return whether a user can run this program, also what it has not imported yet."""
    # Any library: importing this one takes longer than the command.
    library = find_spec("structlog")
    files = (sys.executable, os.__file__, __file__, library.origin if library else None)
    paths = [os.path.realpath(file) for file in files if file]
    own = os.getegid()
    os.setegid(group)
    os.seteuid(user)
    try:
        return all(os.access(path, os.R_OK, effective_ids=True) for path in paths)
    finally:
        os.seteuid(0)
        os.setegid(own)


def give_to_owner(path: Path | int, state_dir: Path) -> None:
    """Give a file that root has made in the state to the owner of the state.

    Raises:
        OSError: It cannot be given away.
    """
    if os.geteuid() == 0:
        os.chown(path, *find_owner(state_dir), follow_symlinks=isinstance(path, int))
