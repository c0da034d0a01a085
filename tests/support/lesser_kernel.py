"""Run a program as on a kernel, or in a container, that refuses some system calls.

In ``tests/``, ``python -m support.lesser_kernel seccomp,unshare python -m portraitd run`` does.
"""

from __future__ import annotations

import os
import platform
import sys

from support.seccomp_filter import ALLOW, DENY, IF_EQUAL, LOAD, NUMBER, RETURN, install

_NUMBERS = {
    "x86_64": {"landlock_create_ruleset": 444, "seccomp": 317, "unshare": 272},
    "aarch64": {"landlock_create_ruleset": 444, "seccomp": 277, "unshare": 97},
}


def refuse(names: list[str]) -> None:
    """Refuse calls to this process and everything it starts."""
    numbers = _NUMBERS[platform.machine()]
    steps = [(LOAD, 0, 0, NUMBER)]
    for name in names:
        steps += [(IF_EQUAL, 0, 1, numbers[name]), (RETURN, 0, 0, DENY)]
    install([*steps, (RETURN, 0, 0, ALLOW)])


if __name__ == "__main__":
    refuse(sys.argv[1].split(","))
    os.execvp(sys.argv[2], sys.argv[2:])
