"""The log of a node of a cluster: told by its first record, and each entry in it found again."""

import shutil
from pathlib import Path

import pytest

from kvarts.base.errors import NotAStore
from kvarts.inspect import inspect_log, inspect_store
from kvarts.node.shards import META
from tests.unit.python.serve.nodes import Node, cluster, until


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, int]:
    """The directory of a node that was stopped, came back and wrote on; its first and last index."""
    folder = tmp_path_factory.mktemp("node")
    with cluster(folder, 1) as nodes:
        (node,) = nodes.nodes.values()
        _write(nodes.open(), node, 30)
        node.drop()
        nodes.restart(node)
        _write(nodes.open(), node, 30)
        muscle = node.muscle
        first, last = muscle.first_index(META), muscle.last_index(META)
        node.drop()
    return folder / "1", first, last


def _write(store: object, node: Node, count: int) -> None:
    with store as space:  # type: ignore[attr-defined]
        for number in range(count):
            space[b"%03d" % number] = b"v" * number
    until(lambda: node.leads, "nobody leads")


def _logs(data: Path) -> list[Path]:
    return sorted((data / "log").glob("*.log"))


def test_node_log_is_told_from_an_engines(data: tuple[Path, int, int]) -> None:
    for path in _logs(data[0]):
        report = inspect_log(path)
        assert (report.log, report.damage) == ("node", [])
        assert report.records[0].kind in ("resumed", "group")
        assert {record.kind for record in report.records} <= {
            *("resumed", "group", "entry", "hard state", "compacted", "end")
        }


def test_entries_follow_one_another_from_the_first_to_the_last(data: tuple[Path, int, int]) -> None:
    path, first, last = data
    standing: dict[int, int] = {}
    for log in _logs(path):
        for record in inspect_log(log).records:
            if record.stream == META and record.kind == "entry":
                standing = {index: term for index, term in standing.items() if index < record.says["index"]}
                standing[record.says["index"]] = record.says["term"]
    assert [index for index in standing if index >= first] == list(range(first, last + 1))
    assert list(standing.values()) == sorted(standing.values())


def test_file_that_recovery_made_is_damaged_where_it_is_cut(data: tuple[Path, int, int], tmp_path: Path) -> None:
    """Its first record says how long it is: a cut in that part is no torn tail."""
    log = next(log for log in reversed(_logs(data[0])) if inspect_log(log).records[0].kind == "resumed")
    report = inspect_log(log)
    whole = report.records[0].says["whole"]
    assert 128 < whole <= report.end
    for size in (whole - 1, whole - 40, report.records[0].offset + report.records[0].record_bytes):
        copy = tmp_path / log.name
        shutil.copyfile(log, copy)
        with copy.open("r+b") as file:
            file.truncate(size)
        cut = inspect_log(copy)
        is_shorter = size < whole
        assert (cut.verdict == "damaged") == is_shorter, size


def test_stores_of_a_node_are_stores_and_its_directory_says_where_they_are(data: tuple[Path, int, int]) -> None:
    with pytest.raises(NotAStore) as caught:
        inspect_store(data[0])
    assert "shards/" in (caught.value.hint or "")
    shards = list((data[0] / "shards").glob("*/*"))
    assert shards
    for shard in shards:
        assert inspect_store(shard).verdict == "ok"
