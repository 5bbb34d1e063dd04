"""The demo: a job for every file of a folder, two worker processes, one of them killed.

Nothing is staged: the store is a SQLite file with all its guarantees, the workers are what
`fastsched worker` starts, the kill is SIGKILL, and the failing files fail by themselves.
"""

from __future__ import annotations

import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from fastsched.clock import SystemClock
from fastsched.codec import decode
from fastsched.demo.audit import Facts
from fastsched.demo.jobs import measure, scheduler
from fastsched.demo.processes import WorkerProcess
from fastsched.demo.progress import Progress
from fastsched.demo.report import Report
from fastsched.demo.runlog import RunLog
from fastsched.demo.tree import Trouble, find_files, priority_of, walk_again
from fastsched.errors import FastschedError
from fastsched.job import State
from fastsched.stats import StoreStats

_BATCH = 1_000
"""Jobs in one transaction."""
_LOOK_EVERY = 0.02
"""Seconds between looks at how far the workers are, if nothing else wakes us."""
_PATIENCE = 60.0
"""Seconds without any progress after which the demo has failed."""


class DemoError(FastschedError):
    """The demo could not be carried through."""


def run_demo(folder: Path | None, *, workers: int, limit: int | None, quiet: bool) -> Report:
    """Run it in a private folder that is removed at the end; the report, whatever it says."""
    root = (folder or Path(sysconfig.get_path("stdlib"))).absolute()
    with tempfile.TemporaryDirectory(prefix="fastsched-demo-") as scratch:
        demo = Demo(root, Path(scratch).resolve(), threads=workers, limit=limit, quiet=quiet)
        try:
            return demo.run()
        finally:
            demo.stop()


class Demo:
    """One run of it."""

    def __init__(
        self, root: Path, scratch: Path, *, threads: int, limit: int | None, quiet: bool
    ) -> None:
        self._root = root
        self._scratch = scratch
        self._threads = threads
        self._limit = limit
        self._clock = SystemClock()
        self._log = RunLog(scratch / "runs.jsonl")
        self._trouble = Trouble(scratch / "trouble")
        self._files = find_files(root, limit)
        self._total = len(self._files) + len(self._trouble.paths)
        self._progress = Progress(self._total, quiet=quiet)
        self._workers: list[WorkerProcess] = []
        self._killed: WorkerProcess | None = None
        self._killed_at: float | None = None
        self._held: dict[str, int] = {}
        self._ended = -1
        self._ended_at = self._clock.monotonic()
        scheduler.configure(store_url=f"sqlite:///{scratch / 'jobs.db'}")

    def run(self) -> Report:
        """Let two workers measure all files, kill one half-way, and take stock."""
        began = self._clock.now()
        with self._progress as progress:
            progress.say(f"{len(self._files):,} files below {self._root}")
            progress.say(f"{len(self._trouble.paths)} more that will fail, below {self._scratch}")
            self._enqueue(self._trouble.paths)
            self._trouble.vanish()
            self._start_workers()
            seconds = self._enqueue(self._files)
            progress.say(
                f"enqueued {self._total:,} jobs, {len(self._files) / seconds:,.0f} a second"
            )
            self._until(self._idle)
        return Report(self._facts(began, seconds))

    def stop(self) -> None:
        """Leave nothing running; may be called twice."""
        for worker in self._workers:
            worker.stop()
        scheduler.stop()

    def _enqueue(self, paths: Sequence[str]) -> float:
        """A job for each path; how many seconds that took."""
        began = self._clock.monotonic()
        for start in range(0, len(paths), _BATCH):
            scheduler.enqueue_many(
                measure.options(priority=priority_of(path)).job(path, str(self._log.path))
                for path in paths[start : start + _BATCH]
            )
        return self._clock.monotonic() - began

    def _start_workers(self) -> None:
        for name in ("first", "second"):
            worker = WorkerProcess(name, scheduler.store_url, self._threads, self._scratch)
            self._workers.append(worker)
            self._progress.say(f"started the {name} worker, pid {worker.pid}")
        self._until(lambda look: len(look.nodes) == len(self._workers))

    def _idle(self, look: StoreStats) -> bool:
        """Whether every job has ended; half-way, kill a worker."""
        if self._killed is None and 2 * self._log.ended >= self._total:
            self._kill(look)
        return look.accepted == self._total and not look.live

    def _kill(self, look: StoreStats) -> None:
        """SIGKILL to a worker that certainly runs a job: it is made to stand still for a look."""
        nodes = {node.pid: node.id for node in look.nodes}
        for worker in self._workers:
            if not worker.freeze():
                continue
            if not any(run.pid == worker.pid and run.ended is None for run in self._log.read()):
                worker.thaw()
                continue
            claimed = scheduler.jobs(State.CLAIMED, limit=self._total)
            self._held = {j.id: j.claim_no for j in claimed if j.node == nodes[worker.pid]}
            self._killed, self._killed_at = worker, self._clock.monotonic()
            worker.kill()
            self._progress.say(
                f"SIGKILL to the {worker.name} worker after {self._log.ended:,} runs"
            )
            return

    def _until(self, happened: Callable[[StoreStats], bool]) -> None:
        """Look, show how far we are, and look again when something may have changed."""
        while not happened(look := scheduler.store_stats()):
            self._note(look)
            try:
                scheduler.wait_until_idle(_LOOK_EVERY, include_scheduled=True)
            except TimeoutError:
                continue
        self._note(look)

    def _note(self, look: StoreStats) -> None:
        if look.retried:
            self._trouble.arrive()
        now = self._clock.monotonic()
        if look.done + look.dead != self._ended:
            self._ended, self._ended_at = look.done + look.dead, now
            self._progress.at(self._ended)
        gone = [w for w in self._workers if w is not self._killed and not w.alive]
        if gone or now > self._ended_at + _PATIENCE:
            worker = (gone or [w for w in self._workers if w is not self._killed])[0]
            what = "ended by itself" if gone else f"got nothing done for {_PATIENCE:g} s"
            raise DemoError(f"the {worker.name} worker {what}; its log:\n{worker.log_tail()}")

    def _facts(self, began: float, enqueue_seconds: float) -> Facts:
        dead = scheduler.dead_letters(limit=self._total)
        return Facts(
            root=str(self._root),
            enqueued=(*self._trouble.paths, *self._files),
            vanished=str(self._trouble.vanished),
            again=walk_again(self._root, self._limit) | walk_again(self._trouble.folder, None),
            began=began,
            enqueue_seconds=enqueue_seconds,
            store=scheduler.store_stats(),
            dead={decode(job.payload)[0][0]: str(job.failure) for job in dead},
            runs=self._log.read(),
            killed_pid=None if self._killed is None else self._killed.pid,
            killed_at=self._killed_at,
            held=self._held,
        )
