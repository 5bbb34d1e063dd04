"""A started scheduler and the signals that end it.

A signal handler does one thing: it puts the signal's number on a `SimpleQueue`, which may be done
at any point of the main thread's code. The main thread sleeps in `get` and acts on what comes.

Python runs signal handlers in the main thread, and does not always wake it for them: not for a
signal that comes to another thread, nor for one that comes just as the main thread goes to sleep,
which takes long where jobs hold the interpreter's lock. So it never sleeps for long.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
from enum import Enum, auto
from queue import Empty, SimpleQueue
from types import FrameType

import click

import fastsched
from fastsched.cli.output import say_facts
from fastsched.cli.text import clean
from fastsched.errors import FastschedError
from fastsched.scheduler import Scheduler

_log = logging.getLogger("fastsched.worker")
_STOP = (signal.SIGTERM, signal.SIGINT)
_DUMP = (signal.SIGUSR1, signal.SIGTTIN)
_LONGEST_SLEEP = 1.0
"""Seconds after which a signal is heard at the latest."""


class _News(Enum):
    IDLE = auto()
    STOPPED = auto()


News = SimpleQueue[int | _News | BaseException]


def serve(
    scheduler: Scheduler, target: str, *, grace: float | None, until_idle: bool, banner: bool
) -> int:
    """Run jobs until a signal, or until nothing is left to do; the number of failed runs."""
    news: News = SimpleQueue()
    _listen_to_signals(news)
    if grace is None:
        grace = scheduler.settings.stop_grace
    if banner:
        _introduce(scheduler, target, grace)
    scheduler.start()
    _log.info("worker %d started on %s", os.getpid(), scheduler.store_name)
    if until_idle:
        _in_thread(_wait_until_idle, scheduler, news)
    stopping = False
    while (item := _next(news)) is not _News.STOPPED:
        match item:
            case BaseException():
                raise item
            case signal.SIGUSR1 | signal.SIGTTIN:
                _tell_running(scheduler)
            case _ if not stopping:
                stopping = True
                _say_stopping(scheduler, item, grace)
                _in_thread(_stop, scheduler, grace, news)
            case signal.SIGTERM | signal.SIGINT:
                _log.warning("stopping at once: running jobs are given back")
                scheduler.hurry()
    _log.info("worker %d stopped", os.getpid())
    return scheduler.stats().failed


def _next(news: News) -> int | _News | BaseException:
    while True:
        try:
            return news.get(timeout=_LONGEST_SLEEP)
        except Empty:
            pass  # signals have been handled on the way


def _listen_to_signals(news: News) -> None:
    def heard(number: int, frame: FrameType | None) -> None:
        news.put(number)

    for number in (*_STOP, *_DUMP):
        signal.signal(number, heard)
    for number in _DUMP:  # in C, so it tells even where a thread holds the interpreter's lock
        faulthandler.register(number, all_threads=True, chain=True)


def _introduce(scheduler: Scheduler, target: str, grace: float) -> None:
    """What this worker is, what it will run, and how to end it."""
    from fastsched import heap

    settings = scheduler.settings
    queues = "all" if settings.queues is None else ", ".join(settings.queues)
    kinds = ", ".join(scheduler.kinds) or f"none: {target} has no jobs registered, nothing will run"
    click.echo(f"fastsched {fastsched.__version__} worker, pid {os.getpid()}", err=True)
    say_facts(
        [
            ("store", scheduler.store_name),
            ("queues", queues),
            ("workers", settings.workers),
            ("heap", heap.IMPLEMENTATION),
            ("kinds", kinds),
        ],
        err=True,
    )
    click.echo(
        f"Ctrl-C or SIGTERM: take no more jobs, give running ones {grace:g} s; "
        "again: stop them now.",
        err=True,
    )


def _in_thread(function: object, *args: object) -> None:
    threading.Thread(target=function, args=args, daemon=True).start()  # type: ignore[arg-type]


def _wait_until_idle(scheduler: Scheduler, news: News) -> None:
    try:
        scheduler.wait_until_idle()
    except FastschedError as error:
        if scheduler.started:  # otherwise a stop has closed the store meanwhile
            news.put(error)
    else:
        news.put(_News.IDLE)


def _stop(scheduler: Scheduler, grace: float, news: News) -> None:
    try:
        scheduler.stop(grace)
    except BaseException as error:
        news.put(error)
    else:
        news.put(_News.STOPPED)


def _say_stopping(scheduler: Scheduler, why: object, grace: float) -> None:
    if why is _News.IDLE:
        later = scheduler.store_stats().scheduled
        _log.info("nothing is ready or running; due later: %d", later)
        return
    _log.info("draining; jobs running: %d; they have %g s", len(scheduler.running()), grace)


def _tell_running(scheduler: Scheduler) -> None:
    """After the stacks that faulthandler wrote: which jobs these threads run."""
    running = scheduler.running()
    print(f"fastsched worker {os.getpid()} runs {len(running)} jobs", file=sys.stderr)
    for run in running:
        print(
            clean(f"  {run.id} {run.kind} attempt {run.attempt}, {run.elapsed:.1f} s"),
            file=sys.stderr,
            flush=True,
        )
