"""Redis makes things quick, and nothing depends on it."""

from __future__ import annotations

import logging
import statistics
import threading
from time import monotonic

import pytest
import redis
from builders import until
from clocks import PATIENCE

from fastsched import Cancelled, ConfigurationError, JobContext, State
from fastsched.bus import Hint, WakeUp
from fastsched.clock import SystemClock
from fastsched.redis_bus import RedisBus


@pytest.fixture
def two_nodes(pg_url, redis_url, cluster):
    """A producer here, and a node elsewhere that runs `job`."""
    return cluster(pg_url, redis_url), cluster(pg_url, redis_url)


def test_an_idle_node_is_woken_at_once_and_the_waiting_one_told(two_nodes):
    here, there = two_nodes
    job = here.job(kind="job")(lambda: None)
    there.job(kind="job")(lambda: None)
    with there:
        job.enqueue().wait(PATIENCE)
        took = []
        for _ in range(20):
            began = monotonic()
            assert job.enqueue().wait(PATIENCE) is State.DONE
            took.append(monotonic() - began)
    assert statistics.median(took) < 0.1


def test_a_job_that_runs_elsewhere_is_cancelled_from_here(two_nodes):
    here, there = two_nodes
    running = threading.Event()

    def handle(ctx: JobContext) -> None:
        running.set()
        ctx.wait(PATIENCE)
        ctx.check()

    there.job(kind="job")(handle)
    with there:
        job = here.job(kind="job")(handle).enqueue()
        assert running.wait(PATIENCE)
        assert job.cancel() is Cancelled.REQUESTED
        assert job.wait(PATIENCE) is State.CANCELLED


def test_without_redis_jobs_run_at_the_pace_of_a_look_a_second(pg_url, tmp_path, cluster):
    nowhere = f"unix://{tmp_path}/nothing.sock"
    here, there = cluster(pg_url, nowhere), cluster(pg_url, nowhere)
    job = here.job(kind="job")(lambda: None)
    there.job(kind="job")(lambda: None)
    with there:
        began = monotonic()
        handles = [job.enqueue() for _ in range(50)]
        assert monotonic() - began < 2  # publishing holds nobody up
        assert [handle.wait(PATIENCE) for handle in handles] == [State.DONE] * 50


def test_a_redis_that_dies_and_comes_back_loses_nothing(pg_url, breakable_redis, cluster):
    here, there = (cluster(pg_url, breakable_redis.url) for _ in range(2))
    job = here.job(kind="job")(lambda: None)
    there.job(kind="job")(lambda: None)
    with there:
        assert job.enqueue().wait(PATIENCE) is State.DONE
        breakable_redis.stop("kill")
        assert job.enqueue().wait(PATIENCE) is State.DONE
        breakable_redis.start()
        assert job.enqueue().wait(PATIENCE) is State.DONE
        breakable_redis.pause()
        began = monotonic()
        stalled = job.enqueue()
        assert monotonic() - began < 1
        assert stalled.wait(PATIENCE) is State.DONE
        breakable_redis.resume()
        assert job.enqueue().wait(PATIENCE) is State.DONE
    assert here.store_stats().done == 5


@pytest.mark.parametrize(
    "lie",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"from":"x"}', b"x" * 100_000,
     b'{"from":"x","wake":["a",{}],"ended":null,"cancel":true}',
     b'{"from":"x","wake":null,"ended":[1],"cancel":true}'],
)  # fmt: skip
def test_a_lying_redis_is_not_believed(redis_url, lie, caplog):
    caplog.set_level(logging.WARNING, "fastsched.bus")
    heard: list[Hint] = []
    bus, other = RedisBus(redis_url, SystemClock()), RedisBus(redis_url, SystemClock())
    bus.subscribe(heard.append)
    until(lambda: len(heard) == 1)  # the look at all, after subscribing
    with redis.Redis.from_url(redis_url) as client:
        client.publish("fastsched:hints", lie)
    truth = Hint(WakeUp(7, 5.0), frozenset({"an id"}), cancel=True)
    other.publish(truth)
    until(lambda: len(heard) == 2)
    assert heard[1] == truth
    assert "not a hint" in caplog.text
    bus.close()
    other.close()


def test_a_node_does_not_hear_itself(redis_url):
    heard: list[Hint] = []
    bus, other = RedisBus(redis_url, SystemClock()), RedisBus(redis_url, SystemClock())
    bus.subscribe(heard.append)
    until(lambda: len(heard) == 1)
    bus.publish(Hint(cancel=True))
    other.publish(Hint(ended=frozenset({"theirs"})))
    until(lambda: len(heard) == 2)
    assert heard[1].ended == {"theirs"}
    bus.close()
    other.close()


def test_ended_jobs_are_found_in_redis_until_they_are_requeued(two_nodes, redis_url):
    here, there = two_nodes
    job = here.job(kind="job", max_attempts=1)(lambda: 1 / 0)
    with here:
        handle = job.enqueue()
        assert handle.wait(PATIENCE) is State.DEAD
        dead = here.find(handle.id)
    with redis.Redis.from_url(redis_url) as client:
        assert client.keys() == [f"fastsched:job:{handle.id}".encode()]
    assert there.find(handle.id) == dead
    assert there.requeue(handle.id) == [handle.id]
    assert here.find(handle.id).state is not State.DEAD


def test_redis_is_refused_where_it_does_not_belong(tmp_path):
    from fastsched import Scheduler

    with pytest.raises(ConfigurationError, match="redis joins servers on one PostgreSQL"):
        Scheduler(f"sqlite:///{tmp_path}/jobs.db", redis="redis://localhost")
    with pytest.raises(ConfigurationError, match="not a scheme of Redis"):
        Scheduler("postgresql://localhost/db", redis="http://localhost")
