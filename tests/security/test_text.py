"""Text is text: it comes back as it was, is no part of a statement, and forges no line of a log."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest
from clocks import PATIENCE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from input.conftest import pg_template, tables
from input.tables import Tables, write_job

from fastsched import Cancel, Event, JobContext, Scheduler, Snooze, State
from fastsched.cli.logs import JsonFormatter, LineFormatter
from fastsched.retry import fixed

__all__ = ["pg_template", "tables"]

QUOTES = [
    "'", '"', "''", "\\'", "\\", "\\\\", "`", "$$", "$1", "%s", "%(id)s", "?", ":id", "{}", "{0}",
    "--", "/*", "*/", ";", "'; DROP TABLE fastsched.jobs; --", "' OR 1=1 --", "NULL", "null",
    "\\N", "\\.", "\x1a", "\r\n", "\t", "\u2028", "\u202e", "\x1b[2J", "\ufeff", "é", "e\u0301",
    "\U0001f600", "", " ", "x" * 1_999, "E'\\x41'", "COPY", "\x7f", "\x80", "\x01", "a,b", "a\tb",
    '{"a":1}', "[]", "0",
]  # fmt: skip


def test_text_in_every_field_comes_back_as_it_was(make: Callable[..., Scheduler]) -> None:
    scheduler = make()

    def work(do: str, text: str) -> Any:
        if do == "fail":
            raise type(text.replace("\0", "") or "E", (Exception,), {})(text)
        return Cancel(text) if do == "cancel" else Snooze(3600, text)

    job = scheduler.job(kind="job", max_attempts=1)(work)
    handles = {
        (do, text): job.enqueue(do, text) for do in ("fail", "cancel", "snooze") for text in QUOTES
    }
    with scheduler:
        scheduler.wait_until_idle(PATIENCE)
    for (do, text), handle in handles.items():
        found = handle.job()
        assert json.loads(found.payload) == [[do, text], {}]
        if do == "fail":
            assert (found.state, found.failure.message) == (State.DEAD, text)
            assert found.failure.type == (text or "E")
        else:
            assert found.reason == text
    assert scheduler.store_stats().accepted == len(handles)


def test_a_name_that_could_be_a_statement_is_only_looked_for(
    make: Callable[..., Scheduler], tables: Tables
) -> None:
    ids = {text: write_job(tables, kind=text, queue=text) for text in QUOTES if "\0" not in text}
    scheduler = make()
    found = {job.id: (job.kind, job.queue) for job in scheduler.jobs(limit=1_000)}
    assert found == {job_id: (text, text) for text, job_id in ids.items()}
    assert scheduler.jobs(kind="NULL")[0].id == ids["NULL"]
    assert scheduler.jobs(queue="COPY")[0].id == ids["COPY"]


LINES = LineFormatter("%(asctime)s %(levelname)-7s %(name)s  %(message)s")
OBJECTS = JsonFormatter()
EVIL = "a\nfake INFO line\r\x1b[2J\x07\u2028\u202e\x85\x9b31m\0end"


def check_lines(records: list[logging.LogRecord]) -> None:
    for record in records:
        line = LINES.format(record)
        assert line.isprintable(), ascii(line)
        parsed = json.loads(OBJECTS.format(record))
        assert "\n" not in OBJECTS.format(record)
        assert OBJECTS.format(record).isascii()
        assert parsed["logger"].startswith("fastsched")


def test_one_event_is_one_line_whatever_a_job_brings(
    make: Callable[..., Scheduler], tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fastsched")
    scheduler = make()
    events: list[Event] = []
    for name in ("on_dead", "on_retried", "on_expired", "on_cancelled"):
        getattr(scheduler, name)(events.append)

    def work(ctx: JobContext, do: str) -> Any:
        ctx.logger.warning("a handler that repeats %s", EVIL)
        if do == "fail":
            raise type(EVIL.replace("\0", ""), (Exception,), {})(EVIL)
        return {"cancel": Cancel(EVIL), "snooze": Snooze(3600, EVIL)}.get(do)

    job = scheduler.job(kind="job", max_attempts=2, backoff=fixed(0))(work)
    text = EVIL.replace("\0", "")
    past = {"deadline": 2.0} if "sqlite" in scheduler.store_url else {"deadline": "1971-01-01"}
    forged = write_job(tables, kind=text, queue=text, **past)
    for do in ("fail", "cancel", "snooze", "done"):
        job.enqueue(do)
    with scheduler:
        scheduler.wait_until_idle(PATIENCE)
        scheduler.wait(forged, PATIENCE)
    ours = [record for record in caplog.records if record.name == "fastsched.jobs"]
    assert {record.getMessage().split()[0] for record in ours} == {
        "retried", "dead", "cancelled", "snoozed", "completed", "expired",
    }  # fmt: skip
    assert all(record.getMessage().isprintable() for record in ours)
    check_lines(caplog.records)
    assert text in {event.kind for event in events}  # hooks are given what is there


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(message=st.text(), name=st.text(min_size=1), extra=st.text() | st.floats() | st.none())
def test_any_record_is_a_line_and_an_object(message: str, name: str, extra: Any) -> None:
    record = logging.LogRecord(name, logging.INFO, "x", 1, "%s", (message,), None)
    record.kind = extra
    assert LINES.format(record).isprintable()
    assert json.loads(OBJECTS.format(record))["message"] == message


def test_a_traceback_is_many_lines_and_moves_no_cursor() -> None:
    try:
        raise ValueError(EVIL)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x", 1, EVIL, (), sys.exc_info())
    lines = LINES.format(record).split("\n")
    assert len(lines) > 3
    assert all(line.isprintable() for line in lines)
    assert lines[0].endswith("end")
