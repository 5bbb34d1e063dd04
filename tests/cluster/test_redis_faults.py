"""Redis is killed, emptied, frozen, full, or guarded: that costs latency, never a job."""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest
import redis
from builders import until
from clocks import PATIENCE
from servers.fixtures import started

from fastsched import Scheduler, State
from fastsched.bus import Hint
from fastsched.clock import SystemClock
from fastsched.redis_bus import RedisBus
from fastsched.servers import PrivateRedis, ServerFailed

LEAST = "~fastsched:* &fastsched:* -@all +publish +subscribe +get +set +del +ping +client|setname"
"""The least that a user needs."""
OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"


class Pair:
    """A producer, and a node elsewhere that runs its jobs."""

    def __init__(self, cluster: Callable[..., Scheduler], pg_url: str, redis_url: str) -> None:
        self.here, self.there = cluster(pg_url, redis_url), cluster(pg_url, redis_url)
        self.job = self.here.job(kind="job")(lambda: None)
        self.there.job(kind="job")(lambda: None)
        self.there.start()

    def run(self) -> float:
        """Enqueue a job here and wait until it has run there; seconds."""
        began = monotonic()
        assert self.job.enqueue().wait(PATIENCE) is State.DONE
        return monotonic() - began

    def until_quick(self) -> None:
        """Wait until hints arrive again."""
        until(lambda: self.run() < 0.2, "a hint")


@pytest.fixture
def pair(cluster, pg_url: str, breakable_redis: PrivateRedis) -> Pair:
    pair = Pair(cluster, pg_url, breakable_redis.url)
    pair.until_quick()
    return pair


def client(server: PrivateRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url)


def test_a_flushed_redis_is_not_noticed(pair: Pair, breakable_redis: PrivateRedis) -> None:
    with client(breakable_redis) as admin:
        admin.flushall()
    assert statistics.median(pair.run() for _ in range(5)) < 0.2


def test_after_a_restart_of_redis_hints_come_again_by_themselves(
    pair: Pair, breakable_redis: PrivateRedis
) -> None:
    breakable_redis.kill()
    assert pair.run() < 3.0  # found by looking
    breakable_redis.start()
    pair.until_quick()


def test_killed_connections_come_back(pair: Pair, breakable_redis: PrivateRedis) -> None:
    with client(breakable_redis) as admin:
        admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    pair.until_quick()


def test_a_frozen_redis_holds_up_no_enqueue(pair: Pair, breakable_redis: PrivateRedis) -> None:
    breakable_redis.pause()
    took = []
    handles = []
    for _ in range(30):
        began = monotonic()
        handles.append(pair.job.enqueue())
        took.append(monotonic() - began)
    assert statistics.median(took) < 0.05
    assert {handle.wait(PATIENCE) for handle in handles} == {State.DONE}
    breakable_redis.resume()
    pair.until_quick()


def test_a_frozen_redis_holds_up_no_look_for_long(
    pair: Pair, breakable_redis: PrivateRedis
) -> None:
    handle = pair.job.options(delay=3600).enqueue()
    breakable_redis.pause()
    began = monotonic()
    assert [pair.here.find(handle.id) is None for _ in range(20)] == [False] * 20
    assert monotonic() - began < 3.0  # it is asked once, and then left alone for a while


def test_a_full_redis_still_carries_hints(cluster, pg_url: str) -> None:
    settings = {"maxmemory": "1", "maxmemory-policy": "noeviction"}
    with started(PrivateRedis(settings=settings)) as full:
        with client(full) as admin, pytest.raises(redis.OutOfMemoryError):
            admin.set("more", "x")
        pair = Pair(cluster, pg_url, full.url)
        pair.until_quick()
        cancelled = pair.job.options(delay=3600).enqueue()
        cancelled.cancel()
        job = pair.here.find(cancelled.id)
        assert job is not None
        assert job.state is State.CANCELLED
        pair.there.stop()


def test_wrong_types_under_our_keys_are_passed_over(
    pair: Pair, breakable_redis: PrivateRedis
) -> None:
    cancelled = pair.job.options(delay=3600).enqueue()
    cancelled.cancel()
    with client(breakable_redis) as admin:
        admin.rpush(f"fastsched:job:{cancelled.id}", "not", "a", "snapshot")
        admin.set("fastsched:hints", "not a channel")
        for lie in (b"{}", b"[]", b'"x"', b"\xff", b'{"payload": 1}'):
            assert pair.here.find(cancelled.id).state is State.CANCELLED
            admin.set(f"fastsched:job:{cancelled.id}", lie)
    assert pair.here.find(cancelled.id).state is State.CANCELLED
    pair.until_quick()


def test_a_snapshot_of_another_job_is_not_believed(
    pair: Pair, breakable_redis: PrivateRedis
) -> None:
    first, second = (pair.job.options(delay=3600).enqueue() for _ in range(2))
    first.cancel()
    assert pair.here.find(first.id) is not None  # and keeps it
    with client(breakable_redis) as admin:
        admin.copy(f"fastsched:job:{first.id}", f"fastsched:job:{second.id}")
    assert pair.here.find(second.id).state is State.SCHEDULED


def test_a_late_snapshot_does_not_outlive_a_requeue(pair: Pair) -> None:
    failing = pair.here.job(kind="failing", max_attempts=1)(lambda: 1 / 0)
    pair.there.job(kind="failing", max_attempts=1)(lambda: 1 / 0)
    handle = failing.enqueue()
    assert handle.wait(PATIENCE) is State.DEAD
    dead = pair.there._engine.store.job(handle.id)  # read, and about to be kept
    pair.there.stop()
    assert pair.here.requeue(handle.id) == [handle.id]
    pair.here._engine._cache.put(dead)
    assert pair.here.find(handle.id).state is State.READY


def documented() -> str:
    """The rights that the documentation tells operators to give."""
    text = OPERATING.read_text()
    return text.partition(">PASSWORD ")[2].partition("\n")[0]


@pytest.mark.parametrize("rights", [documented(), LEAST], ids=["documented", "least"])
def test_a_user_of_few_rights_is_enough(cluster, pg_url: str, rights: str, caplog) -> None:
    with started(PrivateRedis(tcp=True)) as server:
        with client(server) as admin:
            admin.execute_command("ACL", "SETUSER", "app", "on", ">secret", *rights.split())
        host, port = server.address
        pair = Pair(cluster, pg_url, f"redis://app:secret@{host}:{port}")
        pair.until_quick()
        cancelled = pair.job.options(delay=3600).enqueue()
        cancelled.cancel()
        assert pair.here.find(cancelled.id) == pair.there.find(cancelled.id) is not None
        with client(server) as admin:
            assert admin.exists(f"fastsched:job:{cancelled.id}")
        pair.there.stop()
        pair.here.stop()
    assert not [record for record in caplog.records if record.name == "fastsched.bus"]


def test_what_gathers_while_redis_is_away_stays_one_small_message(redis_url: str) -> None:
    heard: list[Hint] = []
    listening, away = (RedisBus(redis_url, SystemClock()) for _ in range(2))
    listening.subscribe(heard.append)
    until(lambda: len(heard) == 1)
    with away._changed:  # the publisher cannot go on meanwhile
        for number in range(5_000):
            away.publish(Hint(ended=frozenset({f"{number:036}"})))
    until(lambda: len(heard) > 1)
    assert heard[-1].ended is None  # some have ended: look
    for bus in (listening, away):
        bus.close()


def test_closing_does_not_wait_for_a_frozen_redis(breakable_redis: PrivateRedis) -> None:
    bus = RedisBus(breakable_redis.url, SystemClock())
    heard = threading.Event()
    bus.subscribe(lambda hint: heard.set())
    assert heard.wait(PATIENCE)
    breakable_redis.pause()
    bus.publish(Hint(cancel=True))
    began = monotonic()
    bus.close()
    assert monotonic() - began < 5.0


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[str]:
    """The URL of a Redis that speaks TLS, with a certificate of this test's own authority."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out",
         "cert.pem"],
        cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "tls-port": port,
        "tls-cert-file": tmp_path / "cert.pem",
        "tls-key-file": tmp_path / "key.pem",
        "tls-ca-cert-file": tmp_path / "cert.pem",
        "tls-auth-clients": "no",
    }
    with with_tls({name: str(value) for name, value in settings.items()}):
        yield f"rediss://localhost:{port}?ssl_ca_certs={tmp_path}/cert.pem"


def with_tls(settings: dict[str, str]) -> PrivateRedis:
    """The first server on this machine that was built with TLS."""
    for program in (None, shutil.which("redis-server"), shutil.which("valkey-server")):
        try:
            return started(PrivateRedis(program, settings=settings))
        except ServerFailed as error:
            why = str(error)
    pytest.skip(f"no Redis with TLS: {why.splitlines()[-1]}")


def test_hints_may_be_encrypted(cluster, pg_url: str, encrypted: str, caplog) -> None:
    pair = Pair(cluster, pg_url, encrypted)
    pair.until_quick()
    pair.there.stop()
    assert not [record for record in caplog.records if record.name == "fastsched.bus"]


def test_a_certificate_of_an_unknown_authority_is_refused(
    encrypted: str, cluster, pg_url: str, caplog
) -> None:
    pair = Pair(cluster, pg_url, encrypted.partition("?")[0])
    assert pair.run() < 3.0  # by looking
    until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)
    pair.there.stop()
