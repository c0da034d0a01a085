"""Commands that root runs act as the owner of the state.

Otherwise they would leave files there, and in people/, that the service cannot read or replace.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from pathlib import Path

from portraitd.model.errors import ConfigError

_PR_SET_DUMPABLE = 4


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
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    except OSError as error:
        raise ConfigError(
            f"{state_dir} belongs to user {user}, and this process cannot become that user "
            f"({error.strerror}); run the command as that user"
        ) from error
    # A process that changed its user cannot look at its own descriptors, which workers need.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def give_to_owner(path: Path | int, state_dir: Path) -> None:
    """Give a file that root has made in the state to the owner of the state.

    Raises:
        OSError: It cannot be given away.
    """
    if os.geteuid() == 0:
        os.chown(path, *find_owner(state_dir), follow_symlinks=isinstance(path, int))
