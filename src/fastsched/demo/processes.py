"""Worker processes, the same that `fastsched worker` starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

_PATIENCE = 40.0
"""Seconds for a worker to drain before it is killed."""


class WorkerProcess:
    """One `fastsched worker` on the demo's store."""

    def __init__(self, name: str, store_url: str, threads: int, folder: Path) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own command, no shell
                [
                    *(sys.executable, "-m", "fastsched", "worker", "fastsched.demo.jobs:scheduler"),
                    *("--store", store_url, "--workers", str(threads), "--log-level", "warning"),
                ],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def freeze(self) -> bool:
        """SIGSTOP; True once it stands still, False if it has ended."""
        self._process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        return os.WIFSTOPPED(status)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL: it has no chance to tidy up."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM, then wait until it has drained; its exit code."""
        self.thaw()
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(_PATIENCE)
        self.kill()
        return self._process.returncode

    def log_tail(self) -> str:
        """The last lines that it wrote, for when it should not have ended."""
        return "\n".join(self._log.read_text("utf-8", "replace").splitlines()[-10:])
