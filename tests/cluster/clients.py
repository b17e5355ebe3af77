"""Clients that write and read a few keys at once and note what they asked and were told."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import kvarts
from kvarts.testing.linearizability import ABORTED, Operation

KEYS = 12


@dataclass
class Recorder:
    """Runs `clients` threads against a cluster until stopped. Each write has a value of its own."""

    uri: str
    seed: int
    clients: int = 6
    timeout_s: float = 8.0
    enter: Callable[[], None] = lambda: None
    """Called first on each thread: moves it into the clients' namespace."""
    operations: list[Operation] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Errors that reached a caller, with the second at which they did."""
    waits: list[tuple[float, float]] = field(default_factory=list)
    """(when it was asked, how long it took) of every write that was acknowledged."""

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._pulse = threading.Event()
        self._began = time.monotonic()
        self._threads = [threading.Thread(target=self._client, args=(number,)) for number in range(self.clients)]

    def start(self) -> None:
        """Let the clients begin."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def now(self) -> float:
        """Seconds since the clients began."""
        return time.monotonic() - self._began

    def count(self) -> int:
        """Return how many operations have ended so far."""
        return len(self.operations)

    def await_more(self, operations: int, *, wait_s: float = 30.0) -> None:
        """Wait until so many more operations have ended well."""
        target, until = len(self.waits) + operations, time.monotonic() + wait_s
        while len(self.waits) < target:
            if time.monotonic() > until:
                raise TimeoutError(f"{len(self.waits)} of {target} writes after {wait_s} s; errors {self.errors[-3:]}")
            self._pulse.wait(0.02)

    def stop(self) -> None:
        """Let every client end its operation and return."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _client(self, number: int) -> None:
        self.enter()
        rng = random.Random(f"{self.seed} client {number}")
        with kvarts.open(self.uri, timeout=self.timeout_s) as db:
            count = 0
            while not self._stop.is_set():
                count += 1
                self._one(db, rng, number, b"%d-%d" % (number, count))

    def _one(self, db: "kvarts.Store[bytes, bytes]", rng: random.Random, number: int, value: bytes) -> None:
        key = b"k%d" % rng.randrange(KEYS)
        invoked = self.now()
        request: tuple[object, ...] = ("get", key)
        try:
            roll = rng.random()
            if roll < 0.45:
                output: object = db.get(key)
            elif roll < 0.85:
                request = ("put", key, value)
                output = db.put(key, value) and None
            else:
                old = db.get(key)
                invoked = self.now()
                request = ("cas", key, old, value)
                output = _swap(db, key, old, value)
        except kvarts.KvartsError as error:
            self.errors.append(f"{invoked:.2f} to {self.now():.2f} s {request[:2]}: {error!r}")
            returned = self.now() if not error.maybe_applied else None
            self.operations.append(Operation((number, value), invoked, returned, request, ABORTED))
            return
        returned = self.now()
        if request[0] != "get":
            self.waits.append((invoked, returned - invoked))
        self.operations.append(Operation(number, invoked, returned, request, output))


def _swap(db: "kvarts.Store[bytes, bytes]", key: bytes, old: bytes | None, new: bytes) -> bool:
    try:
        db.put(key, new, if_=kvarts.ABSENT if old is None else kvarts.Equals(old))
    except kvarts.ConditionFailed:
        return False
    return True
