"""The demo: a job for every file of a folder, worker processes, and what may happen to them.

Nothing is staged: the store has all its guarantees, the workers are what `fastsched worker` starts,
the kill is SIGKILL, and the failing files fail by themselves.
"""

from __future__ import annotations

import sysconfig
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from fastsched.clock import SystemClock
from fastsched.demo.facts import Facts
from fastsched.demo.faults import Faults
from fastsched.demo.jobs import measure, scheduler
from fastsched.demo.processes import WorkerProcess
from fastsched.demo.progress import Progress
from fastsched.demo.report import Report
from fastsched.demo.runlog import RunLog
from fastsched.demo.stage import SqliteStage, Stage
from fastsched.demo.tree import Trouble, find_files, priority_of, walk_again
from fastsched.errors import EnqueueUnknown, FastschedError, StoreUnavailable
from fastsched.job import NewJob
from fastsched.stats import StoreStats

_BATCH = 1_000
"""Jobs in one transaction."""
_LEAST_AHEAD = 2_000
"""Jobs that must wait while the plot goes on, so that no worker is idle."""
_PATIENCE = 60.0
"""Seconds without any progress after which the demo has failed."""
_LONGEST_PLOT = 120.0
"""Seconds after which a demo that measures until its plot is over has failed."""
_PAUSE = 0.05
"""Seconds until an enqueue is tried again after the store broke off."""


class DemoError(FastschedError):
    """The demo could not be carried through."""


def run_demo(
    folder: Path | None,
    *,
    workers: int,
    limit: int | None,
    quiet: bool,
    postgres: bool = False,
    redis: bool = False,
) -> Report:
    """Run it in a private folder that is removed at the end; the report, whatever it says."""
    root = (folder or Path(sysconfig.get_path("stdlib"))).absolute()
    with tempfile.TemporaryDirectory(prefix="fastsched-demo-") as name:
        scratch = Path(name).resolve()
        with _stage(scratch, postgres=postgres, redis=redis) as stage:
            demo = Demo(stage, root, scratch, threads=workers, limit=limit, quiet=quiet)
            try:
                return demo.run()
            finally:
                demo.stop()


def _stage(scratch: Path, *, postgres: bool, redis: bool) -> Stage:
    if not postgres:
        return SqliteStage(scratch)
    from fastsched.demo.cluster import ClusterStage

    return ClusterStage(redis=redis)


class Demo:
    """One run of it, on a stage that is ready."""

    def __init__(
        self,
        stage: Stage,
        root: Path,
        scratch: Path,
        *,
        threads: int,
        limit: int | None,
        quiet: bool,
    ) -> None:
        self._stage = stage
        self._root = root
        self._scratch = scratch
        self._threads = threads
        self._limit = limit
        self._clock = SystemClock()
        self._log = RunLog(scratch / "runs.jsonl")
        self._trouble = Trouble(scratch / "trouble")
        self._files = find_files(root, limit)
        first = len(self._files) + len(self._trouble.paths)
        self._progress = Progress(None if stage.repeats else first, quiet=quiet)
        self._workers: list[WorkerProcess] = []
        self._faults = Faults(
            clock=self._clock,
            log=self._log,
            workers=self._workers,
            say=self._progress.say,
            produce=self._enqueue_files,
        )
        self._plot = stage.plot(self._faults, first)
        self._plot_over = False
        self._passes = 0
        self._jobs: dict[str, str] = {}
        self._ended = -1
        self._ended_at = self._clock.monotonic()
        scheduler.configure(store_url=stage.store_url)

    def run(self) -> Report:
        """Let the workers measure all files while the plot takes its course, and take stock."""
        if self._stage.repeats and not self._files:
            raise DemoError(f"there are no files below {self._root}; give another with --path")
        began = self._clock.now()
        with self._progress as progress:
            progress.say(f"on {self._stage.title}")
            progress.say(f"{len(self._files):,} files below {self._root}")
            progress.say(f"{len(self._trouble.paths)} more that will fail, below {self._scratch}")
            self._enqueue(self._trouble.paths)
            self._trouble.vanish()
            self._start_workers()
            seconds = -self._clock.monotonic()
            self._enqueue_files()
            seconds += self._clock.monotonic()
            rate = len(self._files) / seconds
            progress.say(f"enqueued {len(self._jobs):,} jobs, {rate:,.0f} a second")
            self._plot_until = self._clock.monotonic() + _LONGEST_PLOT
            self._until(self._idle)
        return Report(self._facts(began, rate))

    def stop(self) -> None:
        """Leave nothing running; may be called twice."""
        for worker in self._workers:
            worker.stop()
        scheduler.stop()

    def _enqueue_files(self, passes: int = 1) -> None:
        """More passes: a job for every file in each."""
        self._enqueue(self._files * passes)
        self._passes += passes

    def _enqueue(self, paths: Sequence[str]) -> None:
        """A job for each path."""
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            jobs = [
                measure.options(priority=priority_of(path)).job(path, str(self._log.path))
                for path in batch
            ]
            self._store(jobs)
            self._jobs.update((job.id, path) for job, path in zip(jobs, batch, strict=True))

    def _store(self, jobs: Sequence[NewJob]) -> None:
        """Enqueue; while the store restarts, again, and no job can be taken twice."""
        end = self._clock.monotonic() + _PATIENCE
        while True:
            try:
                scheduler.enqueue_many(jobs)
                return
            except (StoreUnavailable, EnqueueUnknown):
                if not self._stage.repeats or self._clock.monotonic() > end:
                    raise
                _pause.wait(_PAUSE)

    def _start_workers(self) -> None:
        for name in self._stage.workers:
            url = self._stage.url_of(name)
            worker = WorkerProcess(name, url, self._threads, self._scratch)
            self._workers.append(worker)
            self._progress.say(f"started the {name} worker, pid {worker.pid}")
        self._until(lambda look: len(look.nodes) == len(self._workers))

    def _idle(self, look: StoreStats) -> bool:
        """Whether every job has ended; until then the plot goes on, and work does not run out."""
        if not self._plot_over:
            self._plot_over = next(self._plot, _END) is _END
            if self._stage.repeats:
                if self._clock.monotonic() > self._plot_until:
                    raise DemoError(
                        f"the plot is not over after {_LONGEST_PLOT:g} s; give a folder with more "
                        "files, or with larger ones, with --path"
                    )
                if look.live < max(_LEAST_AHEAD, 2 * len(self._files)):
                    self._enqueue_files(passes=-(-_LEAST_AHEAD // len(self._files)))
                return False
        return look.accepted == len(self._jobs) and not look.live

    def _until(self, happened: Callable[[StoreStats], bool]) -> None:
        """Look, show how far we are, and look again when something may have changed."""
        while not happened(look := scheduler.store_stats()):
            self._note(look)
            try:
                scheduler.wait_until_idle(self._stage.look_every, include_scheduled=True)
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
        left = [worker for worker in self._workers if worker not in self._faults.killed]
        gone = [worker for worker in left if not worker.alive]
        if gone or now > self._ended_at + _PATIENCE:
            worker = (gone or left)[0]
            what = "ended by itself" if gone else f"got nothing done for {_PATIENCE:g} s"
            raise DemoError(f"the {worker.name} worker {what}; its log:\n{worker.log_tail()}")

    def _facts(self, began: float, enqueued_per_second: float) -> Facts:
        dead = scheduler.dead_letters(limit=len(self._jobs))
        return Facts(
            root=str(self._root),
            stage=self._stage.title,
            passes=self._passes,
            jobs=self._jobs,
            vanished=str(self._trouble.vanished),
            again=walk_again(self._root, self._limit) | walk_again(self._trouble.folder, None),
            began=began,
            enqueued_per_second=enqueued_per_second,
            store=scheduler.store_stats(),
            dead={job.id: str(job.failure) for job in dead},
            runs=self._log.read(),
            losses=self._faults.losses,
            restarts=self._faults.restarts,
        )


_END = object()
_pause = threading.Event()  # never set
