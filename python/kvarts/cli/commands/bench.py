"""`bench`: the measurements beside peers. Those of clusters, `ycsb` and `founding` have files of their own."""

import click

from kvarts.bench import compression, embedded, large, opening, parallel, profile, scans
from kvarts.cli.commands.bench_cluster import cluster
from kvarts.cli.commands.bench_founding import founding
from kvarts.cli.commands.bench_growing import growing
from kvarts.cli.commands.bench_run import measured
from kvarts.cli.commands.bench_shards import shards
from kvarts.cli.commands.bench_ycsb import ycsb


@click.group()
def bench() -> None:
    """Measure kvarts beside its peers, on this machine."""


RATIOS = """

    One process per repetition, peers in random order. Ratios are our figure over the peer's, with 95 % bootstrap
    intervals. Peers that are not installed are named and left out: pip install 'kvarts[bench]'."""

COMMANDS = (
    founding,
    measured(
        lambda: embedded.EMBEDDED,
        name="embedded",
        short="Each verb of a store on this machine.",
        text="Ours against plyvel, rocksdict, lmdb, sqlite3 and dbm.gnu, with dict as the limit. Keys of 16 B, values "
        "of 1000 B and 100 B, equal durability." + RATIOS,
        examples=[
            ("kvarts bench embedded --quick", "a minute; shows the order of things"),
            ("kvarts bench embedded --out bench-results", "the whole; writes JSON, a table, PNG and SVG"),
            ("kvarts bench embedded --peers lmdb,rocksdict", "some peers only"),
        ],
    ),
    measured(
        lambda: scans.SCAN,
        name="scan",
        short="Scans to tuples and to Arrow.",
        text="Scans of all rows to tuples, ranges of 50 rows, and scans to Arrow record batches by one thread and by "
        "two. Peers have no scan to Arrow: theirs builds the batches of tuples, as their user must." + RATIOS,
        examples=[
            ("kvarts bench scan --quick", "half a minute"),
            ("kvarts bench scan --peers lmdb --out bench-results", "one peer; writes JSON, a table, PNG and SVG"),
        ],
    ),
    measured(
        lambda: parallel.PARALLEL,
        name="parallel",
        short="What more threads bring.",
        text="get_many and scans to Arrow with parallel= 1, 2 and 4, gets by two threads of Python over one, and "
        "synced puts by 16 threads over one. Each form takes turns with its serial twin in one process; a gain is the "
        "median over turns." + RATIOS,
        examples=[
            ("kvarts bench parallel --quick", "half a minute"),
            ("kvarts bench parallel --out bench-results", "the whole; writes JSON, a table, PNG and SVG"),
        ],
    ),
    measured(
        compression.make_bench,
        name="compression",
        short="What each compression saves and costs.",
        text="None, LZ4 and zstd on random, JSON and text values: size on disk after compaction, and the speed of "
        "loads, gets and scans with a cache of 16 MiB, beside rocksdict's default and each of its own." + RATIOS,
        examples=[
            ("kvarts bench compression --quick", "a minute"),
            ("kvarts bench compression --peers rocksdict --out bench-results", "the whole; writes the plots too"),
        ],
    ),
    measured(
        lambda: large.LARGE,
        name="large",
        short="2 GiB by a budget of 64 MiB.",
        text="2 GiB of incompressible rows, loaded in random order, then gets and a scan with the page cache warm. "
        "Ours has 64 MiB for all; rocksdict a cache of 64 MiB and its write buffers besides." + RATIOS,
        examples=[
            ("kvarts bench large --quick", "400 MB"),
            ("kvarts bench large --scratch /mnt/disk", "needs 8 GB free there"),
        ],
    ),
    measured(
        lambda: opening.OPEN,
        name="open",
        short="Opening after a clean close.",
        text="The time to open a store of 1,000,000 keys, and one of 10,000 tables, that was closed cleanly; the page "
        "cache is warm." + RATIOS,
        examples=[
            ("kvarts bench open --quick", "a fifth of both"),
            ("kvarts bench open --peers lmdb", "one peer only"),
        ],
    ),
    measured(
        lambda: profile.PROFILE,
        name="profile",
        short="Where the time of each verb goes.",
        text="Stages by differences: an empty dict's get is the call, a slice of bytes the object, an absent key the "
        "filters, a key in the memtable no table, a tiny cache the read from the page cache. Instructions per get, put "
        "and row of a scan are counted by valgrind where it is installed.",
        examples=[
            ("kvarts bench profile", "a few minutes; times and instructions"),
            ("kvarts bench profile --quick --record", "keeps the counts in the history"),
        ],
        stages=profile.stage_table,
    ),
    ycsb,
    cluster,
    growing,
    shards,
)
for command in COMMANDS:
    bench.add_command(command)
