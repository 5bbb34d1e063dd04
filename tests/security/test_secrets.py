"""A password of a URL and an argument of a job: through a whole life they get into no log, no
message, no traceback and no answer of a command."""

from __future__ import annotations

import base64
import logging
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from builders import until
from click.testing import CliRunner
from clocks import PATIENCE
from servers.fixtures import started

from fastsched import FastschedError, JobContext, Scheduler, State
from fastsched.cli import commands
from fastsched.retry import fixed
from fastsched.servers import PrivatePostgres, PrivateRedis

PASSWORD = "hunter2/S3cr%t@#?"
ARGUMENT = "canary-argument-7391"
SECRETS = {
    text
    for secret in (PASSWORD, ARGUMENT)
    for text in (
        secret,
        quote(secret, safe=""),
        secret[:7],
        base64.b64encode(secret.encode()).decode()[:8],
        secret.encode().hex(),
    )
}


class Told:
    """Everything that was said."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def error(self, call: Callable[[], Any]) -> None:
        """The call fails; all that its error says, with what caused it."""
        try:
            value = call()
        except Exception as error:
            chain: BaseException | None = error
            self.texts += traceback.format_exception(error)
            while chain is not None:
                self.texts += [str(chain), repr(chain), repr(chain.args)]
                if isinstance(chain, FastschedError):
                    self.texts.append(repr(vars(chain)))
                chain = chain.__cause__ or chain.__context__
        else:
            raise AssertionError(f"{value!r} instead of an error")

    def value(self, *values: Any) -> None:
        for value in values:
            self.texts += [repr(value), str(value), f"{value}"]

    def check(self) -> None:
        for text in self.texts:
            found = [secret for secret in SECRETS if secret in text]
            assert not found, text


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[Told]:
    """At the end of the test: nothing of it is secret, nor is anything in the log."""
    told = Told()
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield told
    told.texts += [str(warning.message) for warning in warned]
    formatter = logging.Formatter("%(message)s %(exc_info)s")
    for record in caplog.records:
        told.texts += [formatter.format(record), repr(vars(record)), repr(record.args)]
    told.check()


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[PrivatePostgres, PrivateRedis]]:
    """A PostgreSQL and a Redis that want passwords."""
    with (
        started(PrivatePostgres(durable=False, tcp=True)) as pg,
        started(PrivateRedis(tcp=True)) as redis,
    ):
        escaped = PASSWORD.replace("'", "''")
        pg.query(f"CREATE ROLE app LOGIN PASSWORD '{escaped}' IN ROLE pg_read_all_stats")
        pg.query("CREATE DATABASE secrets OWNER app")
        pg.query("CREATE DATABASE lost OWNER app")
        yield pg, redis


@pytest.fixture
def urls(servers: tuple[PrivatePostgres, PrivateRedis]) -> tuple[str, str]:
    import redis

    pg, cache = servers
    with redis.Redis.from_url(cache.url) as admin:
        admin.execute_command("ACL", "SETUSER", "app", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    secret = quote(PASSWORD, safe="")
    host, port = pg.address
    redis_host, redis_port = cache.address
    return (
        f"postgresql://app:{secret}@{host}:{port}/secrets",
        f"redis://app:{secret}@{redis_host}:{redis_port}/0",
    )


def test_a_whole_life_tells_nothing(
    urls: tuple[str, str], make_scheduler: Callable[..., Scheduler], told: Told
) -> None:
    store_url, redis_url = urls
    scheduler = make_scheduler(store_url, redis=redis_url, workers=2)

    def work(ctx: JobContext, do: str, secret: str) -> None:
        told.value(ctx, ctx.job, ctx.claim, ctx.logger)
        ctx.logger.warning("at work")
        if do == "transaction":
            with ctx.transaction() as db:
                db.execute("SELECT 1")
        if do == "sleep":
            ctx.wait(60)
            ctx.check()
        if do == "fail" or (do == "retry" and ctx.attempt == 1):
            raise ValueError("no luck")

    for name in ("on_completed", "on_retried", "on_dead", "on_expired", "on_cancelled"):
        getattr(scheduler, name)(told.value)
    job = scheduler.job(kind="job", max_attempts=2, backoff=fixed(0))(work)
    narrow = scheduler.job(kind="narrow", max_attempts=1)(lambda: None)
    told.value(scheduler, scheduler.settings, scheduler.store_name, job, job.options(delay=1))
    told.value(scheduler.__dict__["_settings"], job.job("x", ARGUMENT), [job.job("x", ARGUMENT)])
    told.error(lambda: narrow.enqueue(ARGUMENT))
    told.error(lambda: job.enqueue("x", [ARGUMENT, {1}]))
    told.error(lambda: scheduler.enqueue(job.job("x", ARGUMENT)._replace(priority=10**6)))
    told.error(lambda: scheduler.enqueue(job.job("x", ARGUMENT)._replace(payload=ARGUMENT)))
    twin = job.job("x", ARGUMENT)
    told.error(lambda: scheduler.enqueue_many([twin, twin._replace(kind="other")]))
    wrong = job.job("x", ARGUMENT)._replace(payload=f'[["{ARGUMENT}"],{{}}]'.encode())
    strange = job.job("x", ARGUMENT)._replace(payload=f'[["{ARGUMENT}"'.encode())
    ends = scheduler.enqueue_many(
        [*(job.job(do, ARGUMENT) for do in ("run", "transaction", "retry", "fail")), wrong, strange]
    )
    late = job.options(deadline=0).enqueue("late", ARGUMENT)
    with scheduler:
        told.value(*ends, *(end.wait(PATIENCE) for end in (*ends, late)))
        running = job.options(timeout=0.05).enqueue("sleep", ARGUMENT)
        assert running.wait(PATIENCE) is State.DEAD
        cancelled = job.enqueue("sleep", ARGUMENT)
        until(lambda: bool(scheduler.running()))
        told.value(*scheduler.running())
        cancelled.cancel()
        cancelled.wait(PATIENCE)
    assert ends[4].state() is ends[5].state() is State.DEAD
    told.value(*scheduler.jobs(), *scheduler.dead_letters(), ends[3].job(), scheduler.stats())
    told.value(scheduler.store_stats())
    for command in ("jobs list", "jobs list --json", "dead list", "dead list --json", "stats",
                    "stats --json", "doctor", "doctor --json", "db status", "db upgrade",
                    f"jobs show {ends[3].id}", f"dead show {ends[3].id} --json", "jobs show x",
                    f"dead requeue {ends[3].id}", "worker no_such_module"):  # fmt: skip
        environment = {"FASTSCHED_URL": store_url, "FASTSCHED_REDIS_URL": redis_url}
        result = CliRunner().invoke(commands, command.split(), env=environment)
        assert result.output
        told.value(result.output, *(result.exc_info or ()))


@pytest.mark.parametrize("wrong", ["password", "port", "host", "database", "sslmode", "options"])
def test_a_server_that_lets_nobody_in_is_told_without_the_password(
    urls: tuple[str, str], make_scheduler: Callable[..., Scheduler], told: Told, wrong: str
) -> None:
    store_url, redis_url = urls
    changes = {
        "password": ("app:", "app:x"),
        "port": (store_url.rpartition(":")[2].partition("/")[0], "1"),
        "host": ("@127.0.0.1", "@nowhere.invalid"),
        "database": ("/secrets", "/none"),
        "sslmode": ("/secrets", "/secrets?sslmode=require"),
        "options": ("/secrets", "/secrets?options=-cno_such_thing%3D1"),
    }
    store_url = store_url.replace(*changes[wrong])
    redis_url = redis_url.replace(*changes[wrong]) if wrong != "port" else redis_url
    scheduler = make_scheduler(store_url, redis=redis_url)
    job = scheduler.job(kind="job")(lambda secret: None)
    for call in (lambda: job.enqueue(ARGUMENT), scheduler.start, scheduler.store_stats):
        told.error(call)
    told.value(scheduler)
    for command in ("jobs list", "doctor", "db upgrade"):
        environment = {"FASTSCHED_URL": store_url, "FASTSCHED_REDIS_URL": redis_url}
        result = CliRunner().invoke(commands, command.split(), env=environment)
        assert result.exit_code == 4
        told.value(result.output)


def test_a_redis_that_lets_nobody_in_is_told_without_the_password(
    urls: tuple[str, str], make_scheduler: Callable[..., Scheduler], told: Told, caplog: Any
) -> None:
    store_url, redis_url = urls
    wrong = redis_url.replace("app:", "app:x")
    scheduler = make_scheduler(store_url, redis=wrong)
    with scheduler:
        scheduler.job(kind="job")(lambda secret: None).enqueue(ARGUMENT).wait(PATIENCE)
        until(lambda: "hints cannot be" in caplog.text)
    told.value(scheduler)
    environment = {"FASTSCHED_URL": store_url, "FASTSCHED_REDIS_URL": wrong}
    result = CliRunner().invoke(commands, ["doctor"], env=environment)
    assert "Redis does not answer" in result.output
    told.value(result.output)


def test_lost_connections_and_retries_are_told_without_secrets(
    urls: tuple[str, str], servers: Any, make_scheduler: Callable[..., Scheduler], told: Told
) -> None:
    scheduler = make_scheduler(urls[0].replace("/secrets", "/lost"), redis=urls[1], workers=1)
    pg = servers[0]
    job = scheduler.job(kind="job", backoff=fixed(0))(lambda secret: None)
    handles = [job.enqueue(ARGUMENT) for _ in range(5)]
    with scheduler:
        pg.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
            "fastsched",
        )
        handles += [job.enqueue(ARGUMENT) for _ in range(5)]
        assert {handle.wait(PATIENCE) for handle in handles} == {State.DONE}
    pg.query("ALTER DATABASE lost CONNECTION LIMIT 0")
    pg.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
        "fastsched",
    )
    told.error(lambda: job.enqueue(ARGUMENT))
    told.error(scheduler.start)
    pg.query("ALTER DATABASE lost CONNECTION LIMIT -1")


def test_a_worker_process_tells_no_secret_and_shows_none_to_who_lists_processes(
    urls: tuple[str, str], tmp_path: Path, told: Told
) -> None:
    (tmp_path / "program.py").write_text(
        "from fastsched import Scheduler\n"
        "scheduler = Scheduler(workers=1)\n"
        "@scheduler.job(kind='job', max_attempts=1)\n"
        "def job(secret):\n"
        "    raise ValueError('no luck')\n"
        "if __name__ == '__main__':\n"
        f"    job.enqueue('{ARGUMENT}')\n"
    )
    environment = {**os.environ, "FASTSCHED_URL": urls[0], "FASTSCHED_REDIS_URL": urls[1]}
    for how in (["program.py"], ["-m", "fastsched", "worker", "program", "--until-idle"]):
        done = subprocess.run(
            [sys.executable, *how],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert done.returncode == 0, done.stderr
        told.value(done.stdout, done.stderr)
    assert "no luck" in done.stderr
    with psycopg.connect(urls[0]) as db:
        names = db.execute("SELECT application_name, query FROM pg_stat_activity").fetchall()
    told.value(*(name for name, _ in names))
