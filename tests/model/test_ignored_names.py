"""Names that other programs leave behind."""

from __future__ import annotations

import pytest

from portraitd.model.ignored_names import is_clutter, is_ignored, is_server_folder


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.mp4", ".clip.mp4.Xa3b9Z", ".DS_Store", "._clip.mp4", ".syncthing.clip.mp4.tmp",
        "~syncthing~clip.mp4", "~$minutes.docx", "clip.mp4.tmp", "clip.mp4.part", "clip.PARTIAL",
        "clip.mp4.filepart", "clip.mp4.crdownload", "clip.mp4.!qB", "clip.mp4.aria2", "@eaDir",
        "#recycle", "Thumbs.db", "THUMBS.DB", "desktop.ini", "$RECYCLE.BIN", "lost+found",
        "@Recycle", "System Volume Information", "holiday/@eaDir/clip.mp4", "a/.b/c.mp4",
    ],
)  # fmt: skip
def test_litter_is_ignored(name: str) -> None:
    """Temporary names and litter of file servers are never taken, at any depth."""
    assert is_ignored(name)


@pytest.mark.parametrize(
    "name",
    ["clip.mp4", "noextension", "a.tmp.mp4", "part.mp4", "50%~$.mov", "holiday/clip.mp4",
     "caf\udce9.mp4", "eaDir", "./clip.mp4", "clip..mp4"],
)  # fmt: skip
def test_ordinary_names_are_not_ignored(name: str) -> None:
    """A name that only resembles litter is somebody's video."""
    assert not is_ignored(name)


def test_what_the_people_tree_ignores_the_inbox_ignores_too() -> None:
    """Not the other way round: only files that a file manager makes are ever deleted there."""
    for name in ("Thumbs.db", ".DS_Store", "._clip.jpg", "desktop.ini"):
        assert is_clutter(name)
        assert is_ignored(name)
    for name in ("@eaDir", "$RECYCLE.BIN", "lost+found", "@tmp"):
        assert is_server_folder(name)
        assert is_ignored(name)
    for name in ("recycler", "clip.tmp", "ehthumbs_vista.db", "desktop.ini.txt"):
        assert not is_clutter(name)
        assert not is_server_folder(name)
