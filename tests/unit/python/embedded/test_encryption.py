"""Keys of encrypted stores: every form they come in, every way they may not fit, and that none is ever shown."""

import base64
import os
import pickle
import secrets
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kvarts
from kvarts.base.encryption import Keyring
from kvarts.base.hkdf import key_id

KEY = bytes(range(32))
OTHER = bytes(range(32, 64))


def contents(folder: Path) -> dict[str, bytes]:
    """Returns every file with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def key_file(path: Path, content: bytes, mode: int = 0o600) -> Path:
    """Makes a key file."""
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Makes a store that is encrypted with KEY."""
    with kvarts.open(tmp_path / "store", encryption_key=KEY) as db:
        db[b"hello"] = b"world"
    return tmp_path / "store"


def test_every_form_of_a_key_opens_the_store(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAW", KEY.hex())
    monkeypatch.setenv("BASE64", base64.b64encode(KEY).decode() + "\n")
    forms: list[Any] = [
        KEY,
        bytearray(KEY),
        key_file(tmp_path / "raw", KEY),
        kvarts.KeyFile(key_file(tmp_path / "hex", KEY.hex().encode() + b"\n")),
        kvarts.KeyFile(str(key_file(tmp_path / "base64", base64.b64encode(KEY), 0o400))),
        kvarts.KeyFromEnv("RAW"),
        kvarts.KeyFromEnv("BASE64"),
        lambda _id: KEY,
        [KEY, OTHER],
        (KEY,),
    ]
    for form in forms:
        with kvarts.open(store, encryption_key=form) as db:
            assert db[b"hello"] == b"world", form


def test_a_function_is_asked_for_the_new_key_first_and_then_for_each_that_is_needed(store: Path) -> None:
    asked: list[str | None] = []

    def find(needed: str | None) -> bytes | None:
        asked.append(needed)
        return OTHER if needed is None else {key_id(KEY): KEY}.get(needed)

    with kvarts.open(store, encryption_key=find) as db:
        assert db[b"hello"] == b"world"
    assert asked == [None, key_id(KEY)]
    with pytest.raises(kvarts.EncryptionKeyError, match=key_id(KEY)):
        kvarts.open(store, encryption_key=OTHER)
    with kvarts.open(store, encryption_key=[OTHER, KEY]) as db:
        assert db[b"hello"] == b"world", "older files are of the older key still"


def test_a_function_that_does_not_know_the_key_ends_the_open(store: Path) -> None:
    with pytest.raises(kvarts.EncryptionKeyError) as raised:
        kvarts.open(store, encryption_key=lambda _id: OTHER)
    assert (raised.value.needed, raised.value.given) == (key_id(KEY), key_id(OTHER))


@pytest.mark.parametrize(("key", "given"), [(None, None), (OTHER, key_id(OTHER))], ids=["missing", "wrong"])
def test_a_wrong_or_missing_key_is_told_and_changes_nothing(store: Path, key: Any, given: str | None) -> None:
    before = contents(store)
    with pytest.raises(kvarts.EncryptionKeyError, match="is encrypted with key") as raised:
        kvarts.open(store, encryption_key=key)
    assert (raised.value.needed, raised.value.given, raised.value.code) == (key_id(KEY), given, "KV-2010")
    assert raised.value.hint
    assert contents(store) == before


def test_a_key_for_a_store_that_is_not_encrypted_is_told_and_changes_nothing(tmp_path: Path) -> None:
    kvarts.open(tmp_path / "plain").close()
    before = contents(tmp_path)
    with pytest.raises(kvarts.EncryptionKeyError, match=r"not encrypted.*put_many"):
        kvarts.open(tmp_path / "plain", encryption_key=KEY)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path / "key", KEY, mode)
    with pytest.raises(kvarts.EncryptionKeyError, match="chmod 600"):
        kvarts.open(tmp_path / "store", encryption_key=path)
    assert not (tmp_path / "store").exists()


def test_what_is_no_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT", "ab" * 31)
    monkeypatch.setenv("THIRTY_TWO", "a" * 32)
    os.mkfifo(tmp_path / "pipe", 0o600)
    wrong: list[tuple[Any, type[Exception]]] = [
        ("a passphrase", kvarts.WrongType),
        (7, kvarts.WrongType),
        ([], kvarts.InvalidArgument),
        (b"short", kvarts.InvalidArgument),
        (KEY + b"\n", kvarts.InvalidArgument),
        (lambda _id: None, kvarts.WrongType),
        (lambda _id: "text", kvarts.WrongType),
        (lambda _id: b"", kvarts.InvalidArgument),
        (key_file(tmp_path / "empty", b""), kvarts.EncryptionKeyError),
        (key_file(tmp_path / "long", b"k" * 5000), kvarts.EncryptionKeyError),
        (key_file(tmp_path / "text", b"not a key at all, but some words of it"), kvarts.EncryptionKeyError),
        (tmp_path, kvarts.EncryptionKeyError),
        (tmp_path / "pipe", kvarts.EncryptionKeyError),
        (tmp_path / "missing", kvarts.EncryptionKeyError),
        (kvarts.KeyFromEnv("SHORT"), kvarts.EncryptionKeyError),
        (kvarts.KeyFromEnv("THIRTY_TWO"), kvarts.EncryptionKeyError),
        (kvarts.KeyFromEnv("UNSET"), kvarts.EncryptionKeyError),
    ]
    for given, error in wrong:
        with pytest.raises(error) as raised:
            kvarts.open(tmp_path / "store", encryption_key=given)
        assert isinstance(raised.value, kvarts.KvartsError), given
    assert not (tmp_path / "store").exists()


def test_where_a_key_has_no_place_it_is_refused() -> None:
    open_async: Any = kvarts.open_async
    with pytest.raises(kvarts.InvalidArgument, match="on disk"):
        kvarts.open(":memory:", encryption_key=KEY)
    with pytest.raises(kvarts.InvalidArgument, match="on this machine"):
        kvarts.open("kvarts://127.0.0.1:1/default", encryption_key=KEY)
    with pytest.raises(kvarts.InvalidArgument, match="on this machine"):
        open_async("kvarts://127.0.0.1:1/default", encryption_key=KEY)


def test_an_exception_of_a_function_passes(tmp_path: Path) -> None:
    def find(_needed: str | None) -> bytes:
        raise LookupError("the vault is sealed")

    with pytest.raises(LookupError, match="sealed"):
        kvarts.open(tmp_path / "store", encryption_key=find)


def test_no_key_is_shown_or_kept(tmp_path: Path) -> None:
    key = secrets.token_bytes(32)
    shapes = [key.hex(), base64.b64encode(key).decode(), repr(key)[2:-1], repr(list(key))]
    path = key_file(tmp_path / "key", key)
    shown = [repr(kvarts.KeyFile(path)), repr(pickle.dumps(kvarts.KeyFile(path)))]
    with kvarts.open(tmp_path / "store", encryption_key=key) as db:
        db[b"a"] = b"b"
        shown += [repr(db), str(db), repr(vars(db)), repr(db.stats()), repr(db._database)]  # type: ignore[attr-defined]
        with pytest.raises(TypeError):
            pickle.dumps(db)
        for refused in (key[:-1], [key]):
            with pytest.raises(kvarts.InvalidArgument) as raised:
                db.rotate_key(refused)
            shown.append(str(raised.value))
    try:
        kvarts.open(tmp_path / "store", encryption_key=key[:-1] + b"!")
    except kvarts.EncryptionKeyError as error:
        shown += [repr(error), str(error), "".join(traceback.format_exception(error)), repr(pickle.dumps(error))]
    with Keyring(key) as ring:
        shown += [repr(ring)]
        held = ring.keys[0]
        assert held == key
    assert held == bytes(32), "wiped"
    shown += [content.decode("latin-1") for content in contents(tmp_path / "store").values()]
    assert [text for text in shown for shape in shapes if shape in text] == []


def test_no_file_shows_what_is_in_a_store(tmp_path: Path) -> None:
    words = [b"walrus-key", b"narwhal-value", b"puffin-space"]

    def fill(path: Path, **options: Any) -> dict[str, bytes]:
        with kvarts.open(path, durability="sync", memory="1MiB", compression="none", **options) as db:
            space = db.keyspace("puffin-space")
            for row in range(500):
                space[b"walrus-key %d" % row] = b"narwhal-value " * 9
            db.flush()
            db.checkpoint(path.with_name(f"{path.name} copy"))
            space[b"walrus-key in the log"] = b"narwhal-value"
            return contents(tmp_path)

    def found(files: dict[str, bytes]) -> list[tuple[str, bytes]]:
        return [(name, word) for name, content in files.items() for word in words if word in content]

    hidden = fill(tmp_path / "hidden", encryption_key=KEY)
    assert any(name.endswith(".log") for name in hidden)
    assert found(hidden) == []
    assert {word for _, word in found(fill(tmp_path / "shown"))} == set(words), "else the test sees nothing"


def test_a_key_is_rotated_while_the_store_is_used(store: Path) -> None:
    told: list[tuple[int, int]] = []
    with kvarts.open(store, encryption_key=KEY, memory="1MiB") as db:
        db.put_many((b"%05d" % row, secrets.token_bytes(100)) for row in range(5000))
        db.compact()
        done = db.rotate_key(OTHER, progress=lambda done, total: told.append((done, total)))
        assert done.key_id == key_id(OTHER)
        assert done.tables == len(told) > 0
        assert len(db) == 5001
        db[b"since"] = b"then"
    with pytest.raises(kvarts.EncryptionKeyError):
        kvarts.open(store, encryption_key=KEY)
    with kvarts.open(store, encryption_key=OTHER) as db:
        assert db[b"since"] == b"then"
        assert db.verify().ok


def test_a_rotation_that_its_caller_ends_goes_on_later(store: Path) -> None:
    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with kvarts.open(store, encryption_key=KEY) as db:
        with pytest.raises(KeyboardInterrupt):
            db.rotate_key(OTHER, progress=stop)
        assert db.rotate_key(OTHER).tables == 0
    with kvarts.open(store, encryption_key=OTHER) as db:
        assert db[b"hello"] == b"world"


REFUSED: list[Callable[["kvarts.Store[Any, Any]"], object]] = [
    lambda db: db.rotate_key(b"short"),
    lambda db: db.rotate_key([KEY, OTHER]),
    lambda db: db.rotate_key("text"),  # type: ignore[arg-type]
    lambda db: db.rotate_key(OTHER, progress=3),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("call", REFUSED)
def test_wrong_arguments_of_a_rotation_are_refused(
    store: Path, call: Callable[["kvarts.Store[Any, Any]"], object]
) -> None:
    with kvarts.open(store, encryption_key=KEY) as db:
        with pytest.raises(kvarts.InvalidArgument):
            call(db)
        with pytest.raises(kvarts.ReadOnlyError):
            db.snapshot().rotate_key(OTHER)
    with kvarts.open(":memory:") as plain, pytest.raises(kvarts.EncryptionKeyError):
        plain.rotate_key(OTHER)


def test_lock_shows_no_arguments_of_who_holds_an_encrypted_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["program", "put", "secret-key", "secret-value"])
    for key, shown in ((None, True), (KEY, False)):
        folder = tmp_path / str(shown)
        kvarts.open(folder, encryption_key=key).close()
        text = (folder / "LOCK").read_text()
        assert ("secret" in text, "program" in text) == (shown, True)


def test_key_file_that_cannot_be_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(kvarts.EncryptionKeyError, match="there is no key file"):
        kvarts.open(tmp_path / "store", encryption_key=kvarts.KeyFile(tmp_path / "none"))
    with pytest.raises(kvarts.InvalidArgument, match="null"):
        kvarts.open(tmp_path / "store", encryption_key=kvarts.KeyFile("a\0b"))
    assert not (tmp_path / "store").exists()
