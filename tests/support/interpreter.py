"""Set up this interpreter, and those that the tests start; ``conftest`` imports it before all else.

The tests start several hundred interpreters. Without byte code each of them compiles every library
that it imports, which takes three times as long as the import.
"""

from __future__ import annotations

import os
import signal
import sys

if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    # In the environment, not beside the sources: that is what the variable is set for. A worker's
    # sandbox lets it read this folder.
    sys.pycache_prefix = os.path.join(sys.prefix, "bytecode")
    sys.dont_write_bytecode = False
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix

# A shell that starts the tests in the background, or nohup, has these ignored, and every program
# inherits that: the service and the commands would not end when a test asks them to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
