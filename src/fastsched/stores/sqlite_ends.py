"""How runs end in the SQLite store: every end is a compare-and-set on its claim."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence

from fastsched.job import Claim, Failure, State
from fastsched.outcomes import (
    Cancel,
    Committed,
    Dead,
    Done,
    Expire,
    Outcome,
    Release,
    Retry,
    Snooze,
)
from fastsched.stores.rows import failure_text
from fastsched.stores.sqlite_file import SQL, run


def end_runs(
    db: sqlite3.Connection,
    ends: Sequence[tuple[Claim, Outcome]],
    now: float,
    tally: Counter[str],
    *,
    keep_done: bool,
) -> tuple[frozenset[Claim], dict[str, State]]:
    """Write the ends; the claims that did not hold, and the states of what was not done."""
    done = [claim for claim, outcome in ends if type(outcome) is Done]
    stale = _complete(db, done, now, keep=keep_done)
    tally["done"] += len(done) - len(stale)
    states: dict[str, State] = {}
    for claim, outcome in ends:
        if type(outcome) is Done:
            continue
        rows = _end(db, claim, outcome, now)
        if not rows:
            stale.append(claim)
            continue
        state = states[claim.id] = State(rows[0][0])
        tally[state if state.ended else type(outcome).__name__.lower()] += 1
    tally["stale"] += len(stale)
    return frozenset(stale), states


def complete_one(db: sqlite3.Connection, claim: Claim, now: float, *, keep_done: bool) -> bool:
    """Write one success; whether the claim held."""
    return not _complete(db, [claim], now, keep=keep_done)


def _complete(
    db: sqlite3.Connection, done: Sequence[Claim], now: float, *, keep: bool
) -> list[Claim]:
    """Delete what succeeded (or keep it as done); the claims that did not hold."""
    if not done:
        return []
    if keep:
        return [claim for claim in done if not _end_as(db, claim, State.DONE, now)]
    db.execute("SAVEPOINT done")
    all_held = run(db, "complete_all", claims=json.dumps(done)).rowcount == len(done)
    if not all_held:
        db.execute("ROLLBACK TO done")
    db.execute("RELEASE done")
    if all_held:
        return []
    complete = SQL["complete"].text
    return [claim for claim in done if db.execute(complete, claim).rowcount == 0]


def _end(db: sqlite3.Connection, claim: Claim, outcome: Outcome, now: float) -> list[tuple[str]]:
    """The new state of a job whose run did not succeed, or nothing if the claim is stale."""
    match outcome:
        case Retry(delay, reason, failure):
            return _end_run(db, claim, now, delay or 0.0, 0, reason, failure)
        case Snooze(delay, reason):
            return _end_run(db, claim, now, delay, 1, reason, None)
        case Release():
            return run(db, "release", now=now, **claim._asdict()).fetchall()
        case Dead(reason, failure):
            return _end_as(db, claim, State.DEAD, now, reason, failure)
        case Cancel(reason):
            return _end_as(db, claim, State.CANCELLED, now, reason)
        case Expire():
            return _end_as(db, claim, State.EXPIRED, now, "deadline passed")
        case Done() | Committed():
            return _end_as(db, claim, State.DONE, now)


def _end_run(
    db: sqlite3.Connection,
    claim: Claim,
    now: float,
    delay: float,
    attempt_back: int,
    reason: str | None,
    failure: Failure | None,
) -> list[tuple[str]]:
    return run(
        db,
        "end_run",
        due_at=now + delay,
        attempt_back=attempt_back,
        reason=reason,
        failure=failure_text(failure),
        now=now,
        **claim._asdict(),
    ).fetchall()


def _end_as(
    db: sqlite3.Connection,
    claim: Claim,
    state: State,
    now: float,
    reason: str | None = None,
    failure: Failure | None = None,
) -> list[tuple[str]]:
    return run(
        db,
        "end_job",
        state=state,
        reason=reason,
        failure=failure_text(failure),
        now=now,
        **claim._asdict(),
    ).fetchall()
