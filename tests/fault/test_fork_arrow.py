"""A stream of Arrow batches in a forked child: an error there, and all rows in the parent."""

import os
from pathlib import Path
from typing import Any

import pytest

import kvarts

# Python 3.12 and later warn of a fork beside threads.
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def test_a_child_gets_no_rows(tmp_path: Path) -> None:
    pyarrow: Any = pytest.importorskip("pyarrow", reason="no wheel of pyarrow for this Python is installed")
    with kvarts.open(tmp_path / "store") as store:
        store.put_many((b"%08d" % number, b"value") for number in range(1000))
        scan: Any = store.scan()
        reader = pyarrow.RecordBatchReader.from_stream(scan.arrow(batch_rows=100, parallel=1))
        reader.read_next_batch()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                reader.read_next_batch()
            except OSError as error:
                code = 0 if "fork" in str(error) else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert sum(map(len, reader)) == 900
