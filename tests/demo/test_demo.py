"""The demo as a user runs it, on a small folder; and the examples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastsched.servers import PrivatePostgres, PrivateRedis, ServerMissing

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def folder(tmp_path):
    """Files that take a few milliseconds each, some that fail, and some that do not count."""
    root = tmp_path / "files"
    (root / "sub" / "__pycache__").mkdir(parents=True)
    (root / "sub" / "__pycache__" / "skipped.pyc").write_bytes(b"not counted")
    for number in range(200):
        with (root / f"{number}.bin").open("wb") as file:
            file.write(f"file {number}".encode())
            file.truncate(2 << 20)
    (root / "sub" / "program.py").write_text("print(1)\nprint(2)\n")
    (root / "sub" / "latin.txt").write_bytes("grüezi\n".encode("latin-1"))
    os.mkfifo(root / "sub" / "pipe")
    return root


@pytest.fixture
def demo(tmp_path, folder):
    """Run ``fastsched demo``; the finished process."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def run(*args):
        done = subprocess.run(
            [sys.executable, "-m", "fastsched", "demo", "--path", str(folder), *args],
            env={**os.environ, "TMPDIR": str(scratch)},
            capture_output=True,
            text=True,
        )
        assert not list(scratch.iterdir()), "it left something behind"
        return done

    return run


@pytest.fixture
def have_servers():
    """Missing, they are a skip on a desk and an error in CI."""
    for server in (PrivatePostgres(), PrivateRedis()):
        try:
            assert server.version
        except ServerMissing as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(str(error))


def test_every_file_is_accounted_for_although_a_worker_is_killed(demo):
    done = demo("--workers", "2", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["balances"]
    assert report["files"] == 202 + 4
    assert report["done"] == 202
    assert sorted(Path(path).name for path in report["dead_letters"]) == [
        "binary.py", "dangling.py", "latin.txt", "vanished.py",
    ]  # fmt: skip
    assert report["bytes"] > 200 * (2 << 20)
    assert report["kill"]["cut_short"] > 0
    assert report["rescued"] == report["kill"]["held"] > 0
    assert 0 < report["kill"]["recovery_seconds"] < 20


def test_for_people_it_shows_progress_and_a_verdict(demo):
    done = demo("--limit", "60")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "started the second worker" in done.stdout
    assert "100 %  64 of 64" in done.stdout
    assert "FAIL" not in done.stdout
    assert "It balances: 64 files" in done.stdout


def test_redis_without_postgres_is_refused_with_what_to_type(demo):
    done = demo("--redis")
    assert done.returncode == 2
    assert "fastsched demo --postgres --redis" in done.stderr


@pytest.mark.slow
def test_the_cluster_accounts_for_every_file_although_everything_fails_once(demo, have_servers):
    done = demo("--postgres", "--redis", "--workers", "2", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["balances"]
    assert report["done"] == report["passes"] * 201 + 1
    assert report["dead"] == report["passes"] + 3
    assert 0 < report["kill"]["recovery_seconds"] < 3
    assert 1 < report["freeze"]["recovery_seconds"] < 6
    assert report["rescued"] == report["kill"]["held"] + report["freeze"]["held"]
    assert report["refused_ends"] > 0
    assert [restart["what"] for restart in report["restarts"]] == ["Redis", "PostgreSQL"]


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_examples_run(name, tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(tmp_path.iterdir()), "it left something behind"
    assert EXPECTED[name] in done.stdout


EXPECTED = {
    "priorities.py": "from the highest priority down: yes",
    "dead_letters.py": "after requeue the letter is done",
}
