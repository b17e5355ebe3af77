"""Options that several subcommands share."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click

from kvarts.cli.stores import CODECS, DEFAULT_KEYSPACE, KEY_FILES
from kvarts.cli.text import Form, parse_duration

F = TypeVar("F", bound=Callable[..., Any])


class Duration(click.ParamType[float]):
    """Seconds, or a number with ms, s, m, h, d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


KEY_FILES_VARIABLE = "KVARTS_ENCRYPTION_KEY_FILE"


def _keep_key_files(ctx: click.Context, _: click.Parameter, given: tuple[str, ...]) -> None:
    ctx.meta[KEY_FILES] = given


key_file_option = click.option(
    "--key-file",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    envvar=KEY_FILES_VARIABLE,
    expose_value=False,
    callback=_keep_key_files,
    help=f"Key of an encrypted store; a second one where a rotation was cut short. [env: {KEY_FILES_VARIABLE}]",
)


def store_argument(function: F) -> F:
    """Add the argument STORE, and --key-file, which `opened` looks for."""
    return click.argument("store", type=click.Path())(key_file_option(function))


uri_argument = click.argument("uri", metavar="URI")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON; errors too, on stderr.")
keyspace_option = click.option(
    "--keyspace", metavar="NAME", help=f"Work on this keyspace. [default: {DEFAULT_KEYSPACE}]"
)
durability_option = click.option(
    "--durability",
    type=click.Choice(["sync", "batch", "none"]),
    default="batch",
    show_default=True,
    help="sync: on stable storage before the command ends its writes; batch: synced within 100 ms.",
)


def _names(ctx: click.Context, _: click.Parameter, given: str | None) -> dict[str, tuple[str, ...]]:
    """Return what open() is given beside the rest; the names are checked there."""
    return {} if given is None else {"compression": tuple(given.split(","))}


compression_option = click.option(
    "--compression",
    callback=_names,
    metavar="NAME[,NAME...]",
    help="none, lz4, zstd or zstd:1 to zstd:19; or one for each level. [default: lz4]",
)


def form_options(function: F) -> F:
    """Add --hex and --base64, of which one at most gives `form`."""

    @wraps(function)
    def with_form(*arguments: Any, as_hex: bool, as_base64: bool, **options: Any) -> Any:
        if as_hex and as_base64:
            raise click.UsageError("give one of --hex, --base64")
        form = Form.HEX if as_hex else Form.BASE64 if as_base64 else Form.TEXT
        return function(*arguments, form=form, **options)

    hexadecimal = click.option("--hex", "as_hex", is_flag=True, help="Keys and values are hexadecimal.")
    base64 = click.option("--base64", "as_base64", is_flag=True, help="Keys and values are base64.")
    return cast("F", base64(hexadecimal(with_form)))


def codec_options(function: F) -> F:
    """Add --key-codec and --value-codec, for a keyspace that is made by the command."""
    what = "of a new keyspace; an old one keeps its own. [default: bytes]"
    value = click.option("--value-codec", type=click.Choice(CODECS), help=f"Codec of values {what}")
    key = click.option("--key-codec", type=click.Choice(CODECS), help=f"Codec of keys {what}")
    return key(value(function))


def range_options(function: F) -> F:
    """Add --prefix, --start, --stop, --reverse and --limit."""
    options = (
        click.option("--prefix", metavar="KEY", help="Only keys that begin with this."),
        click.option("--start", metavar="KEY", help="From this key on (it included)."),
        click.option("--stop", metavar="KEY", help="Up to this key (it not included)."),
        click.option("--reverse", is_flag=True, help="Last key first."),
        click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most N rows."),
    )
    for option in reversed(options):
        function = option(function)
    return function
