"""The demo: a job for every file of a folder, two worker processes, one of them killed.

Nothing is staged: the store is a SQLite file with all its guarantees, the workers are what
`fastsched worker` starts, the kill is SIGKILL, and the failing files fail by themselves.
"""

from __future__ import annotations

import sysconfig
import tempfile
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
from fastsched.stats import StoreStats

_BATCH = 1_000
"""Jobs in one transaction."""
_LOOK_EVERY = 0.05
"""Seconds between looks at how far the workers are, if nothing else wakes us."""
_FIRST = 100
"""Priority of the file that comes late, so that its retry is among the first."""


def run_demo(folder: Path | None, *, workers: int, limit: int | None, quiet: bool) -> Report:
    """Run it in a private folder that is removed at the end; the report, whatever it says."""
    root = (folder or Path(sysconfig.get_path("stdlib"))).absolute()
    with tempfile.TemporaryDirectory(prefix="fastsched-demo-") as scratch:
        demo = Demo(root, Path(scratch).resolve(), workers=workers, limit=limit, quiet=quiet)
        try:
            return demo.run()
        finally:
            demo.stop()


class Demo:
    """One run of it."""

    def __init__(
        self, root: Path, scratch: Path, *, workers: int, limit: int | None, quiet: bool
    ) -> None:
        self._root = root
        self._scratch = scratch
        self._threads = workers
        self._limit = limit
        self._quiet = quiet
        self._clock = SystemClock()
        self._log = scratch / "runs.jsonl"
        self._trouble = Trouble(scratch / "trouble")
        self._workers: list[WorkerProcess] = []
        self._killed_at: float | None = None
        scheduler.configure(store_url=f"sqlite:///{scratch / 'jobs.db'}")

    def run(self) -> Report:
        """Enqueue, let two workers run, kill one half-way, and take stock."""
        began = self._clock.now()
        files = find_files(self._root, self._limit)
        jobs = {
            path: _FIRST if i == 0 else priority_of(path)
            for i, path in enumerate([*self._trouble.paths, *files])
        }
        with Progress(len(jobs), quiet=self._quiet) as progress:
            progress.say(f"{len(files):,} files below {self._root}, and 4 that will fail")
            seconds = self._enqueue(jobs)
            progress.say(f"enqueued {len(jobs):,} jobs in {seconds:.2f} s")
            self._trouble.vanish()
            self._start_workers(progress)
            self._watch(len(jobs), progress)
        return Report(self._facts(jobs, began, seconds))

    def stop(self) -> None:
        """Leave nothing running; may be called twice."""
        for worker in self._workers:
            worker.stop()
        scheduler.stop()

    def _enqueue(self, priorities: dict[str, int]) -> float:
        began = self._clock.monotonic()
        jobs = [
            measure.options(priority=priority).job(path, str(self._log))
            for path, priority in priorities.items()
        ]
        for start in range(0, len(jobs), _BATCH):
            scheduler.enqueue_many(jobs[start : start + _BATCH])
        return self._clock.monotonic() - began

    def _start_workers(self, progress: Progress) -> None:
        for name in ("first", "second"):
            worker = WorkerProcess(name, scheduler.store_url, self._threads, self._scratch)
            self._workers.append(worker)
            progress.say(f"started the {name} worker, pid {worker.pid}: {self._threads} threads")

    def _watch(self, total: int, progress: Progress) -> None:
        """Until every job has ended; half-way, kill the first worker."""
        first, second = self._workers
        idle = False
        while not idle:
            try:
                scheduler.wait_until_idle(_LOOK_EVERY, include_scheduled=True)
                idle = True
            except TimeoutError:
                pass
            look = scheduler.store_stats()
            ended = look.done + look.dead
            progress.at(ended)
            if look.retried:
                self._trouble.arrive()
            if self._killed_at is None and 2 * ended >= total:
                self._killed_at = self._clock.monotonic()
                first.kill()
                progress.say(f"SIGKILL to the first worker, pid {first.pid}, at {ended:,} jobs")
            for worker in (first, second) if self._killed_at is None else (second,):
                if not worker.alive:
                    raise DemoError(
                        f"the {worker.name} worker has ended by itself:\n{worker.log_tail()}"
                    )

    def _facts(self, jobs: dict[str, int], began: float, enqueue_seconds: float) -> Facts:
        look: StoreStats = scheduler.store_stats()
        dead = scheduler.dead_letters(limit=len(jobs))
        killed, survivor = self._workers
        return Facts(
            root=str(self._root),
            enqueued=tuple(jobs),
            vanished=str(self._trouble.vanished),
            again=walk_again(self._root, self._limit)
            | walk_again(self._trouble.dangling.parent, None),
            began=began,
            enqueue_seconds=enqueue_seconds,
            store=look,
            dead={decode(job.payload)[0][0]: str(job.failure) for job in dead},
            runs=RunLog(self._log).read(),
            killed_pid=killed.pid,
            killed_at=self._killed_at,
            survivor_pid=survivor.pid,
        )


class DemoError(FastschedError):
    """The demo could not be carried through."""
