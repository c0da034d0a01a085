"""``portraitd`` and ``python -m portraitd``.

A worker process imports this module again, as its main module, and needs no command line.
"""

import os
import sys

INTERRUPTED = 130
"""The exit code after Ctrl-C."""


def main() -> None:
    """Run the command line."""
    try:
        _ensure_utf8_names()
        from portraitd.cli import main as command_line

        command_line.main()
    except KeyboardInterrupt:
        # While it is imported; later the command line handles it.
        sys.exit(INTERRUPTED)


def _ensure_utf8_names() -> None:
    """Start again in Python's UTF-8 mode if the locale encodes file names in another way.

    Otherwise names of people and files could not be written to disk, or would be written in bytes
    that other programs show wrongly. What is printed stays in the encoding of the terminal.
    """
    if sys.getfilesystemencoding().lower() == "utf-8" or not sys.executable:
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    # In the environment for the workers, too.
    environment = {"PYTHONIOENCODING": encoding, **os.environ, "PYTHONUTF8": "1"}
    os.execve(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]], environment)  # noqa: S606


if __name__ == "__main__":
    main()
