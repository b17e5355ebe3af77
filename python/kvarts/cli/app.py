"""The door: the table of subcommands, what is shown without one, and how every run ends."""

import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

import click

from kvarts.base.errors import KvartsError
from kvarts.cli.exits import INTERRUPTED, PIPE_CLOSED, STORE_ERROR, USAGE
from kvarts.cli.failure import report_failure, report_kvarts_error
from kvarts.cli.help import Context, write_exit_codes, write_rows
from kvarts.cli.output import print_aside, screen_columns
from kvarts.cli.streams import finish_output, hold_descriptors, sentence

ROWS = "kvarts.cli.commands.rows"
TRANSFER = "kvarts.cli.commands.transfer"
CARE = "kvarts.cli.commands.care"
KEYS = "kvarts.cli.commands.keys"
SERVE = "kvarts.cli.commands.serve"
CLUSTER = "kvarts.cli.commands.cluster"

COMMANDS: Mapping[str, tuple[str, str]] = {
    "tour": ("kvarts.cli.commands.tour:tour", "See it work on real files, and survive a kill, in a minute."),
    "get": (f"{ROWS}:get", "Print the value of a key."),
    "put": (f"{ROWS}:put", "Write a value."),
    "delete": (f"{ROWS}:delete", "Delete keys."),
    "scan": (f"{ROWS}:scan", "List rows in key order, either way."),
    "import": (f"{TRANSFER}:import_", "Write rows from JSON lines."),
    "export": (f"{TRANSFER}:export", "Write rows as JSON lines."),
    "stats": (f"{CARE}:stats", "Print sizes and counts of a store."),
    "verify": (f"{CARE}:verify", "Read all of a store and check every byte."),
    "repair": ("kvarts.cli.commands.repair:repair", "Salvage what is whole of a damaged store into a new one."),
    "doctor": ("kvarts.cli.commands.doctor:doctor", "Judge disk, limits, permissions and memory, with cures."),
    "inspect": ("kvarts.cli.commands.inspect:inspect", "Show what is in a store's files, damaged ones too."),
    "keygen": (f"{KEYS}:keygen", "Make the key file of an encrypted store."),
    "rotate-key": (f"{KEYS}:rotate_key", "Move an encrypted store to another key."),
    "explain": (f"{CARE}:explain", "Tell cause and cure of an error code."),
    "serve": (f"{SERVE}:serve", "Run a node: alone, or of a cluster."),
    "dev": ("kvarts.cli.commands.dev:dev", "Run a cluster on this machine, for a try."),
    "status": (f"{CLUSTER}:status", "Tell who is in a cluster and who leads."),
    "cluster": (f"{CLUSTER}:cluster", "Change who is in a cluster, and its shards."),
    "config": (f"{SERVE}:config", "Explain the settings of a node."),
    "bench": ("kvarts.cli.commands.bench:bench", "Measure kvarts beside its peers, on this machine."),
}
NEXT = (
    ("kvarts tour", "see it work"),
    ("kvarts put ./demo hello world", "make a store, write a key"),
    ("kvarts scan ./demo", "list what is in it"),
)
GREETING = "kvarts: an ordered key-value database for Python"


class PipeClosedError(Exception):
    """The reader of our output has gone: no error, but no reason to go on."""


class LazyGroup(click.Group):
    """Finds subcommands in the table and imports one only when it is called."""

    context_class = Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the subcommand."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand, or name the nearest one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], list(COMMANDS), n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Commands are {', '.join(COMMANDS)}."
            raise click.UsageError(f"No such command {args[0]!r}. {hint}", ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples first, then commands, options and exit codes."""
        formatter.write_text(GREETING)
        write_rows(formatter, "Try", NEXT)
        write_rows(formatter, "Commands", [(name, short) for name, (_, short) in COMMANDS.items()])
        self.format_options(ctx, formatter)
        write_exit_codes(formatter)
        formatter.write_paragraph()
        formatter.write_text("kvarts COMMAND --help shows examples of each.")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options alone: click would add the commands a second time, and import them all."""
        click.Command.format_options(self, ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; a closed pipe takes a way of its own past click's."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError as error:
            raise PipeClosedError from error
        return result


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from kvarts import __version__

        click.echo(f"kvarts {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    no_args_is_help=False,
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print it.")
@click.pass_context
def app(ctx: click.Context) -> None:
    """kvarts: an ordered key-value database for Python."""
    if ctx.invoked_subcommand is None:
        width = screen_columns()
        commands = click.wrap_text(" ".join(COMMANDS), width, "Commands: ", " " * 10)
        more = click.wrap_text("kvarts COMMAND --help shows examples", width, " " * 10, " " * 10)
        click.echo(f"{click.wrap_text(GREETING, width)}\n\n{commands}\n{more}\n\nNext:")
        for command, why in NEXT:
            click.echo(f"  {command:<32}# {why}" if width >= 64 else f"  {command}\n      # {why}")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with a documented exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not hold_descriptors():
        # Before anything is done: nobody would learn of it.
        failure = "stdout is closed (>/dev/null would throw the output away)"
        report_failure("system", failure, as_json="--json" in arguments)
        sys.exit(STORE_ERROR)
    warnings.showwarning = _show_warning
    sys.exit(run(arguments))


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as a person reads it: the place in the code is ours, and no help."""
    print_aside(f"warning  {message}")


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    as_json = "--json" in arguments
    try:
        code = app.main(
            args=list(arguments),
            prog_name="kvarts",
            standalone_mode=False,
            # Click itself takes no terminal to have less than 50.
            terminal_width=max(28, min(screen_columns(), 110) - 2),
        )
        return code if isinstance(code, int) else 0
    except PipeClosedError:
        finish_output()
        return PIPE_CLOSED
    except (click.Abort, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with suppress(OSError):
            click.echo("interrupted", err=True)
        return INTERRUPTED
    except (click.ClickException, KvartsError, OSError) as error:
        code = _exit_code(error)
        # Where stderr cannot be written either, the exit code still tells.
        with suppress(OSError):
            _report(error, as_json=as_json)
        finish_output()
        return code


def _exit_code(error: Exception) -> int:
    return USAGE if isinstance(error, click.ClickException) else STORE_ERROR


def _report(error: Exception, *, as_json: bool) -> None:
    """Print an error."""
    if isinstance(error, KvartsError):
        report_kvarts_error(error, as_json=as_json)
    elif isinstance(error, OSError):
        report_failure("system", sentence(error), as_json=as_json)
    elif isinstance(error, click.UsageError) and not as_json:
        error.show()
    else:
        assert isinstance(error, click.ClickException)
        report_failure("usage", error.format_message(), as_json=as_json)
