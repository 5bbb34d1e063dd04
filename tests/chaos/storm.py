"""A storm: workers and producers as processes, faults at random moments, and what came of it.

Every storm ends alike: heal, drain, check the whole history. A duplicate must be explained by a
fault of its process that overlaps it; faults of Redis and wrong clocks explain none.
"""

from __future__ import annotations

import heapq
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from cluster.lab import freeze
from cluster.proxy import Proxy
from durability.disk import Ballast
from durability.lab import Process

from chaos.labs import ChaosLab
from chaos.report import Report, report
from fastsched.servers import PrivatePostgres, PrivateRedis

LOOK_EVERY = 0.02
"""Seconds between looks at who has died."""
LATER = 0.05
"""Seconds until a fault for which there is no victim now is tried again."""
GRACE = 0.5
"""Seconds that a worker has to stop."""
MOST_FROZEN = 2
DRAIN = 60.0
"""Most seconds from the last fault until all is as it should be."""


@dataclass(frozen=True, kw_only=True)
class Storm:
    """What is to happen; times in seconds."""

    jobs: int
    seconds: float
    """In which jobs are enqueued and faults happen, if the machine is quick enough."""
    calm: float = 0.0
    """Before the first fault."""
    faults: Mapping[str, int]
    """How often each happens: the names of methods of `Chaos`."""
    most_ms: float = 40.0
    """Milliseconds that most jobs work for at most."""
    workers: int = 4
    anchors: int = 0
    """Workers, among them, that nothing is done to."""
    producers: int = 2
    lease: float = 1.0
    bad: Mapping[str, int] = field(default_factory=dict)
    """Jobs that hurt their process: `exit`, `segfault`, `kill`, `hog`, `glutton`."""
    skewed: bool = False
    """Whether the clocks of most workers are wrong by hours."""
    spares: bool = False
    """Whether a fault waits until every worker runs, so that it hits nothing that still starts."""


@dataclass(frozen=True, kw_only=True)
class Gear:
    """What faults need, where a storm has them."""

    postgres: PrivatePostgres | None = None
    redis: PrivateRedis | None = None
    proxies: list[tuple[Proxy, str]] = field(default_factory=list)
    """With the URL of the store through each."""
    ballast: Ballast | None = None


class Chaos:
    """One storm over one laboratory."""

    def __init__(self, lab: ChaosLab, storm: Storm, gear: Gear, seed: int) -> None:
        self._lab = lab
        self._storm = storm
        self._gear = gear
        self._seed = seed
        self._dice = random.Random(seed)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._workers: list[Process] = []
        self._producers: list[Process] = []
        self._proxy_of: dict[int, Proxy | None] = {}
        self._frozen: dict[Process, float] = {}
        self._leaving: dict[Process, float] = {}
        self._seen = lab.now()
        self._ripe: dict[int, float] = {}
        """When each worker that runs jobs has done so for long enough to be hit."""
        self._spawned = 0
        self._stalled = 0
        self._done: Counter[str] = Counter()
        self._slowest_exit = 0.0

    def run(self) -> Report:
        """All of it; `AssertionError` if anything is not as it must be."""
        began = self._lab.now()
        self._enqueue_bad_jobs()
        self._workers = [self._worker() for _ in range(self._storm.workers)]
        self._producers = [self._producer(1.0) for _ in range(self._storm.producers)]
        for worker in self._workers:
            worker.ready()
        self._rage()
        self._heal()
        self._drain()
        history = self._lab.verdict()
        self._leave()
        return report(
            history,
            seconds=self._lab.now() - began,
            seed=self._seed,
            done=self._done,
            stats=self._lab.scheduler.store_stats(),
            slowest_exit=self._slowest_exit,
        )

    # The course of it ----------------------------------------------------------------------------

    def _rage(self) -> None:
        """Do everything that is on the agenda, at random moments."""
        for name, times in self._storm.faults.items():
            for _ in range(times):
                self._plan(
                    self._dice.uniform(self._storm.calm, self._storm.seconds),
                    getattr(self, f"_{name}"),
                )
        self._began = self._lab.now()
        while self._agenda:
            at, _, act = heapq.heappop(self._agenda)
            while (left := self._began + at - self._lab.now()) > 0:
                self._look(min(left, LOOK_EVERY))
            self._look(0.0)
            act()

    def _plan(self, at: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), act))

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._plan(self._lab.now() - self._began + seconds, act)

    def _look(self, seconds: float) -> None:
        """Wait, and replace who has ended meanwhile, as a supervisor does."""
        threading.Event().wait(seconds)
        for process in [*self._leaving, *self._workers]:
            if process.lives:
                self._is_ripe(process)
                continue
            code = process.wait()
            if process in self._leaving:
                since = self._leaving.pop(process)
                self._slowest_exit = max(self._slowest_exit, self._lab.now() - since)
                died = bool(code) and bool(self._storm.bad)  # of a job that ran in its grace
                assert died or code == 0, f"{process} ended with {code}:\n{process.log.read_text()}"
                self._lab.note_fault(process.pid, "died" if died else "terminate", since)
            else:
                assert self._may_die, f"{process} ended with {code}:\n{process.log.read_text()}"
                self._done["died"] += 1
                self._lab.note_fault(process.pid, "died", self._seen)
                self._replace(process)
        self._seen = self._lab.now()

    @property
    def _may_die(self) -> bool:
        """Whether a worker may end by itself: poison, or no store when it starts."""
        outages = {"stop_postgres", "kill_postgres", "fill_disk", "swallow", "cut"}
        return bool(self._storm.bad) or not outages.isdisjoint(self._storm.faults)

    def _heal(self) -> None:
        """Everything works again, everybody is there, and every job that is wanted is enqueued."""
        for process in list(self._frozen):
            self._thaw(process)
        for producer in self._producers:
            producer.hear("streamed")
            producer.close_input()
            assert producer.wait() == 0
        end = self._lab.now() + DRAIN
        while stuck := [w for w in self._workers if not w.runs_jobs] or list(self._leaving):
            if self._lab.now() > end:
                raise AssertionError(f"{stuck[0]} neither starts nor ends:\n{stuck[0].traces()}")
            self._look(LOOK_EVERY)
        jobs, history = self._lab.jobs, self._lab.history()
        for job_id, offer in history.offers.items():  # of producers that were killed
            if offer.given and job_id not in history.accepted | history.refused:
                kind = jobs.book if offer.books else jobs.work
                jobs.repeat([kind.options(id=job_id).job(1.0)])
                self._done["taken over"] += 1
        jobs.stream(max(self._storm.jobs - len(history.accepted), 0), 0.0, 1.0, self._dice)

    def _drain(self) -> None:
        """Wait until everything has run. Who dies of poison meanwhile is replaced."""
        end = self._lab.now() + DRAIN
        while self._lab.scheduler.store_stats().live or self._pids() != self._registered():
            assert self._lab.now() < end, "there is still work, or a place that nobody has"
            self._look(LOOK_EVERY)

    def _pids(self) -> list[int]:
        return sorted(worker.pid for worker in self._workers)

    def _registered(self) -> list[int]:
        return sorted(node.pid for node in self._lab.scheduler.store_stats().nodes)

    def _leave(self) -> None:
        """Everybody goes, and nobody's place stays."""
        for worker in self._workers:
            worker.terminate()
        assert self._lab.scheduler.store_stats().nodes == ()

    # Processes -----------------------------------------------------------------------------------

    def _worker(self) -> Process:
        number = self._spawned
        self._spawned += 1
        options: dict[str, float | str] = {"stop_grace": GRACE}
        proxy, url = self._dice.choice([(None, ""), *self._gear.proxies])
        if proxy is not None:
            options["store_url"] = url
        if self._storm.skewed:
            options["skew"] = (0.0, 18_000.0, -7_200.0, 86_400.0)[number % 4]
        worker = self._lab.spawn("worker", **options)
        self._proxy_of[worker.pid] = proxy
        return worker

    def _producer(self, share: float) -> Process:
        """One that has so much of its time and of its jobs left."""
        producer = self._lab.spawn("producer")
        jobs = int(share * self._storm.jobs / self._storm.producers)
        seconds, seed = share * self._storm.seconds, self._dice.randrange(1 << 32)
        producer.tell(jobs, seconds, self._storm.most_ms, seed)
        return producer

    def _replace(self, worker: Process) -> None:
        self._workers[self._workers.index(worker)] = self._worker()

    def _victim(self, again: Callable[[], None]) -> Process | None:
        """A worker that runs jobs and to which nothing is being done; None: `again` later."""
        if not self._storm.spares or all(worker.runs_jobs for worker in self._workers):
            mortal = self._workers[self._storm.anchors :]
            fit = [w for w in mortal if w not in self._frozen and self._is_ripe(w)]
            if fit:
                return self._dice.choice(fit)
        self._after(LATER, again)
        return None

    def _is_ripe(self, worker: Process) -> bool:
        """Not before it has got to work: who is hit at its start does little."""
        if not worker.runs_jobs:
            return False
        now = self._lab.now()
        return now >= self._ripe.setdefault(worker.pid, now + self._dice.uniform(0.1, 1.0))

    def _note_for_all(self, what: str, since: float, proxy: Proxy | None = None) -> None:
        """A fault of everybody, or of everybody behind a proxy. It is over when the nodes have had
        the time of a lease to take their places again."""
        for worker in [*self._workers, *self._leaving]:
            if proxy is None or self._proxy_of[worker.pid] is proxy:
                until = self._lab.now() + self._storm.lease
                self._lab.jobs.journal.note(
                    "fault", pid=worker.pid, what=what, at=since, until=until
                )

    def _enqueue_bad_jobs(self) -> None:
        jobs = self._lab.jobs
        for what, times in self._storm.bad.items():
            for _ in range(times):
                delay = self._dice.uniform(0, self._storm.seconds / 2)
                if what == "hog":
                    held = self._dice.uniform(0.9, 2.5) * self._storm.lease
                    jobs.enqueue(jobs.hog.options(delay=delay).job(held, 2))
                elif what == "glutton":
                    jobs.enqueue(jobs.glutton.options(delay=delay).job())
                else:
                    jobs.enqueue(jobs.poison.options(delay=delay).job(what))

    # Faults of processes -------------------------------------------------------------------------

    def _kill(self) -> None:
        if victim := self._victim(self._kill):
            self._done["kill"] += 1
            victim.kill()
            self._replace(victim)

    def _terminate(self) -> None:
        if victim := self._victim(self._terminate):
            self._done["terminate"] += 1
            self._leaving[victim] = self._lab.now()
            victim.signal(signal.SIGTERM)
            self._replace(victim)

    def _freeze(self) -> None:
        """For longer than a lease. On SQLite, where there is none, half of the frozen lose their
        place as if they had died."""
        if len(self._frozen) >= MOST_FROZEN:
            self._after(LATER, self._freeze)
        elif victim := self._victim(self._freeze):
            self._done["freeze"] += 1
            self._frozen[victim] = self._lab.now()
            freeze(victim)
            if self._dice.random() < 0.5:
                self._lab.take_place_of(victim)
            self._after(
                self._storm.lease * self._dice.uniform(1.1, 2.5), lambda: self._thaw(victim)
            )

    def _thaw(self, victim: Process) -> None:
        if since := self._frozen.pop(victim, None):
            victim.thaw()
            self._lab.note_fault(victim.pid, "freeze", since)

    def _kill_producer(self) -> None:
        self._done["kill_producer"] += 1
        number = self._dice.randrange(len(self._producers))
        self._producers[number].kill()
        left = 1 - (self._lab.now() - self._began) / self._storm.seconds
        self._producers[number] = self._producer(max(left, 0.0))

    # Faults of PostgreSQL ------------------------------------------------------------------------

    def _stop_postgres(self) -> None:
        self._done["stop_postgres"] += 1
        self._break_postgres("immediate")

    def _kill_postgres(self) -> None:
        self._done["kill_postgres"] += 1
        self._break_postgres("kill")

    def _restart_postgres(self) -> None:
        """It alone explains no duplicate: nothing is noted."""
        postgres = self._gear.postgres
        assert postgres is not None
        self._done["restart_postgres"] += 1
        postgres.restart(self._dice.choice(("fast", "immediate", "kill")))

    def _break_postgres(self, how: str) -> None:
        postgres = self._gear.postgres
        assert postgres is not None
        since = self._lab.now()
        postgres.restart(how)  # type: ignore[arg-type]
        self._note_for_all("server down", since)

    # Faults of Redis: they explain nothing -------------------------------------------------------

    def _kill_redis(self) -> None:
        assert self._gear.redis is not None
        self._done["kill_redis"] += 1
        self._gear.redis.restart("kill")

    def _flush_redis(self) -> None:
        self._tell_redis("flush_redis", ("FLUSHALL",))

    def _cut_redis(self) -> None:
        kill = ("CLIENT", "KILL", "TYPE")
        self._tell_redis("cut_redis", (*kill, "pubsub"), (*kill, "normal", "SKIPME", "yes"))

    def _tell_redis(self, what: str, *commands: tuple[str, ...]) -> None:
        if self._stalled:
            self._after(LATER, lambda: self._tell_redis(what, *commands))
            return
        self._done[what] += 1
        for command in commands:
            self._lab.redis_call(*command)

    def _stall_redis(self) -> None:
        redis = self._gear.redis
        assert redis is not None
        self._done["stall_redis"] += 1
        self._stalled += 1
        redis.pause()

        def resume() -> None:
            self._stalled -= 1
            redis.resume()

        self._after(self._dice.uniform(0.5, 3.0), resume)

    # Faults of the network -----------------------------------------------------------------------

    def _cut(self) -> None:
        """In the middle of what is being said."""
        proxy, _ = self._dice.choice(self._gear.proxies)
        self._done["cut"] += 1
        since = self._lab.now()
        proxy.cut_after(self._dice.choice(("sent", "answered")), self._dice.randrange(3_000))

        def note() -> None:
            proxy.heal()
            self._note_for_all("cut", since, proxy)

        self._after(0.2, note)

    def _swallow(self) -> None:
        proxy, _ = self._dice.choice(self._gear.proxies)
        self._done["swallow"] += 1
        since = self._lab.now()
        proxy.swallow()

        def heal() -> None:
            proxy.heal()
            self._note_for_all("swallow", since, proxy)

        self._after(self._storm.lease * self._dice.uniform(0.3, 2.5), heal)

    def _drag(self) -> None:
        """Late and in slices, by less than a lease in all."""
        proxy, _ = self._dice.choice(self._gear.proxies)
        self._done["drag"] += 1
        since = self._lab.now()
        proxy.drag(self._dice.uniform(0.01, 0.1), slice=self._dice.choice((0, 1, 7)))

        def heal() -> None:
            proxy.drag(0.0)
            self._note_for_all("drag", since, proxy)

        self._after(1.0, heal)

    # Faults of the disk --------------------------------------------------------------------------

    def _fill_disk(self) -> None:
        ballast = self._gear.ballast
        assert ballast is not None
        self._done["fill_disk"] += 1
        since = self._lab.now()
        ballast.load()

        def heal() -> None:
            ballast.throw_off()
            if self._gear.postgres is not None:
                self._gear.postgres.start()  # if it has ended
                self._note_for_all("server down", since)

        self._after(self._dice.uniform(0.3, 2.0), heal)
