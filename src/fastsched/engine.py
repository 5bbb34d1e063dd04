"""An open scheduler: store, writer and bus, and a node once it is started."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from fastsched.bus import CANCEL, WORK, Bus, Hint, WakeUp
from fastsched.executor import Run
from fastsched.handler import Handler
from fastsched.job import Job, NewJob, State
from fastsched.job_cache import JobCache, NoCache
from fastsched.node import Node, Settings
from fastsched.outcomes import Done, Outcome
from fastsched.report import Report
from fastsched.stats import NodeStats
from fastsched.stores.base import Cancelled, Flush, Flushed, Store
from fastsched.user_connection import UserConnection
from fastsched.waiters import Waiters
from fastsched.writer import Writer

MOST_ENDED_TOLD = 100
"""Ids of ended jobs that one hint names; of more it says only that there are some."""


class Engine:
    """Made at first use, closed by `stop`; not shared with the children of a fork."""

    def __init__(
        self,
        *,
        store: Store,
        report: Report,
        handlers: dict[str, Handler],
        settings: Settings,
        bus: Bus | None = None,
        cache: JobCache | None = None,
    ) -> None:
        self.store = store
        self.settings = settings
        self.waiters = Waiters(store.clock)
        self.node: Node | None = None
        self._report = report
        self._handlers = handlers
        self._clock = store.clock
        self._bus = store.bus() if bus is None else bus
        self._cache = NoCache() if cache is None else cache
        self._listening = False
        self._closed = False
        self._lock = threading.RLock()
        self.writer = Writer(
            store, store.clock, on_flushed=self._flushed, on_answered=self._tell_others
        )

    # Life ----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the store and start to write."""
        self.store.open()
        self.writer.start()

    def start(self) -> None:
        """Begin to run jobs; again, under a new identity, whenever the node loses its place."""
        self.listen()
        with self._lock:
            if self._closed:
                return
            self.node = node = Node(
                store=self.store,
                writer=self.writer,
                report=self._report,
                handlers=self._handlers,
                clock=self._clock,
                settings=self.settings,
                on_lost=self.start,
                tell=self._bus.publish,
            )
            try:
                node.start()
            except BaseException:
                self.node = None
                raise

    def stop(self, grace: float | None = None) -> None:
        """Stop the node, for good; what still uses this engine may go on writing."""
        with self._lock:
            self._closed = True
        node = self.node
        if node is not None:
            try:
                node.stop(grace)
            finally:
                self._report.dispatched += node.backlog.started
                self.node = None

    def close(self) -> None:
        """Write what is left, let go of the store."""
        try:
            self.writer.stop()
        finally:
            self._bus.close()
            self._cache.close()
            self.store.close()

    def listen(self) -> None:
        """Receive the hints of other processes from now on."""
        with self._lock:
            if not self._listening:
                self._bus.subscribe(self._hinted)
                self._listening = True

    def forsake(self) -> None:
        """In the child of a fork."""
        self._bus.forsake()
        self.store.forsake()

    # Work ----------------------------------------------------------------------------------------

    def insert(self, jobs: Sequence[NewJob]) -> frozenset[str]:
        """Store jobs; the ids, among those given by the caller, that were known before."""
        return self.writer.insert(jobs)

    def insert_through(self, connection: UserConnection, jobs: Sequence[NewJob]) -> None:
        """Store jobs in the user's transaction; the nodes are woken once it is committed, if
        the connection can say so, and else find them by themselves."""
        self.store.insert_through(connection, jobs)
        if connection.after_commit is not None:
            connection.after_commit(self.wake)

    def wake(self) -> None:
        """Tell all nodes that there may be work."""
        if self.node is not None:
            self.node.hint()
        self._bus.publish(WORK)

    def cancel(self, ids: Sequence[str]) -> dict[str, Cancelled]:
        """Cancel jobs wherever they are."""
        answers: dict[str, Cancelled] = self.writer.call(lambda store: store.cancel(ids))
        requested = [i for i, answer in answers.items() if answer is Cancelled.REQUESTED]
        if requested:
            if self.node is not None:
                self.node.cancel(requested)
            self._bus.publish(CANCEL)
        self._tell_ended(ids)
        return answers

    def make_ready(self, method: str, ids: Sequence[str]) -> list[str]:
        """`requeue` or `run_now`: those of the ids that were moved."""
        moved: list[str] = self.writer.call(lambda store: getattr(store, method)(ids))
        self._cache.forget(moved)
        if moved:
            self.wake()
        return moved

    def discard(self, ids: Sequence[str]) -> list[str]:
        """Delete dead letters: those of the ids that were dead."""
        gone: list[str] = self.writer.call(lambda store: store.discard(ids))
        self._cache.forget(gone)
        return gone

    def find(self, job_id: str) -> Job | None:
        """A job by id, an ended one perhaps from the cache."""
        job = self._cache.get(job_id)
        if job is None:
            job = self.store.job(job_id)
            if job is not None:
                self._cache.put(job)
        return job

    def ended(self, job_id: str) -> State | None:
        """The state in which a job has ended; None if it has not. Absent means done."""
        state = self.store.states_of([job_id]).get(job_id, State.DONE)
        return state if state.ended else None

    def idle(self, include_scheduled: bool) -> bool:
        """Whether nothing runs here and nothing is ready, claimed or due in the store."""
        if self.node is not None and not self.node.idle:
            return False
        return not self.store.busy(include_scheduled)

    # What comes back -----------------------------------------------------------------------------

    def _flushed(self, flush: Flush, flushed: Flushed, ends: Sequence[tuple[Run, Outcome]]) -> None:
        """In the writer's thread, after every commit: count, and adopt what was claimed."""
        self._report.flushed(flush, flushed, ends)  # first: what is not held any more is counted
        node = self.node
        if node is not None:
            node.flushed(flush, flushed, ends)

    def _tell_others(
        self, flush: Flush, flushed: Flushed, ends: Sequence[tuple[Run, Outcome]]
    ) -> None:
        """In the writer's thread, once the callers of the flush have their answers."""
        ended = frozenset(run.job.id for run, _ in ends)
        if ended:
            self.waiters.tell(ended)
        hint = Hint(
            wake_up=self._left_work(flush, flushed),
            ended=ended if len(ended) <= MOST_ENDED_TOLD else None,
        )
        if hint:
            self._bus.publish(hint)

    def _left_work(self, flush: Flush, flushed: Flushed) -> WakeUp | None:
        """What the flush put into the store and this node did not take out at once."""
        returned = any(type(outcome) is not Done for _, outcome in flush.ends)
        if returned and (flush.claim is None or not flushed.drained):
            return WakeUp()
        jobs = flush.jobs
        now = self._clock.now()
        if flush.claim is not None and flushed.drained:
            if flushed.next_due is None:
                return None
            jobs = [job for job in jobs if _due(job, now) > now]
        if not jobs:
            return None
        return WakeUp(max(j.priority for j in jobs), min(_due(j, now) for j in jobs))

    def _tell_ended(self, ids: Sequence[str]) -> None:
        ended = frozenset(ids)
        self.waiters.tell(ended)
        self._bus.publish(Hint(ended=ended))

    def _hinted(self, hint: Hint) -> None:
        """In the bus's thread."""
        node = self.node
        if hint.ended is None or hint.ended:
            self.waiters.tell(hint.ended)
        if node is not None:
            if hint.cancel:
                node.look_around()
            if hint.wake_up is not None:
                node.woken(hint.wake_up)


def _due(job: NewJob, now: float) -> float:
    return now + job.delay if job.at is None else job.at


def node_stats(report: Report, node: Node | None) -> NodeStats:
    """The counts as they are, with what a started node holds now."""
    counts = report.counts
    return NodeStats(
        node=None if node is None else node.id,
        scheduled=counts["scheduled"],
        dispatched=report.dispatched + (0 if node is None else node.backlog.started),
        completed=counts["completed"],
        failed=counts["failed"],
        retried=counts["retried"],
        expired=counts["expired"],
        dead=counts["dead"],
        cancelled=counts["cancelled"],
        snoozed=counts["snoozed"],
        released=counts["released"],
        stale=counts["stale"],
        rescued=counts["rescued"],
        queue_length=0 if node is None else len(node.backlog),
        workers=0 if node is None else node.settings.workers,
        workers_active=0 if node is None else node.backlog.running,
        zombies=0 if node is None else node.zombies,
        flushes=counts["flushes"],
        scheduled_per_second=report.scheduled.rate(),
        completed_per_second=report.completed.rate(),
    )
