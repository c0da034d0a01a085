"""Load every module that portraitd uses, so that Python stores it in compiled form.

Less than half of the modules of all packages are used; the others need not be compiled.
"""

from __future__ import annotations

import pkgutil
import sys
import warnings
from contextlib import suppress
from importlib import import_module


def main() -> None:
    """Load the modules of portraitd, then what its workers load."""
    warnings.simplefilter("ignore")
    sys.dont_write_bytecode = False
    import portraitd

    for module in pkgutil.walk_packages(portraitd.__path__, "portraitd."):
        # Some need packages that are not installed by default.
        with suppress(ImportError):
            import_module(module.name)

    from portraitd.service import worker_loading

    worker_loading.load_to_decode(None)
    worker_loading.load_to_hash()
    worker_loading.load_to_compute("dbscan")
    worker_loading.load_to_plan()
    worker_loading.load_to_assemble()
    worker_loading.load_to_inspect()


if __name__ == "__main__":
    main()
