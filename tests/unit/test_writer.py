"""Whatever is queued becomes one transaction; what fails, fails its own caller only."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
from builders import in_thread, in_threads, new_job, until
from clocks import PATIENCE, ManualClock

from fastsched import EnqueueUnknown, SchedulerStopped, State, StoreError, StoreUnavailable
from fastsched.errors import CommitUnknown
from fastsched.executor import Run
from fastsched.ids import new_id
from fastsched.outcomes import DONE, Dead
from fastsched.stores.base import ClaimRequest, NodeInfo
from fastsched.stores.sqlite import SqliteStore
from fastsched.writer import UNWRITABLE, Writer


class WatchedStore:
    """A SQLite store whose flushes are seen, and can be held up or refused."""

    def __init__(self, store):
        self._store = store
        self.flushes = []
        self.began = threading.Event()
        self.may_flush = threading.Event()
        self.may_flush.set()
        self.error = None

    def __getattr__(self, name):
        return getattr(self._store, name)

    def flush(self, flush):
        self.began.set()
        assert self.may_flush.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        flushed = self._store.flush(flush)
        self.flushes.append(flush)
        return flushed


class Watcher:
    """What the writer told, in order."""

    def __init__(self):
        self.told = []
        self.claimed = []

    def flushed(self, flush, flushed, ends):
        self.told.append("flushed")
        self.claimed += flushed.claimed

    def answered(self, flush, flushed, ends):
        self.told.append("answered")


@pytest.fixture
def store(tmp_path):
    store = WatchedStore(SqliteStore(tmp_path / "jobs.db", ManualClock(), keep_done=False))
    store.open()
    yield store
    store.close()


@pytest.fixture
def watcher():
    return Watcher()


@pytest.fixture
def writer(store, watcher):
    writer = Writer(store, store.clock, on_flushed=watcher.flushed, on_answered=watcher.answered)
    writer.start()
    yield writer
    store.error = None
    store.may_flush.set()
    writer.stop()


@pytest.fixture
def node(writer):
    """The id of a registered node."""
    info = NodeInfo(id=new_id(), host="here", pid=1, workers=1, started_at=0.0)
    writer.call(lambda store: store.register(info, 2))
    return info.id


def claim_all(writer, watcher, node):
    """Claim what is there, once; the claimed jobs as runs."""
    request = ClaimRequest(
        node=node, kinds=["work"], queues=None, limit=100, min_priority=-32768, horizon=1.0
    )
    requests = [request]
    writer.claim_with(lambda jobs, ends: requests.pop() if requests else None)
    writer.poke()
    writer.call(lambda store: None)  # a flush has passed
    return [Run(job, node, ManualClock()) for job in watcher.claimed]


def ids_of(store):
    return {
        job.id for job in store.jobs(state=None, kind=None, queue=None, after=None, limit=1_000)
    }


def held_up(store, writer):
    """Begin a flush and hold it up."""
    store.began.clear()
    store.may_flush.clear()
    insert = in_thread(writer.insert, [new_job()])
    assert store.began.wait(PATIENCE)
    return insert


class LateLock:
    """A condition whose lock a thread takes only after something else has happened."""

    def __init__(self, condition, happen):
        self._condition = condition
        self._happen = happen

    def __getattr__(self, name):
        return getattr(self._condition, name)

    def __enter__(self):
        happen, self._happen = self._happen, lambda: None
        happen()
        return self._condition.__enter__()

    def __exit__(self, *exc):
        return self._condition.__exit__(*exc)


@pytest.mark.parametrize(
    "ask", [lambda writer: writer.insert([new_job()]), lambda writer: writer.call(ids_of)]
)
def test_what_is_queued_while_the_writer_takes_what_was_queued_is_written(store, writer, ask):
    meanwhile = []
    condition = writer._changed
    writer._changed = LateLock(condition, lambda: meanwhile.append(held_up(store, writer)))
    asked = in_thread(ask, writer)
    until(lambda: meanwhile)
    writer._changed = condition
    until(lambda: writer._inserts or writer._calls)
    store.may_flush.set()
    asked.get()
    meanwhile[0].get()
    assert sum(len(flush.jobs) for flush in store.flushes) == len(ids_of(store))


# One transaction ---------------------------------------------------------------------------------


def test_what_gathers_during_a_flush_becomes_the_next_one(store, writer):
    first = held_up(store, writer)
    others = [in_thread(writer.insert, [new_job()]) for _ in range(15)]
    until(lambda: len(writer._inserts) == 15)
    store.may_flush.set()
    for insert in (first, *others):
        assert insert.get() == frozenset()
    assert [len(flush.jobs) for flush in store.flushes] == [1, 15]  # 8 rows a flush
    assert len(ids_of(store)) == 16


def test_threads_share_flushes_and_every_job_is_stored(store, writer):
    def insert(_):
        jobs = [new_job() for _ in range(20)]
        for job in jobs:
            writer.insert([job])
        return [job.id for job in jobs]

    inserted = in_threads(16, insert)
    assert ids_of(store) == {job_id for ids in inserted for job_id in ids}
    assert len(store.flushes) < 320


def test_an_insert_is_stored_when_it_returns(store, writer):
    job = new_job()
    assert writer.insert([job]) == frozenset()
    assert store.job(job.id).state is State.READY


def test_an_insert_tells_the_ids_that_were_known(store, writer):
    job = new_job(given_id=True)
    assert writer.insert([job]) == frozenset()
    assert writer.insert([job, new_job()]) == {job.id}


def test_inserts_ends_and_a_claim_go_in_one_transaction(store, writer, watcher, node):
    writer.insert([new_job(), new_job()])
    runs = claim_all(writer, watcher, node)
    assert len(runs) == 2
    first = held_up(store, writer)
    second = in_thread(writer.insert, [new_job(), new_job()])
    for run in runs:
        writer.end(run, DONE)
    until(lambda: len(writer._inserts) == 1)
    store.may_flush.set()
    first.get()
    second.get()
    assert (len(store.flushes[-1].jobs), len(store.flushes[-1].ends)) == (2, 2)
    assert len(ids_of(store)) == 3


def test_a_coroutine_waits_for_its_flush_without_blocking_its_loop(store, writer):
    async def enqueue():
        store.may_flush.clear()
        tasks = [asyncio.create_task(writer.ainsert([new_job()])) for _ in range(5)]
        await asyncio.sleep(0)
        cancelled = tasks.pop()
        cancelled.cancel()
        store.may_flush.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(enqueue()) == [frozenset()] * 4
    until(lambda: len(ids_of(store)) == 5)  # cancelling the wait takes nothing back


# Who is told -------------------------------------------------------------------------------------


def test_the_listeners_frame_the_answer(store, watcher):
    order = []

    class Ordered(Writer):
        def _tell(self, listener, *args):
            super()._tell(listener, *args)
            order.append(listener.__name__)

    writer = Ordered(store, store.clock, on_flushed=watcher.flushed, on_answered=watcher.answered)
    writer.start()
    writer.insert([new_job()])
    assert order[0] == "flushed"
    writer.stop()
    assert order == ["flushed", "answered"]


def test_a_listener_that_fails_changes_nothing(store, caplog):
    def broken(flush, flushed, ends):
        raise RuntimeError("broken listener")

    writer = Writer(store, store.clock, on_flushed=broken, on_answered=broken)
    writer.start()
    job = new_job()
    assert writer.insert([job]) == frozenset()
    assert writer.insert([new_job()]) == frozenset()
    writer.stop()
    assert store.job(job.id) is not None
    assert "what it wrote stands" in caplog.text


def test_a_claim_request_that_fails_stops_nobody(writer, caplog):
    def broken(jobs, ends):
        raise RuntimeError("broken request")

    writer.claim_with(broken)
    assert writer.insert([new_job()]) == frozenset()
    assert "broken request" in caplog.text


def test_calls_run_between_flushes_and_fail_their_callers_only(store, writer):
    assert writer.call(lambda given: given is store)
    with pytest.raises(ZeroDivisionError):
        writer.call(lambda store: 1 / 0)
    assert writer.insert([new_job()]) == frozenset()


# Failures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        {"priority": 1_000_000},
        {"priority": 2**70},
        {"kind": "\ud800"},
        {"at": float("inf")},
        {"delay": "soon"},
        {"payload": None},
    ],
    ids=str,
)
def test_a_job_that_cannot_be_stored_fails_its_caller_only(store, writer, watcher, node, bad):
    writer.insert([new_job()])
    (run,) = claim_all(writer, watcher, node)
    first = held_up(store, writer)
    good = [new_job() for _ in range(3)]
    inserts = [in_thread(writer.insert, [job]) for job in good]
    company = new_job()
    guilty = in_thread(writer.insert, [company, new_job(**bad)])
    writer.end(run, DONE)
    until(lambda: len(writer._inserts) == 4)
    store.may_flush.set()
    first.get()
    for insert in inserts:
        assert insert.get() == frozenset()
    with pytest.raises((StoreError, TypeError)):
        guilty.get()
    stored = ids_of(store)
    assert {job.id for job in good} <= stored
    assert company.id not in stored  # all of its call or nothing
    until(lambda: run.job.id not in ids_of(store))


def test_an_id_stored_twice_fails_the_second_only(store, writer):
    job = new_job()
    writer.insert([job])
    with pytest.raises(StoreError, match="UNIQUE"):
        writer.insert([job])
    writer.insert([new_job()])
    assert len(ids_of(store)) == 2


def test_a_store_that_is_unavailable_refuses_inserts(store, writer):
    store.error = StoreUnavailable("no space")
    with pytest.raises(StoreUnavailable, match="no space"):
        writer.insert([new_job()])
    store.error = None
    writer.insert([new_job()])
    assert len(ids_of(store)) == 1


def test_ended_runs_are_kept_until_the_store_takes_them(store, writer, watcher, node, caplog):
    writer.insert([new_job()])
    (run,) = claim_all(writer, watcher, node)
    store.error = StoreUnavailable("no space")
    writer.end(run, Dead("failed"))
    pauses = []
    for _ in range(9):
        until(lambda: any(store.clock.until_waiting(1)))
        (pause,) = store.clock.until_waiting(1)
        pauses.append(pause)
        store.clock.advance(pause)
        until(lambda: len(caplog.messages) > len(pauses))
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    assert store.job(run.job.id).state is State.CLAIMED
    store.error = None
    until(lambda: any(store.clock.until_waiting(1)))
    store.clock.advance(5.0)
    until(lambda: store.job(run.job.id).state is State.DEAD)


def test_a_claim_is_made_again_when_the_store_is_back(store, writer, watcher, node):
    writer.insert([new_job()])
    store.error = StoreUnavailable("no space")
    asked = []

    def request(jobs, ends):
        asked.append(ends)
        return ClaimRequest(
            node=node, kinds=["work"], queues=None, limit=1, min_priority=0, horizon=1.0
        )

    writer.claim_with(request)
    writer.poke()
    until(lambda: any(store.clock.until_waiting(1)))
    assert len(asked) == 1
    store.error = None
    store.clock.advance(1.0)
    until(lambda: watcher.claimed)


def test_a_job_whose_end_cannot_be_written_is_a_dead_letter_that_says_so_and_holds_up_nobody(
    store, writer, watcher, node, caplog
):
    writer.insert([new_job(), new_job()])
    bad, good = claim_all(writer, watcher, node)
    writer.end(bad, Dead("\ud800"))
    writer.end(good, Dead("good"))
    until(lambda: store.job(good.job.id).state is State.DEAD)
    until(lambda: store.job(bad.job.id).state is State.DEAD)
    dead = store.job(bad.job.id)
    assert (dead.state, dead.reason) == (State.DEAD, UNWRITABLE.reason)
    assert f"job {bad.job.id}: its outcome Dead cannot be written" in caplog.text


def test_an_unknown_commit_tells_the_caller_which_ids_to_repeat(store, writer):
    store.error = CommitUnknown("connection lost")
    first, second = new_job(), new_job()
    with pytest.raises(EnqueueUnknown) as unknown:
        writer.insert([first, second])
    assert unknown.value.job_ids == (first.id, second.id)
    assert unknown.value.job_id == first.id


# Stopping ----------------------------------------------------------------------------------------


def test_stop_writes_what_is_queued(store, writer, watcher, node):
    writer.insert([new_job()])
    (run,) = claim_all(writer, watcher, node)
    first = held_up(store, writer)
    job = new_job()
    second = in_thread(writer.insert, [job])
    writer.end(run, DONE)
    until(lambda: len(writer._inserts) == 1)
    stop = in_thread(writer.stop)
    until(lambda: writer._stopping)
    assert stop.pending
    store.may_flush.set()
    stop.get()
    first.get()
    second.get()
    assert job.id in ids_of(store)
    assert run.job.id not in ids_of(store)


def test_a_stopped_writer_refuses_and_may_be_stopped_again(store, writer):
    writer.stop()
    writer.stop()
    with pytest.raises(SchedulerStopped, match="nothing was written"):
        writer.insert([new_job()])
    with pytest.raises(SchedulerStopped):
        writer.call(lambda store: None)
    assert ids_of(store) == set()


def test_stop_does_not_wait_for_a_store_that_is_gone(store, writer, watcher, node, caplog):
    writer.insert([new_job()])
    (run,) = claim_all(writer, watcher, node)
    store.error = StoreUnavailable("gone")
    with caplog.at_level(logging.ERROR):
        writer.end(run, DONE)
        in_thread(writer.stop).get()
    assert "1 ended jobs could not be written and will run again" in caplog.text
