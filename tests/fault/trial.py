"""One trial: a store, threads, forks, signals and an end, all drawn from a seed. It journals what it tries and what is
acknowledged, so that whoever opens the store afterwards can tell what must be there.

A line of the journal is b"try NUMBER KEY VALUE" or b"ack NUMBER": a value of b"-" deletes. Each key has one writer, so
the order of its lines is the order of its writes.
"""

import faulthandler
import gc
import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import kvarts
from tests.processes import python, surroundings

HANG_S = 60
BARK = signal.SIGUSR1
"""What the watchdog sends to a trial that hangs: every thread says where it stands, and the trial ends."""
UNEXPECTED = 70
OPTIONS: dict[str, Any] = {"memory": "1MiB", "memtable_bytes": 64 << 10, "log_bytes": 64 << 10, "block_bytes": 512}
BATCH = 5

Store = kvarts.Store[bytes, bytes]


class Ring(Exception):  # it rings, and is no error
    """What a signal's handler raises in the middle of whatever runs."""


class Boom(Exception):  # planted
    """What a callback of the trial raises."""


class Journal:
    """Tells a file what is tried and what is acknowledged, in system calls: nothing of it is lost with the process."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._numbers = itertools.count()

    @contextmanager
    def writing(self, *rows: tuple[bytes, bytes]) -> Iterator[None]:
        """The rows are written, as one, inside: acknowledged unless that raises."""
        numbers = [next(self._numbers) for _ in rows]
        tries = b"".join(b"try %d %s %s\n" % (n, *row) for n, row in zip(numbers, rows, strict=True))
        os.write(self._descriptor, tries)
        yield
        os.write(self._descriptor, b"".join(b"ack %d\n" % number for number in numbers))


class Worker(threading.Thread):
    """Reads and writes keys of its own until it has had enough, or the store is closed."""

    def __init__(self, trial: "Trial", name: str, seed: int, *, daemon: bool) -> None:
        super().__init__(name=name, daemon=daemon)
        self.failure: BaseException | None = None
        self._trial = trial
        self._chance = random.Random(seed)
        self._ops = self._chance.choice([20, 100, 400])

    def run(self) -> None:
        """Work."""
        try:
            for number in range(self._ops):
                self._trial.work(self._chance, self.name.encode(), number)
        except kvarts.ClosedError:
            pass
        except BaseException as error:
            self.failure = error


class Trial:
    """A trial and what it holds on to."""

    def __init__(self, seed: str, folder: Path) -> None:
        self.chance = random.Random(seed)
        self.path = folder / "store"
        self.folder = folder
        self.journal = Journal(folder / "journal")
        self.durability: Any = self.chance.choice(["batch", "batch", "batch", "sync"])
        self.db: Store = self._open()
        self.workers: list[Worker] = []
        self.kept: list[Any] = []
        self.steps = 0

    def _open(self) -> Store:
        return kvarts.open(self.path, durability=self.durability, **OPTIONS)

    # What threads do

    def work(self, chance: random.Random, name: bytes, number: int) -> None:
        """Do one thing, of keys under `name`. Raises ClosedError where the store is closed meanwhile."""
        db = self.db
        key = b"%s/%d" % (name, chance.randrange(40))
        value = b"%d" % number + b"." * chance.choice([0, 10, 400])
        kind = chance.randrange(12)
        if kind <= 3:
            with self.journal.writing((key, value)):
                db.put(key, value)
        elif kind == 4:
            with self.journal.writing((key, b"-")):
                db.pop(key, None)
        elif kind == 5:
            with (
                self.journal.writing(*((b"%s/batch%d" % (name, part), value) for part in range(BATCH))),
                db.batch() as batch,
            ):
                for part in range(BATCH):
                    batch.put(b"%s/batch%d" % (name, part), value)
        elif kind == 6:
            db.get_many([key, b"nothing"])
        elif kind == 7:
            rows = [row for row, _ in zip(db.scan(prefix=name, reverse=chance.random() < 0.5), range(20), strict=False)]
            assert all(row[0].startswith(name) for row in rows)
        elif kind == 8:
            with db.snapshot() as snapshot:
                assert snapshot.get(key) == snapshot.get(key)
        elif kind == 9 and chance.random() < 0.1:
            chance.choice([db.flush, db.compact, db.stats])()
        elif kind == 10 and chance.random() < 0.02:
            db.checkpoint(self.folder / f"copy-{name.decode()}-{number}")
        else:
            db.get(key)

    # What the main thread does

    def run(self) -> None:
        """Draw and do a number of steps, then end in a way that is drawn too."""
        steps: Sequence[Callable[[], object]] = [
            self.some_work,
            self.some_work,
            self.start_worker,
            self.start_worker,
            self.start_worker,
            self.fork,
            self.fork,
            self.keep_something,
            self.drop_something,
            self.reopen,
            self.second_opener,
            self.ring,
            self.callback_that_raises,
            self.close_in_a_thread,
        ]
        rare: Sequence[Callable[[], object]] = [self.multiprocess, self.spawn, self.subinterpreter]
        for _ in range(self.chance.randrange(1, 8)):
            self.steps += 1
            step = self.chance.choice(rare if self.chance.random() < 0.02 else steps)
            with suppress(kvarts.ClosedError):
                step()
        self.end()

    def some_work(self) -> None:
        """Work in the main thread."""
        for _ in range(self.chance.randrange(1, 40)):
            self.work(self.chance, b"main", next(_numbers))

    def start_worker(self) -> None:
        """Start a thread, at times one that nobody will wait for."""
        name = f"w{len(self.workers)}"
        worker = Worker(self, name, self.chance.getrandbits(32), daemon=self.chance.random() < 0.4)
        self.workers.append(worker)
        worker.start()

    def keep_something(self) -> None:
        """Hold on to something of the store that outlives what is done to it."""
        db = self.db
        scan = db.scan()
        next(scan, None)
        batch = db.batch()
        self.kept.append(
            self.chance.choice([scan, db.snapshot(), batch, db.prefixed(b"main"), db.keyspace("other"), db.items(), db])
        )

    def drop_something(self) -> None:
        """Let go, in any order; at times in a thread."""
        self.chance.shuffle(self.kept)
        dropped = [self.kept.pop() for _ in range(min(len(self.kept), 2))]
        if self.chance.random() < 0.3:
            thread = threading.Thread(target=dropped.clear)
            thread.start()
            thread.join()
        del dropped
        gc.collect()

    def reopen(self) -> None:
        """Close, beside whatever runs, and open again."""
        self.db.close()
        for kept in self.kept:
            if hasattr(kept, "__next__"):
                # One that was begun may hand out what it holds.
                with suppress(kvarts.ClosedError):
                    list(kept)
            else:
                _refused(kept, kvarts.ClosedError)
        if self.chance.random() < 0.5:
            self.db = self._open()

    def close_in_a_thread(self) -> None:
        """Two threads close at once, and the main thread reads meanwhile."""
        closers = [threading.Thread(target=self.db.close) for _ in range(2)]
        for closer in closers:
            closer.start()
        with suppress(kvarts.ClosedError):
            for _ in range(200):
                self.db.get(b"main/1")
                list(self.db.scan(limit=3))
        for closer in closers:
            closer.join()
        self.db = self._open()

    def second_opener(self) -> None:
        """Another handle is refused while ours is open."""
        if self.db.closed:
            return
        try:
            self._open().close()
        except kvarts.LockedError as error:
            assert error.pid == os.getpid()
        else:
            raise AssertionError("two handles of one store")

    def ring(self) -> None:
        """Let a signal's handler raise in the middle of things."""
        signal.signal(signal.SIGALRM, _raise_ring)
        for _ in range(self.chance.randrange(1, 4)):
            try:
                _armed.set()
                signal.setitimer(signal.ITIMER_REAL, self.chance.uniform(0.00001, 0.004))
                for _ in range(300):
                    self.work(self.chance, b"main", next(_numbers))
            except Ring:
                pass
            finally:
                # A signal that another thread took in time reaches this one when it likes.
                _armed.clear()
                signal.setitimer(signal.ITIMER_REAL, 0)

    def callback_that_raises(self) -> None:
        """What is called back raises, and it comes out as it was raised."""
        db = self.db

        def rows() -> Iterator[tuple[bytes, bytes]]:
            yield b"boom", b"1"
            raise Boom

        def progress(_done: int, _total: int) -> None:
            raise Boom

        calls: list[Callable[[], object]] = [
            lambda: db.update(rows()),
            lambda: db.put_many(rows()),
            lambda: db.verify(progress=progress),
            lambda: db.get_many(key for key in (b"a", _boom())),
        ]
        with suppress(Boom):
            self.chance.choice(calls)()

    # Other processes

    def fork(self) -> None:
        """Fork; the child is refused what is the parent's, may open a store of its own, and ends in any way."""
        chance = random.Random(self.chance.getrandbits(32))
        child = os.fork()
        if child == 0:
            self._be_child(chance)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, f"a forked child ended with {status:#x}"

    def _be_child(self, chance: random.Random) -> NoReturn:
        # Before the parent's watchdog barks, and it could tell no more than that it waits.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.alarm(HANG_S // 2)
        try:
            for handle in [self.db, *self.kept]:
                _refused(handle, kvarts.ForkedHandle, kvarts.ClosedError)
            if chance.random() < 0.5:
                self.db.close()
            if chance.random() < 0.5:
                self.kept.clear()
                gc.collect()
            if chance.random() < 0.5:
                with kvarts.open(self.folder / f"child-{os.getpid()}", **OPTIONS) as own:
                    own[b"a"] = b"1"
                    assert dict(own) == {b"a": b"1"}
            if chance.random() < 0.2 and (inner := os.fork()):
                assert os.waitpid(inner, 0)[1] == 0
        except BaseException:
            traceback.print_exc()
            os._exit(UNEXPECTED)
        if chance.random() < 0.5:
            os._exit(0)
        sys.exit(0)

    def multiprocess(self) -> None:
        """A process of multiprocessing's, however it starts."""
        method = self.chance.choice(["fork", "fork", "spawn", "forkserver"])
        context: Any = multiprocessing.get_context(method)
        process = context.Process(target=_refused_or_pickled, args=(self.db,) if method == "fork" else ())
        process.start()
        process.join()
        assert process.exitcode == 0, f"{method}: {process.exitcode}"

    def spawn(self) -> None:
        """A program that we start holds nothing of ours."""
        program = "import kvarts; db = kvarts.open(':memory:'); db[b'a'] = b'1'; kept = db.scan()"
        subprocess.run(python("-c", program), check=True, timeout=HANG_S, **surroundings())

    def subinterpreter(self) -> None:
        """Another interpreter in the process is refused by name."""
        interpreters = _interpreters()
        if interpreters is None:
            return
        inner = interpreters.create()
        try:
            interpreters.run_string(inner, _IN_SUBINTERPRETER)
        finally:
            interpreters.destroy(inner)

    # Ends

    def end(self) -> None:
        """End the trial, and at times the process with it."""
        ends: Sequence[Callable[[], object]] = [
            self.db.close,
            lambda: None,
            lambda: None,
            lambda: os._exit(0),
            lambda: sys.exit(0),
            lambda: os.kill(os.getpid(), signal.SIGKILL),
            self._end_in_another_thread,
            self._be_interrupted,
        ]
        end = self.chance.choice(ends)
        if self.chance.random() < 0.6:
            self._join()
        end()
        if self.chance.random() < 0.5:
            self._join()
        self._check()

    def _end_in_another_thread(self) -> None:
        """Close from a thread that outlives the main thread."""
        threading.Thread(target=self.db.close).start()

    def _be_interrupted(self) -> None:
        """Ctrl-C in the middle of work."""
        timer = threading.Timer(0.003, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.daemon = True
        with suppress(KeyboardInterrupt):
            timer.start()
            while True:
                with suppress(kvarts.ClosedError):
                    self.work(self.chance, b"main", next(_numbers))

    def _join(self) -> None:
        for worker in self.workers:
            worker.join()

    def _check(self) -> None:
        for worker in self.workers:
            if worker.failure is not None:
                raise worker.failure


_numbers = itertools.count()

_IN_SUBINTERPRETER = """
import kvarts
try:
    kvarts.open(":memory:")
except ImportError as error:
    assert "interpreter" in str(error), str(error)
else:
    raise AssertionError("two interpreters share the extension module")
"""


_armed = threading.Event()


def _raise_ring(*_: object) -> None:
    if _armed.is_set():
        raise Ring


def _boom() -> bytes:
    raise Boom


def _refused(handle: Any, *expected: type[kvarts.KvartsError]) -> None:
    """Use what may be a store, a scan, a batch, or a view of one: it must be refused."""
    try:
        if hasattr(handle, "get"):
            handle.get(b"a")
        elif hasattr(handle, "__next__"):
            next(handle)
        elif hasattr(handle, "put"):
            handle.put(b"a", b"1")
        else:
            list(handle)
    except StopIteration:
        return
    except kvarts.KvartsError as error:
        if isinstance(error, expected):
            return
        raise
    if not hasattr(handle, "put") or hasattr(handle, "get"):
        raise AssertionError(f"{handle!r} was not refused")


def _refused_or_pickled(*handles: Any) -> None:
    """Runs in a process of multiprocessing's."""
    for handle in handles:
        _refused(handle, kvarts.ForkedHandle, kvarts.ClosedError)
    with kvarts.open(":memory:") as own:
        own[b"a"] = b"1"


def _interpreters() -> Any:
    for name in ("_interpreters", "_xxsubinterpreters"):
        with suppress(ImportError):
            return __import__(name)
    return None


def run(seed: str, folder: Path) -> None:
    """Run a trial in this process, which is for nothing else: it may end in it."""
    # Not dump_traceback_later: its thread does not exist in a forked child, which would wait for it at its end.
    faulthandler.register(BARK, chain=True)
    # A shell has what it starts in the background ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        Trial(seed, folder).run()
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(UNEXPECTED)
