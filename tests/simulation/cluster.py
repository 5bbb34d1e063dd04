"""Clients and nodes: the real engine in simulated processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from random import Random
from typing import Any

from fastsched.backlog import Backlog
from fastsched.clock import Clock
from fastsched.codec import encode
from fastsched.engine import Engine
from fastsched.errors import (
    EnqueueUnknown,
    SchedulerStopped,
    StoreError,
)
from fastsched.events import Events
from fastsched.executor import Run
from fastsched.job import ClaimedJob, NewJob, State
from fastsched.node import Settings
from fastsched.outcomes import Dead, Outcome, Retry
from fastsched.report import Report
from fastsched.stores.base import Cancelled
from simulation.database import Database, NodeRow
from simulation.faults import FaultyStore, Network, SimulatedBus
from simulation.handlers import KIND, make_act
from simulation.plan import CLIENTS, Plan, Work
from simulation.threads import Process, World

DAY = 86_400.0


class Cluster:
    """Everything in one world, and what is seen of it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.world = World(Random(f"turns {plan.seed}"), restless=plan.restless, fine=plan.fine)
        self.network = Network(self.world)
        self.db = Database(
            lambda: self.world.now, knows_what_ran=plan.knows_what_ran, lease=plan.lease
        )
        self.history: list[dict[str, Any]] = []
        self.trace: list[tuple[float, str, str]] = []
        self.faulty: list[tuple[str | None, float, float]] = []
        """Process (None: all) that something was done to, from when until when."""
        self.wrong: list[str] = []
        """What is wrong by itself, whatever the history says."""
        self.processes: dict[str, Process] = {}
        """By the ids of the nodes that ever ran in them."""
        self.nodes: list[Place] = []
        self.clients: list[Place] = []
        self.offered: list[str] = []
        self.works: dict[str, Work] = {}
        self._job_nos = count(1)
        self._pids = count(100)
        self._node_nos = count(1)

    def begin(self) -> None:
        walls = self.plan.walls
        self.nodes = [Place(self, f"node{n}", walls[n]) for n in range(self.plan.nodes)]
        self.clients = [
            Place(self, f"client{n}", walls[self.plan.nodes + n]) for n in range(CLIENTS)
        ]
        for place in self.nodes:
            place.boot(starts=True)
        for place in self.clients:
            place.boot(starts=False)

    def new_node_id(self) -> str:
        """The id of a node of the process that runs now."""
        node = f"n{next(self._node_nos)}"
        self.processes[node] = self.world.current.process
        return node

    def new_job_id(self) -> str:
        return f"j{next(self._job_nos)}"

    def new_process(self, name: str, wall: float) -> Process:
        pid = next(self._pids)
        return Process(f"{name}#{pid}", pid, wall, boot=self.world.random.random() * 1e5)

    # What is seen --------------------------------------------------------------------------------

    def note(self, event: str, process: Process, **facts: Any) -> None:
        """One event of the history; none by the dead."""
        world = self.world
        if not world.over and not process.dead:
            self.history.append({"event": event, "pid": process.pid, "at": world.now, **facts})
            if event in ("held", "taken", "dropped"):
                return  # too many to tell
            shown = " ".join(f"{name}={fact}" for name, fact in facts.items())
            self.tell(f"{event} {shown}", process)

    def tell(self, text: str, who: object = None) -> None:
        """One line of the trace."""
        if not self.world.over:
            self.trace.append((self.world.now, str(who or self.world.current), text))

    def fault(self, process: Process, what: str, until: float | None = None) -> None:
        """Something was done to a process that explains why its jobs run again."""
        now = self.world.now
        self.history.append(
            {"event": "fault", "pid": process.pid, "at": now, "what": what, "until": until or now}
        )
        self.tell(what, process)

    def rescued_from(self, node: NodeRow) -> None:
        """A node has lost its place; if its process lives, its lease must have been over."""
        process = self.processes[node.info.id]
        last, now = node.lease_until - self.db.lease, self.world.now
        if not node.alive:
            return
        current = [p.engine.node.id for p in self.nodes if p.up and p.engine.node is not None]
        if node.info.id in current and not any(
            who in (None, process.name) and start <= now and end >= last
            for who, start, end in self.faulty
        ):
            self.wrong.append(f"deposed: {process} lost its place, though nothing was done to it")
        self.history.append(
            {"event": "fault", "pid": process.pid, "at": last, "what": "lease over", "until": now}
        )
        self.tell("its lease is over", process)

    @property
    def live(self) -> list[str]:
        """Jobs that have not ended."""
        return [row.id for row in self.db.rows.values() if not row.state.ended]


class WatchedBacklog(Backlog):
    """A backlog that takes note of what goes in and out: late of what goes in, early of the rest,
    so that what counts as waiting does wait."""

    def __init__(self, clock: Clock, cluster: Cluster) -> None:
        super().__init__(clock)
        self.cluster = cluster
        self._process = cluster.world.current.process

    def _note(self, event: str, job: ClaimedJob, *, due: bool = True) -> None:
        self.cluster.note(
            event,
            self._process,
            id=job.id,
            claim_no=job.claim_no,
            hotness=(-job.priority, job.due_at),
            due=due,
            suspect=job.suspect,
        )

    def add(self, jobs: Iterable[ClaimedJob]) -> None:
        jobs = list(jobs)
        super().add(jobs)
        for job in jobs:
            self._note("held", job, due=job.id in self._ready)

    def _pop(self) -> ClaimedJob | None:
        job = super()._pop()
        if job is not None:
            self._note("taken", job)
        return job

    def remove(self, job_id: str) -> ClaimedJob | None:
        job = super().remove(job_id)
        if job is not None:
            self._note("dropped", job)
        return job

    def take_colder(self, priority: int) -> list[ClaimedJob]:
        return self._dropped(super().take_colder(priority))

    def _empty(self) -> list[ClaimedJob]:
        return self._dropped(super()._empty())

    def _dropped(self, jobs: list[ClaimedJob]) -> list[ClaimedJob]:
        for job in jobs:
            self._note("dropped", job)
        return jobs


class Place:
    """Where a node or a client runs: one process after the other."""

    process: Process
    engine: Engine

    def __init__(self, cluster: Cluster, name: str, wall: float) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self._name = name
        self._wall = wall
        self.up = False
        self.busy = 0
        """Threads that ask for something."""

    # Life ----------------------------------------------------------------------------------------

    def boot(self, *, starts: bool) -> None:
        """A new process."""
        self.process = self.cluster.new_process(self._name, self._wall)
        self.busy = 0
        self.world.spawn(self.process, lambda: self._begin(starts), "main")

    def _begin(self, starts: bool) -> None:
        cluster, process = self.cluster, self.process
        self._store = FaultyStore(
            cluster.db,
            cluster.network,
            process,
            note=cluster.note,
            on_rescued=cluster.rescued_from,
        )
        self.engine = Engine(
            store=self._store,
            bus=SimulatedBus(cluster.network, process),
            report=Report(Events(), self._store.clock),
            handlers={KIND: make_act(self)} if starts else {},
            settings=Settings(
                workers=cluster.plan.workers,
                queues=None,
                stop_grace=5.0,
                interrupt_grace=0.5,
                keep_done=0.0,
                keep_ended=7 * DAY,
                dedupe_for=DAY,
                lease=cluster.plan.lease,
            ),
        )
        self._watch_ends()
        self._until_it_works(self.engine.open)
        if starts:
            self._until_it_works(self.engine.start)
        self.up = True

    def _until_it_works(self, step: Callable[[], None]) -> None:
        while True:
            try:
                return step()
            except StoreError as error:
                self.cluster.tell(f"cannot begin: {error}")
                self.world.sleep(1.0)

    def _watch_ends(self) -> None:
        """Take note of runs that have ended, and of those that were given up."""
        end = self.engine.writer.end

        def noted(run: Run, outcome: Outcome) -> None:
            failure = outcome.failure if isinstance(outcome, (Retry, Dead)) else None
            if failure is not None and failure.type == "JobTimeout":
                self.cluster.note(
                    "timed_out", self.process, id=run.job.id, claim_no=run.job.claim_no
                )
            self.cluster.note("dropped", self.process, id=run.job.id, claim_no=run.job.claim_no)
            end(run, outcome)

        self.engine.writer.end = noted  # type: ignore[method-assign]

    def crash(self, back: float | None) -> None:
        """Its process dies, whatever it does now."""
        process = self.process
        if process.dead:
            return
        self.cluster.fault(process, "crash")
        self._store.die()
        self.engine._bus.close()
        self.up = False
        if back is not None:
            self.world.at(self.world.now + back, lambda: self.boot(starts=True))
        self.world.kill(process)

    def stop(self, grace: float, back: float | None) -> None:
        """Stop in an orderly way, in a thread of its own."""
        if self.up:
            self.up = False
            self.world.spawn(self.process, lambda: self._stop(grace, back), "stop")

    def _stop(self, grace: float, back: float | None) -> None:
        cluster, process = self.cluster, self.process
        cluster.fault(process, "stop", until=float("inf"))
        self.engine.stop(grace)
        self.engine.close()
        cluster.tell("has stopped")
        left = [
            thread.name
            for thread in self.world.threads
            if thread.process is process
            and not thread.ended
            and thread.name.startswith("fastsched-")
            and not thread.name.startswith("fastsched-worker")  # zombies
            and thread is not self.world.current
        ]
        if left:
            cluster.wrong.append(f"threads: {process} has stopped, but these go on: {left}")
        if back is not None:
            self.world.at(self.world.now + back, lambda: self.boot(starts=True))
        self.world.kill(process)

    # Requests ------------------------------------------------------------------------------------

    def ask(self, request: Callable[[], None]) -> None:
        """Have a thread of this process ask for something, for as long as that takes."""

        def asking() -> None:
            try:
                request()
            except StoreError as error:
                self.cluster.tell(f"was refused: {error}")
            finally:
                self.busy -= 1

        if not self.process.dead:
            self.busy += 1
            self.world.spawn(self.process, asking, "request")

    def enqueue(self, works: Sequence[Work]) -> None:
        """Offer jobs; ids that are given are offered until it is known that they were taken."""
        given = [work for work in works if work.given_id]
        others = [work for work in works if not work.given_id]
        for batch in (given, others):
            if batch:
                self.offer([(self.cluster.new_job_id(), work) for work in batch])

    def offer(self, batch: Sequence[tuple[str, Work]]) -> None:
        cluster = self.cluster
        jobs = [_job(job_id, work) for job_id, work in batch]
        cluster.works.update(batch)
        for job, (_, work) in zip(jobs, batch, strict=True):
            cluster.offered.append(job.id)
            cluster.note(
                "enqueue",
                self.process,
                id=job.id,
                not_before=self.world.now + job.delay,
                books=work.does[0] == "effect",
            )
        unknown = False
        while True:
            try:
                self.engine.insert(jobs)
            except EnqueueUnknown:
                unknown = True
                if not jobs[0].given_id:
                    return
            except (StoreError, SchedulerStopped):
                if not unknown:
                    for job in jobs:
                        cluster.note("enqueue_failed", self.process, id=job.id)
                    raise
            else:
                for job in jobs:
                    cluster.note("enqueue_ok", self.process, id=job.id)
                return
            self.world.sleep(0.5)

    def cancel(self, nth: int) -> None:
        job_id = self._nth(nth)
        if job_id is not None:
            answer = self.engine.cancel([job_id])[job_id]
            self.cluster.tell(f"cancel {job_id}: {answer}")
            if answer is Cancelled.CANCELLED:
                self.cluster.note("cancelled", self.process, id=job_id)

    def run_now(self, nth: int) -> None:
        job_id = self._nth(nth)
        if job_id is not None:
            self.cluster.note("hurried", self.process, id=job_id)
            self.engine.make_ready("run_now", [job_id])

    def requeue(self) -> None:
        page: dict[str, Any] = {"kind": None, "queue": None, "after": None, "limit": 100}
        dead = self.engine.store.jobs(state=State.DEAD, **page)
        for job in dead:
            self.cluster.note("requeued", self.process, id=job.id)
        self.engine.make_ready("requeue", [job.id for job in dead])

    def _nth(self, nth: int) -> str | None:
        offered = self.cluster.offered
        return offered[nth % len(offered)] if offered else None


def _job(job_id: str, work: Work) -> NewJob:
    return NewJob(
        id=job_id,
        kind=KIND,
        payload=encode(work.does, {}),
        priority=work.priority,
        delay=work.delay,
        timeout=work.timeout,
        deadline=work.deadline,
        max_attempts=work.max_attempts,
        given_id=work.given_id,
    )
