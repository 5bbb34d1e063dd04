"""The program whose processes the tests kill.

    python -m durability.program FOLDER ROLE [OPTION=VALUE ...]

It says on standard output what it has done, a line at a time, does what it is told on standard
input, and stops on SIGTERM or when its standard input ends: it never outlives the test.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from durability.jobs import Jobs, fork, join, say


class Telling(logging.Handler):
    """Tells the test what is logged, after its level."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.levelname, " ".join(record.getMessage().split()))


def worker(jobs: Jobs) -> None:
    """Run jobs until told to stop."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    listening = threading.Thread(target=_obey, args=(jobs, stop), daemon=True)
    listening.start()
    jobs.scheduler.start()
    say("ready", jobs.scheduler.stats().node)
    while not stop.wait(1.0):  # a signal does not always wake the main thread
        pass
    jobs.scheduler.stop()
    say("stopped")


def finisher(jobs: Jobs) -> None:
    """Run jobs until nothing is left."""
    jobs.scheduler.start()
    jobs.scheduler.wait_until_idle(include_scheduled=True)
    jobs.scheduler.stop()


def producer(jobs: Jobs) -> None:
    """Enqueue what it is told to."""
    jobs.scheduler.store_stats()  # opens the store
    say("open")
    _obey(jobs, threading.Event())


def forking_producer(jobs: Jobs) -> None:
    """Enqueue in parent and child by turns; the child goes on after the parent has left."""
    work = jobs.work
    jobs.enqueue(work.job(1.0))
    child_may, parent_may = Baton(), Baton()

    def in_child() -> None:
        jobs.enqueue(work.job(1.0))
        parent_may.go_on()
        child_may.wait()
        for _ in range(4):
            jobs.enqueue(work.job(1.0))

    child = fork(jobs, in_child)
    parent_may.wait()
    jobs.enqueue(work.job(1.0), work.job(1.0))
    jobs.scheduler.stop()
    child_may.go_on()
    join(child)


def forking_under_load(jobs: Jobs) -> None:
    """Fork again and again while threads enqueue."""
    stop = threading.Event()

    def enqueue() -> None:
        while not stop.is_set():
            jobs.enqueue(jobs.work.job(0.0))

    threads = [threading.Thread(target=enqueue) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            join(fork(jobs, lambda: jobs.enqueue(jobs.work.job(0.0))))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class Baton:
    """Lets another process go on."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def go_on(self) -> None:
        os.write(self._write, b"!")

    def wait(self) -> None:
        os.read(self._read, 1)


def _obey(jobs: Jobs, stop: threading.Event) -> None:
    """Do what standard input says, until it ends."""
    dice = random.Random(os.getpid())
    for line in sys.stdin:
        match line.split():
            case ["enqueue", count]:
                jobs.enqueue_mixture(int(count), dice)
                say("enqueued")
            case ["fork"]:
                say("child", fork(jobs, lambda: os.read(0, 1)))  # until its input ends
            case ["stats"]:
                stats = jobs.scheduler.stats()
                say("stats", stats.node, stats.stale, stats.completed)
    stop.set()


ROLES: dict[str, Callable[[Jobs], None]] = {
    "worker": worker,
    "finisher": finisher,
    "producer": producer,
    "forking_producer": forking_producer,
    "forking_under_load": forking_under_load,
}


def main(folder: str, role: str, *options: str) -> None:
    log()
    for part in ("node", "writer"):  # not what becomes of single jobs: it would fill the pipe
        logging.getLogger(f"fastsched.{part}").addHandler(Telling())
    ROLES[role](Jobs(Path(folder), role, **settings(*options)))


def log() -> None:
    """Warnings and worse to standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")


def settings(*options: str) -> dict[str, Any]:
    """The options of the command line."""
    given = dict(option.split("=", 1) for option in options)
    return {name: _value(text) for name, text in given.items()}


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


if __name__ == "__main__":
    main(*sys.argv[1:])
