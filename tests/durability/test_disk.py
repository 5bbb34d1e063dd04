"""The disk is full: callers are told at once, nothing accepted is lost, and work resumes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from durability.disk import Ballast, NoDisk, small_disk
from durability.lab import Lab
from fastsched import StoreUnavailable


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB, on which the store of `lab` is."""
    with contextlib.ExitStack() as stack:
        try:
            disk = stack.enter_context(small_disk(tmp_path / "store", 16))
        except NoDisk as error:
            pytest.skip(str(error))
        yield disk


def enqueue_until_full(lab: Lab) -> float:
    """Enqueue until the store refuses; how long it took to say so, in seconds."""
    while True:
        before = lab.now()
        try:
            lab.jobs.enqueue(lab.jobs.work.job(0.0))
        except StoreUnavailable:
            return lab.now() - before


def test_a_full_disk_is_reported_at_once_and_work_resumes_when_there_is_room(
    disk: Path, lab: Lab
) -> None:
    ballast = Ballast(disk)
    lab.worker()
    lab.jobs.enqueue(*(lab.jobs.work.job(1.0) for _ in range(20)))
    lab.drain()
    ballast.load()
    for _ in range(3):
        assert enqueue_until_full(lab) < 1.0
    ballast.throw_off()
    lab.jobs.enqueue(lab.jobs.work.job(0.0))
    lab.drain()
    history = lab.verdict()
    assert len(history.refused) == 3


def test_runs_that_end_while_the_disk_is_full_are_written_when_there_is_room(
    disk: Path, lab: Lab
) -> None:
    ballast = Ballast(disk)
    worker = lab.worker(workers=4)
    lab.jobs.gate.shut()
    ids = lab.jobs.enqueue(*(lab.jobs.linger.job(1) for _ in range(4)))
    for _ in ids:
        worker.hear("lingers")
    ballast.load()
    enqueue_until_full(lab)
    lab.jobs.gate.open()
    assert "full" in " ".join(worker.hear("WARNING"))
    ballast.throw_off()
    lab.drain()
    history = lab.verdict()
    for job_id in ids:
        assert len(history.runs[job_id]) == 1


def test_a_process_started_on_a_full_disk_is_refused_and_does_no_harm(disk: Path, lab: Lab) -> None:
    ballast = Ballast(disk)
    lab.jobs.enqueue(*(lab.jobs.work.job(1.0) for _ in range(20)))
    ballast.load()
    enqueue_until_full(lab)
    refused = lab.spawn("worker")
    assert refused.wait() == 1
    assert "StoreUnavailable" in refused.log.read_text()
    ballast.throw_off()
    lab.worker()
    lab.drain()
    lab.verdict()


def test_a_process_that_loses_its_place_on_a_full_disk_takes_another_when_there_is_room(
    disk: Path, lab: Lab
) -> None:
    ballast = Ballast(disk)
    worker = lab.worker()
    ballast.load()
    enqueue_until_full(lab)
    (lab.beside_store / f"{worker.node}.alive").unlink()
    ballast.load()
    while "tick" not in worker.hear("WARNING"):  # "... trying again at the next tick"
        pass
    ballast.throw_off()
    lab.jobs.enqueue(lab.jobs.work.job(0.0))
    lab.drain()
    worker.tell("stats")
    new_node, *_ = worker.hear("stats")
    assert new_node not in ("None", worker.node)
    lab.verdict()
