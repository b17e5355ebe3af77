"""Checks histories of concurrent operations: could one machine, doing one thing at a time, have given these answers?

`check(operations, model)` takes what clients asked, when, and what they were told, and returns a Verdict. `Register`
and `Map` are judged by a search for an order of the operations (Wing & Gong 1993; Lowe 2017; per key after Horn &
Kroening 2015), `ListAppend` by cycles among transactions (Adya 1999; Kingsbury & Alvaro 2020, Elle).

    python -m kvarts.testing.linearizability --jepsen FILE...

Caveats, what we left out: operations on several keys outside ListAppend; predicates (so G2 here is G2-item); order
between two moments that are equal, but for those of one client; proofs for a reader of a linearizable history.
"""

from kvarts.testing.linearizability.checking import check
from kvarts.testing.linearizability.list_append import ListAppend
from kvarts.testing.linearizability.models import ILLEGAL, Map, Register, SequentialModel
from kvarts.testing.linearizability.operations import ABORTED, Operation
from kvarts.testing.linearizability.verdict import Anomaly, AnomalyKind, Counterexample, Outcome, Verdict

__all__ = [
    "ABORTED",
    "ILLEGAL",
    "Anomaly",
    "AnomalyKind",
    "Counterexample",
    "ListAppend",
    "Map",
    "Operation",
    "Outcome",
    "Register",
    "SequentialModel",
    "Verdict",
    "check",
]
