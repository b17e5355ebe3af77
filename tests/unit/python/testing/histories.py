"""Makes histories: by a machine that does one thing at a time behind a slow network, and judges tiny ones by force."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from kvarts.testing.linearizability import ABORTED, ILLEGAL, Operation, SequentialModel

Request = tuple[Any, ...]
Draw = Callable[[random.Random], Request]
Machine = Callable[[dict[Any, Any], Request], Any]


def cell(state: dict[Any, Any], request: Request) -> Any:
    """A register (under the key None) or a map."""
    kind, *words = request
    key = words.pop(0) if kind in ("get", "put", "delete") or len(words) == 3 else None
    before = state.get(key)
    if kind in ("read", "get"):
        return before
    if kind in ("write", "put", "delete"):
        state[key] = words[0] if words else None
        return None
    if before == words[0]:
        state[key] = words[1]
    return before == words[0]


def lists(state: dict[Any, Any], request: Request) -> Any:
    """A store of lists that runs each transaction at once."""
    answers = []
    for micro in request:
        held = state.setdefault(micro[1], [])
        if micro[0] == "append":
            held.append(micro[2])
        answers.append(None if micro[0] == "append" else list(held))
    return tuple(answers)


def register_request(draw: random.Random, values: int = 3) -> Request:
    """A read, a write or a comparison."""
    value, other = draw.randrange(values), draw.randrange(values)
    return draw.choice([("read",), ("read",), ("write", value), ("cas", other, value)])


def run(
    seed: object, count: int, clients: int, draw_request: Draw, machine: Machine, *, lost: float = 0.0, ticks: int = 0
) -> list[Operation]:
    """Return a history that has an order: each effect took place between invocation and return.

    A `lost` part has an unknown outcome: no effect, or one at some moment, perhaps much later. With `ticks` the clock
    is coarse: so many events happen in one moment.
    """
    draw = random.Random(str(seed))
    state: dict[Any, Any] = {}
    idle: list[int] = list(range(clients))
    asked: list[tuple[int, int, Request]] = []
    done: list[tuple[int, int, Request, Any]] = []
    drifting: list[Request] = []
    history: list[Operation] = []
    moment, begun, newcomer = 0, 0, clients
    while len(history) < count:
        moment += 1
        now = moment // ticks if ticks else moment
        choice = draw.random()
        if drifting and choice < 0.05:
            machine(state, drifting.pop(draw.randrange(len(drifting))))
        elif idle and begun < count and choice < 0.4:
            client = idle.pop(draw.randrange(len(idle)))
            request = draw_request(draw)
            begun += 1
            if draw.random() < lost:
                history.append(Operation(client, now, None, request))
                drifting.append(request)
                idle.append(newcomer)
                newcomer += 1
            else:
                asked.append((client, now, request))
        elif asked and choice < 0.7:
            client, invoked, request = asked.pop(draw.randrange(len(asked)))
            done.append((client, invoked, request, machine(state, request)))
        elif done:
            client, invoked, request, answer = done.pop(draw.randrange(len(done)))
            history.append(Operation(client, invoked, now, request, answer))
            idle.append(client)
    return history


def spoil_cell(history: list[Operation], draw: random.Random, values: int = 3) -> list[Operation]:
    """Change one answer of a register or map."""
    spoiled = list(history)
    telling = [i for i, op in enumerate(history) if op.input[0] in ("read", "get", "cas") and op.returned is not None]
    for index in draw.sample(telling, min(1, len(telling))):
        wrong: object = not history[index].output
        if history[index].input[0] != "cas":
            wrong = draw.choice([value for value in range(values) if value != history[index].output])
        spoiled[index] = replace(history[index], output=wrong)
    return spoiled


Pair = tuple[int, Operation]


def _precedes(first: Pair, second: Pair, *, realtime: bool = True, sessions: bool = True) -> bool:
    """Tell whether one comes before the other; of one client's in one moment the former in the history does."""
    (place, before), (other_place, after) = first, second
    if before.returned is None:
        return False
    own = before.client == after.client and before.returned <= after.invoked and place < other_place
    return (sessions and own) or (realtime and before.returned < after.invoked)


def has_order(history: Sequence[Operation], model: SequentialModel) -> bool:
    """Try every order of the operations; those of unknown outcome may be left out."""

    def extend(state: Any, left: tuple[int, ...]) -> bool:
        if all(history[index].returned is None for index in left):
            return True
        for index in left:
            if any(_precedes((other, history[other]), (index, history[index])) for other in left):
                continue
            after = model.step(state, history[index])
            if after is not ILLEGAL and extend(after, tuple(other for other in left if other != index)):
                return True
        return False

    return extend(model.initial, tuple(range(len(history))))


def has_serial_order(history: Sequence[Operation], *, realtime: bool, sessions: bool) -> bool:
    """Try every serial order of transactions on lists."""
    kept = [op for op in history if op.returned is None or op.output is not ABORTED]

    def before(first: int, second: int) -> bool:
        return _precedes((first, kept[first]), (second, kept[second]), realtime=realtime, sessions=sessions)

    def extend(state: dict[Any, list[Any]], left: tuple[int, ...]) -> bool:
        if all(kept[index].returned is None for index in left):
            return True
        for index in left:
            if any(before(other, index) for other in left):
                continue
            copied = {key: list(values) for key, values in state.items()}
            answers = lists(copied, kept[index].input)
            fits = kept[index].returned is None or list(kept[index].output) == list(answers)
            if fits and extend(copied, tuple(other for other in left if other != index)):
                return True
        return False

    return extend({}, tuple(range(len(kept))))
