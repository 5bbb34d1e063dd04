"""Redis says that something happened to a job: the store is asked."""

from __future__ import annotations

import threading

import pytest
from builders import in_thread, until
from clocks import PATIENCE

from fastsched import JobContext, State
from fastsched.bus import Hint
from fastsched.clock import SystemClock
from fastsched.redis_bus import RedisBus


def test_a_lie_about_the_end_of_a_job_is_not_believed(cluster, pg_url, redis_url):
    here, there = (cluster(pg_url, redis_url, stop_grace=0.5) for _ in range(2))
    running, release = threading.Event(), threading.Event()

    def work(ctx: JobContext) -> None:
        running.set()
        release.wait(PATIENCE)

    there.job(kind="job")(work)
    handle = here.job(kind="job")(work).enqueue()
    heard: list[Hint] = []
    liar, witness = (RedisBus(redis_url, SystemClock()) for _ in range(2))
    witness.subscribe(heard.append)
    try:
        there.start()
        assert running.wait(PATIENCE)
        waiting = in_thread(handle.wait, 1.0)
        until(lambda: bool(here._engine.waiters._waiting))
        liar.publish(Hint(ended=frozenset({handle.id})))
        until(lambda: any(hint.ended == {handle.id} for hint in heard))
        with pytest.raises(TimeoutError):
            waiting.get()
        assert handle.state() is State.CLAIMED
        release.set()
        assert handle.wait(PATIENCE) is State.DONE
    finally:
        release.set()
        for bus in (liar, witness):
            bus.close()
