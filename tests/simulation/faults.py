"""The store and the bus as a process reaches them: over a network that is slow and breaks."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator

from fastsched.bus import Bus, Hint
from fastsched.clock import RemoteClock
from fastsched.errors import CommitUnknown, StoreUnavailable
from fastsched.job import State
from fastsched.outcomes import Outcome
from fastsched.stores.base import Cancelled, Flush, Flushed, Tended
from simulation.database import Database, NodeRow, Row
from simulation.store import MemoryStore
from simulation.threads import Process, Thread, World

CONNECT_TIMEOUT = 0.5
"""Seconds until it is noticed that the store does not answer."""


class Network:
    """What stands between the processes, and what is wrong with it now."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.buses: list[SimulatedBus] = []
        self.outages = 0
        self.cut_off: defaultdict[str, int] = defaultdict(int)
        self.slowness = 0.0
        self.cuts: defaultdict[str, list[str]] = defaultdict(list)
        """By process: how its next writes break off."""
        self.losing: defaultdict[str, int] = defaultdict(int)
        self.doubling: defaultdict[str, int] = defaultdict(int)
        self.delaying: defaultdict[str, float] = defaultdict(float)

    def reaches_store(self, process: Process) -> bool:
        return not self.outages and not self.cut_off[process.name]

    def trip(self) -> float:
        """Seconds one way."""
        return 0.0002 + self.world.random.random() * (0.002 + self.slowness)


class Cut(StoreUnavailable):
    """The connection broke in a call; the simulation knows how, the caller does not."""

    def __init__(self, how: str) -> None:
        super().__init__("memory: the connection broke")
        self.how = how


class FaultyStore(MemoryStore):
    """A store at the other end of the network.

    After a cut it does what the real ones do: it tells that a commit is unknown, or finds out that
    it took place (then what else the flush came to is not known), and asks to be reconciled.
    """

    def __init__(
        self,
        database: Database,
        network: Network,
        process: Process,
        *,
        note: Callable[..., None],
        on_rescued: Callable[[NodeRow], None],
    ) -> None:
        super().__init__(database, RemoteClock())
        self._network = network
        self._process = process
        self._note = note
        self._rescued_from = on_rescued
        self._doubt = False

    @contextlib.contextmanager
    def _call(self, *, writes: bool) -> Iterator[Database]:
        network, me = self._network, self._process
        cuts = network.cuts[me.name]
        cut = cuts.pop(0) if writes and cuts else None
        network.world.sleep(network.trip())
        if not network.reaches_store(me):
            network.world.sleep(CONNECT_TIMEOUT)
            raise StoreUnavailable("memory: no answer")
        if cut in ("refused", "undone"):
            raise Cut(cut)
        with super()._call(writes=writes) as db:
            yield db
        network.world.sleep(network.trip())
        if cut is not None:
            raise Cut(cut)
        if not network.reaches_store(me):
            raise Cut("unanswered")

    def flush(self, flush: Flush) -> Flushed:
        try:
            return super().flush(flush)
        except Cut as cut:
            self._doubt = not self.db.knows_what_ran
            if cut.how == "refused" or not (flush.jobs or flush.ends):
                raise
            if cut.how == "recovered":
                return Flushed(accepted=len(flush.jobs), drained=False)
            raise CommitUnknown(str(cut)) from cut

    def _end_run(self, row: Row, outcome: Outcome) -> None:
        super()._end_run(row, outcome)
        if row.state is State.DONE:
            self._note("completed", self._process, id=row.id, claim_no=row.claim_no)

    def _cancel(self, row: Row | None) -> Cancelled:
        answer = super()._cancel(row)
        if row is not None and answer is Cancelled.REQUESTED:
            self._note("requested", self._process, id=row.id, claim_no=row.claim_no)
        return answer

    def reconcile(self, node: str, held: frozenset[str]) -> int:
        given_back = super().reconcile(node, held)
        self._doubt = False
        return given_back

    def tend(self, node: str) -> Tended:
        tended = super().tend(node)
        return Tended(
            stands=tended.stands,
            dead_nodes=tended.dead_nodes,
            news=tended.news,
            cancel=tended.cancel,
            doubt=self._doubt,
        )


class SimulatedBus(Bus):
    """Carries hints to the other processes, most of the time."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self._process = process
        self._receive: Callable[[Hint], None] | None = None
        self._arrived: Hint | None = None
        self._thread: Thread | None = None
        self._idle = False
        self._closed = False
        network.buses.append(self)

    def publish(self, hint: Hint) -> None:
        if not self._closed:
            for other in self._network.buses:
                if other is not self and other._receive is not None:
                    self._send(hint, other)

    def _send(self, hint: Hint, other: SimulatedBus) -> None:
        network, whom = self._network, other._process.name
        if network.losing[whom]:
            return
        for _ in range(2 if network.doubling[whom] else 1):
            late = network.trip() + network.world.random.random() * network.delaying[whom]
            network.world.at(network.world.now + late, lambda: other._arrive(hint))

    def _arrive(self, hint: Hint) -> None:
        self._arrived = hint if self._arrived is None else self._arrived | hint
        self._wake()

    def _wake(self) -> None:
        if self._idle and self._thread is not None:
            self._network.world.wake(self._thread)

    def subscribe(self, receive: Callable[[Hint], None]) -> None:
        self._receive = receive
        self._thread = self._network.world.spawn(self._process, self._listen, "bus")

    def _listen(self) -> None:
        while not self._closed:
            hint, self._arrived = self._arrived, None
            if hint is None:
                self._idle = True
                self._network.world.wait()
                self._idle = False
            elif self._receive is not None:
                self._receive(hint)

    def close(self) -> None:
        self._closed = True
        if self in self._network.buses:
            self._network.buses.remove(self)
        self._wake()

    def forsake(self) -> None:
        self.close()
