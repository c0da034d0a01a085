"""The packages of an extra, and the command that installs them.

Our name with an extra in brackets would be a program of other people: the public index knows
another project, or none, under it. The packages of an extra have names of their own, and installing
those works however portraitd itself was installed: from a checkout, a wheel or a package.
"""

from __future__ import annotations

import shlex
import sys
from importlib.metadata import PackageNotFoundError, requires

_PACKAGES = {
    "dask": ("distributed",),
    "demo": ("matplotlib", "scikit-image"),
    "openvino": ("openvino",),
    "reference": ("face-recognition", "setuptools<81"),
}

# face-recognition asks for the package dlib, which pip would build from source, although dlib-bin
# has installed the module.
_WITHOUT_DEPENDENCIES = {"reference"}


def describe_installation(extra: str) -> str:
    """Return the command that installs the packages of an extra beside this portraitd."""
    packages = _list_required(extra) or list(_PACKAGES[extra])
    options = ["--no-deps"] if extra in _WITHOUT_DEPENDENCIES else []
    return shlex.join([sys.executable, "-m", "pip", "install", *options, *packages])


def _list_required(extra: str) -> list[str]:
    """Return the packages with the versions that our metadata asks for, if we were installed."""
    try:
        lines = requires("portraitd") or []
    except PackageNotFoundError:
        return []
    found = (line.partition(";") for line in lines)
    return sorted(
        package.strip()
        for package, _, condition in found
        if condition.replace("'", '"').strip() == f'extra == "{extra}"'
    )
