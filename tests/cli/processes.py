"""A real worker process, and the program that it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from fastsched import JobHandle, NewJob, Scheduler
from fastsched.codec import encode
from fastsched.ids import new_id

PROGRAM = """
import signal
import sys
import threading
from fastsched import JobContext, Scheduler

scheduler = Scheduler(workers=2)

@scheduler.job
def quick() -> None:
    pass

@scheduler.job
def bad() -> None:
    raise ValueError("no luck")

@scheduler.job
def until_told(path: str) -> None:
    print("running", flush=True)
    with open(path) as pipe:
        pipe.read()

@scheduler.job
def patient(ctx: JobContext) -> None:
    print("running", flush=True)
    ctx.wait(600)
    ctx.check()

@scheduler.job
def whisper() -> None:
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
"""


class Worker:
    """``fastsched worker program:scheduler`` in a folder with that program."""

    def __init__(self, folder: Path, store_url: str, args: tuple[str, ...]) -> None:
        (folder / "program.py").write_text(PROGRAM)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fastsched", "worker", "program:scheduler", *args],
            cwd=folder,
            env={**os.environ, "FASTSCHED_URL": store_url, "PYTHONFAULTHANDLER": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []

    def wait_for(self, text: str) -> str:
        """Read stderr up to a line with that text."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.said.append(line)
            if text in line:
                return line
        raise AssertionError(f"never said {text!r}: {''.join(self.said)}")

    def wait_for_running(self) -> None:
        """Until a handler says that it runs."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "running\n"

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def exit_code(self) -> int:
        """Once it has ended by itself."""
        _, err = self._process.communicate(timeout=40)
        self.said.append(err)
        return self._process.returncode

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._process.wait()


def new_job(name: str, *args: object) -> NewJob:
    """A job for a function of the program."""
    return NewJob(id=new_id(), kind=f"program.{name}", payload=encode(args, {}))


def enqueue(scheduler: Scheduler, name: str, *args: object) -> JobHandle:
    """The same, stored."""
    return scheduler.enqueue(new_job(name, *args))
