"""The Redis user of docs/operating.md can do what fastsched does, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from builders import until
from servers.fixtures import started

from fastsched.bus import Hint
from fastsched.clock import SystemClock
from fastsched.ids import new_id
from fastsched.redis_bus import RedisBus
from fastsched.redis_cache import RedisJobCache
from fastsched.servers import PrivateRedis

OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"


def documented() -> list[str]:
    """The line that operators are told to run, as words, with a password in it."""
    (line,) = [
        line for line in OPERATING.read_text().splitlines() if line.startswith("ACL SETUSER")
    ]
    assert ">PASSWORD" in line
    return line.replace(">PASSWORD", ">secret").split()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with started(PrivateRedis(tcp=True)) as server:
        with redis.Redis.from_url(server.url) as admin:
            admin.execute_command(*documented())
            admin.set("other:job:1", "x")
        host, port = server.address
        yield f"redis://fastsched:secret@{host}:{port}/0"


def test_it_can_tell_listen_keep_and_forget(url: str) -> None:
    heard: list[Hint] = []
    here, there = (RedisBus(url, SystemClock()) for _ in range(2))
    there.subscribe(heard.append)
    until(lambda: len(heard) == 1)
    here.publish(Hint(cancel=True))
    until(lambda: len(heard) == 2)
    cache = RedisJobCache(url)
    assert cache.get(new_id()) is None
    cache.forget([new_id()])
    assert not cache._changed  # Redis was told
    for each in (here, there, cache):
        each.close()


REFUSED = """
EVAL return_1 0|SCRIPT LOAD x|FUNCTION LIST|FCALL f 0|CONFIG GET *|CONFIG SET dir /tmp|KEYS *|SCAN 0
FLUSHALL|FLUSHDB|SHUTDOWN|MONITOR|CLIENT LIST|CLIENT KILL ID 1|ACL LIST|ACL WHOAMI
MODULE LIST|REPLICAOF a 1|SAVE|INFO|DBSIZE|RANDOMKEY|SELECT 1|RENAME fastsched:a fastsched:b
LPUSH fastsched:a x|HSET fastsched:a b c|EXPIRE fastsched:a 1|PSUBSCRIBE *|PUBSUB CHANNELS
GET other:job:1|SET other:job:1 y|DEL other:job:1|SET fastsched x|GET fastschedx
PUBLISH other:hints x|SUBSCRIBE other:hints|PUBLISH fastschedx y
"""


def test_it_can_do_nothing_else(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        for line in REFUSED.strip().splitlines():
            for command in line.split("|"):
                with pytest.raises(redis.ResponseError) as refused:
                    client.execute_command(*command.split())
                assert isinstance(refused.value, redis.exceptions.NoPermissionError), command


def test_the_names_of_keys_and_channels_start_with_the_prefix(
    redis_url: str, make_scheduler: Callable[..., object]
) -> None:
    with redis.Redis.from_url(redis_url) as admin, admin.pubsub() as everything:
        everything.psubscribe("*")
        everything.get_message(timeout=1)
        bus, cache = (
            RedisBus(redis_url, SystemClock(), prefix="mine"),
            RedisJobCache(redis_url, prefix="mine"),
        )
        bus.publish(Hint(cancel=True))
        message = None
        while message is None:
            message = everything.get_message(timeout=5)
        assert message["channel"] == b"mine:hints"
        cache.forget([new_id()])
        assert all(key.startswith(b"mine:job:") for key in admin.keys("*"))
        bus.close()
        cache.close()
