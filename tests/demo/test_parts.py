"""The demo's two walks and its log of runs."""

from __future__ import annotations

import json
import os

import pytest

from fastsched import JobContext, Scheduler
from fastsched.demo.jobs import Measure, measure_file
from fastsched.demo.runlog import RunLog
from fastsched.demo.tree import Trouble, find_files, priority_of, walk_again


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "sub" / "site-packages").mkdir(parents=True)
    (root / "sub" / "site-packages" / "skipped.py").touch()
    (root / "sub" / "b.py").touch()
    (root / "a.txt").touch()
    (root / "link").symlink_to(root / "a.txt")
    (root / "nowhere").symlink_to(root / "not there")
    (root / "folder").symlink_to(root / "sub")
    os.mkfifo(root / "pipe")
    return root


def test_both_walks_find_the_same_files(root):
    expected = [str(root / name) for name in ("a.txt", "link", "nowhere", "sub/b.py")]
    assert find_files(root, None) == list(walk_again(root, None)) == expected
    assert find_files(root, 2) == list(walk_again(root, 2)) == expected[:2]


def test_a_link_to_nothing_has_no_status(root):
    again = walk_again(root, None)
    assert again[str(root / "nowhere")] is None
    assert again[str(root / "link")] == (root / "a.txt").stat()


def test_programs_come_first(root):
    found = ["a.bin", "a.txt", "a.py"]
    assert sorted(found, key=priority_of, reverse=True) == ["a.py", "a.txt", "a.bin"]


def test_trouble_fails_for_real(tmp_path):
    trouble = Trouble(tmp_path / "trouble")
    trouble.vanish()
    for path in (trouble.vanished, trouble.dangling, trouble.late):
        with pytest.raises(FileNotFoundError):
            measure_file(path)
    with pytest.raises(UnicodeDecodeError):
        measure_file(trouble.binary)
    trouble.arrive()
    assert measure_file(trouble.late).lines == 1


def test_a_character_cut_by_a_chunk_is_no_error_and_one_cut_by_the_end_is(tmp_path):
    whole, cut = tmp_path / "whole.txt", tmp_path / "cut.txt"
    whole.write_bytes(b"x" * ((1 << 20) - 1) + "ü\n".encode())
    cut.write_bytes("ü".encode()[:1])
    assert measure_file(whole).lines == 1
    with pytest.raises(UnicodeDecodeError):
        measure_file(cut)


def test_what_is_not_text_has_no_lines(tmp_path):
    file = tmp_path / "a.bin"
    file.write_bytes(b"\n")
    measured = measure_file(file)
    assert isinstance(measured, Measure)
    assert (measured.size, measured.lines) == (1, None)


def test_the_log_tells_runs_apart_and_which_were_cut_short(tmp_path):
    log = RunLog(tmp_path / "runs.jsonl")
    scheduler = Scheduler(f"sqlite:///{tmp_path / 'jobs.db'}", workers=1)

    @scheduler.job(kind="measured")
    def measured(ctx: JobContext) -> None:
        log.started(ctx, "a")
        log.measured(ctx, "a", sha256="f00", size=3, lines=None)

    @scheduler.job(kind="cut_short")
    def cut_short(ctx: JobContext) -> None:
        log.started(ctx, "b")

    @scheduler.job(kind="failing", max_attempts=1)
    def failing(ctx: JobContext) -> None:
        log.started(ctx, "c")
        log.failed(ctx, "c", ValueError("no"))
        raise ValueError("no")

    handles = [job.enqueue() for job in (measured, cut_short, failing)]
    with scheduler:
        for handle in handles:
            handle.wait(timeout=30)
    first, second, third = log.read()
    assert (first.measured, first.sha256, first.size) == (True, "f00", 3)
    assert first.node == second.node
    assert (second.measured, second.ended) == (False, None)
    assert (third.measured, third.error) == (False, "ValueError")


def test_the_log_is_read_on_from_where_it_was_read_before(tmp_path):
    path = tmp_path / "runs.jsonl"
    log = RunLog(path)
    assert (log.read(), log.ended) == ([], 0)
    began = {"job": "a", "claim_no": 1, "attempt": 1, "began": 1.0, "path": "p", "node": "n"}
    ended = {"job": "a", "claim_no": 1, "attempt": 1, "ended": 2.0, "sha256": "f00"}
    text = json.dumps(ended)
    path.write_text(f"{json.dumps(began)}\n{text[:20]}")  # the rest is being written
    (run,) = log.read()
    assert (run.ended, log.ended) == (None, 0)
    with path.open("a") as file:
        file.write(f"{text[20:]}\n")
    (run,) = log.read()
    assert (run.ended, run.measured, log.ended) == (2.0, True, 1)
