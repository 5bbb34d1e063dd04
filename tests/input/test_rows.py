"""Rows that somebody else wrote: a job that cannot run becomes a dead letter with the reason, and
holds up no other; and whatever stands in a row, it can be looked at."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from clocks import PATIENCE
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fastsched import JobContext, PayloadError, Scheduler, Snooze, State, StoreError
from fastsched.cli import commands
from fastsched.codec import decode
from fastsched.ids import new_id
from input.tables import SqliteTables, Tables, write_job

BIGGEST = 2**31 - 1


class Ran:
    """A scheduler with one kind of job, which notes with what it was called."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.calls: list[Any] = []
        self.job = scheduler.job(kind="job", max_attempts=1)(self._note)

    def _note(self, *args: Any, **kwargs: Any) -> None:
        self.calls.append((list(args), kwargs))

    def everything(self) -> None:
        """Run what is there, and one job more, enqueued as usual."""
        before = len(self.calls)
        with self.scheduler:
            self.job.enqueue("good")
            self.scheduler.wait_until_idle(PATIENCE)
        assert (["good"], {}) in self.calls[before:]


@pytest.fixture
def ran(make: Callable[..., Scheduler]) -> Ran:
    return Ran(make())


# What the tables do not take ---------------------------------------------------------------------


def test_the_tables_refuse_what_no_job_can_be(tables: Tables) -> None:
    for column, bad in [
        ("state", "running"), ("state", ""), ("state", None), ("priority", 32768),
        ("priority", -32769), ("priority", None), ("due_at", tables.infinity), ("due_at", None),
        ("deadline", tables.infinity), ("timeout", 0.0), ("timeout", -1.0),
        ("timeout", float("inf")), ("max_attempts", 0), ("max_attempts", -1), ("attempt", -1),
        ("payload", None), ("kind", None), ("queue", None), ("id", None), ("node", tables.a_node),
    ]:  # fmt: skip
        with pytest.raises(tables.refusals):
            write_job(tables, **{column: bad})
    with pytest.raises(tables.refusals):
        write_job(tables, state="claimed")
    assert tables.run("SELECT count(*) FROM {jobs}") == [(0,)]


# Payloads ----------------------------------------------------------------------------------------

NO_CALLS = [
    b"", b" ", b"{", b"null", b"[]", b"[[]]", b"[{},[]]", b"[[],{},1]", b"[[],{}]x", b"\0", b"\xff",
    b"[[NaN],{}]", b"[[Infinity],{}]", b"[[1e999],{}]", b"[[" + b"1" * 401 + b"],{}]",
    b'[["\\ud800"],{}]', b'[["\\u0000],{}]', b"[" * 100_000, b"[[" + b"[" * 2_000 + b"]" * 2_000,
    b"\xef\xbb\xbf[[],{}]", b"\x1f\x8b", pickle.dumps([[], {}]), b"[[1],{1:2}]", b"x" * (2 << 20),
]  # fmt: skip


def test_a_payload_that_is_no_call_is_a_dead_letter_and_holds_up_no_other(
    ran: Ran, tables: Tables
) -> None:
    ids = [write_job(tables, payload=payload, priority=5) for payload in NO_CALLS]
    good = [write_job(tables, payload=b'[[1],{"a":2}]') for _ in range(10)]
    ran.everything()
    for job_id in ids:
        job = ran.scheduler.find(job_id)
        assert (job.state, job.reason) == (State.DEAD, "the payload cannot be read"), job.payload
        assert job.failure.type == "PayloadError"
    assert {ran.scheduler.state(job_id) for job_id in good} == {State.DONE}
    assert ran.calls.count(([1], {"a": 2})) == 10


def test_arguments_that_do_not_fit_are_a_dead_letter_with_the_signature_s_complaint(
    make: Callable[..., Scheduler], tables: Tables
) -> None:
    scheduler = make()
    scheduler.job(kind="job")(lambda a, *, b: None)
    wrong = [b"[[],{}]", b'[[1,2],{"b":1}]', b'[[1],{"c":1}]', b'[[1],{"a":1,"b":2}]']
    ids = [write_job(tables, payload=payload) for payload in wrong]
    fits = write_job(tables, payload=b'[[1],{"b":2}]')
    with scheduler:
        scheduler.wait_until_idle(PATIENCE)
    assert scheduler.state(fits) is State.DONE
    for job_id in ids:
        job = scheduler.find(job_id)
        assert (job.state, job.failure.type) == (State.DEAD, "TypeError")
        assert "argument" in job.failure.message


def test_a_kind_that_nobody_knows_waits_in_sight(ran: Ran, tables: Tables) -> None:
    job_id = write_job(tables, kind="os.system", payload=b'[["true"],{}]', priority=32767)
    with ran.scheduler:
        assert ran.job.enqueue("good").wait(PATIENCE) is State.DONE
    assert ran.scheduler.state(job_id) is State.READY
    assert [job.id for job in ran.scheduler.jobs(kind="os.system")] == [job_id]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    payloads=st.lists(
        st.binary(max_size=40)
        | st.builds(
            lambda args, kwargs: args + b"," + kwargs,
            st.sampled_from([b"[[]", b"[[1]", b'[["\xc3\xa9"]', b"[[1e5]", b"[[-0.0]"]),
            st.sampled_from([b"{}]", b'{"a":1}]', b'{"a":1,"a":2}]', b"{}", b"[]]", b'{"":0}]']),
        ),
        min_size=1,
        max_size=20,
    )
)
@example(payloads=[b"[[],{}]"])
def test_any_bytes_are_run_as_what_they_say_or_set_aside(
    payloads: list[bytes], ran: Ran, tables: Tables
) -> None:
    ran.calls.clear()
    ids = [write_job(tables, payload=payload) for payload in payloads]
    ran.everything()
    called = []
    for job_id, payload in zip(ids, payloads, strict=True):
        try:
            called.append(decode(payload))
        except PayloadError:
            assert ran.scheduler.state(job_id) is State.DEAD
        else:
            assert ran.scheduler.state(job_id) is State.DONE
    ran.calls.remove((["good"], {}))
    assert sorted(map(repr, ran.calls)) == sorted(repr((args, kwargs)) for args, kwargs in called)


# Numbers -----------------------------------------------------------------------------------------


def test_numbers_at_their_ends_hold_up_nobody(ran: Ran, tables: Tables) -> None:
    odd = [
        {"attempt": BIGGEST},
        {"claim_no": BIGGEST},
        {"claim_no": -BIGGEST},
        {"crashes": 32767, "suspect": True},
        {"max_attempts": BIGGEST},
        {"timeout": 1e300},
        {"timeout": 86_400.0},
        {"created_at": tables.infinity},
        {"claimed_at": tables.infinity, "ended_at": tables.infinity},
    ]
    ids = [write_job(tables, **columns) for columns in odd]
    ran.everything()
    assert {ran.scheduler.state(job_id) for job_id in ids} == {State.DONE}


@pytest.mark.parametrize("end", ["release", "snooze"])
def test_attempts_set_back_by_hand_while_a_job_runs_do_not_keep_it(
    make: Callable[..., Scheduler], tables: Tables, end: str
) -> None:
    scheduler = make(workers=1)
    running, go = threading.Event(), threading.Event()

    def work(ctx: JobContext) -> Snooze:
        running.set()
        while not (go.is_set() or ctx.wait(0.01)):
            pass
        ctx.check()
        return Snooze(3600)

    handle = scheduler.job(kind="job")(work).enqueue()
    with scheduler:
        assert running.wait(PATIENCE)
        tables.run("UPDATE {jobs} SET attempt = 0")
        if end == "snooze":
            go.set()
            scheduler.wait_until_idle(PATIENCE)
        else:
            scheduler.stop(0.0)
    assert handle.state() is (State.SCHEDULED if end == "snooze" else State.READY)
    assert tables.run("SELECT attempt, node FROM {jobs}") == [(0, None)]


def test_a_crash_count_at_its_end_does_not_stop_a_rescue(tables: Tables, ran: Ran) -> None:
    job_id = write_job(
        tables, state="claimed", node=tables.a_node, attempt=1, crashes=32767, suspect=True
    )
    ran.everything()
    assert ran.scheduler.state(job_id) is State.DONE


# Claims and nodes --------------------------------------------------------------------------------


def test_jobs_claimed_by_a_node_that_there_is_not_are_taken_back(ran: Ran, tables: Tables) -> None:
    ids = [
        write_job(tables, state="claimed", node=tables.a_node, attempt=attempt)
        for attempt in (0, 1, 7)
    ]
    asked = write_job(tables, state="claimed", node=tables.a_node, cancel_requested=True)
    ran.everything()
    assert {ran.scheduler.state(job_id) for job_id in ids} == {State.DONE}
    assert ran.scheduler.state(asked) is State.CANCELLED


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_nodes_with_names_that_lead_elsewhere_are_dead_and_nothing_of_theirs_is_touched(
    ran: Ran, tables: Tables, tmp_path: Path
) -> None:
    precious = tmp_path / "precious.alive"
    precious.write_bytes(b"\1" + b"\0" * 200)
    names = ["../precious", str(tmp_path / "precious"), "\0", "x\0y", "n" * 10_000, "", "\x1b[2J",
             "../../../etc/passwd", "é" * 36, "\ufffd"]  # fmt: skip
    for name in names:
        tables.run(
            "INSERT INTO {nodes} (id, host, pid, workers, started_at) VALUES (?, '', 0, 0, 0)", name
        )
        write_job(tables, state="claimed", node=name, attempt=1)
    tables.run(
        "INSERT INTO {nodes} (id, host, pid, workers, started_at)"
        " VALUES (CAST(x'ff' AS TEXT), CAST(x'ff' AS TEXT), -1, -1, 9e999)"
    )
    assert not any(node.alive for node in ran.scheduler.store_stats().nodes)
    ran.everything()
    assert ran.scheduler.store_stats().nodes == ()
    assert len(ran.calls) == len(names) + 1
    assert precious.read_bytes() == b"\1" + b"\0" * 200


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_ids_that_are_none_are_set_aside(ran: Ran, tables: Tables) -> None:
    for bad in ("", "x", "\0", "../x", "\x1b[2J", "é" * 36, "x" * 10_000, new_id() + "\n"):
        write_job(tables, id=bad, priority=32767)
    tables.run("UPDATE {jobs} SET id = CAST(x'ff' AS TEXT) WHERE id = 'x'")
    ran.everything()
    states = tables.run("SELECT state, reason, count(*) FROM {jobs} GROUP BY 1, 2")
    assert states == [("dead", "its id is not the id of a job", 8)]
    assert len(ran.scheduler.dead_letters()) == 8


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_text_that_is_not_utf_8_hides_no_row_and_holds_up_no_claim(
    ran: Ran, tables: Tables
) -> None:
    first, second = write_job(tables, priority=5), write_job(tables, kind="unknown")
    tables.run("UPDATE {jobs} SET queue = CAST(x'ff00fe' AS TEXT), reason = CAST(x'ff' AS TEXT),"
               " failure = CAST(x'ff' AS TEXT)")  # fmt: skip
    tables.run("UPDATE {jobs} SET kind = CAST(x'ff' AS TEXT) WHERE kind = 'unknown'")
    with ran.scheduler:
        assert ran.job.enqueue("good").wait(PATIENCE) is State.DONE
        assert ran.scheduler.wait(first, PATIENCE) is State.DONE
    (left,) = ran.scheduler.jobs()
    assert (left.id, left.kind, left.queue[0], left.reason) == (
        second,
        "\ufffd",
        "\ufffd",
        "\ufffd",
    )
    assert left.failure.type == "(unreadable)"


# Looking -----------------------------------------------------------------------------------------

FAILURES = [
    "{}", "[]", "null", "5", '"text"', '{"type":1,"message":[],"traceback":{}}', '{"type":"x"}',
    '{"type":"E","message":"m","traceback":"t","more":1}', "[" * 5_000 + "]" * 5_000,
    '{"type":"\\u001b[2J","message":"\\u0007\\u202e","traceback":"a\\nb\\u009bc"}',
]  # fmt: skip
CONTROL = "\x1b[2J\x07\x9b\u202e\u2066\n\r\t"


def test_whatever_stands_in_a_row_it_can_be_looked_at(
    tables: Tables, make: Callable[..., Scheduler], store_url: str
) -> None:
    wild: list[dict[str, Any]] = [{"failure": failure} for failure in FAILURES]
    wild += [{name: tables.infinity} for name in ("created_at", "claimed_at", "ended_at")]
    wild += [{name: CONTROL} for name in ("kind", "queue", "reason")]
    wild += [{"kind": "k" * 10_000}, {"kind": ""}, {"payload": b"\xff"}, {"timeout": 1e300},
             {"payload": b'[["\\u001b[2J\\u202e\\n"],{"\\u001b":"\\u0007"}]'}]  # fmt: skip
    ids = [write_job(tables, state="dead", **columns) for columns in wild]
    if isinstance(tables, SqliteTables):
        tables.run("UPDATE {jobs} SET failure = 'not JSON' WHERE id = ?", ids[0])
    scheduler = make()
    assert {job.id for job in scheduler.dead_letters()} == set(ids)
    assert all(scheduler.find(job_id).failure for job_id in ids[: len(FAILURES)])

    def run(*command: str) -> str:
        result = CliRunner().invoke(commands, [*command, "--store", store_url])
        assert result.exit_code == 0, (command, result.output, result.exception)
        odd = {c for c in result.output if not (c.isprintable() or c == "\n")}
        assert not odd, (command, odd)
        return result.output

    for options in ([], ["--json"], ["--show-args"], ["--show-args", "--json"]):
        assert ids[0] in run("jobs", "list", *options)
        assert len(run("dead", "list", *options)) > 1_000
        for job_id in ids:
            assert job_id in run("dead", "show", job_id, *options)
    for command in (["stats"], ["stats", "--json"], ["doctor"], ["db", "status"]):
        run(*command)
    lines = run("dead", "list").splitlines()
    assert len([line for line in lines if line[:36] in ids]) == len(ids)  # one job, one line


# Counts, and tables that are not ours ------------------------------------------------------------


STRANGE_COUNTS = [
    '{"done":"x"}', '{"done":1e300}', '{"done":null}', "[]", "5", '"x"', "null", '{"done":2.5}',
    '{"done":{"a":1}}', '{"done":99999999999999999999}',
]  # fmt: skip


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
def test_counts_written_by_others_do_not_stop_those_of_ours(ran: Ran, tables: Tables) -> None:
    old = (
        "INSERT INTO fastsched.flushes (writer, flush_no, counts, flushed_at)"
        " VALUES (?, ?, ?, now() - interval '1 day')"
    )
    for counts in STRANGE_COUNTS:
        tables.run(old, new_id(), 1, counts)
    ran.everything()
    assert ran.scheduler.store_stats().done == 1
    for number in range(100):
        tables.run(old, new_id(), number, '{"done":1}')
    ran.scheduler._open().store.prune(done_for=0, ended_for=0, ids_for=0, limit=10)
    assert tables.run("SELECT count(*) FROM fastsched.flushes") < [(20,)]
    assert ran.scheduler.store_stats().done == 101


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_a_total_at_its_end_does_not_stop_the_store(ran: Ran, tables: Tables) -> None:
    tables.run("INSERT INTO fastsched_totals VALUES ('accepted', ?), ('done', ?)", 2**63 - 1, -1)
    ran.everything()


@pytest.mark.parametrize("column", ["payload", "claim_no", "reason"])
def test_a_missing_column_is_an_error_that_names_it(
    tables: Tables, make: Callable[..., Scheduler], store_url: str, column: str
) -> None:
    write_job(tables)
    tables.run(f"ALTER TABLE {{jobs}} DROP COLUMN {column}")
    scheduler = make()
    with pytest.raises(StoreError, match=column):
        scheduler.jobs()
    result = CliRunner().invoke(commands, ["jobs", "list", "--store", store_url])
    assert (result.exit_code, column in result.stderr) == (4, True)
    assert "Traceback" not in result.output
