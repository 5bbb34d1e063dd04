"""The public face: register functions, enqueue jobs, run them, look at them."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import replace
from types import TracebackType
from typing import Any, Concatenate, TypeVar, overload

from fastsched.clock import SystemClock
from fastsched.context import JobContext, check_own_run, unbroken
from fastsched.engine import Engine, node_stats
from fastsched.errors import ConfigurationError, shown
from fastsched.events import Events, Hook, Transition
from fastsched.handle import E, JobFunction, JobHandle, P, R, Registrar
from fastsched.handler import Handler, make_handler
from fastsched.ids import check_id
from fastsched.job import Job, NewJob, State
from fastsched.node import Settings
from fastsched.options import (
    Seconds,
    check_new_jobs,
    named,
    named_all,
    patience,
    positive,
    seconds,
)
from fastsched.redis_choice import redis_of
from fastsched.report import Report
from fastsched.retry import Backoff
from fastsched.stats import NodeStats, StoreStats
from fastsched.stores import make_store
from fastsched.stores.base import LEASE, Cancelled
from fastsched.user_connection import UserConnection, adapt

DEFAULT_URL = "sqlite:///fastsched.db"
MOST_WORKERS = 10_000
_H = TypeVar("_H", bound=Hook)
_schedulers: weakref.WeakSet[Scheduler] = weakref.WeakSet()


class Scheduler:
    """Durable jobs for functions of this program.

    Until it is started it is a producer: it stores jobs and runs none. Inside ``with scheduler:``,
    or between `start` and `stop`, this process is a node that runs jobs in `workers` threads, its
    own and those of every other process on the same store.

    `store_url`: where jobs are kept; default ``$FASTSCHED_URL`` or ``sqlite:///fastsched.db``.
    `redis`: URL of the Redis or Valkey that carries hints between servers on one PostgreSQL;
    default ``$FASTSCHED_REDIS_URL``, without it every node looks once a second. `redis_prefix`:
    start of its channel and key names, one for each installation.
    `workers`: threads that run jobs. `queues`: those to run from, default all.
    `stop_grace`: seconds that `stop` leaves to running jobs. `interrupt_grace`: seconds between
    the steps with which a run is stopped (ask, throw, write off).
    `keep_done`: seconds for which finished jobs stay visible; 0 deletes them at once.
    `keep_ended`: the same for dead, cancelled and expired ones.
    `dedupe_for`: seconds for which an id given by a caller is remembered.
    `lease`: on PostgreSQL, seconds after which a frozen or cut-off node's jobs run elsewhere; a
    killed one's do within about a second.

    Nothing is opened before it is needed. Safe for any number of threads; the child of a fork gets
    a producer of its own.
    """

    def __init__(
        self,
        store_url: str | None = None,
        *,
        redis: str | None = None,
        redis_prefix: str = "fastsched",
        workers: int = 8,
        queues: Sequence[str] | None = None,
        stop_grace: Seconds = 25.0,
        interrupt_grace: Seconds = 0.5,
        keep_done: Seconds = 0.0,
        keep_ended: Seconds = 7 * 86_400.0,
        dedupe_for: Seconds = 86_400.0,
        lease: Seconds = LEASE,
    ) -> None:
        self._clock = SystemClock()
        self._settings = Settings(
            workers=positive("workers", workers, most=MOST_WORKERS),
            queues=None if queues is None else named_all("queues", queues),
            stop_grace=seconds("stop_grace", stop_grace),
            interrupt_grace=seconds("interrupt_grace", interrupt_grace, least=0.01),
            keep_done=seconds("keep_done", keep_done),
            keep_ended=seconds("keep_ended", keep_ended),
            dedupe_for=seconds("dedupe_for", dedupe_for),
            lease=seconds("lease", lease, least=1.0),
        )
        self.store_url = store_url or os.environ.get("FASTSCHED_URL") or DEFAULT_URL
        self._new_store()  # refuses a bad URL here rather than at the first enqueue
        self._redis_given = (redis, redis_prefix)
        self._redis = redis_of(*self._redis_given, self.store_url)
        self._handlers: dict[str, Handler] = {}
        self._events = Events()
        self._report = Report(self._events, self._clock)
        self._engine: Engine | None = None
        self._closing: Engine | None = None
        self._lock = threading.RLock()
        self._through: ContextVar[UserConnection | None] = ContextVar("through", default=None)
        _schedulers.add(self)

    def __repr__(self) -> str:
        state = "started" if self.started else "producer"
        return f"<Scheduler {self.store_name} {state}, {len(self._handlers)} kinds>"

    @property
    def store_name(self) -> str:
        """Where the jobs are, without secrets."""
        name: str = self._new_store().name
        return name

    @property
    def settings(self) -> Settings:
        """How this process runs jobs once it is started."""
        return self._settings

    def configure(
        self,
        *,
        store_url: str | None = None,
        workers: int | None = None,
        queues: Sequence[str] | None = None,
    ) -> None:
        """Replace what the constructor was given, before anything is opened; None keeps it."""
        with self._lock:
            if self._engine is not None:
                raise ConfigurationError("the scheduler is in use already; configure it before")
            if workers is not None:
                self._settings = replace(
                    self._settings, workers=positive("workers", workers, most=MOST_WORKERS)
                )
            if queues is not None:
                self._settings = replace(self._settings, queues=named_all("queues", queues))
            if store_url is not None:
                make_store(store_url)  # refuses a bad URL
                self._redis = redis_of(*self._redis_given, store_url)
                self.store_url = store_url

    # Registering ---------------------------------------------------------------------------------

    @overload
    def job(
        self, function: Callable[Concatenate[JobContext, E], R], /
    ) -> JobFunction[Concatenate[JobContext, E], E, R]: ...
    @overload
    def job(self, function: Callable[P, R], /) -> JobFunction[P, P, R]: ...
    @overload
    def job(
        self,
        *,
        kind: str | None = None,
        queue: str = "default",
        priority: int = 0,
        timeout: Seconds | None = None,
        deadline: Seconds | None = None,
        max_attempts: int = 5,
        backoff: Backoff | None = None,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] = Exception,
        give_up_on: type[BaseException] | tuple[type[BaseException], ...] = (),
    ) -> Registrar: ...
    def job(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:  # type: ignore[misc]  # mypy sees no default of `function`
        """Register a function, as ``@scheduler.job`` or ``@scheduler.job(priority=5, ...)``.

        `kind`: stable name of its jobs, default module and name of the function. `queue`: lane.
        `priority`: -32768 to 32767, higher first. `timeout`: longest run, seconds. `deadline`:
        latest start, seconds after due. `max_attempts`: runs until it is a dead letter.
        `backoff`: see `fastsched.retry`; default exponential from 1 s to 1 h. `retry_on`,
        `give_up_on`: exceptions that are, and are not, worth another attempt.
        """
        registrar = Registrar(self, options)
        return registrar if function is None else registrar(function)

    @unbroken
    def register(self, function: Callable[..., Any], options: dict[str, Any]) -> Handler:
        """Add a handler; `ConfigurationError` if its kind is taken by another function."""
        handler = make_handler(function, options)
        taken = self._handlers.get(handler.kind)
        if taken is not None and _name(taken.function) != _name(function):
            raise ConfigurationError(
                f"kind {handler.kind!r} is {taken.function.__qualname__} already; "
                "give one of them another: @scheduler.job(kind='...')"
            )
        self._handlers[handler.kind] = handler
        engine = self._engine
        if engine is not None and engine.node is not None:
            engine.node.hint()
        return handler

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds registered here."""
        return tuple(sorted(self._handlers))

    # Life ----------------------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        """Whether this process runs jobs."""
        return self._engine is not None and self._engine.node is not None

    @unbroken
    def start(self) -> None:
        """Begin to run jobs; starting twice is a no-op."""
        with self._lock:
            engine = self._open()
            if engine.node is None:
                engine.start()

    @unbroken
    def stop(self, grace: Seconds | None = None) -> None:
        """Take no more jobs, let running ones finish for `grace` seconds, give back the rest.

        Jobs still running then are asked to stop, and run again elsewhere or later, the attempt
        not charged. May be called twice.
        """
        grace = None if grace is None else seconds("grace", grace)
        engine = self._engine
        if engine is None:
            return
        try:
            with self._lock:
                self._closing = engine
                engine.stop(grace)  # jobs that still run may enqueue others
        finally:
            self._events.close()  # not under the lock: hooks may enqueue, or stop
            with self._lock:
                self._closing = None
                if self._engine is engine:
                    self._engine = None
                    engine.close()

    def hurry(self) -> None:
        """End the grace of a `stop` that another thread waits in, or is about to."""
        engine = self._closing or self._engine
        if engine is not None and engine.node is not None:
            engine.node.hurry()

    def __enter__(self) -> Scheduler:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @unbroken
    def _open(self) -> Engine:
        engine = self._engine
        if engine is not None:
            return engine
        with self._lock:
            if self._engine is None:
                store = self._new_store()
                engine = Engine(
                    store=store,
                    bus=None if self._redis is None else self._redis.bus(store.clock),
                    cache=None if self._redis is None else self._redis.cache(),
                    report=self._report,
                    handlers=self._handlers,
                    settings=self._settings,
                )
                engine.open()
                self._engine = engine
            return self._engine

    def _new_store(self) -> Any:
        settings = self._settings
        return make_store(self.store_url, keep_done=settings.keep_done > 0, lease=settings.lease)

    def _forsake(self) -> None:
        """In the child of a fork: the engine, its threads and locks are the parent's."""
        engine, self._engine, self._closing = self._engine, None, None
        self._lock = threading.RLock()
        self._events = Events().with_hooks_of(self._events)
        self._report = Report(self._events, self._clock)
        if engine is not None:
            engine.forsake()

    # Enqueueing ----------------------------------------------------------------------------------

    def enqueue(self, job: NewJob, *, connection: Any = None) -> JobHandle:
        """Store one job made by ``function.job(...)``; returns once it is committed.

        With `connection` it becomes part of that connection's transaction: see `transaction`.
        """
        return self.enqueue_many((job,), connection=connection)[0]

    def enqueue_many(self, jobs: Iterable[NewJob], *, connection: Any = None) -> list[JobHandle]:
        """Store many jobs in one transaction: all of them, or none and an error.

        With `connection` they become part of that connection's transaction: see `transaction`.
        """
        batch = list(jobs)
        check_new_jobs(batch)
        if batch:
            self._insert(batch, self._through.get() if connection is None else adapt(connection))
        return [JobHandle(job.id, self) for job in batch]

    @unbroken
    def _insert(self, batch: Sequence[NewJob], through: UserConnection | None) -> None:
        if through is None:
            self._open().insert(batch)
        else:
            self._open().insert_through(through, batch)

    async def aenqueue(self, job: NewJob) -> JobHandle:
        """`enqueue` for asyncio programs: does not block the event loop."""
        return (await self.aenqueue_many((job,)))[0]

    async def aenqueue_many(self, jobs: Iterable[NewJob]) -> list[JobHandle]:
        """`enqueue_many` for asyncio programs: does not block the event loop."""
        from fastsched import async_calls

        batch = list(jobs)
        check_new_jobs(batch)
        if batch:
            await async_calls.insert(await self._aopen(), batch, self._through.get())
        return [JobHandle(job.id, self) for job in batch]

    async def await_end(self, job_id: str, timeout: Seconds | None = None) -> State:
        """`wait` for asyncio programs: does not block the event loop."""
        from fastsched import async_calls

        job_id, timeout = check_id(job_id), patience(timeout)
        return await async_calls.wait(await self._aopen(), job_id, timeout)

    async def _aopen(self) -> Engine:
        engine = self._engine
        if engine is None:
            import asyncio

            engine = await asyncio.to_thread(self._open)
        return engine

    @contextlib.contextmanager
    def transaction(self, connection: Any) -> Iterator[Any]:
        """A transaction of your own connection; what this thread enqueues inside is part of it.

        `connection`: of psycopg 3, a Session or Connection of SQLAlchemy, or one of Django's, to
        the PostgreSQL database of this scheduler. The jobs exist if the transaction commits, and
        workers are woken then; if the block raises, it is rolled back and there are none. A
        transaction that was open before stays open, and commits when its owner commits it.
        """
        through = adapt(connection)
        engine = self._open()
        token = self._through.set(through)
        try:
            with through.begin():
                yield connection
        finally:
            self._through.reset(token)
        if through.after_commit is None:
            unbroken(engine.wake)()

    # Looking -------------------------------------------------------------------------------------

    def handle(self, job_id: str) -> JobHandle:
        """A handle for a job enqueued elsewhere."""
        return JobHandle(check_id(job_id), self)

    @unbroken
    def find(self, job_id: str) -> Job | None:
        """A job by id; None when it is not known, or done and not kept."""
        return self._open().find(check_id(job_id))

    @unbroken
    def state(self, job_id: str) -> State:
        """The state of a job accepted before; absent means done."""
        job_id = check_id(job_id)
        return self._open().store.states_of([job_id]).get(job_id, State.DONE)

    @unbroken
    def jobs(
        self,
        state: State | str | None = None,
        *,
        kind: str | None = None,
        queue: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """A page of jobs, oldest first; the next page is the one `after` the last id."""
        if state is not None:
            try:
                state = State(state)
            except ValueError:
                raise ConfigurationError(
                    f"state={shown(state)}: wanted one of {', '.join(State)}"
                ) from None
        page: dict[str, Any] = {
            "state": state,
            "kind": None if kind is None else named("kind", kind),
            "queue": None if queue is None else named("queue", queue),
            "after": None if after is None else check_id(after),
            "limit": positive("limit", limit),
        }
        return self._open().store.jobs(**page)

    def dead_letters(self, *, after: str | None = None, limit: int = 100) -> list[Job]:
        """A page of dead letters with their newest failure, oldest first."""
        return self.jobs(State.DEAD, after=after, limit=limit)

    @unbroken
    def wait(self, job_id: str, timeout: Seconds | None = None) -> State:
        """Wait until a job has ended, here or elsewhere; the state in which it did."""
        job_id, timeout = check_id(job_id), patience(timeout)
        engine = self._open()
        engine.listen()
        ended: list[State] = []

        def happened() -> bool:
            check_own_run()
            state = engine.ended(job_id)
            if state is not None:
                ended.append(state)
            return state is not None

        if not engine.waiters.until(happened, timeout, job_id):
            raise TimeoutError(f"job {job_id} has not ended within {timeout} s")
        return ended[0]

    @unbroken
    def wait_until_idle(
        self, timeout: Seconds | None = None, *, include_scheduled: bool = False
    ) -> None:
        """Wait until nothing is ready or running, in any process on this store.

        Jobs due later, retries among them, are waited for with `include_scheduled`. Raises
        `TimeoutError` after `timeout` seconds.
        """
        timeout = patience(timeout)
        engine = self._open()
        engine.listen()

        def happened() -> bool:
            check_own_run()
            return engine.idle(include_scheduled)

        if not engine.waiters.until(happened, timeout):
            raise TimeoutError(f"still busy after {timeout} s")

    @unbroken
    def running(self) -> list[JobContext]:
        """The runs under way in this process, while it stops too."""
        engine = self._engine or self._closing
        node = None if engine is None else engine.node
        return [] if node is None else node.running()

    # Changing ------------------------------------------------------------------------------------

    @unbroken
    def cancel(self, job_id: str) -> Cancelled:
        """Cancel a job that has not started; ask one that runs to stop."""
        job_id = check_id(job_id)
        return self._open().cancel([job_id])[job_id]

    @unbroken
    def requeue(self, *job_ids: str) -> list[str]:
        """Dead letters back to ready, with all their attempts again; the ids that were dead."""
        return self._open().make_ready("requeue", [check_id(i) for i in job_ids])

    @unbroken
    def run_now(self, *job_ids: str) -> list[str]:
        """Scheduled jobs, and those waiting for a retry, due at once; the ids that were."""
        return self._open().make_ready("run_now", [check_id(i) for i in job_ids])

    @unbroken
    def discard(self, *job_ids: str) -> list[str]:
        """Delete dead letters; the ids that were dead."""
        return self._open().discard([check_id(i) for i in job_ids])

    # Hooks ---------------------------------------------------------------------------------------

    def on_completed(self, hook: _H) -> _H:
        """Call `hook(event)` after a job that ran here has completed. Works as a decorator."""
        return self._on(Transition.COMPLETED, hook)

    def on_retried(self, hook: _H) -> _H:
        """Call `hook(event)` when a run failed and the job will be tried again."""
        return self._on(Transition.RETRIED, hook)

    def on_dead(self, hook: _H) -> _H:
        """Call `hook(event)` when a job has become a dead letter."""
        return self._on(Transition.DEAD, hook)

    def on_expired(self, hook: _H) -> _H:
        """Call `hook(event)` when a job has missed its deadline."""
        return self._on(Transition.EXPIRED, hook)

    def on_cancelled(self, hook: _H) -> _H:
        """Call `hook(event)` when a run has ended by cancellation."""
        return self._on(Transition.CANCELLED, hook)

    def _on(self, transition: Transition, hook: _H) -> _H:
        if not callable(hook):
            raise ConfigurationError(f"{shown(hook)} is no hook: wanted a function hook(event)")
        self._events.on(transition, hook)
        return hook

    # Numbers -------------------------------------------------------------------------------------

    @unbroken
    def stats(self) -> NodeStats:
        """What this process has done, exact up to its last commit. Cost: microseconds."""
        engine = self._engine
        return node_stats(self._report, None if engine is None else engine.node)

    @unbroken
    def store_stats(self) -> StoreStats:
        """What the store holds, and its totals since it was made. Cost: a scan of small indexes."""
        store = self._open().store
        return StoreStats.of(store.counts(), store.nodes(), self._clock.now())


def _name(function: Callable[..., Any]) -> tuple[str, str]:
    return function.__module__, function.__qualname__


def _forsake_all() -> None:
    for scheduler in list(_schedulers):
        scheduler._forsake()


@atexit.register
def _stop_all() -> None:
    for scheduler in list(_schedulers):
        scheduler.stop(0.0)


os.register_at_fork(after_in_child=_forsake_all)
