"""A commit is on the disk when `enqueue` returns: not the process alone may die, also the machine.

No test can pull the plug. But the calls that bring a commit to the disk can be counted, by a
library that is loaded before the C library and has these calls itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COUNTING = r"""
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int count(void) {
    int notes = open(getenv("SYNC_NOTES"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    int written = write(notes, "!", 1);
    close(notes);
    return written == 1 ? 0 : -1;
}

int fsync(int file) { return count(); }
int fdatasync(int file) { return count(); }
"""
PROGRAM = """
import os, sys
from fastsched import JobContext, Scheduler

def syncs():
    try:
        return os.stat(os.environ["SYNC_NOTES"]).st_size
    except FileNotFoundError:
        return 0

scheduler = Scheduler(f"sqlite:///{sys.argv[1]}", workers=1)

@scheduler.job(kind="effect")
def effect(ctx: JobContext):
    with ctx.transaction() as db:
        db.execute("CREATE TABLE effects (n INTEGER)")
    assert syncs() > before, "an effect was committed and not synced"

for _ in range(5):
    before = syncs()
    handle = effect.options(delay=3600).enqueue()
    assert syncs() > before, "a job was accepted and not synced"
scheduler.run_now(handle.id)
before = syncs()
with scheduler:
    assert handle.wait(10) == "done"
"""


@pytest.fixture
def counting(tmp_path: Path) -> dict[str, str]:
    """The environment of a process whose syncs are counted."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler, and Linux")
    source, library = tmp_path / "counting.c", tmp_path / "counting.so"
    source.write_text(COUNTING)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return {**os.environ, "LD_PRELOAD": str(library), "SYNC_NOTES": str(tmp_path / "notes")}


def test_every_commit_is_synced_before_it_is_answered(tmp_path, counting):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "jobs.db")]
    ran = subprocess.run(command, env=counting, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
