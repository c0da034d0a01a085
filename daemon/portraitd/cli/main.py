"""The command line: the group of all commands, and what their errors exit with.

The commands themselves are in the modules named after their group. Everything heavy is imported
inside a command, so that ``portraitd --help`` prints at once.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from portraitd import __version__
from portraitd.cli.dataset_commands import dataset
from portraitd.cli.edit_commands import accept, rebuild, regroup, retry, undo
from portraitd.cli.inspection_commands import check, explain, faces, ledger, status
from portraitd.cli.operations_commands import backup, export, forget, restore
from portraitd.cli.options import EXIT_CONFIG, EXIT_LOCKED, EXIT_UNAVAILABLE, EXIT_USAGE
from portraitd.cli.run_commands import demo, process, run
from portraitd.cli.setup_commands import init, install_service, models
from portraitd.cli.worker_command import worker
from portraitd.model.errors import AlreadyRunning, ConfigError, PortraitdError

SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Set up": (init, install_service, models),
    "Run": (run, process, demo, worker),
    "Inspect": (status, explain, faces, ledger, check),
    "Correct": (undo, accept, retry, regroup, rebuild),
    "Training sets": (dataset,),
    "Data": (backup, restore, forget, export),
}
"""All commands, in the order in which ``portraitd --help`` lists them."""


class CommandGroup(click.Group):
    """All commands. If their reader closes the pipe, as ``head`` does, that is not an error."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command and flush its output."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is still buffered has to go somewhere when the interpreter exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None
        return result

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section."""
        longest = max(map(len, self.commands))
        limit = formatter.width - longest - 6
        for section, members in SECTIONS.items():
            rows = [
                ((member.name or "").ljust(longest), member.get_short_help_str(limit))
                for member in members
            ]
            with formatter.section(section):
                formatter.write_dl(rows)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="portraitd", message="%(prog)s %(version)s")
def commands() -> None:
    """Drop videos and photos into a folder; get one folder of portraits per person.

    Run `portraitd COMMAND --help` for the options of a command.
    """


for section in SECTIONS.values():
    for command in section:
        commands.add_command(command)


def main() -> None:
    """Run a command; turn an error into one line and an exit code."""
    try:
        # Outside its standalone mode click returns the code that an Exit carries.
        sys.exit(commands(prog_name="portraitd", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except (click.Abort, KeyboardInterrupt):
        print("stopped; run the same command again to continue", file=sys.stderr)
        sys.exit(130)
    except ConfigError as error:
        _print_and_exit(error, EXIT_CONFIG)
    except AlreadyRunning as error:
        _print_and_exit(error, EXIT_LOCKED)
    except PortraitdError as error:
        _print_and_exit(error, EXIT_UNAVAILABLE)


def _print_and_exit(error: PortraitdError, code: int) -> None:
    print(f"portraitd: {error}", file=sys.stderr)
    sys.exit(code)
