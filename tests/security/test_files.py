"""What lies on the disk is its owner's alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clocks import PATIENCE

from fastsched import Scheduler, State
from fastsched.pipe_bus import PipeBus


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): stat.filemode(p.lstat().st_mode) for p in folder.rglob("*")}


@pytest.mark.usefixtures("no_umask")
def test_whatever_the_umask_nobody_else_can_read_the_files_of_a_store(
    tmp_path: Path, make_scheduler: Callable[..., Scheduler]
) -> None:
    scheduler = make_scheduler(f"sqlite:///{tmp_path}/jobs.db", workers=2)
    job = scheduler.job(kind="job")(lambda secret: None)
    with scheduler:
        assert job.enqueue("secret").wait(PATIENCE) is State.DONE
        found = modes(tmp_path)
    assert {"jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.db.d", "jobs.db.d/write.lock"} <= set(
        found
    )
    assert any(name.endswith(".alive") for name in found)
    assert any(name.endswith(".pipe") for name in found)
    others = {name: mode for name, mode in found.items() if not mode.endswith("------")}
    assert not others


def test_a_file_that_is_there_keeps_its_permissions(
    tmp_path: Path, make_scheduler: Callable[..., Scheduler]
) -> None:
    path = tmp_path / "jobs.db"
    path.touch()
    path.chmod(0o640)
    scheduler = make_scheduler(f"sqlite:///{path}")
    scheduler.store_stats()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_listener_makes_its_folder_private(tmp_path: Path, no_umask: None) -> None:
    bus = PipeBus(tmp_path / "folder")
    bus.subscribe(print)
    assert modes(tmp_path)["folder"] == "drwx------"
    bus.close()
