"""A process that runs the jobs in a store under an audit hook: usage, URL; prints what happened."""

from __future__ import annotations

import json
import logging
import pickle
import sys
import threading
from collections.abc import Iterator
from typing import Any

from click.testing import CliRunner
from input.tables import PostgresTables, SqliteTables, Tables, write_job

from fastsched import Scheduler
from fastsched.cli import commands
from fastsched.retry import fixed

EVIL_KINDS = [
    "os.system", "os:system", "subprocess.call", "builtins.eval", "builtins.exec", "__import__",
    "evil_module.run", "evil_module:run", "evil_module", "evil_package.evil.run", "./evil_module",
    "fastsched.cli.main", "scheduler", "job.__globals__", "audited.work", "importlib.import_module",
    "a" * 10_000, "..", "job\0", "job ", "JOB",
]  # fmt: skip
never = threading.Event()
EVIL_CALLS = ["evil_module", "evil_module.run", "import evil_module", "/evil_path", "!!python/evil"]


class Reduced:
    def __reduce__(self) -> tuple[Any, ...]:
        return __import__, ("evil_module",)


def evil_payloads() -> Iterator[bytes]:
    yield pickle.dumps(Reduced())
    yield pickle.dumps([[Reduced()], {}], protocol=0)
    yield b"!!python/object/apply:evil_module.run []"
    yield b"__import__('evil_module')"
    for text in EVIL_CALLS:
        yield json.dumps([[text], {}]).encode()
        yield json.dumps([[{"__class__": text, "py/object": text, "$type": text}], {}]).encode()
        yield json.dumps([[], {text: text}]).encode()


def write_rows(tables: Tables, *, evil: bool) -> None:
    kinds = [k for k in EVIL_KINDS if evil or k == "scheduler"]
    for kind in kinds:
        if isinstance(tables, SqliteTables) or "\0" not in kind:
            write_job(tables, kind=kind, payload=b'[["true"],{}]')
    for payload in evil_payloads() if evil else [b"[[],{}]", b"x", b"[[1],{}]"]:
        write_job(tables, payload=payload, max_attempts=1)
    for text in EVIL_CALLS if evil else ["ValueError"]:
        failure = json.dumps({"type": text, "message": text, "traceback": text})
        write_job(tables, state="dead", failure=failure, reason=text, queue=text)
        write_job(tables, queue=text, payload=b"[[2],{}]")


def work(*args: Any) -> None:
    if args == (1,):
        raise ValueError("no luck")


WAITS = "SELECT 1 FROM {jobs} WHERE kind = 'job' AND state IN ('ready', 'scheduled', 'claimed')"


def run(scheduler: Scheduler, tables: Tables, url: str) -> None:
    """A life: run all there is, look at all there is."""
    with scheduler:
        while tables.run(WAITS):
            never.wait(0.01)
    for job in scheduler.jobs(limit=10_000):
        scheduler.find(job.id)
        repr(job)
    for command in ("jobs list --show-args", "dead list", "jobs list --json --show-args", "stats"):
        result = CliRunner().invoke(commands, [*command.split(), "--store", url])
        assert result.exit_code == 0, result.output
    for job in scheduler.dead_letters(limit=3):
        CliRunner().invoke(commands, ["dead", "show", job.id, "--store", url])
    scheduler.requeue(*(job.id for job in scheduler.dead_letters()))
    scheduler.cancel(scheduler.jobs()[0].id)
    scheduler.stop()


def main(url: str) -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.DEBUG)
    happened: list[tuple[str, str]] = []
    listening = False

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if listening:
            happened.append((event, repr(args)[:500]))

    sys.addaudithook(hook)
    maker = Scheduler(url)
    maker.store_stats()
    maker.stop()
    tables = (SqliteTables if url.startswith("sqlite") else PostgresTables)(url)
    for evil in (False, False, True):  # what is imported and opened once is, before it counts
        scheduler = Scheduler(url, workers=2)
        scheduler.job(kind="job", backoff=fixed(0), max_attempts=2)(work)
        write_rows(tables, evil=evil)
        listening = evil
        run(scheduler, tables, url)
        listening = False
    tables.close()
    print(json.dumps({"happened": happened, "modules": sorted(sys.modules)}))


if __name__ == "__main__":
    main(sys.argv[1])
