"""Every kept input through its reader again, and a short run of mutations: `KVARTS_SEED=n` for others."""

import os
import random
from itertools import islice

import pytest

from tests.fuzz.readers import READERS, Reader, check, inputs, mutated

SEED = int(os.environ.get("KVARTS_SEED", "1"))
MUTATIONS = {"table-file": 60, "log-file": 60, "manifest-file": 150}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_reader_refuses_or_reads_and_never_fails(reader: Reader) -> None:
    count = len(reader.seeds()) + MUTATIONS.get(reader.name, 600)
    for data in islice(inputs(reader, random.Random(f"{SEED} {reader.name}")), count):
        wrong = check(reader, data)
        replay = f"nox -s fuzz -- python --only {reader.name} --seed {SEED}"
        assert wrong is None, f"{data[:300].hex()}\n{wrong}\nreplay: {replay}"


def test_a_reader_that_fails_is_told() -> None:
    """The canary: a reader that believes a length must be caught within few mutations."""

    def believes(data: bytes) -> int:
        return data[data[0]]

    canary = Reader("canary", believes, lambda: [b"\x01ab"])
    rng = random.Random(SEED)
    assert any(check(canary, mutated(canary.seeds(), rng)) for _ in range(50))
