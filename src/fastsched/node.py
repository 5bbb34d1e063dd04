"""A started scheduler: claims jobs for its workers, keeps its place, looks after the others."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from fastsched.backlog import Backlog
from fastsched.bus import WORK, Hint, WakeUp
from fastsched.clock import Clock
from fastsched.context import JobContext
from fastsched.errors import JobCancelled, JobInterrupt, JobStopped, StoreError
from fastsched.events import Transition
from fastsched.executor import Executor, Run
from fastsched.handler import Handler
from fastsched.ids import new_id
from fastsched.job import MAX_PRIORITY, MIN_PRIORITY, ClaimedJob, NewJob
from fastsched.outcomes import RELEASE, Cancel, Outcome, Retry, Snooze
from fastsched.pace import Pace
from fastsched.pool import Pool
from fastsched.report import Report
from fastsched.stores.base import (
    HORIZON,
    ClaimRequest,
    Flush,
    Flushed,
    NodeInfo,
    Presence,
    Rescued,
    Store,
)
from fastsched.writer import Writer

_log = logging.getLogger("fastsched.node")

RENEWALS = 6
"""A lease is renewed at least so often before it would be over."""
MAX_CRASHES = 3
"""Deaths of a process, charged to the job that ran alone in it, until it is a dead letter."""
STRAY_FOR = 25.0
"""Seconds after which a job that is held and is nowhere in this node is given back; longer than any
call of the store takes."""
CHORES_EVERY = 30.0
"""Seconds between expiring, pruning and reconciling."""
PRUNE_AT_ONCE = 1_000
_COMES_BACK = {Retry, Snooze}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a node runs; times in seconds."""

    workers: int
    queues: tuple[str, ...] | None
    stop_grace: float
    interrupt_grace: float
    keep_done: float
    keep_ended: float
    dedupe_for: float
    lease: float


class Node:
    """One running process in the store's eyes; its identity is new at every start."""

    def __init__(
        self,
        *,
        store: Store,
        writer: Writer,
        report: Report,
        handlers: dict[str, Handler],
        clock: Clock,
        settings: Settings,
        on_lost: Callable[[], None],
        tell: Callable[[Hint], None],
    ) -> None:
        self.id = new_id()
        self.settings = settings
        self._store = store
        self._writer = writer
        self._report = report
        self._handlers = handlers
        self._clock = clock
        self._on_lost = on_lost
        self._tell = tell
        self.backlog = Backlog(clock)
        self._executor = Executor(handlers, clock)
        self._registered = False
        self._presence: Presence
        self._pool: Pool
        # Touched by the writer's thread only, but for the hints.
        self._held: dict[str, ClaimedJob] = {}
        self._strays: dict[tuple[str, int], float] = {}  # since when they were nowhere
        self._hints = count(1)
        self._hint = 0  # the newest hint
        self._asked = -1  # the newest hint when the last claim was made
        self._drained = -1  # the newest hint when a claim last took all there was
        self._pace = Pace(clock, settings.workers)
        self._unable = False  # whether claims were left to others, for want of a worker
        # The keeper.
        self._changed = threading.Condition()
        self._next_look: float | None = None
        self._tick_every = min(store.look_every, settings.lease / RENEWALS)
        self._next_tick = clock.monotonic() + self._tick_every
        self._stopping = False
        self._keeper = threading.Thread(target=self._keep, name="fastsched-keeper", daemon=True)

    # Life ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take a place in the store, rescue what the dead left behind, begin to claim."""
        self._register()
        self._rescue()
        self._pool.start()
        self._writer.claim_with(self._claim_request)
        self._writer.poke()
        self._keeper.start()

    def _register(self) -> None:
        info = NodeInfo(
            id=self.id,
            host=os.uname().nodename,
            pid=os.getpid(),
            workers=self.settings.workers,
            started_at=self._clock.now(),
        )
        slots = Pool.slots(self.settings.workers)
        self._presence = self._writer.call(lambda store: store.register(info, slots))
        self._pool = Pool(
            node=self.id,
            size=self.settings.workers,
            backlog=self.backlog,
            executor=self._executor,
            presence=self._presence,
            clock=self._clock,
            effects=self._store.effects,
            interrupt_grace=self.settings.interrupt_grace,
            finish=self._writer.end,
        )
        self._registered = True

    def stop(self, grace: float | None = None) -> None:
        """Claim no more, let running jobs finish, give the rest back, leave."""
        grace = self.settings.stop_grace if grace is None else grace
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._writer.claim_with(None)
        self._writer.call(lambda store: None)  # a claim under way is adopted now
        self._give_back(self.backlog.close())
        self._keeper.join()
        if not self._pool.join(grace):
            self._stop_runs(JobStopped)
        self._pool.close()
        try:
            self._writer.call(lambda store: store.leave(self.id))
        except StoreError as error:
            _log.warning("%s; other nodes will take back what this one held", error)
        self._tell(WORK)

    def hurry(self) -> None:
        """End the grace of a `stop` under way: running jobs are asked to stop now."""
        self._pool.hurry()

    def _stop_runs(self, why: type[JobInterrupt]) -> None:
        """The watchdog ends every run within three steps, or writes it off."""
        for run in self._pool.runs():
            self._pool.stop_run(run.job.id, why)
        self._pool.join(3 * self.settings.interrupt_grace + 1.0)

    def _unstarted(self, job: ClaimedJob) -> Run:
        return Run(job, self.id, self._clock)

    # Claiming, in the writer's thread ------------------------------------------------------------

    def _claim_request(self, jobs: Sequence[NewJob], ends: int) -> ClaimRequest | None:
        hinted = self._hint != self._asked
        if jobs:
            self._hint = next(self._hints)
        if self._hint == self._drained or not self._handlers:
            return None
        if not self._pool.able:
            self._unable = True
            return None
        self._asked = self._hint
        held = len(self._held) - ends
        most = self._pace.most()
        free = self.settings.workers - (held - self.backlog.timers)
        if free > 0 or held * 2 <= most:
            return self._claim(max(most - held, free), MIN_PRIORITY)
        if hinted or jobs:  # something hotter than what waits here may have come
            coldest = self.backlog.coldest()
            if coldest is not None and coldest < MAX_PRIORITY:
                hottest = max((job.priority for job in jobs), default=MIN_PRIORITY)
                if hinted or hottest > coldest:
                    return self._claim(self.settings.workers, coldest + 1)
        return None

    def _claim(self, limit: int, min_priority: int) -> ClaimRequest:
        return ClaimRequest(
            node=self.id,
            kinds=tuple(self._handlers),
            queues=self.settings.queues,
            limit=limit,
            min_priority=min_priority,
            horizon=HORIZON,
        )

    def flushed(self, flush: Flush, flushed: Flushed, ends: Sequence[tuple[Run, Outcome]]) -> None:
        """A flush was committed: forget what ended, adopt what was claimed."""
        for run, _ in ends:
            self._held.pop(run.job.id, None)
        self._pace.ended(len(ends))
        if flush.claim is None and any(type(o) in _COMES_BACK for _, o in ends):
            self.hint()
        if flush.claim is not None and flush.claim.node == self.id:
            self._adopt(flush.claim, flushed)

    def _adopt(self, claim: ClaimRequest, flushed: Flushed) -> None:
        for job in flushed.claimed:
            self._held[job.id] = job
        if flushed.claimed:
            self.backlog.add(flushed.claimed)
            if not self._pool.able:  # any more
                self._give_back(self.backlog.clear())
        if claim.min_priority == MIN_PRIORITY:
            if flushed.drained:
                self._drained = self._asked
            elif not flushed.claimed:
                self._writer.poke()
        elif flushed.claimed:
            self._make_way(flushed)
        self._look_at(flushed.next_due)

    def _make_way(self, flushed: Flushed) -> None:
        """Hotter jobs were claimed: give back colder ones if more of that heat may be left."""
        if not flushed.drained or len(self._held) > 2 * self._pace.most():
            hot = min(job.priority for job in flushed.claimed)
            self._give_back(self.backlog.take_colder(hot))

    def _give_back(self, jobs: Sequence[ClaimedJob]) -> None:
        for job in jobs:
            self._writer.end(self._unstarted(job), RELEASE)

    # Hints, from any thread ----------------------------------------------------------------------

    def woken(self, wake_up: WakeUp) -> None:
        """Another process has put something into the store."""
        if wake_up.due_at > self._clock.now() + HORIZON:
            self._look_at(wake_up.due_at, at_the_latest=True)
        else:
            self.hint()

    def hint(self) -> None:
        """Something may be due in the store."""
        self._hint = next(self._hints)
        self._writer.poke()

    def cancel(self, ids: Sequence[str]) -> None:
        """End those of the jobs that are held here; the store has noted it already."""
        for job_id in ids:
            job = self.backlog.remove(job_id)
            if job is not None:
                self._writer.end(self._unstarted(job), Cancel("cancelled"))
            else:
                self._pool.stop_run(job_id, JobCancelled)

    def look_around(self) -> None:
        """Tend the place now rather than at the next tick."""
        with self._changed:
            self._next_tick = self._clock.monotonic()
            self._changed.notify()

    # Numbers -------------------------------------------------------------------------------------

    @property
    def zombies(self) -> int:
        return self._pool.zombies if self._registered else 0

    def running(self) -> list[JobContext]:
        """What its workers run now."""
        return [run.context for run in self._pool.runs()]

    @property
    def idle(self) -> bool:
        """Whether nothing that this node holds is due or running."""
        return self.backlog.running == 0 and not self._held

    # The keeper ----------------------------------------------------------------------------------

    def _look_at(self, due: float | None, *, at_the_latest: bool = False) -> None:
        """Claim again a little before `due` (store time), or before an earlier time set already."""
        look = None if due is None else due - HORIZON / 2
        with self._changed:
            sooner = look is not None and (self._next_look is None or look < self._next_look)
            if at_the_latest and not sooner:
                return
            self._next_look = look
            if sooner:
                self._changed.notify()

    def _keep(self) -> None:
        next_chores = self._clock.monotonic()
        while True:
            with self._changed:
                if self._stopping:
                    return
                waits = [self._next_tick - self._clock.monotonic()]
                if self._next_look is not None:
                    waits.append(self._next_look - self._clock.now())
                if min(waits) > 0:
                    self._clock.wait(self._changed, min(waits))
                if self._stopping:
                    return
                look = self._next_look is not None and self._next_look <= self._clock.now()
                if look:
                    self._next_look = None
            if look:
                self.hint()
            now = self._clock.monotonic()
            if now >= self._next_tick:
                self._next_tick = now + self._tick_every
                self._guarded(self._tick)
            if now >= next_chores:
                next_chores = now + CHORES_EVERY
                self._guarded(self._chores)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except StoreError as error:
            _log.warning("%s; trying again at the next tick", error)
        except Exception:
            _log.exception("keeping node %s", self.id)

    def _tick(self) -> None:
        tended = self._store.tend(self.id)
        if not tended.stands:
            self._lose_place()
            return
        self.cancel(tended.cancel)
        if tended.dead_nodes:
            self._rescue()
        if tended.doubt:
            self._reconcile()
        back = self._unable and self._pool.able
        if back:
            self._unable = False
        if tended.news or back:
            self.hint()

    def _chores(self) -> None:
        settings = self.settings
        self._writer.call(self._expire)
        self._rescue()
        self._reconcile()
        while not self._stopping:
            gone = self._writer.call(
                lambda store: store.prune(
                    done_for=settings.keep_done,
                    ended_for=settings.keep_ended,
                    ids_for=settings.dedupe_for,
                    limit=PRUNE_AT_ONCE,
                )
            )
            if gone < PRUNE_AT_ONCE:
                break

    def _expire(self, store: Store) -> None:
        """In the writer's thread, as all that counts."""
        expired = store.expire(PRUNE_AT_ONCE)
        self._report.ended_unrun(Transition.EXPIRED, expired, "deadline passed")

    def _reconcile(self) -> None:
        """Give back what the store counts as this node's and this node does not know."""
        released = self._writer.call(self._reconcile_in)
        if released:
            _log.warning("gave back %d jobs that this node held without knowing", released)
            self.hint()

    def _reconcile_in(self, store: Store) -> int:
        """In the writer's thread, as all that counts."""
        self._forget_strays()
        return store.reconcile(self.id, frozenset(self._held))

    def _forget_strays(self) -> None:
        """Hold no longer what has been nowhere for long: neither waiting, nor running, nor ended.

        A thread that ran out of memory at the wrong moment may have dropped it.
        """
        nowhere = self.backlog.absent(self._held) - self._writer.ending()
        nowhere -= {run.job.id for run in self._pool.runs()}
        now = self._clock.monotonic()
        claims = [(job_id, self._held[job_id].claim_no) for job_id in nowhere]
        since = {claim: self._strays.get(claim, now) for claim in claims}
        self._strays = {}
        for claim, seen in since.items():
            if now - seen < STRAY_FOR:
                self._strays[claim] = seen
            else:
                _log.error("job %s got lost in this node, and is given back", claim[0])
                del self._held[claim[0]]

    def _rescue(self) -> None:
        rescued = self._writer.call(self._rescue_in)
        if not rescued.nodes and not rescued.released:
            return
        _log.warning("rescued %d jobs of %d dead nodes", rescued.released, len(rescued.nodes))
        self.hint()
        self._tell(WORK)

    def _rescue_in(self, store: Store) -> Rescued:
        """In the writer's thread, as all that counts."""
        rescued = store.rescue(MAX_CRASHES)
        self._report.rescued(rescued)
        return rescued

    def _lose_place(self) -> None:
        """Others count this node as dead and have taken its jobs: drop them, start anew."""
        _log.error("node %s lost its place in the store; its jobs run elsewhere", self.id)
        self._writer.claim_with(None)
        self.backlog.close()
        self._stop_runs(JobStopped)
        self._pool.close()
        self._on_lost()  # if that fails, it is tried again at the next tick
        self._stopping = True
