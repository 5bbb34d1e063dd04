"""What happens to workers and servers in production, done on purpose and written down.

Each fault is a generator: it does one step, yields until the next look at the store, and returns
when it is over. So a stage's plot reads from top to bottom, and the demo goes on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from fastsched.clock import Clock
from fastsched.demo.facts import Loss, Restart
from fastsched.demo.jobs import scheduler
from fastsched.demo.processes import WorkerProcess
from fastsched.demo.runlog import RunLog
from fastsched.job import State
from fastsched.servers import PrivateServer

Steps = Generator[None, None, None]
_MOST_HELD = 1_000_000
_WATCHED = 2.0
"""Seconds for which work is watched after a restart."""


class Faults:
    """The faults, and the account of what they hit."""

    def __init__(
        self,
        *,
        clock: Clock,
        log: RunLog,
        workers: Sequence[WorkerProcess],
        say: Callable[[str], None],
        produce: Callable[[], None],
    ) -> None:
        """`produce` enqueues jobs, which is done while servers restart too."""
        self._clock = clock
        self._log = log
        self._workers = workers
        self._say = say
        self._produce = produce
        self.losses: list[Loss] = []
        self.restarts: list[Restart] = []
        self.killed: list[WorkerProcess] = []

    def runs(self, share: float, total: int) -> Steps:
        """Until so large a share of the runs has ended."""
        while self._log.ended < share * total:
            yield

    def seconds(self, seconds: float) -> Steps:
        """Until so much time has passed."""
        end = self._clock.monotonic() + seconds
        while self._clock.monotonic() < end:
            yield

    def kill(self, *, within: float, settled: Callable[[str], bool]) -> Steps:
        """SIGKILL to a worker that runs a job."""
        worker, loss = yield from self._catch("kill", within, settled)
        self.losses.append(replace(loss, at=self._clock.monotonic()))
        self.killed.append(worker)
        worker.kill()
        self._say(f"SIGKILL to the {worker.name} worker after {self._log.ended:,} runs")

    def freeze(self, *, within: float, settled: Callable[[str], bool]) -> Steps:
        """SIGSTOP to a worker that runs a job, SIGCONT when others have taken its jobs.

        Over when it runs jobs again, under a new identity.
        """
        worker, loss = yield from self._catch("freeze", within, settled)
        self.losses.append(loss)
        self._say(f"SIGSTOP to the {worker.name} worker after {self._log.ended:,} runs")
        yield from self.recovery(loss)
        worker.thaw()
        self.losses[-1] = loss = replace(loss, woke_at=self._clock.monotonic())
        self._say(f"SIGCONT to the {worker.name} worker, whose jobs run elsewhere by now")
        while (node := _nodes().get(worker.pid, loss.node)) == loss.node:
            yield
        self.losses[-1] = replace(loss, woke_as=node)
        while not any(run.node == node for run in self._log.read()):
            yield
        self._say(f"the {worker.name} worker goes on under a new identity")

    def recovery(self, loss: Loss) -> Steps:
        """Until others have begun with the jobs of a lost worker."""
        while (seconds := loss.recovery_seconds(self._log.read())) is None:
            yield
        self._say(f"  its jobs run elsewhere, {seconds:.2f} s after the {loss.what}")

    def restart(self, server: PrivateServer, how: str) -> Steps:
        """Stop and start a server, while jobs are enqueued."""
        at = self._clock.monotonic()
        with ThreadPoolExecutor(1, "producer") as producer:
            produced = producer.submit(self._produce)
            server.restart("kill" if how == "SIGKILL" else "fast")
            up_at = self._clock.monotonic()
            self._say(f"restarted {server.title} ({how}): it was away for {up_at - at:.2f} s")
        produced.result()
        yield from self.seconds(_WATCHED)
        self.restarts.append(
            Restart(what=server.title, at=at, up_at=up_at, watched_until=self._clock.monotonic())
        )

    def _catch(
        self, what: str, within: float, settled: Callable[[str], bool]
    ) -> Generator[None, None, tuple[WorkerProcess, Loss]]:
        """Make a worker stand still while it runs a job, and note all that it holds."""
        while (caught := self._freeze_one_at_work()) is None:
            yield
        worker, node = caught
        at = self._clock.monotonic()
        while not settled(worker.name):
            yield
        claimed = scheduler.jobs(State.CLAIMED, limit=_MOST_HELD)
        held = {job.id: job.claim_no for job in claimed if job.node == node}
        return worker, Loss(what=what, node=node, at=at, held=held, within=within)

    def _freeze_one_at_work(self) -> tuple[WorkerProcess, str] | None:
        nodes = _nodes()
        for worker in self._workers:
            if worker in self.killed or worker.pid not in nodes or not worker.freeze():
                continue
            node = nodes[worker.pid]
            if any(run.node == node and run.ended is None for run in self._log.read()):
                return worker, node
            worker.thaw()
        return None


def _nodes() -> dict[int, str]:
    """The identity of every worker, by process."""
    return {node.pid: node.id for node in scheduler.store_stats().nodes}
