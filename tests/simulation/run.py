"""Run a plan: let it happen, heal, drain, probe, stop, and check what was seen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from history import Final, History, Row, check

from fastsched import node as node_module
from fastsched.job import State
from fastsched.node import MAX_CRASHES
from fastsched.stats import StoreStats
from fastsched.stores.base import Counts
from simulation.cluster import Cluster, Place, WatchedBacklog
from simulation.locks import EPOCH
from simulation.plan import HEALED, Event, Plan, Work
from simulation.threads import Killed, Stuck

DRAINED = 200.0
"""Seconds after healing within which everything must have ended."""
STOPPED = 30.0
"""Seconds within which a node must stop once it is told to."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of a plan came to."""

    plan: Plan
    violations: tuple[str, ...]
    trace: tuple[tuple[float, str, str], ...]
    steps: int
    seconds: float
    """Virtual ones."""

    @property
    def rules(self) -> set[str]:
        """The names of what was violated."""
        return {violation.partition(":")[0] for violation in self.violations}

    def shown(self) -> str:
        """The trace for people."""
        return "\n".join(f"{at - EPOCH:9.4f}  {who:32} {text}" for at, who, text in self.trace)


def run(plan: Plan) -> Outcome:
    """Run a plan to its end; what was wrong in it."""
    cluster = Cluster(plan)
    with _nodes_of(cluster), _log_of(cluster), cluster.world.stands_in():
        try:
            wrong = _live(cluster)
        except Stuck as stuck:
            wrong = [f"stuck: {stuck}"]
        except Killed:
            raise RuntimeError("the world ended itself") from None
    world = cluster.world
    return Outcome(
        plan,
        tuple(
            wrong
            + cluster.wrong
            + [f"dead thread: {who}, of {error!r}" for who, error in world.broken]
        ),
        tuple(cluster.trace),
        world.steps,
        world.now - EPOCH,
    )


def _live(cluster: Cluster) -> list[str]:
    world = cluster.world
    cluster.begin()
    for event in cluster.plan.events:
        world.at(EPOCH + event.at, partial(_happen, cluster, event))
    world.run(lambda: False, EPOCH + HEALED)
    cluster.network.cuts.clear()
    cluster.tell("everything is healed")

    def drained() -> bool:
        return _quiet(cluster) and all(p.up for p in cluster.nodes + cluster.clients)

    if not world.run(drained, world.now + DRAINED):
        return [f"not drained: {DRAINED} s after healing {_state(cluster)}"]
    cluster.tell("everything is drained")
    world.run(partial(_fit, cluster), world.now + 60.0)
    world.run(lambda: False, world.now + 2.5)  # every node has looked at the store since
    wrong = _probe(cluster)
    for place in cluster.nodes:
        place.stop(0.0, back=None)
    if not world.run(lambda: all(p.process.dead for p in cluster.nodes), world.now + STOPPED):
        return [*wrong, f"not stopped: after {STOPPED} s {', '.join(world.waiting())}"]
    return wrong + _violations(cluster)


def _probe(cluster: Cluster) -> list[str]:
    """In peace a job starts soon after it is enqueued: at once by a hint, else at the next look."""
    world = cluster.world
    wrong = [
        f"unable: {place.process} has no worker left, in peace"
        for place in cluster.nodes
        if place.engine.node is None or not place.engine.node._pool.able
    ]
    for lost, patience, bursts in ((False, 0.1, 5), (True, 1.2, 1)):
        for place in cluster.nodes:
            cluster.network.losing[place.process.name] += lost
        for _ in range(bursts):
            ids = [cluster.new_job_id() for _ in range(3)]
            for job_id in ids:
                client = world.random.choice(cluster.clients)
                client.ask(partial(client.offer, [(job_id, Work(("take", 0.0)))]))
                world.run(lambda: False, world.now + world.random.random() * 0.004)
            if not world.run(partial(_started, cluster, ids), world.now + patience):
                how = "without hints" if lost else "with hints"
                wrong.append(f"slow: {ids} have not all started within {patience} s {how}")
            world.run(partial(_quiet, cluster), world.now + 60.0)
    return wrong


def _fit(cluster: Cluster) -> bool:
    """Whether no node lacks a worker any more because of runs that are deaf."""
    nodes = [place.engine.node for place in cluster.nodes]
    return all(node is not None and not node.zombies for node in nodes)


def _quiet(cluster: Cluster) -> bool:
    return not cluster.live and not any(place.busy for place in cluster.clients)


def _started(cluster: Cluster, ids: list[str]) -> bool:
    recent = {e["id"] for e in cluster.history[-100:] if e["event"] == "start"}
    return recent.issuperset(ids)


# What happens ------------------------------------------------------------------------------------


def _happen(cluster: Cluster, event: Event) -> None:
    """In no thread."""
    world, network, facts = cluster.world, cluster.network, event.facts
    places = cluster.nodes + cluster.clients
    cluster.tell(str(event)[9:], "plan")
    until = min(world.now + facts.get("lasts", 0.0), EPOCH + HEALED)
    if event.what in _REQUESTS:
        client = cluster.clients[event.whom or 0]
        client.ask(lambda: _REQUESTS[event.what](client, **facts))
        return
    place = None if event.whom is None else places[event.whom]
    process = None if place is None else place.process
    name = "" if process is None else process.name
    if event.what in ("pause", "outage", "cut off", "slow"):
        cluster.faulty.append((name or None, world.now, until))
    match event.what, place, process:
        case "crash", Place(), _:
            place.crash(facts["back"])
        case "stop", Place(), _:
            place.stop(facts["grace"], facts["back"])
        case "pause", _, _ if process is not None and not process.paused:
            cluster.note("frozen", process, until=until)
            world.pause(process)
            world.at(until, partial(world.resume, process))
        case "outage", _, _:
            network.outages += 1
            world.at(until, partial(_add, network, "outages", -1))
        case "slow", _, _:
            network.slowness += facts["by"]
            world.at(until, partial(_add, network, "slowness", -facts["by"]))
        case "cut off", _, _:
            _for_a_time(cluster, network.cut_off, name, 1, until)
        case "lose hints", _, _:
            _for_a_time(cluster, network.losing, name, 1, until)
        case "double hints", _, _:
            _for_a_time(cluster, network.doubling, name, 1, until)
        case "delay hints", _, _:
            _for_a_time(cluster, network.delaying, name, facts["by"], until)
        case "cut", _, _:
            network.cuts[name].append(facts["how"])
        case "set clock", _, _ if process is not None:
            process.wall += facts["by"]


def _add(thing: Any, name: str, by: float) -> None:
    setattr(thing, name, getattr(thing, name) + by)


def _for_a_time(
    cluster: Cluster, table: dict[str, Any], name: str, by: float, until: float
) -> None:
    table[name] += by

    def over() -> None:
        table[name] -= by

    cluster.world.at(until, over)


_REQUESTS: dict[str, Callable[..., None]] = {
    "enqueue": lambda client, jobs: client.enqueue(jobs),
    "cancel": lambda client, nth: client.cancel(nth),
    "run_now": lambda client, nth: client.run_now(nth),
    "requeue": lambda client: client.requeue(),
}


# What was seen -----------------------------------------------------------------------------------


def _state(cluster: Cluster) -> str:
    rows = [row for row in cluster.db.rows.values() if not row.state.ended]
    live = ", ".join(f"{row.id} is {row.state} ({row.node})" for row in rows)
    busy = [str(p.process) for p in cluster.nodes + cluster.clients if p.busy or not p.up]
    return f"{live or 'no job'}; busy: {', '.join(busy) or 'nobody'}"


def _violations(cluster: Cluster) -> list[str]:
    db = cluster.db
    counts = Counts(
        states={s: sum(r.state is s for r in db.rows.values()) for s in State}, totals=db.totals
    )
    final = Final(
        stats=StoreStats.of(counts, [], cluster.world.now),
        rows={row.id: Row(row.state, row.crashes, row.claim_no) for row in db.rows.values()},
        booked=tuple(db.effects),
    )
    history = History.of(cluster.history)
    found = [f"{v.rule}: {v.id} {v.how}" for v in check(history, final)]
    return found + list(_more_violations(cluster, final))


def _more_violations(cluster: Cluster, final: Final) -> Iterator[str]:
    """What only the simulation knows: who is poison, and which nodes should be gone."""
    for job_id, work in cluster.works.items():
        row = final.rows.get(job_id)
        dead = row is not None and row.state is State.DEAD
        if work.does[0] == "poison" and dead and row.crashes != MAX_CRASHES:
            yield f"poison: {job_id} is dead after {row.crashes} crashes"
    for node, row in cluster.db.nodes.items():
        if row.alive:
            yield f"left: node {node} has not"


# Round about -------------------------------------------------------------------------------------


@contextmanager
def _nodes_of(cluster: Cluster) -> Iterator[None]:
    """Nodes whose ids are the same in every run of a plan, and whose backlogs are watched."""
    before = node_module.new_id, node_module.Backlog
    module: Any = node_module
    module.new_id = cluster.new_node_id
    module.Backlog = lambda clock: WatchedBacklog(clock, cluster)
    try:
        yield
    finally:
        module.new_id, module.Backlog = before


class _ToTrace(logging.Handler):
    def __init__(self, cluster: Cluster) -> None:
        super().__init__(logging.WARNING)
        self._cluster = cluster

    def emit(self, record: logging.LogRecord) -> None:
        self._cluster.tell(record.getMessage())
        if record.exc_info and not isinstance(record.exc_info[1], Killed):
            self._cluster.wrong.append(f"fault: {record.getMessage()}: {record.exc_info[1]!r}")


@contextmanager
def _log_of(cluster: Cluster) -> Iterator[None]:
    """The log as part of the trace; an error with a traceback is one of fastsched itself."""
    log = logging.getLogger("fastsched")
    handler = _ToTrace(cluster)
    propagated, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagated
