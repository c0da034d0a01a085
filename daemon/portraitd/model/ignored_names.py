"""The names of files and folders that other programs leave behind, in the inbox and in people/.

All names are in lower case and compared without regard to case.
"""

from __future__ import annotations

import fnmatch
import re

FILE_MANAGER_FILES = frozenset({
    "thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store", ".directory",
})  # fmt: skip
"""Files that file managers create for themselves. portraitd may delete them with their folder."""

SERVER_FOLDERS = frozenset({
    "@eadir", "@recycle", "@tmp", "@recently-snapshot", "@sharebin", "@__thumb", "#recycle",
    "#snapshot", "$recycle.bin", "lost+found", "system volume information",
    "network trash folder", "temporary items",
})  # fmt: skip
"""Folders that file servers and operating systems keep for themselves."""

INBOX_PATTERNS = (
    # Hidden files, which covers rsync's `.name.XXXXXX`, `.syncthing.*`, `._*`, `.DS_Store`.
    ".*",
    # Files on their way in: download managers, browsers, copy programs.
    "*.tmp", "*.part", "*.partial", "*.filepart", "*.crdownload", "*.opdownload", "*.download",
    "*.!qb", "*.!ut", "*.aria2", "*.tacitpart", "~syncthing~*",
    # Lock and owner files of office programs.
    "~$*",
    # Sidecars: what other programs, and portraitd, note about the recording beside them.
    "*.xmp", "*.nfo",
    # More that servers and file managers leave behind. In people/ these names are not reserved:
    # `recycler` can be a nickname, and a file of these names is never deleted there.
    "*@synoresource", "*@synoeastream", "*.synologyworkingdirectory", "recycler", "thumbs.db:*",
    "ehthumbs_vista.db", "icon\r",
)  # fmt: skip
"""Ignored in the inbox, in addition to the two sets above."""

_IGNORED = re.compile(
    "|".join(
        [fnmatch.translate(pattern) for pattern in INBOX_PATTERNS]
        + [re.escape(name) + r"\Z" for name in sorted(FILE_MANAGER_FILES | SERVER_FOLDERS)]
    )
)


def is_ignored(name: str) -> bool:
    """Return whether the inbox ignores a name: hidden, temporary, or made by a file server.

    Args:
        name: A file name or a relative path; one ignored component is enough.
    """
    return any(_IGNORED.match(part.lower()) for part in name.split("/") if part not in ("", "."))


def is_clutter(name: str) -> bool:
    """Return whether a file in people/ was created by a file manager for itself."""
    return name.lower() in FILE_MANAGER_FILES or name.startswith("._")


def is_server_folder(name: str) -> bool:
    """Return whether a folder in people/ belongs to a file server."""
    return name.lower() in SERVER_FOLDERS
