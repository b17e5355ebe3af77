"""Every error code with its name, cause and cure: what `kvarts explain CODE` prints. Codes are never used twice."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """What is known of one error code. `retryable`: the same call may succeed later. `maybe_applied`: the write may
    have taken effect. `deterministic`: the same call on the same data fails again everywhere.
    """

    code: str
    name: str
    cause: str
    cure: str
    retryable: bool = False
    maybe_applied: bool = False
    deterministic: bool = True


_INFOS = (
    ErrorInfo(
        code="KV-1000",
        name="KvartsError",
        cause="Something went wrong that has no kind of its own yet.",
        cure="Read the message; if it is no help, report it: every failure should have its own kind.",
        deterministic=False,
    ),
    ErrorInfo(
        code="KV-1001",
        name="InvalidArgument",
        cause="An argument or option has a value that cannot be.",
        cure="The message names the argument and what it may be.",
    ),
    ErrorInfo(
        code="KV-1002",
        name="KeyNotFound",
        cause="db[key], del db[key], pop or popitem asked for a key that is absent or has expired.",
        cure="Use get(key, default) where absence is normal. It is a KeyError, so `except KeyError` works.",
    ),
    ErrorInfo(
        code="KV-1003",
        name="WrongType",
        cause="A key or value is of another type than the codec of this keyspace takes.",
        cure=(
            "Convert it, or open the store or keyspace with another codec: kvarts.open(path, "
            "key=kvarts.Str, value=kvarts.Json)."
        ),
    ),
    ErrorInfo(
        code="KV-1004",
        name="LimitExceeded",
        cause=(
            "A key is empty or longer than 64 KiB, a value longer than 256 MiB, or a value or batch is "
            "over a quarter of memory=."
        ),
        cure="Split the value or the batch, or open the store with a larger memory=.",
    ),
    ErrorInfo(
        code="KV-1005",
        name="CodecError",
        cause="A codec could not turn a value into bytes, or stored bytes into a value.",
        cure=(
            "Look at the exception it was raised from. If the bytes were written with another codec, open "
            "with that one."
        ),
    ),
    ErrorInfo(
        code="KV-1006",
        name="CodecMismatch",
        cause="The keyspace was made with other codecs than the ones given now.",
        cure="Give the codecs named in the message.",
    ),
    ErrorInfo(
        code="KV-1007",
        name="ConditionFailed",
        cause="put(..., if_=...) found the key in another state than the condition asks for. Nothing was written.",
        cure="Read error.entry, decide again, and retry if the write still makes sense.",
    ),
    ErrorInfo(
        code="KV-1008",
        name="ReadOnlyError",
        cause='A write through a snapshot, or to a store opened with mode="r".',
        cure='Write to the store the snapshot was taken from; open the store without mode="r".',
    ),
    ErrorInfo(
        code="KV-1009",
        name="ClosedError",
        cause="The store, view, snapshot or scan was closed before this call.",
        cure="Open it again, or keep it open longer: close() belongs where the last use is.",
    ),
    ErrorInfo(
        code="KV-1010",
        name="ForkedHandle",
        cause=(
            "The store was opened before os.fork() and is used in the child. Its threads do not exist "
            "there and its files belong to the parent."
        ),
        cure="Open the store in one process only: use multiprocessing's 'spawn', or open after the fork.",
    ),
    ErrorInfo(
        code="KV-1011",
        name="WrongThread",
        cause="A scan is used by another thread than the one that started it, or by two at once.",
        cure="Start one scan per thread. The store itself may be shared.",
    ),
    ErrorInfo(
        code="KV-2001",
        name="StoreNotFound",
        cause="There is no store at the path and create=False, or the directory that should hold it is missing.",
        cure="Check the path; make the parent directory first. kvarts makes the last directory of a path, no more.",
    ),
    ErrorInfo(
        code="KV-2002",
        name="NotAStore",
        cause="The path is a file, or a directory with other things in it.",
        cure="Give the path of a store, of an empty directory, or one that does not exist yet.",
    ),
    ErrorInfo(
        code="KV-2003",
        name="LockedError",
        cause="Another open handle holds the store: an embedded store belongs to one process, which opens it once.",
        cure=(
            "Close it there (error.pid, error.argv name the holder), share the Store object between "
            "threads, or open a checkpoint."
        ),
        retryable=True,
        deterministic=False,
    ),
    ErrorInfo(
        code="KV-2004",
        name="StorageFull",
        cause="The disk, or the quota, has no space left. Nothing of the failed call is kept.",
        cure="Free space; deletes return theirs after compact(). Then close and open the store if writes stay refused.",
        retryable=True,
        deterministic=False,
    ),
    ErrorInfo(
        code="KV-2005",
        name="CorruptionError",
        cause="Bytes on disk are not what was written: the checksum of a block or record does not match.",
        cure=(
            "Check the disk and its cables; `kvarts verify PATH` lists all damage. Restore from a "
            "checkpoint; what lies outside the damaged file can still be read."
        ),
        deterministic=False,
    ),
    ErrorInfo(
        code="KV-2006",
        name="NewerFormat",
        cause="The store was written by a newer kvarts than this one.",
        cure="Upgrade kvarts to the version that wrote it, or newer.",
    ),
    ErrorInfo(
        code="KV-2007",
        name="StoreFailed",
        cause=(
            "An earlier write or sync failed, so what is on disk is unknown and the store takes no more "
            "writes. Reads go on."
        ),
        cure="Cure the disk, close the store and open it again: it recovers what is on stable storage.",
        maybe_applied=True,
        deterministic=False,
    ),
    ErrorInfo(
        code="KV-2008",
        name="StorageError",
        cause="The operating system refused to read or write a file.",
        cure="errno and the message say why: permissions, a vanished mount, a failing disk.",
        maybe_applied=True,
        deterministic=False,
    ),
    ErrorInfo(
        code="KV-2009",
        name="UnsafeStore",
        cause=(
            "Others than its owner can write the store's directory or a file in it, it belongs to another user, or a "
            "link, a pipe or a device lies in the place of a file."
        ),
        cure=(
            "`kvarts doctor PATH --fix-permissions`, or kvarts.open(PATH, fix_permissions=True), takes from others "
            "what they may not have. If somebody may have used it, `kvarts verify PATH` reads all of the store."
        ),
        deterministic=False,
    ),
    ErrorInfo(
        code="KV-2010",
        name="EncryptionKeyError",
        cause=(
            "The store is encrypted and no key, or another, was given; or a key was given for a store that is not "
            "encrypted; or the key cannot be had where it should be. Nothing was changed."
        ),
        cure=(
            "Give the key whose id the message names: kvarts.open(path, encryption_key=kvarts.KeyFile(file)), "
            "--key-file on the command line. `kvarts inspect` shows the ids without any key. A key file must be "
            "readable by its owner alone."
        ),
    ),
    ErrorInfo(
        code="KV-2011",
        name="BackupIncomplete",
        cause=(
            "The directory holds no whole backup: it was never one, or `kvarts cluster backup` did not come to its "
            "end; or its rows are not those that its manifest counts."
        ),
        cure=(
            "Restore from another backup. `kvarts cluster backup` into the same directory begins one that did not come "
            "to its end anew; `kvarts verify DIR/rows` reads all that a backup holds."
        ),
    ),
    ErrorInfo(
        code="KV-3001",
        name="Unavailable",
        cause=(
            "No leader answered in time: too few nodes run, cannot be reached, or are too busy. A write that raises "
            "this did not take place."
        ),
        cure=(
            "Look at the nodes that the message names: a majority must run and reach each other. `kvarts status URI` "
            "shows what they say. A longer timeout= waits longer."
        ),
        retryable=True,
        deterministic=False,
    ),
    ErrorInfo(
        code="KV-3002",
        name="NotLeader",
        cause="A node that does not lead was asked for what only the leader does. Nothing was written.",
        cure="Stores opened by kvarts.open() follow the leader by themselves; other clients ask the node it names.",
        retryable=True,
        deterministic=False,
    ),
    ErrorInfo(
        code="KV-3003",
        name="DeadlineExceeded",
        cause="A node was asked and timeout= passed before its answer. Nothing was written.",
        cure="Ask again, or give a longer timeout= to the call or to kvarts.open().",
        retryable=True,
        deterministic=False,
    ),
    ErrorInfo(
        code="KV-3004",
        name="CommitUnknown",
        cause="A write was sent and timeout= passed before its answer: it may have taken place, or still will.",
        cure=(
            "Read before you write again, or write what may be written twice. A longer timeout= lets the client ask "
            "on until it knows."
        ),
        maybe_applied=True,
        deterministic=False,
    ),
    ErrorInfo(
        code="KV-3005",
        name="SessionExpired",
        cause=(
            "The cluster forgot this client's session while a write was asked for a second time: it may have taken "
            "place the first time."
        ),
        cure="Read before you write again. Sessions are forgotten, oldest first, where very many clients write.",
        maybe_applied=True,
        deterministic=False,
    ),
    ErrorInfo(
        code="KV-3006",
        name="FenceRejected",
        cause="The write carried the token of a lock that somebody else has taken since. Nothing was written.",
        cure="Take the lock again and decide anew: what you knew under the old token may be wrong.",
    ),
    ErrorInfo(
        code="KV-3007",
        name="Compacted",
        cause="A snapshot or scan reads at a revision older than the history that the cluster keeps.",
        cure="Take a new snapshot. Long scans: read in pieces, or have the cluster keep more history.",
        deterministic=False,
    ),
    ErrorInfo(
        code="KV-3008",
        name="WrongShard",
        cause="A shard was asked for a key that it does not own, or no longer: the asker's shard map is out of date.",
        cure=(
            "Stores opened by kvarts.open() fetch the newer map by themselves; other clients fetch it and ask the "
            "shard that error.shard names."
        ),
        retryable=True,
        deterministic=False,
    ),
    ErrorInfo(
        code="KV-3009",
        name="CrossShard",
        cause="A batch, snapshot or range that must lie in one shard touches keys of several. Nothing was written.",
        cure=(
            "Create the keyspace with partition=, so that keys used together lie in one shard, or with shards=1; "
            "or do it key by key where it need not be atomic."
        ),
    ),
    ErrorInfo(
        code="KV-3010",
        name="ReplicaFenced",
        cause=(
            "`kvarts cluster check` found that this node's replica of the meta group differs from those of most "
            "others, so it must not be believed: the node does not start."
        ),
        cure=(
            "`kvarts cluster remove URI NODE --lost` at the others; then let the node join again with an empty data "
            "directory. Keep the old one where the cause is to be found."
        ),
    ),
    ErrorInfo(
        code="KV-3011",
        name="JoinRefused",
        cause=(
            "The cluster lets no node in without a join token, or the token that was given is not good: expired, used "
            "before, for another address, of another cluster, or changed on its way. No node was let in."
        ),
        cure=(
            "`kvarts cluster token URI` makes a token; give it to `kvarts serve --join` as KVARTS_TOKEN within the "
            "hour. `kvarts cluster token URI --open` lets nodes in without one."
        ),
    ),
)

ERRORS: dict[str, ErrorInfo] = {info.code: info for info in _INFOS}
BY_NAME: dict[str, ErrorInfo] = {info.name: info for info in _INFOS}
