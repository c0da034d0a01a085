"""The command line: the group of all commands, and what their errors exit with.

The commands themselves are in the modules named after their group. A command's module is imported
when the command is called, and everything heavy inside the command, so that ``portraitd --help``
prints at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from typing import Any, NamedTuple

import click

from portraitd import __version__
from portraitd.cli.options import (
    EXIT_CONFIG,
    EXIT_INTERNAL,
    EXIT_LOCKED,
    EXIT_UNAVAILABLE,
    EXIT_UNUSABLE,
    EXIT_USAGE,
)
from portraitd.model.errors import AlreadyRunning, ConfigError, PortraitdError, UnusableStore
from portraitd.service.safe_output import guard_output

COMPLETION = "_PORTRAITD_COMPLETE"
"""The variable in which the completion of a shell asks what can follow."""


class CommandEntry(NamedTuple):
    """A command that is imported when it is called.

    Attributes:
        name: What the user types.
        module: The module of ``portraitd.cli`` that defines it, under its name as an identifier.
        summary: The first line of its help.
    """

    name: str
    module: str
    summary: str

    def load(self) -> click.Command:
        """Import the command."""
        module = import_module(f"portraitd.cli.{self.module}")
        command: click.Command = getattr(module, self.name.replace("-", "_"))
        return command


SECTIONS: dict[str, tuple[CommandEntry, ...]] = {
    "Set up": (
        CommandEntry("init", "setup_commands", "Create the home folder."),
        CommandEntry(
            "install-service", "setup_commands", "Install portraitd as a systemd service."
        ),
        CommandEntry("uninstall-service", "setup_commands", "Remove the systemd service."),
        CommandEntry(
            "models",
            "model_commands",
            "List, add and compare models that find and recognise faces.",
        ),
    ),
    "Run": (
        CommandEntry("run", "run_commands", "Run the service."),
        CommandEntry("process", "run_commands", "Process files now, without the service."),
        CommandEntry("demo", "run_commands", "Run the whole pipeline on a generated clip."),
        CommandEntry("worker", "worker_command", "Run a remote encoding worker (Dask)."),
    ),
    "Inspect": (
        CommandEntry(
            "status", "inspection_commands", "Show what is queued, running and failed, and why."
        ),
        CommandEntry(
            "explain", "inspection_commands", "Explain what happened to a file, and what is next."
        ),
        CommandEntry("who", "who_command", "Show who the faces in a picture belong to."),
        CommandEntry("faces", "inspection_commands", "List all faces as JSON lines or CSV."),
        CommandEntry(
            "ledger", "inspection_commands", "List the edits made in people/, oldest first."
        ),
        CommandEntry("check", "inspection_commands", "Check the home folder and the installation."),
    ),
    "Correct": (
        CommandEntry("people", "people_commands", "Import pictures of known people."),
        CommandEntry("undo", "edit_commands", "Undo the last edit made in people/."),
        CommandEntry("accept", "edit_commands", "Confirm that the missing portraits were deleted."),
        CommandEntry("retry", "edit_commands", "Retry the files that failed."),
        CommandEntry("dismiss", "edit_commands", "Remove failed files from the list."),
        CommandEntry("regroup", "edit_commands", "Regroup all faces from scratch."),
        CommandEntry(
            "rebuild", "edit_commands", "Reprocess every video with the current settings."
        ),
    ),
    "Training sets": (
        CommandEntry("dataset", "dataset_commands", "Build and check training sets."),
    ),
    "Data": (
        CommandEntry("backup", "operations_commands", "Back up the database to FILE."),
        CommandEntry("restore", "operations_commands", "Restore the database from FILE."),
        CommandEntry("forget", "operations_commands", "Permanently erase a person or a video."),
        CommandEntry("export", "operations_commands", "Export the data kept about a person."),
    ),
}
"""All commands, in the order in which ``portraitd --help`` lists them."""


class CommandGroup(click.Group):
    """All commands. If their reader closes the pipe, as ``head`` does, that is not an error."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help."""
        return [entry.name for entries in SECTIONS.values() for entry in entries]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of this name."""
        for entries in SECTIONS.values():
            for entry in entries:
                if entry.name == cmd_name:
                    return entry.load()
        return None

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
        longest = max(map(len, self.list_commands(ctx)))
        for section, entries in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl(
                    [(entry.name.ljust(longest), entry.summary) for entry in entries]
                )


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="portraitd", message="%(prog)s %(version)s")
def commands() -> None:
    """Drop videos and photos into a folder; get one folder of portraits per person.

    Run `portraitd COMMAND --help` for the options of a command.
    """


def main() -> None:
    """Run a command; turn an error into one line and an exit code."""
    if COMPLETION in os.environ:
        # click answers the shell in bytes, with our own words only.
        commands(prog_name="portraitd", complete_var=COMPLETION)
    with guard_output():
        _run()


def _run() -> None:
    try:
        # Outside its standalone mode click returns the code that an Exit carries.
        sys.exit(commands(prog_name="portraitd", standalone_mode=False))
    except click.ClickException as error:
        if not _is_logged(error.format_message(), EXIT_USAGE):
            error.show()
        sys.exit(EXIT_USAGE)
    except (click.Abort, KeyboardInterrupt):
        print("stopped; run the same command again to continue", file=sys.stderr)
        sys.exit(130)
    except ConfigError as error:
        _print_and_exit(error, EXIT_CONFIG)
    except AlreadyRunning as error:
        _print_and_exit(error, EXIT_LOCKED)
    except UnusableStore as error:
        _print_and_exit(error, EXIT_UNUSABLE)
    except PortraitdError as error:
        _print_and_exit(error, EXIT_UNAVAILABLE)
    except OSError as error:
        # For instance a folder that this user may not read.
        where = f"{_printed_name(error.filename)}: " if error.filename is not None else ""
        _print_and_exit(f"{where}{error.strerror or error}", EXIT_UNAVAILABLE)
    except Exception:
        # Here, so that what the traceback says is printable, too.
        traceback.print_exc()
        sys.exit(EXIT_INTERNAL)


def _print_and_exit(error: PortraitdError | str, code: int) -> None:
    if not _is_logged(str(error), code):
        print(f"portraitd: {error}", file=sys.stderr)
    sys.exit(code)


def _is_logged(reason: str, code: int) -> bool:
    """Log why the process ends, if its log is JSON; return whether it is."""
    if "structlog" not in sys.modules:
        # No log was configured, and loading it takes longer than to print an error.
        return False
    from portraitd.service.stderr_capture import log_failure

    return log_failure(reason, code)


def _printed_name(name: object) -> str:
    return os.fsdecode(name) if isinstance(name, str | bytes) else str(name)
