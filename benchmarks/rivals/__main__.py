"""The run: environments, servers, rounds that take turns, tables."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import machine

from fastsched.servers import PrivatePostgres, PrivateRedis
from rivals import report, rounds
from rivals.entries import ENTRIES, Entry
from rivals.environments import Unavailable, installed, python_for
from rivals.report import Result


def main() -> None:
    options = _options()
    results = [Result(entry=entry) for entry in _chosen(options.only)]
    with _envs(options.envs) as envs:
        for result in results:
            _prepare(result, envs)
        began, load = time.monotonic(), [os.getloadavg()[0]]
        persistence = {"appendonly": "yes", "appendfsync": "always"} if options.redis_fsync else {}
        with PrivatePostgres(durable=True) as postgres, PrivateRedis(settings=persistence) as redis:
            servers = rounds.Servers(postgres, redis)
            where = f"PostgreSQL {postgres.version}, fsync on; Redis: Valkey {redis.version}, "
            where += "append-only file, synced always" if persistence else "kept in memory only"
            with contextlib.suppress(KeyboardInterrupt):  # then, what there is
                for number in range(options.rounds):
                    for result in results:
                        if not result.why:
                            _measure(result, envs, servers, options.scale, number)
                            load.append(os.getloadavg()[0])
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    print(report.tables(results))
    print(
        f"\n{now}: {machine.describe()}; {where}. Medians of {_rounds(results)} rounds in turn, "
        f"{'' if options.scale == 1 else f'{options.scale:g} times the jobs, '}"
        f"{(time.monotonic() - began) / 60:.0f} minutes, load average {min(load):.1f} to "
        f"{max(load):.1f}."
    )


def _rounds(results: list[Result]) -> int:
    """How many rounds every one of those that ran has."""
    return min((len(result.rounds) for result in results if not result.why), default=0)


def _measure(
    result: Result, envs: Path, servers: rounds.Servers, scale: float, number: int
) -> None:
    began = time.monotonic()
    try:
        done, result.settings = rounds.run(
            result.entry, python_for(result.entry, envs), servers, scale
        )
        result.rounds.append(done)
    except Unavailable as error:
        result.why = f"round {number + 1}: {error}"
    print(
        f"round {number + 1}: {result.entry.name} on {result.entry.store}, "
        f"{time.monotonic() - began:.0f} s {result.why}",
        file=sys.stderr,
        flush=True,
    )


def _prepare(result: Result, envs: Path) -> None:
    try:
        result.version = installed(result.entry, python_for(result.entry, envs))
    except Unavailable as error:
        result.why = str(error)


def _chosen(only: list[str]) -> list[Entry]:
    if not only:
        return list(ENTRIES)
    unknown = set(only) - {entry.library for entry in ENTRIES}
    if unknown:
        sys.exit(f"--only {', '.join(sorted(unknown))}: there are {_libraries()}")
    return [entry for entry in ENTRIES if entry.library in only]


def _libraries() -> str:
    return ", ".join(sorted({entry.library for entry in ENTRIES}))


@contextmanager
def _envs(folder: Path | None) -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rivals-envs-")))
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.absolute()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rivals", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help=f"of {_libraries()}; repeatable"
    )
    parser.add_argument(
        "--envs", type=Path, help="where to keep the virtual environments; default: nowhere"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="times the number of jobs, to try something out"
    )
    parser.add_argument(
        "--redis-fsync", action="store_true", help="have Redis sync every write to the disk, too"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
