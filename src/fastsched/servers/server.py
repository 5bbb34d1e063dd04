"""The life of a private server; what PostgreSQL and Redis have in common."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from fastsched.clock import SystemClock
from fastsched.errors import ConfigurationError, FastschedError
from fastsched.servers.home import Home, User

Address = tuple[str, int]
Mode = Literal["fast", "immediate", "kill"]

_PATIENCE = 15.0
"""Seconds for a server to obey a signal, before the next, harder one."""


class ServerFailed(FastschedError):
    """A private server did not start; `log` is the end of what it said."""

    def __init__(self, message: str, *, log: str) -> None:
        super().__init__(f"{message}\n{log}" if log else message)
        self.log = log


class PrivateServer(ABC):
    """A server in a folder of its own.

    `stop` and `kill` keep the data, and `start` goes on with them; `close`, the end of the `with`
    block and the end of this process, in whatever way, leave nothing behind. In the child of a
    fork the server is the parent's: it can be reached, not stopped. Not for use by several threads
    at once.
    """

    title: ClassVar[str]
    _prefix: ClassVar[str]
    _signals: ClassVar[Mapping[Mode, Sequence[signal.Signals]]]
    _farewell: ClassVar[signal.Signals]

    def __init__(
        self,
        binaries: str | os.PathLike[str] | None,
        *,
        settings: Mapping[str, str | int] | None,
        tcp: bool,
        directory: str | os.PathLike[str] | None,
        start_timeout: float,
    ) -> None:
        self._given = None if binaries is None else Path(binaries)
        self._settings = dict(settings or {})
        self._tcp = tcp
        self._directory = None if directory is None else Path(directory)
        self._start_timeout = start_timeout
        self._clock = SystemClock()
        self._home: Home | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._port_holder: socket.socket | None = None
        self._address: Address | None = None

    # -- what differs --

    @abstractmethod
    def _find(self) -> Path:
        """The server's program."""

    @property
    @abstractmethod
    def version(self) -> str:
        """Of the program, for example ``18.6``."""

    @property
    @abstractmethod
    def url(self) -> str:
        """For clients on this machine, through the Unix socket."""

    @abstractmethod
    def _set_up(self, home: Home) -> None:
        """Furnish a new home."""

    @abstractmethod
    def _command(self, home: Home) -> Sequence[str | os.PathLike[str]]:
        """What to run."""

    @abstractmethod
    def _refusal(self) -> Exception | None:
        """Try to connect; what it said if it refused."""

    @abstractmethod
    def _tidy_up(self, home: Home) -> None:
        """After a server that could not do so itself."""

    def _user(self) -> User | None:
        """Who runs it, if not this process's user."""
        return None

    def _pids(self) -> list[int]:
        """Its processes, the main one first."""
        return [self.pid]

    # -- the life --

    def start(self) -> Self:
        """Start, on the data of the last run if there was one; return when it takes connections.

        A no-op when running.
        """
        if self._home is not None and not self._ours:
            raise ConfigurationError(
                f"this {self.title} belongs to process {self._owner}, which started it; "
                "start another one in this process"
            )
        if self.running:
            return self
        _ = self._program  # missing: it is said before anything is made
        if self._home is None:
            self._owner = os.getpid()
            self._home = Home(
                self._prefix,
                parent=self._directory,
                user=self._user(),
                farewell=self._farewell,
            )
            try:
                self._take_port()
                self._set_up(self._home)
            except BaseException:
                self.close()
                raise
        self.stop()  # one that ended by itself: tidy up
        self._launch(self._home)
        return self

    def _launch(self, home: Home) -> None:
        with self._log.open("ab") as log:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - found by us or given by the caller
                    self._command(home), **self._surroundings(home), stdout=log, stderr=log
                )
            except OSError as error:
                raise self._cannot_run(self._program, error) from error
        home.enter(self._process.pid)
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def _surroundings(self, home: Home) -> dict[str, Any]:
        """Of every program that is run in the home: nothing of ours but the path."""
        user = self._user()
        return {
            "stdin": subprocess.DEVNULL,
            "cwd": home.path,
            "env": {"PATH": os.defpath, "HOME": str(home.path), "LC_ALL": "C", "TZ": "UTC"},
            "start_new_session": True,  # Ctrl-C is for us
            **({"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}),
        }

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = self._clock.monotonic() + self._start_timeout
        while (refusal := self._refusal()) is not None:
            if _ended(process, 0.01):
                raise ServerFailed(
                    f"{self.title} ({self._program}) ended at its start, "
                    f"code {process.returncode}:",
                    log=self.log_tail(),
                )
            if self._clock.monotonic() > deadline:
                raise ServerFailed(
                    f"{self.title} ({self._program}) takes no connections "
                    f"{self._start_timeout:g} s after its start ({refusal}):",
                    log=self.log_tail(),
                )

    def stop(self, mode: Mode = "fast") -> None:
        """Stop and keep the data. Twice is ok, and so is one that has crashed.

        `fast`: as an administrator does, disconnecting the clients. `immediate`: at once, without
        a last checkpoint. `kill`: as a power cut does.
        """
        if mode not in self._signals:
            raise ConfigurationError(
                f"mode={mode!r} is no way to stop {self.title}; "
                f"give one of {', '.join(map(repr, self._signals))}"
            )
        if self._process is None or self._home is None or not self._ours:
            return
        if mode != "kill":
            self.resume()
        for signum in self._signals[mode]:
            self._process.send_signal(signum)
            if _ended(self._process, _PATIENCE):
                break
        clean, self._process = self._process.returncode == 0, None
        if not clean:
            self._tidy_up(self._home)
        self._home.leave()

    def kill(self) -> None:
        """End it as a power cut does: SIGKILL, to every process of it."""
        self.stop("kill")

    def restart(self, mode: Mode = "fast") -> None:
        """Stop and start again on the same data, at the same address."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop, and remove the data. Twice is ok; `start` begins anew."""
        if self._home is None or not self._ours:
            return
        self.stop()
        self._home.remove()
        self._home = None
        if self._port_holder is not None:
            self._port_holder.close()
        self._port_holder = self._address = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- faults --

    def pause(self) -> None:
        """Freeze every process of it (SIGSTOP): connections stay open and nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, signum: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, signum)  # first, so that it starts no others meanwhile
            for pid in self._pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signum)

    # -- what to know --

    @property
    def running(self) -> bool:
        return self._ours and self._process is not None and self._process.poll() is None

    @property
    def _ours(self) -> bool:
        """False in the child of a fork."""
        return self._owner == os.getpid()

    @cached_property
    def _program(self) -> Path:
        return self._find()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The server's main process, for other signals; `wait` for its end before `start`."""
        if self._process is None:
            raise ConfigurationError(f"{self.title} is not running: call start() first")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def folder(self) -> Path:
        """Its home: socket, data, log."""
        if self._home is None:
            raise ConfigurationError(f"{self.title} has no folder yet: call start() first")
        return self._home.path

    @property
    def address(self) -> Address:
        """Host and port, with ``tcp=True``; the same after a restart."""
        if self._address is None:
            raise ConfigurationError(
                f"this {self.title} has no TCP port: give tcp=True, and call start() first"
            )
        return self._address

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def log_tail(self, lines: int = 30) -> str:
        """The end of what the server logged; kept until `close`."""
        if self._home is None or not self._log.exists():
            return ""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def _take_port(self) -> None:
        if not self._tcp:
            return
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        self._address = holder.getsockname()
        # Linux lets the server bind beside a socket that does not listen, and nobody else: the
        # port stays ours while the server is down. Elsewhere the server would be refused.
        if sys.platform == "linux":
            self._port_holder = holder
        else:
            holder.close()

    def _run(self, home: Home, program: Path, *arguments: str) -> None:
        """Run another of the server's programs, as its user, to its end."""
        try:
            done = subprocess.run(  # noqa: S603 - found by us or given by the caller
                [program, *arguments],
                **self._surroundings(home),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except OSError as error:
            raise self._cannot_run(program, error) from error
        if done.returncode:
            raise ServerFailed(
                f"{program} failed, code {done.returncode}:",
                log=done.stdout.decode(errors="replace"),
            )

    def _cannot_run(self, program: Path, error: OSError) -> ServerFailed:
        user = self._user()
        as_user = (
            f" as the user {user.name!r}, because this process is root: make its folders readable "
            "for all, or run as an ordinary user"
            if user
            else ""
        )
        return ServerFailed(f"cannot run {program}{as_user} ({error.strerror})", log="")


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait so long for its end."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
