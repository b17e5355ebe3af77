"""`keygen`, `rotate-key`: keys of encrypted stores."""

import os
import secrets
from dataclasses import asdict

import click

from kvarts.base.encryption import KEY_BYTES, KeyFile
from kvarts.base.errors import InvalidArgument, refused
from kvarts.base.hkdf import key_id
from kvarts.cli.commands.options import json_option, store_argument
from kvarts.cli.help import Command
from kvarts.cli.output import print_json
from kvarts.cli.progress import Progress
from kvarts.cli.stores import KEY_FILES, opened
from kvarts.cli.text import counted, size

_FILE_MODE = 0o600


@click.command(
    cls=Command,
    negative=None,
    examples=[
        ("kvarts keygen ~/demo.key", "a new random key, readable by you alone"),
        ("kvarts put ./demo hello world --key-file ~/demo.key", "a store that is encrypted with it"),
    ],
)
@click.argument("file", type=click.Path())
@json_option
def keygen(file: str, as_json: bool) -> None:
    """Make a key file. A file that exists is never replaced. Who loses the key loses what is encrypted with it."""
    key = bytearray(secrets.token_bytes(KEY_BYTES))
    try:
        _write(file, key)
        name = key_id(key)
    finally:
        key[:] = bytes(KEY_BYTES)
    if as_json:
        print_json({"file": file, "key_id": name})
    else:
        click.echo(f"key {name} in {file}: keep a copy where the store is not")


def _write(file: str, key: bytearray) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE)
    except FileExistsError as error:
        raise InvalidArgument(f"{file} exists", hint="keygen writes over no file: give another name") from error
    except OSError as error:
        raise refused(f"making the key file {file}", error, file) from error
    with os.fdopen(descriptor, "wb", buffering=0) as out:
        os.fchmod(descriptor, _FILE_MODE)
        out.write(key.hex().encode() + b"\n")
        os.fsync(descriptor)


@click.command(
    cls=Command,
    name="rotate-key",
    negative=None,
    examples=[
        ("kvarts rotate-key ./demo --key-file old.key --new-key-file new.key", "write all anew under the new key"),
        (
            "kvarts rotate-key ./demo --key-file old.key --new-key-file new.key",
            "the same again, where it was cut short",
        ),
    ],
)
@store_argument
@click.option("--new-key-file", required=True, type=click.Path(), metavar="FILE", help="The key from now on.")
@json_option
@click.pass_context
def rotate_key(ctx: click.Context, store: str, new_key_file: str, as_json: bool) -> None:
    """Move an encrypted store to another key: all that the old one opens is written anew.

    May be cut short at any time: give both keys again to go on. Checkpoints keep the key they were made with.
    """
    # Older files may be of either key, where this was cut short before.
    ctx.meta[KEY_FILES] = (*ctx.meta[KEY_FILES], new_key_file)
    with opened(store) as target, Progress("rotating", unit="B") as progress:
        done = target.store.rotate_key(KeyFile(new_key_file), progress=progress.to)
    if as_json:
        print_json(asdict(done))
    else:
        click.echo(f"key {done.key_id} from now on: {counted(done.tables, 'table')} written anew, {size(done.bytes)}")
